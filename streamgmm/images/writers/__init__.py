"""Files of labels. A format is one file of functions and one row of ``FORMATS``."""

from streamgmm.images.writers.label_format import LabelDescription, label_dtype, palette
from streamgmm.images.writers.label_output import FORMATS, LabelOutput

__all__ = ["FORMATS", "LabelDescription", "LabelOutput", "label_dtype", "palette"]
