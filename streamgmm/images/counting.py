"""Pixels of small integers, counted once: a table of the values that there are, with how often each is there.

EM on the table is EM on the pixels, to rounding, at a cost that does not depend on their number: a photograph has about
100,000 distinct colours, whatever its size. Whole numbers add up to the same in any order, so chunks do not matter. It
knows nothing of where pixels lie.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.kernels import tallies
from streamgmm.reading import execution
from streamgmm.reading.execution import Wave
from streamgmm.sources.arrays import ArraySource
from streamgmm.sources.source import Chunk, Source

MOST_BANDS = 3  # of 8 bits: 2**24 counters, 134 MB, most of which are never touched
TOGETHER = 16  # chunks whose values are held at once


def countable(dtype: np.dtype[Any], n_bands: int) -> bool:
    """Whether pixels are so small that all values can have a counter: up to 3 bands of 8 bits, or one of 16.

    Examples
    --------
    >>> countable(np.dtype(np.uint8), 3), countable(np.dtype(np.uint16), 1), countable(np.dtype(np.uint16), 2)
    (True, True, False)
    """
    most = {1: MOST_BANDS, 2: 1}.get(dtype.itemsize, 0)
    return dtype.kind in "iu" and n_bands <= most


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The values of pixels, and how often each is there.

    Attributes
    ----------
    values : ndarray of shape (n, n_bands)
        Distinct, in a fixed order.
    counts : ndarray of shape (n,)
        Pixels of each, int64, at least 1.

    Examples
    --------
    >>> from streamgmm.sources import as_source
    >>> counted = Counted.of(as_source(np.array([[7], [2], [7]], np.uint8)))
    >>> counted.values.ravel(), counted.counts
    (array([2, 7], dtype=uint8), array([1, 2]))
    """

    values: NDArray[Any]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, source: Source) -> Counted:
        """Count the rows of a source without weights, in one reading."""
        totals = np.zeros(_n_counters(source.dtype, source.n_features), np.int64)
        counters = Counters(len(totals))
        for wave in _waves(source.chunks()):
            for codes, counts in execution.over_chunks(wave, _distinct, counters):
                tallies.add(codes, counts, totals)
        there = np.flatnonzero(totals)
        return cls(_decoded(there, source.dtype, source.n_features), totals[there])

    @classmethod
    def together(cls, tables: Sequence[Counted]) -> Counted:
        """The table of the pixels of several images, of one dtype and as many bands."""
        first = tables[0]
        if len(tables) == 1:
            return first
        dtype, n_bands = first.values.dtype, first.values.shape[1]
        totals = np.zeros(_n_counters(dtype, n_bands), np.int64)
        for one in tables:
            totals[_codes(one.values)] += one.counts
        there = np.flatnonzero(totals)
        return cls(_decoded(there, dtype, n_bands), totals[there])

    @property
    def n_pixels(self) -> int:
        """Number of pixels that were counted."""
        return int(self.counts.sum())

    def source(self, features: NDArray[Any] | None = None) -> ArraySource:
        """The table as rows with weights, or features of its values in their place."""
        return ArraySource(self.values if features is None else features, self.counts.astype(np.float64))

    def table(self, results: NDArray[Any]) -> LookUp:
        """What gives each pixel the result of its value, of which there is one for each row of the table."""
        entries = np.zeros(_n_counters(self.values.dtype, self.values.shape[1]), results.dtype)
        entries[_codes(self.values)] = results
        return LookUp(entries)


@dataclass(frozen=True, slots=True, eq=False)
class LookUp:
    """A function of pixels, as a table of all values; 0 for one that was not counted.

    Attributes
    ----------
    entries : ndarray of shape (n_counters,)
        Results by value.
    """

    entries: NDArray[Any]

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Result for each row, shape (n,)."""
        out = np.empty(len(rows), self.entries.dtype)
        tallies.look_up(_unsigned(rows), self.entries, out)
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        """What goes to another process: only what was counted, since most entries are of values that are not there."""
        there = np.flatnonzero(self.entries)
        return _spread, (len(self.entries), there.astype(np.uint32), self.entries[there])


def distinct(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """The values that there are among rows in memory, and for each row the place of its own.

    Examples
    --------
    >>> values, places = distinct(np.array([[7], [2], [7]], np.uint8))
    >>> values[places].ravel()
    array([7, 2, 7], dtype=uint8)
    """
    counters = np.zeros(_n_counters(rows.dtype, rows.shape[1]), np.uint32)
    codes = np.empty(min(len(rows), len(counters)), np.uint32)
    codes = codes[: tallies.tally(_unsigned(rows), counters, codes)]
    counters[codes] = np.arange(len(codes), dtype=np.uint32)
    places = np.empty(len(rows), np.uint32)
    tallies.look_up(_unsigned(rows), counters, places)
    return _decoded(codes.astype(np.intp), rows.dtype, rows.shape[1]), places


def _spread(n_entries: int, there: NDArray[np.uint32], results: NDArray[Any]) -> LookUp:
    entries = np.zeros(n_entries, results.dtype)
    entries[there] = results
    return LookUp(entries)


def _waves(chunks: Iterator[Chunk]) -> Iterator[Wave]:
    while wave := tuple(islice(chunks, TOGETHER)):
        yield Wave(wave, last=False, complete=False)


class Counters:
    """A counter for each value, all of them 0, of which each thread that counts has its own.

    Made anew for each block they would take longer than the counting. What goes to another process takes none along.
    """

    def __init__(self, n_counters: int) -> None:
        self._n_counters = n_counters
        self._own = threading.local()

    def of_this_thread(self) -> NDArray[np.uint32]:
        """Who takes them leaves them as they were."""
        if not hasattr(self._own, "counters"):
            self._own.counters = np.zeros(self._n_counters, np.uint32)
        counters: NDArray[np.uint32] = self._own.counters
        return counters

    def __reduce__(self) -> tuple[Any, ...]:
        return Counters, (self._n_counters,)


def _distinct(
    rows: NDArray[Any], weights: None, chunk: Chunk, counters: Counters
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Values of some rows, in the order in which they are met, and how often each is there."""
    own = counters.of_this_thread()
    found = np.empty(min(len(rows), len(own)), np.uint32)
    codes = found[: tallies.tally(_unsigned(rows), own, found)].copy()
    return codes, tallies.taken(codes, own, np.empty(len(codes), np.uint32))


def _n_counters(dtype: np.dtype[Any], n_bands: int) -> int:
    return int(2 ** (8 * dtype.itemsize * n_bands))


def _codes(values: NDArray[Any]) -> NDArray[np.uint32]:
    """Places of the counters of distinct values, in their order."""
    found = np.empty(len(values), np.uint32)
    tallies.tally(_unsigned(values), np.zeros(_n_counters(values.dtype, values.shape[1]), np.uint32), found)
    return found


def _unsigned(rows: NDArray[Any]) -> NDArray[Any]:
    """The same bits as numbers from 0, end to end in memory."""
    return np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")


def _decoded(codes: NDArray[np.intp], dtype: np.dtype[Any], n_bands: int) -> NDArray[Any]:
    if n_bands == 1:
        return codes.astype(f"u{dtype.itemsize}").view(dtype)[:, None]
    shifts = tallies.BAND_BITS * np.arange(n_bands - 1, -1, -1)
    return (codes[:, None] >> shifts & 255).astype(np.uint8).view(dtype)
