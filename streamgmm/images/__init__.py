"""Image segmentation: pixels are rows of a mixture, and its components are the segments."""

from streamgmm.images.correlation import effective_n
from streamgmm.images.segmentation import Segmentation
from streamgmm.images.segmenting import segment

__all__ = ["Segmentation", "effective_n", "segment"]
