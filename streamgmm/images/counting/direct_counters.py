"""Value counts with a counter for every possible value: up to three bands of 8 bits, or one of 16."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.counting.pixel_codes import as_unsigned, count_bits, decode_pixels, encode_pixels
from streamgmm.kernels import value_counters


class DirectCounters:
    """Counts of all ``n_values`` possible codes."""

    chunks_at_once = 16

    def __init__(self, n_values: int) -> None:
        self._n_values = n_values
        self._totals = np.zeros(n_values, np.int64)
        self._thread = threading.local()

    def count_block(self, rows: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Return the codes of a block, in order of appearance, and their counts; the totals stay as they are."""
        if not hasattr(self._thread, "counters"):  # zeroing them for each block would take longer than counting
            self._thread.counters = np.zeros(self._n_values, np.uint32)
        counters = self._thread.counters
        buffer = np.empty(min(len(rows), self._n_values), np.uint32)
        codes = buffer[: value_counters.count_values(as_unsigned(rows), counters, buffer)].copy()
        return codes, value_counters.drain(codes, counters, np.empty(len(codes), np.uint32))

    def add(self, codes: NDArray[Any], counts: NDArray[Any]) -> bool:
        """Add counts to the totals; there is always room."""
        value_counters.add_counts(codes, counts, self._totals)
        return True

    def items(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return the codes that occur, sorted, and their totals."""
        codes = np.flatnonzero(self._totals)
        return codes, self._totals[codes]

    def __reduce__(self) -> tuple[Any, ...]:
        return DirectCounters, (self._n_values,)  # other processes count blocks only


def build_direct_lookup(values: NDArray[Any], results: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return a function of rows that gives the result of each value, and 0 for an unknown one."""
    entries = np.zeros(2 ** count_bits(values.dtype, values.shape[1]), results.dtype)
    entries[encode_pixels(values)] = results
    return partial(_lookup, entries=entries)


def find_unique_pixels(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """Return the distinct rows, in order of appearance, and for each row the index of its value.

    Examples
    --------
    >>> values, indices = find_unique_pixels(np.array([[7], [2], [7]], np.uint8))
    >>> values[indices].ravel()
    array([7, 2, 7], dtype=uint8)
    """
    entries = np.zeros(2 ** count_bits(rows.dtype, rows.shape[1]), np.uint32)
    codes = np.empty(min(len(rows), len(entries)), np.uint32)
    codes = codes[: value_counters.count_values(as_unsigned(rows), entries, codes)]
    entries[codes] = np.arange(len(codes), dtype=np.uint32)
    return decode_pixels(codes, rows.dtype, rows.shape[1]), _lookup(rows, entries)


def _lookup(rows: NDArray[Any], entries: NDArray[Any]) -> NDArray[Any]:
    results = np.empty(len(rows), entries.dtype)
    value_counters.find_entries(as_unsigned(rows), entries, results)
    return results
