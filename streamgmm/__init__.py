"""Gaussian mixtures on data that does not fit in memory."""

from streamgmm.checkpoint import Checkpoint
from streamgmm.estimator import GaussianMixture
from streamgmm.images import segment
from streamgmm.loading import load

__version__ = "0.1.0"

__all__ = ["Checkpoint", "GaussianMixture", "__version__", "load", "segment"]
