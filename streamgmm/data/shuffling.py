"""Batches of a source, each row once a pass, in an order that storage does not dictate.

Images and sorted tables are stored so that neighbours are alike. A *group* of chunks, chosen by a permutation of (seed,
pass), is read at a time; a batch takes one row of every so many from all of the group, so that it mixes distant places
and nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.checks import check_one_weight_a_row
from streamgmm.data.execution import ChunkGroup, chunk_groups, ending, over_chunks, read_ahead
from streamgmm.data.source import LEAF_ROWS, Chunk, Reading

GROUP_BYTES = 2**27  # a group being computed and the next one being read are held: 256 MiB
Group = list[tuple[Chunk, ...]]  # units of chunks that are read together

PART_ROWS = 2**11  # rows of a kernel call of a batch, so that a small batch is work for several threads


def batches(
    source: Reading,
    batch_size: int,
    seed: int,
    number: int,
    look: Callable[[Sequence[Chunk]], None] | None = None,
    taken: int = 0,
) -> Iterator[ChunkGroup]:
    """Batches of about ``batch_size`` rows, each a mixture of its group, in pass ``number``.

    A batch is held in memory, whatever its size, unless it is all rows. ``look`` is shown every group, in storage's
    order. Groups of which all batches were ``taken`` before are not read.
    """
    if source.n_rows is not None and batch_size >= source.n_rows:
        return chunk_groups(source, taken)

    def mixed() -> Iterator[ChunkGroup]:
        index = count(taken)
        groups = _groups(source, seed, number, batch_size)
        for group, before in read(groups, taken, lambda group: _n_batches(group, batch_size, seed, number)):
            chunks = tuple(chunk for (chunk,) in group)
            if look is not None:
                look(chunks)
            for rows, weights in islice(_mixed(chunks, batch_size, seed, number), before, None):
                yield _batch(next(index), rows, weights, chunks)

    return ending(mixed())


def arriving(source: Reading, batch_size: int, taken: int = 0) -> Iterator[ChunkGroup]:
    """Batches of at most ``batch_size`` rows of one chunk each, in the order of the rows, but for those ``taken``."""

    def n_batches(group: Group) -> int:
        return sum(-(-(chunk.length or 0) // batch_size) for (chunk,) in group)

    def in_order() -> Iterator[ChunkGroup]:
        groups = in_groups(((chunk,) for chunk in source.chunks()), source)
        for group, before in read(groups, taken, n_batches):
            parts = ((chunk, start) for (chunk,) in group for start in range(0, len(chunk.rows), batch_size))
            for chunk, start in islice(parts, before, None):
                part = slice(start, start + batch_size)
                weights = None if chunk.weights is None else chunk.weights[part]
                yield _batch(chunk.index, chunk.rows[part], weights, (chunk,))

    return ending(in_order())


def read(groups: Iterator[Group], taken: int, n_waves: Callable[[Group], int]) -> Iterator[tuple[Group, int]]:
    """Groups with their rows at hand, the next one being read, and how many waves of each were taken before.

    Those of which all were are not read, as far as the lengths of their chunks are known.
    """

    def remaining() -> Iterator[tuple[Group, int]]:
        left = taken
        for group in groups:
            whole = n_waves(group) if left else 0
            if left and left >= whole:
                left -= whole
                continue
            made = iter(loaded([chunk for unit in group for chunk in unit]))
            yield [tuple(next(made) for _ in unit) for unit in group], left
            left = 0

    return read_ahead(remaining())


def _batch(index: int, rows: NDArray[Any], weights: NDArray[Any] | None, group: tuple[Chunk, ...]) -> ChunkGroup:
    chunk = Chunk(index, rows, weights, None, len(rows))
    return ChunkGroup((chunk,), last=False, complete=True, leaf_rows=PART_ROWS, group=group)


def _mixed(
    group: Sequence[Chunk], batch_size: int, seed: int, number: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
    """Every row of a group once, dealt to the batches."""
    lengths = [len(chunk.rows) for chunk in group]
    for chosen in _deals(lengths, batch_size, [seed, number, group[0].index]):
        rows = [_picked(chunk.rows, part) for chunk, part in zip(group, chosen, strict=True)]
        weights = None
        if group[0].weights is not None:
            weights = np.concatenate([chunk.weights[part] for chunk, part in zip(group, chosen, strict=True)])
        yield rows[0] if len(rows) == 1 else np.concatenate(rows), weights


def _deals(lengths: Sequence[int], batch_size: int, seed: Sequence[int]) -> Iterator[list[NDArray[np.intp]]]:
    """The rows of each chunk for one batch after the other, but for batches without any."""
    n_batches = max(1, round(sum(lengths) / batch_size))
    random = np.random.default_rng(seed)
    hands = [dealt(length, n_batches, random) for length in lengths]
    for batch in random.permutation(n_batches):
        chosen = [hand(batch) for hand in hands]
        if any(len(rows) for rows in chosen):
            yield chosen


def _n_batches(group: Group, batch_size: int, seed: int, number: int) -> int:
    """How many batches `_deals` makes of a group."""
    lengths = [chunk.length or 0 for (chunk,) in group]
    most = max(1, round(sum(lengths) / batch_size))
    if max(lengths) >= most:  # each batch has a row of that chunk
        return most
    return sum(1 for _ in _deals(lengths, batch_size, [seed, number, group[0][0].index]))


def dealt(n: int, n_hands: int, random: np.random.Generator) -> Callable[[int], NDArray[np.intp]]:
    """Deal ``n`` things that lie in a row: of each run of as many as there are hands, every hand gets another one.

    Which one is drawn for each run, so that no period of the storage, such as the width of an image, meets that of the
    hands.
    """
    shifts = random.integers(n_hands, size=-(-n // n_hands)) if n_hands > 1 else np.zeros(n, np.intp)

    def hand(number: int) -> NDArray[np.intp]:
        """Places of what one hand gets, in order."""
        places = np.arange(len(shifts)) * n_hands + (shifts + number) % n_hands
        return places[:-1] if len(places) and places[-1] >= n else places

    return hand


def _picked(rows: NDArray[Any], chosen: NDArray[np.intp]) -> NDArray[Any]:
    """Some rows; take() is four times as fast as an index, but copies the whole of an array that is not in order."""
    return rows.take(chosen, axis=0, mode="clip") if rows.flags.c_contiguous else rows[chosen]


def _groups(source: Reading, seed: int, number: int, batch_size: int) -> Iterator[Group]:
    """Chunks in the order in which they are read, a group at a time."""
    chunks = source.chunks()
    first = next(chunks, None)
    if first is None:
        return
    everything: Iterator[Chunk] = chain([first], chunks)
    if isinstance(first.rows, np.ndarray) and source.n_rows is not None:
        if not _is_mapped(first.rows):
            yield [(chunk,) for chunk in everything]
            return
        everything = iter(_permuted([part for chunk in everything for part in _cut(chunk)], seed, number))
    elif not isinstance(first.rows, np.ndarray):
        everything = iter(_permuted(list(everything), seed, number))
    yield from in_groups(((chunk,) for chunk in everything), source, batch_size)


def in_groups(units: Iterable[tuple[Chunk, ...]], source: Reading, least: int = 1) -> Iterator[Group]:
    """Chunks, which are kept together as they are given: as many at a time as fit a group, at least one.

    None is read but those whose length is not known.
    """
    most = max(least, GROUP_BYTES // (source.n_features * source.dtype.itemsize))
    group: Group = []
    rows = 0
    for unit in units:
        if any(chunk.length is None for chunk in unit):
            unit = tuple(loaded(unit))
        length = sum(chunk.length or 0 for chunk in unit)
        if group and rows + length > most:
            yield group
            group, rows = [], 0
        group.append(unit)
        rows += length
    if group:
        yield group


def loaded(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The same chunks with arrays for rows, those that were lazy read together."""
    lazy = [chunk for chunk in chunks if not isinstance(chunk.rows, np.ndarray)]
    made = iter(over_chunks(ChunkGroup(tuple(lazy), False, False), _arrays) if lazy else [])
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
