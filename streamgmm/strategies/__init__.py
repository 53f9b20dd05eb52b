"""Algorithms, one file each; all run in the one loop of `streamgmm.iteration`."""

from streamgmm.strategies.batch import Batch
from streamgmm.strategies.strategy import Strategy

__all__ = ["Batch", "Strategy"]
