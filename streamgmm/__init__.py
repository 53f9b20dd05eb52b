"""Gaussian mixtures on data that does not fit in memory."""

from streamgmm.checkpoint import Checkpoint
from streamgmm.estimator import GaussianMixture
from streamgmm.images import segment
from streamgmm.loading import load
from streamgmm.selecting import select
from streamgmm.selection import Selection

__version__ = "0.1.0"

__all__ = ["Checkpoint", "GaussianMixture", "Selection", "__version__", "load", "segment", "select"]
