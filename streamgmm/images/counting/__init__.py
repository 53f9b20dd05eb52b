"""Value counts of integer images: the distinct pixel values and how often each occurs.

EM on the table is EM on the pixels, to rounding, at a cost that does not depend on their number.
"""

from streamgmm.images.counting.direct_counters import find_unique_pixels
from streamgmm.images.counting.distinct_values import count_images
from streamgmm.images.counting.value_counts import ValueCounts, ValueLookup

__all__ = ["ValueCounts", "ValueLookup", "count_images", "find_unique_pixels"]
