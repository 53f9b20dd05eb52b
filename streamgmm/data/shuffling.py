"""Batches of a source, each row once per pass, in an order that storage does not dictate.

Neighbours are alike in images and sorted tables. A shuffle group holds chunks that are read together, chosen by a
permutation of (seed, pass). Each of its batches is stratified: one row of every run of rows of the group. So a batch
mixes distant rows, and no row is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.checks import check_weight_count
from streamgmm.data.execution import ChunkGroup, iter_chunk_groups, map_chunks, mark_last_group, read_ahead
from streamgmm.data.source import LEAF_ROWS, Chunk, Reading

GROUP_BYTES = 2**27  # the group being computed and the next one being read are held: 256 MiB
BATCH_LEAF_ROWS = 2**11  # rows of a kernel call, so that a small batch is work for several threads

ShuffleGroup = list[tuple[Chunk, ...]]  # each tuple holds chunks that belong to one partition


def iter_shuffled_batches(
    source: Reading,
    batch_size: int,
    seed: int,
    number: int,
    watch: Callable[[Sequence[Chunk]], None] | None = None,
    skip: int = 0,
) -> Iterator[ChunkGroup]:
    """Yield stratified batches of about ``batch_size`` rows in pass ``number``, without the first ``skip``.

    A batch is held in memory, unless it is all rows. ``watch`` receives the chunks of every group, in storage order.
    Groups that are skipped whole are not read.
    """
    if source.n_rows is not None and batch_size >= source.n_rows:
        return iter_chunk_groups(source, skip)

    def iter_batches() -> Iterator[ChunkGroup]:
        index = count(skip)
        groups = _iter_groups(source, seed, number, batch_size)
        for group, skipped in read_groups(groups, skip, lambda group: _count_batches(group, batch_size, seed, number)):
            chunks = tuple(chunk for (chunk,) in group)
            if watch is not None:
                watch(chunks)
            for rows, weights in islice(_mix(chunks, batch_size, seed, number), skipped, None):
                yield _make_batch(next(index), rows, weights, chunks)

    return mark_last_group(iter_batches())


def iter_batches_in_order(source: Reading, batch_size: int, skip: int = 0) -> Iterator[ChunkGroup]:
    """Yield batches of at most ``batch_size`` rows of one chunk each, in storage order, without the first ``skip``."""

    def count_batches(group: ShuffleGroup) -> int:
        return sum(-(-(chunk.length or 0) // batch_size) for (chunk,) in group)

    def iter_batches() -> Iterator[ChunkGroup]:
        groups = group_chunks(((chunk,) for chunk in source.chunks()), source)
        for group, skipped in read_groups(groups, skip, count_batches):
            starts = ((chunk, start) for (chunk,) in group for start in range(0, len(chunk.rows), batch_size))
            for chunk, start in islice(starts, skipped, None):
                part = chunk.cut(start, start + batch_size)
                yield _make_batch(chunk.index, part.rows, part.weights, (chunk,))

    return mark_last_group(iter_batches())


def read_groups(
    groups: Iterator[ShuffleGroup], skip: int, count_batches: Callable[[ShuffleGroup], int]
) -> Iterator[tuple[ShuffleGroup, int]]:
    """Yield groups read into memory, the next one being read ahead, and how many batches of each to skip.

    Groups that are skipped whole are not read, if the lengths of their chunks are known.
    """

    def iter_remaining() -> Iterator[tuple[ShuffleGroup, int]]:
        left = skip
        for group in groups:
            n_batches = count_batches(group) if left else 0
            if left and left >= n_batches:
                left -= n_batches
                continue
            chunks = iter(load_chunks([chunk for unit in group for chunk in unit]))
            yield [tuple(next(chunks) for _ in unit) for unit in group], left
            left = 0

    return read_ahead(iter_remaining())


def _make_batch(
    index: int, rows: NDArray[Any], weights: NDArray[Any] | None, shuffle_group: tuple[Chunk, ...]
) -> ChunkGroup:
    chunk = Chunk(index, rows, weights, None, len(rows))
    return ChunkGroup(
        (chunk,), ends_pass=False, ends_batch=True, leaf_rows=BATCH_LEAF_ROWS, shuffle_group=shuffle_group
    )


def _mix(
    group: Sequence[Chunk], batch_size: int, seed: int, number: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
    """Yield rows and weights of the batches of a group."""
    lengths = [len(chunk.rows) for chunk in group]
    for selected in _iter_selections(lengths, batch_size, [seed, number, group[0].index]):
        rows = [_take_rows(chunk.rows, part) for chunk, part in zip(group, selected, strict=True)]
        weights = None
        if group[0].weights is not None:
            weights = np.concatenate([chunk.weights[part] for chunk, part in zip(group, selected, strict=True)])
        yield rows[0] if len(rows) == 1 else np.concatenate(rows), weights


def _iter_selections(lengths: Sequence[int], batch_size: int, seed: Sequence[int]) -> Iterator[list[NDArray[np.intp]]]:
    """Yield the row indices in each chunk for every batch that has rows."""
    n_batches = max(1, round(sum(lengths) / batch_size))
    random = np.random.default_rng(seed)
    selectors = [stratify(length, n_batches, random) for length in lengths]
    for batch in random.permutation(n_batches):
        selected = [select(batch) for select in selectors]
        if any(len(rows) for rows in selected):
            yield selected


def _count_batches(group: ShuffleGroup, batch_size: int, seed: int, number: int) -> int:
    lengths = [chunk.length or 0 for (chunk,) in group]
    most = max(1, round(sum(lengths) / batch_size))
    if max(lengths) >= most:  # each batch has a row of that chunk
        return most
    return sum(1 for _ in _iter_selections(lengths, batch_size, [seed, number, group[0][0].index]))


def stratify(n: int, n_batches: int, random: np.random.Generator) -> Callable[[int], NDArray[np.intp]]:
    """Return a function of the batch that gives its indices among ``n``: one of each run of ``n_batches``.

    The assignment is drawn anew for each run, so that no period of the storage, such as the width of an image, meets
    that of the batches.
    """
    shifts = random.integers(n_batches, size=-(-n // n_batches)) if n_batches > 1 else np.zeros(n, np.intp)

    def select(batch: int) -> NDArray[np.intp]:
        indices = np.arange(len(shifts)) * n_batches + (shifts + batch) % n_batches
        return indices[:-1] if len(indices) and indices[-1] >= n else indices

    return select


def _take_rows(rows: NDArray[Any], selected: NDArray[np.intp]) -> NDArray[Any]:
    # take() is four times as fast as an index, but copies an array that is not contiguous
    return rows.take(selected, axis=0, mode="clip") if rows.flags.c_contiguous else rows[selected]


def _iter_groups(source: Reading, seed: int, number: int, batch_size: int) -> Iterator[ShuffleGroup]:
    """Yield shuffle groups in the order in which they are read."""
    chunks = source.chunks()
    first = next(chunks, None)
    if first is None:
        return
    everything: Iterator[Chunk] = chain([first], chunks)
    if isinstance(first.rows, np.ndarray) and source.n_rows is not None:
        if not _is_mapped(first.rows):
            yield [(chunk,) for chunk in everything]
            return
        starts = ((chunk, start) for chunk in everything for start in range(0, len(chunk.rows), LEAF_ROWS))
        everything = (chunk.cut(start, start + LEAF_ROWS) for chunk, start in starts)
    if source.n_rows is not None or not isinstance(first.rows, np.ndarray):
        listed = list(everything)
        everything = (listed[index] for index in np.random.default_rng([seed, number]).permutation(len(listed)))
    yield from group_chunks(((chunk,) for chunk in everything), source, batch_size)


def group_chunks(units: Iterable[tuple[Chunk, ...]], source: Reading, min_rows: int = 1) -> Iterator[ShuffleGroup]:
    """Yield as many units of chunks at a time as fit in memory as a group, at least one.

    Only chunks of unknown length are read.
    """
    most = max(min_rows, GROUP_BYTES // (source.n_features * source.dtype.itemsize))
    group: ShuffleGroup = []
    rows = 0
    for unit in units:
        if any(chunk.length is None for chunk in unit):
            unit = tuple(load_chunks(unit))
        length = sum(chunk.length or 0 for chunk in unit)
        if group and rows + length > most:
            yield group
            group, rows = [], 0
        group.append(unit)
        rows += length
    if group:
        yield group


def load_chunks(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Return the same chunks with arrays for rows; lazy ones are read together."""
    lazy = tuple(chunk for chunk in chunks if not isinstance(chunk.rows, np.ndarray))
    group = ChunkGroup(lazy, ends_pass=False, ends_batch=False)
    arrays = iter(map_chunks(group, lambda rows, weights, chunk: (rows, weights)) if lazy else [])
    loaded = []
    for chunk in chunks:
        if not isinstance(chunk.rows, np.ndarray):
            rows, weights = next(arrays)
            chunk = replace(chunk, rows=rows, weights=weights, length=len(rows))
        elif _is_mapped(chunk.rows):
            chunk = replace(chunk, rows=np.array(chunk.rows))
        check_weight_count(chunk.rows, chunk.weights, chunk.index)
        loaded.append(chunk)
    return loaded


def _is_mapped(rows: Any) -> bool:
    """Return True for pages of a file, of which only a group at a time should be touched."""
    while rows is not None:
        if isinstance(rows, np.memmap):
            return True
        rows = getattr(rows, "base", None)
    return False
