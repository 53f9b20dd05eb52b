"""Batches and pieces of a source, each row once a pass, in an order that storage does not dictate.

Images and sorted tables are stored so that neighbours are alike. A *group* of chunks, chosen by a permutation of (seed,
pass), is read at a time; a batch takes one row of every so many from all of the group, so that it mixes distant places
and nothing is read twice. Incremental EM wants pieces instead, contiguous and always the same; only the order of visits
is permuted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.execution import Wave, over_chunks, read_ahead, waves
from streamgmm.sources.checks import check_one_weight_a_row
from streamgmm.sources.source import LEAF_ROWS, Chunk, Source

GROUP_BYTES = 2**27  # a group being computed and the next one being read are held: 256 MiB
PART_ROWS = 2**11  # rows of a kernel call of a batch, so that a small batch is work for several threads
MOST_ENTRIES = 4096
ENTRIES_BYTES = 2**27  # what the statistics of all pieces may take


def batches(
    source: Source,
    batch_size: int,
    seed: int,
    number: int,
    look: Callable[[Sequence[Chunk]], None] | None = None,
) -> Iterator[Wave]:
    """Batches of about ``batch_size`` rows, each a mixture of its group, in pass ``number``.

    A batch is held in memory, whatever its size, unless it is all rows. ``look`` is shown every group, in storage's
    order.
    """
    if source.n_rows is not None and batch_size >= source.n_rows:
        yield from waves(source)
        return
    pending: tuple[NDArray[Any], NDArray[Any] | None, tuple[Chunk, ...]] | None = None
    index = 0
    for group in _groups(source, seed, number, batch_size):
        if look is not None:
            look(group)
        for rows, weights in _mixed(group, batch_size, seed, number):
            if pending is not None:
                yield _batch(index, *pending, last=False)
                index += 1
            pending = rows, weights, group
    if pending is not None:
        yield _batch(index, *pending, last=True)


def _batch(index: int, rows: NDArray[Any], weights: NDArray[Any] | None, group: tuple[Chunk, ...], last: bool) -> Wave:
    chunk = Chunk(index, rows, weights, None, len(rows))
    return Wave((chunk,), last, complete=True, leaf_rows=PART_ROWS, group=group)


def _mixed(
    group: Sequence[Chunk], batch_size: int, seed: int, number: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
    """Every row of a group once: of each run of as many rows as there are batches, every batch gets another one.

    Which one is drawn for each run, so that no period of the storage, such as the width of an image, meets that of the
    batches.
    """
    n_rows = sum(len(chunk.rows) for chunk in group)
    n_batches = max(1, round(n_rows / batch_size))
    random = np.random.default_rng([seed, number, group[0].index])
    if n_batches == 1:
        order = np.array([0])
        shifts = [np.zeros(len(chunk.rows), np.intp) for chunk in group]
    else:
        order = random.permutation(n_batches)
        shifts = [random.integers(n_batches, size=-(-len(chunk.rows) // n_batches)) for chunk in group]
    for batch in order:
        chosen = []
        for chunk, shift in zip(group, shifts, strict=True):
            rows = np.arange(len(shift)) * n_batches + (shift + batch) % n_batches
            chosen.append(rows[:-1] if len(rows) and rows[-1] >= len(chunk.rows) else rows)
        if not any(len(rows) for rows in chosen):
            continue
        rows = [_picked(chunk.rows, part) for chunk, part in zip(group, chosen, strict=True)]
        weights = None
        if group[0].weights is not None:
            weights = np.concatenate([chunk.weights[part] for chunk, part in zip(group, chosen, strict=True)])
        yield rows[0] if len(rows) == 1 else np.concatenate(rows), weights


def _picked(rows: NDArray[Any], chosen: NDArray[np.intp]) -> NDArray[Any]:
    """Some rows; take() is four times as fast as an index, but copies the whole of an array that is not in order."""
    return rows.take(chosen, axis=0, mode="clip") if rows.flags.c_contiguous else rows[chosen]


def _groups(source: Source, seed: int, number: int, batch_size: int) -> Iterator[tuple[Chunk, ...]]:
    """Chunks at hand, a group at a time; the next group is read while this one computes."""
    row_bytes = source.n_features * source.dtype.itemsize
    most_rows = max(1, batch_size, GROUP_BYTES // row_bytes)
    chunks = source.chunks()
    first = next(chunks, None)
    if first is None:
        return
    everything = _chain(first, chunks)
    if isinstance(first.rows, np.ndarray) and source.n_rows is not None:
        if not _is_mapped(first.rows):
            yield tuple(everything)
            return
        everything = iter(_permuted([part for chunk in everything for part in _cut(chunk)], seed, number))
    elif not isinstance(first.rows, np.ndarray):
        everything = iter(_permuted(list(everything), seed, number))
    yield from read_ahead(_loaded_groups(everything, most_rows))


def _loaded_groups(chunks: Iterator[Chunk], most_rows: int) -> Iterator[tuple[Chunk, ...]]:
    """Runs of chunks of at most so many rows, or one chunk, made arrays at hand."""
    group: list[Chunk] = []
    rows = 0
    for chunk in chunks:
        if chunk.length is None:
            chunk = loaded([chunk])[0]
        length = len(chunk.rows) if chunk.length is None else chunk.length
        if group and rows + length > most_rows:
            yield tuple(loaded(group))
            group, rows = [], 0
        group.append(chunk)
        rows += length
    if group:
        yield tuple(loaded(group))


def loaded(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The same chunks with arrays for rows, those that were lazy read together."""
    lazy = [chunk for chunk in chunks if not isinstance(chunk.rows, np.ndarray)]
    made = iter(over_chunks(Wave(tuple(lazy), False, False), _arrays) if lazy else [])
    found = []
    for chunk in chunks:
        if not isinstance(chunk.rows, np.ndarray):
            rows, weights = next(made)
            chunk = replace(chunk, rows=rows, weights=weights, length=len(rows))
        elif _is_mapped(chunk.rows):
            chunk = replace(chunk, rows=np.array(chunk.rows))
        check_one_weight_a_row(chunk.rows, chunk.weights, chunk.index)
        found.append(chunk)
    return found


def _arrays(rows: NDArray[Any], weights: Any, chunk: Chunk) -> tuple[NDArray[Any], Any]:
    return rows, weights


def _is_mapped(rows: Any) -> bool:
    """Whether an array is a file's pages, of which only a group at a time should be touched."""
    while rows is not None:
        if isinstance(rows, np.memmap):
            return True
        rows = getattr(rows, "base", None)
    return False


def _cut(chunk: Chunk) -> Iterator[Chunk]:
    """Parts of a mapped chunk, a leaf each."""
    for start in range(0, len(chunk.rows), LEAF_ROWS):
        part = slice(start, min(start + LEAF_ROWS, len(chunk.rows)))
        weights = None if chunk.weights is None else chunk.weights[part]
        first = None if chunk.start is None else chunk.start + start
        yield Chunk(chunk.index, chunk.rows[part], weights, first, part.stop - start)


def _permuted(chunks: list[Chunk], seed: int, number: int) -> list[Chunk]:
    order = np.random.default_rng([seed, number]).permutation(len(chunks))
    return [chunks[place] for place in order]


def _chain(first: Chunk, rest: Iterator[Chunk]) -> Iterator[Chunk]:
    yield first
    yield from rest


@dataclass(frozen=True, slots=True)
class Pieces:
    """How a source is cut into the entries of incremental EM: always the same row ranges.

    Attributes
    ----------
    rows : int
        Rows of a piece, counted from the start of its chunk; the last of a chunk may have fewer.
    chunks : int
        Adjacent chunks of a piece, more than 1 only where a piece is at least a chunk.
    firsts : tuple of int
        Place of the first piece of every chunk.
    """

    rows: int
    chunks: int
    firsts: tuple[int, ...]

    @classmethod
    def of(cls, source: Source, rows: int, entry_bytes: int) -> Pieces:
        """Cut a source into pieces of about ``rows`` rows, or larger ones where there would be too many."""
        most = max(1, min(MOST_ENTRIES, ENTRIES_BYTES // entry_bytes))
        lengths = [chunk.length for chunk in source.chunks()] if source.n_rows is not None else None
        if lengths is None:
            raise InputError(
                "Incremental EM keeps an entry for each range of rows, but the chunks of X have unknown lengths; call "
                "X.compute_chunk_sizes() first, or choose algorithm='stepwise'."
            )
        sizes = [length or 0 for length in lengths]
        while sum(-(-size // rows) for size in sizes) > most and rows < max(sizes):
            rows *= 2
        chunks = 1
        while rows >= max(sizes) and -(-len(sizes) // chunks) > most:
            chunks *= 2
        if chunks > 1:
            return cls(rows, chunks, tuple(index // chunks for index in range(len(sizes))))
        counts = [-(-size // rows) for size in sizes]
        return cls(rows, 1, tuple(int(first) for first in np.cumsum([0, *counts[:-1]])))

    def waves(self, source: Source, seed: int, number: int) -> Iterator[Wave]:
        """Every piece once, in a permuted order: groups of chunks, and the pieces of a group among themselves."""
        units = self._units(source)
        order = np.random.default_rng([seed, number]).permutation(len(units))
        row_bytes = source.n_features * source.dtype.itemsize
        most_rows = max(1, GROUP_BYTES // row_bytes)
        at_hand = bool(units) and isinstance(units[0][0].rows, np.ndarray)
        pending: Wave | None = None
        for group in read_ahead(self._loaded_units([units[place] for place in order], most_rows, at_hand)):
            pieces = [wave for unit in group for wave in self._cut(unit)]
            for place in np.random.default_rng([seed, number, pieces[0].entry]).permutation(len(pieces)):
                if pending is not None:
                    yield pending
                pending = pieces[place]
        if pending is not None:
            yield replace(pending, last=True)

    def _units(self, source: Source) -> list[tuple[Chunk, ...]]:
        chunks = list(source.chunks())
        units = [tuple(chunks[place : place + self.chunks]) for place in range(0, len(chunks), self.chunks)]
        return [unit for unit in units if any(chunk.length for chunk in unit)]

    def _loaded_units(
        self, units: list[tuple[Chunk, ...]], most_rows: int, at_hand: bool
    ) -> Iterator[list[tuple[Chunk, ...]]]:
        if at_hand:
            yield units
            return
        group: list[tuple[Chunk, ...]] = []
        rows = 0
        for unit in units:
            length = sum(chunk.length or 0 for chunk in unit)
            if group and rows + length > most_rows:
                yield self._read(group)
                group, rows = [], 0
            group.append(unit)
            rows += length
        if group:
            yield self._read(group)

    @staticmethod
    def _read(units: list[tuple[Chunk, ...]]) -> list[tuple[Chunk, ...]]:
        made = iter(loaded([chunk for unit in units for chunk in unit]))
        return [tuple(next(made) for _ in unit) for unit in units]

    def _cut(self, unit: tuple[Chunk, ...]) -> Iterator[Wave]:
        first = self.firsts[unit[0].index]
        if self.chunks > 1:
            yield Wave(unit, False, complete=True, entry=first, leaf_rows=PART_ROWS)
            return
        (chunk,) = unit
        for place, start in enumerate(range(0, len(chunk.rows), self.rows)):
            part = slice(start, min(start + self.rows, len(chunk.rows)))
            weights = None if chunk.weights is None else chunk.weights[part]
            begin = None if chunk.start is None else chunk.start + start
            piece = Chunk(chunk.index, chunk.rows[part], weights, begin, part.stop - start)
            yield Wave((piece,), False, complete=True, entry=first + place, leaf_rows=PART_ROWS)
