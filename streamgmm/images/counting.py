"""Pixels of small integers, counted once: a table of the values that there are, with how often each is there.

EM on the table is EM on the pixels, to rounding, at a cost that does not depend on their number: a photograph has about
100,000 distinct colours, whatever its size. Whole numbers add up to the same in any order, so chunks do not matter. It
knows nothing of where pixels lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm import execution
from streamgmm.execution import Wave
from streamgmm.kernels import tallies
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
        for wave in _waves(source.chunks()):
            for codes, counts in execution.over_chunks(wave, _distinct):
                totals[codes] += counts
        there = np.flatnonzero(totals)
        return cls(_decoded(there, source.dtype, source.n_features), totals[there])

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
        found = np.empty(len(self.values), np.uint32)
        # values of the table are distinct: the codes come out in their order
        tallies.tally(_unsigned(self.values), np.zeros(len(entries), np.uint32), found)
        entries[found] = results
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


def _distinct(rows: NDArray[Any], weights: None, chunk: Chunk) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Values of some rows, in order, and how often each is there."""
    counters = np.zeros(_n_counters(rows.dtype, rows.shape[1]), np.uint32)
    found = np.empty(min(len(rows), len(counters)), np.uint32)
    codes = np.sort(found[: tallies.tally(_unsigned(rows), counters, found)])
    return codes, counters[codes]


def _n_counters(dtype: np.dtype[Any], n_bands: int) -> int:
    return int(2 ** (8 * dtype.itemsize * n_bands))


def _unsigned(rows: NDArray[Any]) -> NDArray[Any]:
    """The same bits as numbers from 0, end to end in memory."""
    return np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")


def _decoded(codes: NDArray[np.intp], dtype: np.dtype[Any], n_bands: int) -> NDArray[Any]:
    if n_bands == 1:
        return codes.astype(f"u{dtype.itemsize}").view(dtype)[:, None]
    shifts = tallies.BAND_BITS * np.arange(n_bands - 1, -1, -1)
    return (codes[:, None] >> shifts & 255).astype(np.uint8).view(dtype)
