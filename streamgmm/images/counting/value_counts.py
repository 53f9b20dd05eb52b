"""The table of distinct pixel values and their counts, and the lookup of one result a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.source import Chunk, Source
from streamgmm.data.sources.in_memory import ArraySource
from streamgmm.images.counting.direct_counters import DirectCounters, build_direct_lookup
from streamgmm.images.counting.hash_counters import HashCounters, build_hash_lookup
from streamgmm.images.counting.pixel_codes import count_bits, decode_pixels, encode_pixels
from streamgmm.images.image_limits import LIMITS

Counters = DirectCounters | HashCounters


def is_countable(dtype: np.dtype[Any], n_bands: int) -> bool:
    """Return True if every possible value can have a counter: up to 3 bands of 8 bits, or one of 16.

    Examples
    --------
    >>> is_countable(np.dtype(np.uint8), 3), is_countable(np.dtype(np.uint16), 1), is_countable(np.dtype(np.uint16), 2)
    (True, True, False)
    """
    return dtype.kind in "iu" and n_bands <= {1: 3, 2: 1}.get(dtype.itemsize, 0)


def is_hashable(dtype: np.dtype[Any], n_bands: int) -> bool:
    """Return True if the values that occur can be counted: integers of up to 64 bits a pixel.

    Examples
    --------
    >>> is_hashable(np.dtype(np.uint16), 4), is_hashable(np.dtype(np.uint8), 9), is_hashable(np.dtype(np.float32), 1)
    (True, False, False)
    """
    return dtype.kind in "iu" and count_bits(dtype, n_bands) <= 64


@dataclass(frozen=True, slots=True, eq=False)
class ValueCounts:
    """Distinct pixels (n, n_bands), sorted by their codes, and how often each occurs.

    Examples
    --------
    >>> from streamgmm.data.sources import as_source
    >>> table = ValueCounts.from_source(as_source(np.array([[7], [2], [7]], np.uint8)))
    >>> table.values.ravel(), table.counts
    (array([2, 7], dtype=uint8), array([1, 2]))
    """

    values: NDArray[Any]
    counts: NDArray[np.int64]

    @classmethod
    def from_source(cls, source: Source, max_values: int = LIMITS.distinct_values) -> ValueCounts | None:
        """Count the rows of a source in one reading.

        Counting stops, and None is returned, once a hash table holds more than ``max_values`` values.
        """
        counters, chunks = _make_counters(source.dtype, source.n_features, max_values), source.chunks()
        while group := tuple(islice(chunks, counters.chunks_at_once)):
            chunk_group = ChunkGroup(group, ends_pass=False, ends_batch=False)
            for block in execution.map_chunks(chunk_group, _count_chunk, counters):
                if block is None or not counters.add(*block):
                    return None
        codes, counts = counters.items()
        return cls(decode_pixels(codes, source.dtype, source.n_features), counts)

    @classmethod
    def join(cls, tables: Sequence[ValueCounts]) -> ValueCounts:
        """Return the table of all pixels of several images, of one dtype and as many bands."""
        if len(tables) == 1:
            return tables[0]
        dtype, n_bands = tables[0].values.dtype, tables[0].values.shape[1]
        counters = _make_counters(dtype, n_bands, sum(len(table.values) for table in tables))
        for table in tables:
            counters.add(encode_pixels(table.values), table.counts)
        codes, counts = counters.items()
        return cls(decode_pixels(codes, dtype, n_bands), counts)

    @property
    def n_pixels(self) -> int:
        """Number of pixels counted."""
        return int(self.counts.sum())

    def to_source(self, features: NDArray[Any] | None = None) -> ArraySource:
        """Return the values, or ``features`` of them, as rows weighted by their counts."""
        return ArraySource(self.values if features is None else features, self.counts.astype(np.float64))


class ValueLookup:
    """A function of rows that returns one result a value, and 0 for a value that is not in the table."""

    def __init__(self, values: NDArray[Any], results: NDArray[Any]) -> None:
        self._arguments = values, results
        build = build_direct_lookup if is_countable(values.dtype, values.shape[1]) else build_hash_lookup
        self._lookup = build(values, results)

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the result of each row, shape (n,)."""
        return self._lookup(rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return ValueLookup, self._arguments  # most slots of the table are empty


def _make_counters(dtype: np.dtype[Any], n_bands: int, max_values: int) -> Counters:
    if is_countable(dtype, n_bands):
        return DirectCounters(2 ** count_bits(dtype, n_bands))
    return HashCounters(max_values)


def _count_chunk(
    rows: NDArray[Any], weights: None, chunk: Chunk, counters: Counters
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    return counters.count_block(rows)
