"""A counter for each value that is met, of up to 64 bits, found by a hash; as long as there are not too many."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.counting.numbers import encoded
from streamgmm.kernels import hashing

PART = 2**14  # pixels whose numbers are at hand together: 128 kB
LEAST_SLOTS = 2**12
GROWTH = 4


class Hashed:
    """Counters of up to ``most`` values, for each block anew."""

    together = 8  # each holds up to ``most`` values with their counts, 12 bytes

    def __init__(self, most: int) -> None:
        self._most = most

    def distinct(self, rows: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]] | None:
        """Values of some rows, in order of nothing, and how often each is there; None where they are too many."""
        own, once = HashTotal(self._most), np.ones(PART, np.uint32)
        for start in range(0, len(rows), PART):
            numbers = encoded(rows[start : start + PART])
            if not own.add(numbers, once[: len(numbers)]):
                return None
        numbers, counts = own.taken()
        return numbers, counts.astype(np.uint32)

    def total(self) -> HashTotal:
        """Nothing counted yet."""
        return HashTotal(self._most)

    def function(self, values: NDArray[Any], results: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """What gives each row the result of its value, 0 for any other value."""
        keys, places, free = HashTotal.of(encoded(values)).slots()
        entries = np.concatenate([np.zeros(1, results.dtype), results])[places]
        return partial(_looked_up, keys=keys, free=free, entries=entries)


class HashTotal:
    """A hash table of numbers and how often each was met, at most half of it taken; it grows up to ``most`` numbers."""

    def __init__(self, most: int, n_slots: int = LEAST_SLOTS) -> None:
        self._most = most
        self._keys = np.zeros(n_slots, np.uint64)
        self._counts = np.zeros(n_slots, np.int64)
        self._n_found = 0

    @classmethod
    def of(cls, numbers: NDArray[np.uint64]) -> HashTotal:
        """Distinct numbers, the count of each being its place, from 1."""
        total = cls(len(numbers), max(LEAST_SLOTS, 2 * _power(len(numbers))))
        total.add(numbers, np.arange(1, len(numbers) + 1, dtype=np.int64))
        return total

    def add(self, numbers: NDArray[np.uint64], counts: NDArray[Any]) -> bool:
        """Add counts of some numbers; False, and the table is of no use any more, where they are too many."""
        done = 0
        while True:
            room = min(self._most, len(self._keys) // 2)
            done, self._n_found = hashing.add_counts(
                numbers, counts, done, self._keys, self._counts, self._n_found, room
            )
            if done == len(numbers) or room == self._most:
                return bool(done == len(numbers))
            self._grow()

    def taken(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Numbers as they lie in the table, and how often each was met."""
        there = np.flatnonzero(self._counts)
        return self._keys[there], self._counts[there]

    def found(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Numbers in order, and how often each was met."""
        numbers, counts = self.taken()
        order = np.argsort(numbers)
        return numbers[order], counts[order]

    def slots(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], np.uint64]:
        """Keys and counts of all slots, and the key that says of a slot that it is free."""
        taken = self._counts > 0
        numbers = np.sort(self._keys[taken])
        unlike = np.flatnonzero(numbers != np.arange(len(numbers), dtype=np.uint64))
        free = np.uint64(unlike[0] if len(unlike) else len(numbers))  # the smallest that is none of the numbers
        self._keys[~taken] = free
        return self._keys, self._counts, free

    def _grow(self) -> None:
        numbers, counts = self.taken()
        n_slots = min(GROWTH * len(self._keys), 2 * _power(self._most))
        self._keys, self._counts = np.zeros(n_slots, np.uint64), np.zeros(n_slots, np.int64)
        hashing.add_counts(numbers, counts, 0, self._keys, self._counts, 0, len(numbers))


def _power(number: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << max(0, number - 1).bit_length()


def _looked_up(rows: NDArray[Any], keys: NDArray[np.uint64], free: np.uint64, entries: NDArray[Any]) -> NDArray[Any]:
    out = np.empty(len(rows), entries.dtype)
    for start in range(0, len(rows), PART):
        part = slice(start, start + PART)
        hashing.look_up(encoded(rows[part]), keys, free, entries, out[part])
    return out
