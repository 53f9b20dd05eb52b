"""Pixels of small integers, counted once: a table of the values that there are, with how often each is there.

EM on the table is EM on the pixels, to rounding, at a cost that does not depend on their number: a photograph has about
100,000 distinct colours, whatever its size. Whole numbers add up to the same in any order, so chunks do not matter.
"""

from streamgmm.images.counting.direct import distinct
from streamgmm.images.counting.table import LookUp, ValueCounts, countable, hashable

__all__ = ["LookUp", "ValueCounts", "countable", "distinct", "hashable"]
