"""Gaussian mixtures on data that does not fit in memory."""

from streamgmm.checkpoint import load
from streamgmm.estimator import GaussianMixture

__version__ = "0.1.0"

__all__ = ["GaussianMixture", "__version__", "load"]
