"""Models and unfinished fits on disk: self-verifying files, one of the user's choosing or generations in a folder."""

from streamgmm.checkpoint.container import Arrays
from streamgmm.checkpoint.keeper import Checkpoint, Keeper, environment, new_run
from streamgmm.checkpoint.model_file import ARRAYS, GIVEN, LEARNING, NUMBERS, read, record, save
from streamgmm.checkpoint.records import packed, unpacked
from streamgmm.checkpoint.store import Generation, generations, newest, verified

__all__ = [
    "ARRAYS",
    "GIVEN",
    "LEARNING",
    "NUMBERS",
    "Arrays",
    "Checkpoint",
    "Generation",
    "Keeper",
    "environment",
    "generations",
    "new_run",
    "newest",
    "packed",
    "read",
    "record",
    "save",
    "unpacked",
    "verified",
]
