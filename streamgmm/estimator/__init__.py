"""GaussianMixture, as scikit-learn's users know it; a file for what it does after another: fitted, kept, updated."""

from streamgmm.estimator.mixture import GaussianMixture

__all__ = ["GaussianMixture"]
