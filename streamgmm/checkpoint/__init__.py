"""Models on disk: one self-verifying file each."""

from streamgmm.checkpoint.model_file import ARRAYS, GIVEN, NUMBERS, read, restored, save_model

__all__ = ["ARRAYS", "GIVEN", "NUMBERS", "read", "restored", "save_model"]
