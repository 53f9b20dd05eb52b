"""How a source is cut into the entries of incremental EM: always the same row ranges, visited in another order.

A piece is a run of rows of one chunk, counted from the chunk's start, or a few whole chunks where these are short. So
rows that are appended to the source change the last piece at most, and make new ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.execution import ChunkGroup, ending
from streamgmm.data.ranges import Ranges
from streamgmm.data.shuffling import PART_ROWS, Group, dealt, in_groups, read
from streamgmm.data.source import Chunk, Source
from streamgmm.errors import InputError
from streamgmm.persistence.codec import persistent

MOST_ENTRIES = 4096
ENTRIES_BYTES = 2**28  # what the statistics of all pieces may take
UNKNOWN = (
    "Incremental EM keeps an entry for each range of rows, but the number of rows of X is unknown; give X as an array "
    "(a dask array after X.compute_chunk_sizes()), or choose algorithm='stepwise' or 'batch'."
)

Places = NDArray[np.int64]


@persistent("partitions-1")
@dataclass(frozen=True, eq=False)
class Partitions:
    """The cut of a source.

    Attributes
    ----------
    rows : int
        Rows of a piece; the last of a chunk may have fewer.
    chunks : int
        Adjacent chunks of a piece, more than 1 only where a piece is at least a chunk.
    lengths : ndarray of int
        Rows of every chunk.
    withdrawn : Ranges
        Rows that are not to be read.
    """

    rows: int
    chunks: int
    lengths: Places
    withdrawn: Ranges = field(default_factory=Ranges)

    def validate(self) -> None:
        """Raise ValueError where numbers of rows are none."""
        if self.rows < 1 or self.chunks < 1 or self.lengths.ndim != 1 or (self.lengths < 0).any():
            raise ValueError("partitions have impossible lengths")

    @classmethod
    def of(cls, source: Source, rows: int, most: int) -> Partitions:
        """Cut a source into pieces of ``rows`` rows, or larger ones where there would be more than ``most``."""
        lengths = _lengths(source)
        least = -(-int(lengths.sum()) // max(1, most - len(lengths)))  # each chunk may end with a shorter one
        pieces = cls(max(rows, min(least, int(lengths.max()))), 1, lengths)
        while pieces.count > most:
            pieces, _ = pieces.coarser()
        return pieces

    @property
    def n_rows(self) -> int:
        """Rows of the source."""
        return int(self.lengths.sum())

    @property
    def count(self) -> int:
        """Number of pieces."""
        return int(self._counts.sum()) if self.chunks == 1 else -(-len(self.lengths) // self.chunks)

    def coarser(self) -> tuple[Partitions, Places]:
        """Pieces twice as large, and the place there of each that is here."""
        if self.chunks > 1:
            return replace(self, chunks=2 * self.chunks), np.arange(self.count) // 2
        if self.rows >= self.lengths.max():
            return replace(self, chunks=2), np.flatnonzero(self._counts) // 2
        larger = replace(self, rows=2 * self.rows)
        within = np.arange(self.count) - np.repeat(self._firsts, self._counts)
        return larger, np.repeat(larger._firsts, self._counts) + within // 2

    def grown(self, source: Source) -> Partitions:
        """The cut of a source to which rows were appended.

        Raises
        ------
        InputError
            If a chunk but the last has another length than it had, or there are fewer rows than before.
        """
        lengths, known = _lengths(source), len(self.lengths)
        if lengths.sum() < self.n_rows:
            raise InputError(
                f"X has {lengths.sum():,} rows, fewer than the {self.n_rows:,} that were learnt; rows are taken back "
                "by withdraw(), not by leaving them out."
            )
        same = lengths[:known] == self.lengths[: len(lengths)]
        if len(same) == known:
            same[-1] = lengths[known - 1] >= self.lengths[-1]  # the last may have grown
        if not same.all():
            chunk = int(np.argmin(same))
            raise InputError(
                f"Chunk {chunk} of X has {lengths[chunk]:,} rows and had {self.lengths[chunk]:,} when it was learnt; "
                "pass the same array, grown at its end, in the same chunks, or fit anew."
            )
        return replace(self, lengths=lengths)

    def overlapping(self, first: int, stop: int) -> Places:
        """Places of the pieces that have a row from ``first`` to before ``stop``."""
        if first >= stop:
            return np.empty(0, np.int64)
        ends = np.cumsum(self.lengths)
        place, last = (self._place(row, ends) for row in (first, stop - 1))
        return np.arange(place, last + 1)

    def spans(self, place: int) -> list[tuple[int, int]]:
        """Rows of a piece, less those withdrawn."""
        if self.chunks > 1:
            starts = np.concatenate(([0], np.cumsum(self.lengths)))
            unit = place * self.chunks
            return self.withdrawn.missing(int(starts[unit]), int(starts[min(unit + self.chunks, len(self.lengths))]))
        chunk = int(np.searchsorted(self._firsts, place, side="right")) - 1
        begin = int(self.lengths[:chunk].sum())
        first = begin + (place - int(self._firsts[chunk])) * self.rows
        return self.withdrawn.missing(first, min(first + self.rows, begin + int(self.lengths[chunk])))

    def chunk_groups(
        self, source: Source, batch_size: int, seed: int, number: int, taken: int = 0, only: Places | None = None
    ) -> Iterator[ChunkGroup]:
        """Every piece once, or those in ``only``, in pass ``number``: as many as make a batch at a time.

        Chunks are read by the group, in a permuted order; a batch takes pieces from all over its group. Groups of which
        all batches were ``taken`` before are not read.
        """
        chosen = None if only is None else set(only.tolist())
        units = [unit for unit in self._units(source) if chosen is None or chosen & set(self._places(unit))]
        order = np.random.default_rng([seed, number]).permutation(len(units))
        shuffled = [units[place] for place in order]
        at_hand = bool(units) and isinstance(units[0][0].rows, np.ndarray)

        def pieces_of(group: Group) -> list[tuple[int, list[Chunk]]]:
            cut = (piece for unit in group for piece in self._cut(unit))
            return sorted((piece for piece in cut if chosen is None or piece[0] in chosen), key=lambda piece: piece[0])

        def n_waves(group: Group) -> int:
            unread = [tuple(replace(chunk, rows=_stand_in(chunk), weights=None) for chunk in unit) for unit in group]
            return _n_waves(pieces_of(unread), batch_size)

        def dealt_waves() -> Iterator[ChunkGroup]:
            groups = iter([(shuffled, taken)]) if at_hand else read(in_groups(shuffled, source), taken, n_waves)
            for group, before in groups:
                yield from islice(_waves(pieces_of(group), batch_size, seed, number), before, None)

        return ending(dealt_waves())

    @cached_property
    def _counts(self) -> Places:
        """Pieces of each chunk, where a piece is of one chunk."""
        return -(-self.lengths // self.rows)

    @cached_property
    def _firsts(self) -> Places:
        """Place of the first piece of each chunk, where a piece is of one chunk."""
        return np.cumsum(self._counts) - self._counts

    def _place(self, row: int, ends: Places) -> int:
        chunk = int(np.searchsorted(ends, row, side="right"))
        if self.chunks > 1:
            return chunk // self.chunks
        return int(self._firsts[chunk]) + (row - int(ends[chunk] - self.lengths[chunk])) // self.rows

    def _units(self, source: Source) -> list[tuple[Chunk, ...]]:
        """Chunks that are cut together."""
        chunks = list(source.chunks())
        units = [tuple(chunks[place : place + self.chunks]) for place in range(0, len(chunks), self.chunks)]
        return [unit for unit in units if any(chunk.length for chunk in unit)]

    def _places(self, unit: Sequence[Chunk]) -> range:
        index = unit[0].index
        if self.chunks > 1:
            return range(index // self.chunks, index // self.chunks + 1)
        first = int(self._firsts[index])
        return range(first, first + int(self._counts[index]))

    def _cut(self, unit: tuple[Chunk, ...]) -> Iterator[tuple[int, list[Chunk]]]:
        """Pieces of a unit by their places, less the rows withdrawn; pieces of which nothing is left are left out."""
        for turn, place in enumerate(self._places(unit)):
            parts = []
            for chunk in unit:
                begin = 0 if chunk.start is None else chunk.start
                first, stop = 0, len(chunk.rows)
                if self.chunks == 1:
                    first, stop = turn * self.rows, min((turn + 1) * self.rows, stop)
                for start, end in self.withdrawn.missing(begin + first, begin + stop):
                    part = slice(start - begin, end - begin)
                    weights = None if chunk.weights is None else chunk.weights[part]
                    parts.append(Chunk(chunk.index, chunk.rows[part], weights, start, end - start))
            if parts:
                yield place, parts


def most_entries(entry_bytes: int) -> int:
    """How many entries are kept at most."""
    return max(1, min(MOST_ENTRIES, ENTRIES_BYTES // entry_bytes))


def _lengths(source: Source) -> Places:
    if source.n_rows is None:
        raise InputError(UNKNOWN)
    return np.array([chunk.length for chunk in source.chunks()], np.int64)


def _n_waves(pieces: Sequence[tuple[int, list[Chunk]]], batch_size: int) -> int:
    n_rows = sum(part.length or 0 for _, parts in pieces for part in parts)
    return min(len(pieces), max(1, round(n_rows / batch_size)))


def _stand_in(chunk: Chunk) -> NDArray[np.float64]:
    """As many rows as a chunk has, of no columns: they take no memory."""
    return np.empty((chunk.length or 0, 0))


def _waves(pieces: Sequence[tuple[int, list[Chunk]]], batch_size: int, seed: int, number: int) -> Iterator[ChunkGroup]:
    """Pieces of a group, dealt to as many waves as they have rows for."""
    n_waves = _n_waves(pieces, batch_size)
    if not n_waves:
        return
    random = np.random.default_rng([seed, number, pieces[0][0]])
    hand = dealt(len(pieces), n_waves, random)
    for chunk_group in random.permutation(n_waves):
        dealt_now = [pieces[place] for place in hand(chunk_group)]
        chunks = tuple(part for _, parts in dealt_now for part in parts)
        entries = tuple(place for place, parts in dealt_now for _ in parts)
        if chunks:
            yield ChunkGroup(chunks, last=False, complete=True, entries=entries, leaf_rows=PART_ROWS)
