"""Writing of lazy arrays to disk block by block, which a later process can resume."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from math import prod
from pathlib import Path
from threading import Condition
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
from dask.array.core import normalize_chunks
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from streamgmm.errors import ResultError
from streamgmm.persistence.atomic import atomic_output, remove_path
from streamgmm.results.provenance import Provenance
from streamgmm.results.stored_array import BlockIndex, StoredArray

MAX_CHUNK_RATIO = 8  # longest allowed chunk over the shortest that a shard is cut into

WriteBlock = Callable[[BlockIndex, NDArray[Any]], None]


def write(
    result: Any,
    path: Path,
    provenance: Provenance,
    *,
    tile: int | None = None,
    row_axes: int = 1,
    protected: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Callable[[int], object] = lambda n_rows: None,
) -> int:
    """Write a dask array to ``.zarr`` or ``.npy`` in bounded memory; return how many rows were written before.

    Until everything is written and synced, the name ends in ``.partial``. An unfinished ``.zarr`` is resumed: blocks
    with valid checksums are kept. A ``.npy``, which has no checksums, starts anew.

    Parameters
    ----------
    result : dask.array.Array
        One task writes one block as one file. Blocks are made equal first, and joined along trailing axes.
    path : pathlib.Path
        InputError if it is ``protected``, or no array; OSError if it exists without ``overwrite``.
    provenance : Provenance
        A ``.partial`` of another provenance is replaced, with a warning.
    tile : int, optional
        Longest chunk along the row axes. A longer block becomes a shard of such chunks, so that a viewer need not read
        all of it. By default a block is one chunk.
    row_axes : int, default=1
        Number of leading axes that index rows, or pixels of an image.
    protected : path-like, optional
        Input of the computation, which is never replaced.
    overwrite : bool, default=False
        Replace an array at ``path``.
    progress : callable, optional
        Receives the number of rows written before, then that of each written block, on any thread.
    """
    lengths = tuple(max(parts) if axis < row_axes else sum(parts) for axis, parts in enumerate(result.chunks))
    if result.chunks != normalize_chunks(lengths, result.shape):
        result = result.rechunk(lengths)
    if path.suffix.lower() == ".npy":
        with atomic_output(path, protected=protected, overwrite=overwrite) as partial:
            target = np.lib.format.open_memmap(partial, "w+", result.dtype, result.shape)

            def write_block(block: BlockIndex, values: NDArray[Any]) -> None:
                starts = [index * length for index, length in zip(block, lengths, strict=True)]
                region = zip(starts, values.shape, strict=True)
                target[tuple(slice(start, start + length) for start, length in region)] = values

            _write_blocks(result, list(np.ndindex(*result.numblocks)), _BlockSink(write_block, progress, row_axes))
            target.flush()
        return 0
    tiles = tuple(_chunk_length(n, tile if axis < row_axes else None) for axis, n in enumerate(lengths))
    with atomic_output(path, protected=protected, overwrite=overwrite, restartable=True) as partial:
        stored, missing = _resume_or_create(partial, result, tiles, provenance)
        n_missing = sum(prod(part.stop - part.start for part in stored.region(block)[:row_axes]) for block in missing)
        n_written: int = prod(result.shape[:row_axes]) - n_missing
        progress(n_written)
        _write_blocks(result, missing, _BlockSink(stored.write_block, progress, row_axes))
        stored.mark_complete()
    return n_written


def _chunk_length(length: int, longest: int | None) -> int:
    """Return the longest divisor of a block's length up to ``longest``, or the length if all divisors are short.

    Examples
    --------
    >>> [_chunk_length(length, 1024) for length in (5120, 1864, 640, 1031)], _chunk_length(10**6, None)
    ([1024, 932, 640, 1031], 1000000)
    """
    if longest is None or length <= longest:
        return length
    divisor = max(part for part in range(1, longest + 1) if length % part == 0)
    return divisor if divisor >= longest / MAX_CHUNK_RATIO else length


def _resume_or_create(
    partial: Path, result: Any, tile: BlockIndex, provenance: Provenance
) -> tuple[StoredArray, list[BlockIndex]]:
    """Return the partial result, or else a new one, and its missing blocks."""
    if any(partial.iterdir()):
        try:
            stored = StoredArray.open(partial, "r+")
            difference = provenance.difference(stored.provenance) or _layout_difference(stored, result, tile)
            reason = difference and f"it is of {difference}"
        except ResultError as error:
            reason = str(error)
        if not reason:
            return stored, _remove_faulty_files(stored)
        warnings.warn(f"{partial} is replaced, not resumed: {reason}", stacklevel=4)
        for entry in partial.iterdir():
            remove_path(entry)
    stored = StoredArray.create(partial, result, tile, provenance)
    return stored, stored.blocks()


def _remove_faulty_files(stored: StoredArray) -> list[BlockIndex]:
    """Remove damaged blocks and foreign files; return the missing blocks."""
    bad_blocks = stored.find_bad_blocks()
    kept = {stored.file(block) for block in stored.blocks() if block not in bad_blocks} | {stored.path / "zarr.json"}
    for folder, _, names in os.walk(stored.path):
        for file in {Path(folder, name) for name in names} - kept:
            remove_path(file)
    return list(bad_blocks)


def _layout_difference(stored: StoredArray, result: Any, tile: BlockIndex) -> str:
    """Return how the layout of a stored array differs; empty if it does not."""
    for name, actual, expected in (
        ("shape", stored.array.shape, result.shape),
        ("blocks", stored.block_shape, result.chunksize),
        ("chunks", stored.array.chunks, tile),
        ("dtype", stored.array.dtype, result.dtype),
    ):
        if actual != expected:
            return f"{name} {actual}, not {expected}"
    return ""


def _write_blocks(result: Any, blocks: Sequence[BlockIndex], sink: _BlockSink) -> None:
    """Compute blocks of a lazy array, and write each at once."""
    with closing(sink):
        if not blocks:
            return
        name = f"write-{uuid4().hex}"
        tasks: dict[Any, Any] = {
            (name, index): (sink, list(block), (result.name, *block)) for index, block in enumerate(blocks)
        }
        graph = HighLevelGraph.from_collections(name, tasks, dependencies=[result])
        da.Array(graph, name, ((1,) * len(blocks),), meta=np.empty(0, np.intp)).compute()


class _BlockSink:
    """Writer of blocks that refuses them once it is closed, since threads outlive an interrupted computation."""

    def __init__(self, write_block: WriteBlock, progress: Callable[[int], object], row_axes: int) -> None:
        self._write_block = write_block
        self._progress = progress
        self._row_axes = row_axes
        self._changed = Condition()
        self._n_writing = 0
        self._closed = False

    def __call__(self, block: Sequence[int], values: NDArray[Any]) -> NDArray[np.intp]:
        """Write a block; return a placeholder."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the result is closed")
            self._n_writing += 1
        try:
            self._write_block(tuple(block), values)
        finally:
            with self._changed:
                self._n_writing -= 1
                self._changed.notify_all()
        self._progress(prod(values.shape[: self._row_axes]))
        return np.zeros(1, np.intp)

    def close(self) -> None:
        """Wait for the blocks that are being written, and refuse others."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._n_writing == 0)
