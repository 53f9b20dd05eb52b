"""Sets of integers as ranges: tokens, rows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import numpy as np
from numpy.typing import NDArray

from streamgmm.persistence.codec import persistent

Intervals = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class RangeColumns:
    """First and last integer of each range, as `Ranges` are saved."""

    ends: NDArray[np.int64]


@persistent("ranges-1")
@dataclass(frozen=True, slots=True)
class Ranges:
    """Immutable set of integers that come in runs.

    Examples
    --------
    >>> rows = Ranges().add(0, 10).add(20, 30).add(10, 12)
    >>> rows.intervals, 11 in rows, 12 in rows
    (((0, 12), (20, 30)), True, False)
    >>> rows.remove(5, 25).intervals
    ((0, 5), (25, 30))
    >>> rows.find_missing(5, 40)
    [(12, 20), (30, 40)]
    """

    intervals: Intervals = ()  # half-open, in order, apart from each other

    def to_columns(self) -> RangeColumns:
        """Return first and last integers as one array; a stop may have 65 bits."""
        ends = [(first, stop - 1) for first, stop in self.intervals]
        return RangeColumns(np.array(ends, np.int64).reshape(-1, 2))

    @classmethod
    def from_columns(cls, columns: RangeColumns) -> Ranges:
        """Return the inverse of `to_columns`; ValueError if ranges overlap."""
        intervals = tuple((first, last + 1) for first, last in columns.ends.reshape(-1, 2).tolist())
        if any(end >= after for end, after in pairwise([end for interval in intervals for end in interval])):
            raise ValueError("ranges overlap")
        return cls(intervals)

    def __contains__(self, number: int) -> bool:
        """Return True for an integer of the set."""
        index = bisect_right(self.intervals, (number, inf)) - 1
        return index >= 0 and number < self.intervals[index][1]

    def add(self, first: int, stop: int) -> Ranges:
        """Return the set with all integers of a half-open range."""
        if first >= stop:
            return self
        before, touched, after = self._divide(first, stop)
        if touched:
            first, stop = min(first, touched[0][0]), max(stop, touched[-1][1])
        return Ranges((*before, (first, stop), *after))

    def remove(self, first: int, stop: int) -> Ranges:
        """Return the set without the integers of a half-open range."""
        if first >= stop:
            return self
        before, touched, after = self._divide(first, stop)
        left = [(begin, min(end, first)) for begin, end in touched if begin < first]
        right = [(max(begin, stop), end) for begin, end in touched if stop < end]
        return Ranges((*before, *left, *right, *after))

    def find_missing(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Return the parts of a half-open range that are not in the set."""
        missing = []
        for begin, end in self._divide(first, stop)[1]:
            if first < begin:
                missing.append((first, min(begin, stop)))
            first = max(first, end)
        return [*missing, (first, stop)] if first < stop else missing

    def _divide(self, first: int, stop: int) -> tuple[Intervals, ...]:
        """Intervals before a range, those that touch it, and those behind it."""
        low = bisect_left(self.intervals, first, key=lambda interval: interval[1])
        high = bisect_right(self.intervals, stop, key=lambda interval: interval[0])
        return self.intervals[:low], self.intervals[low:high], self.intervals[high:]
