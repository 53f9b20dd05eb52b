"""Sets of integers as ranges: of tokens, of rows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import numpy as np
from numpy.typing import NDArray

from streamgmm.persistence.codec import persistent


@dataclass(frozen=True, slots=True, eq=False)
class RangeColumns:
    """First and last integer of each range, as `Ranges` are saved."""

    ends: NDArray[np.int64]


@persistent("ranges-1")
@dataclass(frozen=True, slots=True)
class Ranges:
    """A set of integers that come in runs; never changed.

    Attributes
    ----------
    spans : tuple of (first, stop)
        Half-open, in order, apart from each other.

    Examples
    --------
    >>> rows = Ranges().joined(0, 10).joined(20, 30).joined(10, 12)
    >>> rows.spans, 11 in rows, 12 in rows
    (((0, 12), (20, 30)), True, False)
    >>> rows.without(5, 25).spans
    ((0, 5), (25, 30))
    >>> rows.missing(5, 40)
    [(12, 20), (30, 40)]
    """

    spans: tuple[tuple[int, int], ...] = ()

    def to_columns(self) -> RangeColumns:
        """Return the ends of all ranges as one array; the last integers, since those behind them may have 65 bits."""
        ends = [(first, stop - 1) for first, stop in self.spans]
        return RangeColumns(np.array(ends, np.int64).reshape(-1, 2))

    @classmethod
    def from_columns(cls, columns: RangeColumns) -> Ranges:
        """Return the set that `to_columns` made an array of; ValueError where ranges overlap."""
        spans = tuple((first, last + 1) for first, last in columns.ends.reshape(-1, 2).tolist())
        ends = [end for span in spans for end in span]
        if any(end >= after for end, after in pairwise(ends)):
            raise ValueError("ranges overlap")
        return cls(spans)

    def __contains__(self, number: int) -> bool:
        """Whether an integer is in the set."""
        place = bisect_right(self.spans, (number, inf)) - 1
        return place >= 0 and number < self.spans[place][1]

    def joined(self, first: int, stop: int) -> Ranges:
        """The set and all integers from ``first`` to before ``stop``."""
        if first >= stop:
            return self
        before, touched, after = self._cut(first, stop)
        if touched:
            first, stop = min(first, touched[0][0]), max(stop, touched[-1][1])
        return Ranges((*before, (first, stop), *after))

    def without(self, first: int, stop: int) -> Ranges:
        """The set less all integers from ``first`` to before ``stop``."""
        if first >= stop:
            return self
        before, touched, after = self._cut(first, stop)
        left = [(begin, min(end, first)) for begin, end in touched if begin < first]
        right = [(max(begin, stop), end) for begin, end in touched if stop < end]
        return Ranges((*before, *left, *right, *after))

    def missing(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Ranges from ``first`` to before ``stop`` that are not in the set."""
        found = []
        for begin, end in self._cut(first, stop)[1]:
            if first < begin:
                found.append((first, min(begin, stop)))
            first = max(first, end)
        return [*found, (first, stop)] if first < stop else found

    def _cut(self, first: int, stop: int) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Spans before a range, those that touch it, and those behind it."""
        low = bisect_left(self.spans, first, key=lambda span: span[1])
        high = bisect_right(self.spans, stop, key=lambda span: span[0])
        return self.spans[:low], self.spans[low:high], self.spans[high:]
