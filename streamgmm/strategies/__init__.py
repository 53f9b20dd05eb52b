"""Algorithms, one file each; all run in the one loop of `streamgmm.fitting.iteration`."""

from streamgmm.strategies.accelerated import Accelerated, Striding
from streamgmm.strategies.batch import Batch
from streamgmm.strategies.incremental import Entries, Incremental
from streamgmm.strategies.stepwise import Learnt, Stepwise
from streamgmm.strategies.strategy import Strategy
from streamgmm.strategies.window import Ring, Window

__all__ = [
    "Accelerated",
    "Batch",
    "Entries",
    "Incremental",
    "Learnt",
    "Ring",
    "Stepwise",
    "Strategy",
    "Striding",
    "Window",
]
