"""A counter for each value that a pixel could have: of up to three bands of 8 bits, or one of 16."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.counting.numbers import decoded, encoded, n_bits, unsigned
from streamgmm.kernels import value_counters as tallies


class Direct:
    """Counters of all values, all of them 0, of which each thread that counts has its own.

    Made anew for each block they would take longer than the counting. What goes to another process takes none along.
    """

    together = 16

    def __init__(self, n_counters: int) -> None:
        self._n_counters = n_counters
        self._own = threading.local()

    def distinct(self, rows: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Values of some rows, in the order in which they are met, and how often each is there."""
        own = self._of_this_thread()
        found = np.empty(min(len(rows), len(own)), np.uint32)
        numbers = found[: tallies.count_values(unsigned(rows), own, found)].copy()
        return numbers, tallies.drain(numbers, own, np.empty(len(numbers), np.uint32))

    def total(self) -> DirectTotal:
        """Nothing counted yet."""
        return DirectTotal(np.zeros(self._n_counters, np.int64))

    def function(self, values: NDArray[Any], results: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """What gives each row the result of its value, 0 for any other value."""
        entries = np.zeros(self._n_counters, results.dtype)
        entries[encoded(values)] = results
        return partial(_looked_up, entries=entries)

    def _of_this_thread(self) -> NDArray[np.uint32]:
        """Who takes them leaves them as they were."""
        if not hasattr(self._own, "counters"):
            self._own.counters = np.zeros(self._n_counters, np.uint32)
        counters: NDArray[np.uint32] = self._own.counters
        return counters

    def __reduce__(self) -> tuple[Any, ...]:
        return Direct, (self._n_counters,)


class DirectTotal:
    """Totals of all values."""

    def __init__(self, totals: NDArray[np.int64]) -> None:
        self._totals = totals

    def add(self, numbers: NDArray[Any], counts: NDArray[Any]) -> bool:
        """Add counts of some values; there is room for all."""
        tallies.add_counts(numbers, counts, self._totals)
        return True

    def found(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Values that there are, in order, and how often."""
        there = np.flatnonzero(self._totals)
        return there, self._totals[there]


def distinct(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """The values that there are among rows in memory, and for each row the place of its own.

    Examples
    --------
    >>> values, places = distinct(np.array([[7], [2], [7]], np.uint8))
    >>> values[places].ravel()
    array([7, 2, 7], dtype=uint8)
    """
    counters = np.zeros(2 ** n_bits(rows.dtype, rows.shape[1]), np.uint32)
    numbers = np.empty(min(len(rows), len(counters)), np.uint32)
    numbers = numbers[: tallies.count_values(unsigned(rows), counters, numbers)]
    counters[numbers] = np.arange(len(numbers), dtype=np.uint32)
    return decoded(numbers, rows.dtype, rows.shape[1]), _looked_up(rows, counters)


def _looked_up(rows: NDArray[Any], entries: NDArray[Any]) -> NDArray[Any]:
    out = np.empty(len(rows), entries.dtype)
    tallies.look_up(unsigned(rows), entries, out)
    return out
