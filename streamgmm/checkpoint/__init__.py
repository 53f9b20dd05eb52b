"""Models on disk: one self-verifying file each."""

from streamgmm.checkpoint.model_file import load, save_model

__all__ = ["load", "save_model"]
