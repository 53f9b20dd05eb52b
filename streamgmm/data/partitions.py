"""Partitions of a source for incremental EM: always the same row ranges, visited in another order each pass.

A partition is a run of rows of one chunk, counted from the chunk's start, or a few whole chunks if these are short.
Rows appended to the source change the last partition at most, and make new ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.execution import ChunkGroup, mark_last_group
from streamgmm.data.ranges import Ranges
from streamgmm.data.shuffling import BATCH_LEAF_ROWS, ShuffleGroup, group_chunks, read_groups, stratify
from streamgmm.data.source import Chunk, Source
from streamgmm.errors import InputError
from streamgmm.persistence.codec import persistent

MAX_PARTITIONS = 4096
MAX_STATISTICS_BYTES = 2**28  # of all partitions together
UNKNOWN = (
    "Incremental EM keeps an entry for each range of rows, but the number of rows of X is unknown; give X as an array "
    "(a dask array after X.compute_chunk_sizes()), or choose algorithm='stepwise' or 'batch'."
)

Indices = NDArray[np.int64]
Partition = tuple[int, list[Chunk]]  # index and rows


@persistent("partitions-1")
@dataclass(frozen=True, eq=False)
class Partitions:
    """Division of the rows of a source into ranges."""

    rows: int  # per partition; the last of a chunk may have fewer
    chunks: int  # adjacent chunks of a partition, more than 1 only if a partition is at least a chunk
    lengths: Indices  # rows of every chunk
    forgotten: Ranges = field(default_factory=Ranges)  # rows that are not read

    def validate(self) -> None:
        """Raise ValueError if a length is impossible."""
        if self.rows < 1 or self.chunks < 1 or self.lengths.ndim != 1 or (self.lengths < 0).any():
            raise ValueError("partitions have impossible lengths")

    @classmethod
    def from_source(cls, source: Source, rows: int, most: int) -> Partitions:
        """Divide a source into partitions of ``rows`` rows, or larger ones if there would be more than ``most``."""
        lengths = _find_lengths(source)
        least = -(-int(lengths.sum()) // max(1, most - len(lengths)))  # each chunk may end with a shorter one
        partitions = cls(max(rows, min(least, int(lengths.max()))), 1, lengths)
        while partitions.n_partitions > most:
            partitions, _ = partitions.coarsen()
        return partitions

    @property
    def n_rows(self) -> int:
        """Rows of the source."""
        return int(self.lengths.sum())

    @property
    def n_partitions(self) -> int:
        """Number of partitions."""
        return len(self._edges) - 1

    def coarsen(self) -> tuple[Partitions, Indices]:
        """Return partitions twice as large, and the index among them of each present one."""
        if self.chunks > 1:
            return replace(self, chunks=2 * self.chunks), np.arange(self.n_partitions) // 2
        larger = replace(self, chunks=2) if self.rows >= self.lengths.max() else replace(self, rows=2 * self.rows)
        return larger, np.searchsorted(larger._edges, self._edges[:-1], side="right") - 1

    def extend(self, source: Source) -> Partitions:
        """Return the partitions of a source to which rows were appended; InputError if earlier chunks differ."""
        lengths, known = _find_lengths(source), len(self.lengths)
        if lengths.sum() < self.n_rows:
            raise InputError(
                f"X has {lengths.sum():,} rows, fewer than the {self.n_rows:,} that were learnt; rows are taken back "
                "by withdraw(), not by leaving them out."
            )
        same = lengths[:known] == self.lengths[: len(lengths)]
        if len(same) == known:
            same[-1] = lengths[known - 1] >= self.lengths[-1]  # the last may have more rows
        if not same.all():
            chunk = int(np.argmin(same))
            raise InputError(
                f"Chunk {chunk} of X has {lengths[chunk]:,} rows and had {self.lengths[chunk]:,} when it was learnt; "
                "pass the same array, grown at its end, in the same chunks, or fit anew."
            )
        return replace(self, lengths=lengths)

    def find_overlapping(self, first: int, stop: int) -> Indices:
        """Return the indices of the partitions that overlap a half-open range of rows."""
        if first >= stop:
            return np.empty(0, np.int64)
        after = np.searchsorted(self._edges, (first, stop - 1), side="right")
        return np.arange(after[0] - 1, after[1])

    def row_ranges(self, index: int) -> list[tuple[int, int]]:
        """Return the rows of a partition, without forgotten ones."""
        return self.forgotten.find_missing(int(self._edges[index]), int(self._edges[index + 1]))

    def iter_chunk_groups(
        self, source: Source, batch_size: int, seed: int, number: int, skip: int = 0, only: Indices | None = None
    ) -> Iterator[ChunkGroup]:
        """Yield every partition once, or those in ``only``, in pass ``number``: as many at a time as make a batch.

        Chunks are read by shuffle groups in a permuted order; a batch takes partitions from all over its group. The
        first ``skip`` batches are left out, and groups that are skipped whole are not read.
        """
        chosen = None if only is None else set(only.tolist())
        units = [unit for unit in self._find_units(source) if chosen is None or chosen & set(self._find_indices(unit))]
        order = np.random.default_rng([seed, number]).permutation(len(units))
        shuffled = [units[index] for index in order]
        in_memory = bool(units) and isinstance(units[0][0].rows, np.ndarray)

        def cut_group(group: ShuffleGroup) -> list[Partition]:
            parts = (part for unit in group for part in self._cut(unit))
            return sorted((part for part in parts if chosen is None or part[0] in chosen), key=lambda part: part[0])

        def count_batches(group: ShuffleGroup) -> int:
            # rows without columns stand in for those that are not read
            unread = [
                tuple(replace(chunk, rows=np.empty((chunk.length or 0, 0)), weights=None) for chunk in unit)
                for unit in group
            ]
            return _count_batches(cut_group(unread), batch_size)

        def iter_batches() -> Iterator[ChunkGroup]:
            if in_memory:
                groups = iter([(shuffled, skip)])
            else:
                groups = read_groups(group_chunks(shuffled, source), skip, count_batches)
            for group, skipped in groups:
                yield from islice(_iter_batches(cut_group(group), batch_size, seed, number), skipped, None)

        return mark_last_group(iter_batches())

    @cached_property
    def _edges(self) -> Indices:
        """First row of each partition, and the number of rows."""
        starts = np.cumsum(self.lengths) - self.lengths
        if self.chunks > 1:
            return np.append(starts[:: self.chunks], self.n_rows)
        counts = -(-self.lengths // self.rows)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.append(np.repeat(starts, counts) + within * self.rows, self.n_rows)

    def _find_units(self, source: Source) -> list[tuple[Chunk, ...]]:
        """Chunks that are cut together."""
        chunks = list(source.chunks())
        units = [tuple(chunks[index : index + self.chunks]) for index in range(0, len(chunks), self.chunks)]
        return [unit for unit in units if any(chunk.length for chunk in unit)]

    def _find_indices(self, unit: Sequence[Chunk]) -> range:
        """Return the indices of the partitions of chunks that are cut together."""
        if self.chunks > 1:
            index = unit[0].index // self.chunks
            return range(index, index + 1)
        start = unit[0].start or 0
        return range(*np.searchsorted(self._edges, (start, start + (unit[0].length or 0))).tolist())

    def _cut(self, unit: tuple[Chunk, ...]) -> Iterator[Partition]:
        """Yield the partitions of a unit that have rows left."""
        for index in self._find_indices(unit):
            first, stop = self._edges[index : index + 2].tolist()
            parts = []
            for chunk in unit:
                begin = chunk.start or 0
                left = self.forgotten.find_missing(max(first, begin), min(stop, begin + len(chunk.rows)))
                parts += [chunk.cut(start - begin, end - begin) for start, end in left]
            if parts:
                yield index, parts


def max_partitions(statistics_bytes: int) -> int:
    """Return how many partitions with statistics of this size are kept at most."""
    return max(1, min(MAX_PARTITIONS, MAX_STATISTICS_BYTES // statistics_bytes))


def _find_lengths(source: Source) -> Indices:
    if source.n_rows is None:
        raise InputError(UNKNOWN)
    return np.array([chunk.length for chunk in source.chunks()], np.int64)


def _count_batches(partitions: Sequence[Partition], batch_size: int) -> int:
    n_rows = sum(part.length or 0 for _, parts in partitions for part in parts)
    return min(len(partitions), max(1, round(n_rows / batch_size)))


def _iter_batches(partitions: Sequence[Partition], batch_size: int, seed: int, number: int) -> Iterator[ChunkGroup]:
    """Yield the partitions of a shuffle group in stratified batches."""
    n_batches = _count_batches(partitions, batch_size)
    if not n_batches:
        return
    random = np.random.default_rng([seed, number, partitions[0][0]])
    select = stratify(len(partitions), n_batches, random)
    for batch in random.permutation(n_batches):
        selected = [partitions[index] for index in select(batch)]
        chunks = tuple(part for _, parts in selected for part in parts)
        indices = tuple(index for index, parts in selected for _ in parts)
        if chunks:
            yield ChunkGroup(chunks, ends_pass=False, ends_batch=True, partitions=indices, leaf_rows=BATCH_LEAF_ROWS)
