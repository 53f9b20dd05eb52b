"""Gaussian mixtures on data that does not fit in memory."""

from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.loading import load
from streamgmm.images import segment
from streamgmm.persistence.writer import Checkpoint
from streamgmm.selection.selecting import select
from streamgmm.selection.selection import Selection

__version__ = "0.1.0"

__all__ = ["Checkpoint", "GaussianMixture", "Selection", "__version__", "load", "segment", "select"]
