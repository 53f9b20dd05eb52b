"""Models on disk: one self-verifying file each."""

from streamgmm.checkpoint.model_file import ARRAYS, GIVEN, LEARNING, NUMBERS, read, save_model
from streamgmm.checkpoint.records import unpacked

__all__ = ["ARRAYS", "GIVEN", "LEARNING", "NUMBERS", "read", "save_model", "unpacked"]
