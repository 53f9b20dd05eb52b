"""Value counts by a hash table of codes of up to 64 bits, as long as there are not too many distinct values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.counting.pixel_codes import encode_pixels
from streamgmm.kernels import hashing

BLOCK_ROWS = 2**14  # codes of as many rows fit into the L2 cache
MIN_SLOTS = 2**12
GROWTH = 4


class HashCounters:
    """Counts of up to ``max_values`` codes; at most half of the slots are taken, and the table grows with need."""

    chunks_at_once = 8  # each chunk holds up to max_values codes with their counts, 12 bytes

    def __init__(self, max_values: int, n_slots: int = MIN_SLOTS) -> None:
        self._max_values = max_values
        self._keys = np.zeros(n_slots, np.uint64)
        self._counts = np.zeros(n_slots, np.int64)
        self._n_values = 0

    def count_block(self, rows: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]] | None:
        """Return the codes of a block, unsorted, and their counts; None where they are too many."""
        block, ones = HashCounters(self._max_values), np.ones(BLOCK_ROWS, np.uint32)
        for start in range(0, len(rows), BLOCK_ROWS):
            codes = encode_pixels(rows[start : start + BLOCK_ROWS])
            if not block.add(codes, ones[: len(codes)]):
                return None
        taken = block._counts > 0
        return block._keys[taken], block._counts[taken].astype(np.uint32)

    def add(self, codes: NDArray[np.uint64], counts: NDArray[Any]) -> bool:
        """Add counts to the totals; return False, the table being useless afterwards, where codes are too many."""
        done = 0
        while True:
            room = min(self._max_values, len(self._keys) // 2)
            done, self._n_values = hashing.add_counts(
                codes, counts, done, self._keys, self._counts, self._n_values, room
            )
            if done == len(codes) or room == self._max_values:
                return bool(done == len(codes))
            self._grow()

    def items(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return the codes, sorted, and their totals."""
        taken = np.flatnonzero(self._counts)
        taken = taken[np.argsort(self._keys[taken])]
        return self._keys[taken], self._counts[taken]

    def slots(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], np.uint64]:
        """Return keys and counts of all slots, and the key that marks a free slot: the smallest unused code."""
        taken = self._counts > 0
        codes = np.sort(self._keys[taken])
        gaps = np.flatnonzero(codes != np.arange(len(codes), dtype=np.uint64))
        free = np.uint64(gaps[0] if len(gaps) else len(codes))
        self._keys[~taken] = free
        return self._keys, self._counts, free

    def _grow(self) -> None:
        taken = self._counts > 0
        codes, counts = self._keys[taken], self._counts[taken]
        n_slots = min(GROWTH * len(self._keys), _n_slots(self._max_values))
        self._keys, self._counts = np.zeros(n_slots, np.uint64), np.zeros(n_slots, np.int64)
        hashing.add_counts(codes, counts, 0, self._keys, self._counts, 0, len(codes))

    def __reduce__(self) -> tuple[Any, ...]:
        return HashCounters, (self._max_values,)  # other processes count blocks only


def build_hash_lookup(values: NDArray[Any], results: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return a function of rows that gives the result of each value, and 0 for an unknown one."""
    n_values = len(values)
    table = HashCounters(n_values, max(MIN_SLOTS, _n_slots(n_values)))
    table.add(encode_pixels(values), np.arange(1, n_values + 1, dtype=np.int64))
    keys, indices, free = table.slots()
    entries = np.concatenate([np.zeros(1, results.dtype), results])[indices]
    return partial(_lookup, keys=keys, free=free, entries=entries)


def _n_slots(n_values: int) -> int:
    return 2 << max(0, n_values - 1).bit_length()


def _lookup(rows: NDArray[Any], keys: NDArray[np.uint64], free: np.uint64, entries: NDArray[Any]) -> NDArray[Any]:
    results = np.empty(len(rows), entries.dtype)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        hashing.find_entries(encode_pixels(rows[block]), keys, free, entries, results[block])
    return results
