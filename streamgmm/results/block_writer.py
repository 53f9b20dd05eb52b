"""Lazy results are written block by block, and gone on with where an earlier process stopped."""

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
from streamgmm.results.provenance import Record
from streamgmm.results.stored_array import ATTRIBUTE, Block, StoredArray

SLIVER = 8  # chunks of a shard are not below an 8th of the longest

Put = Callable[[Block, NDArray[Any]], None]


def write(
    result: Any,
    path: Path,
    record: Record,
    *,
    tile: int | None = None,
    places: int = 1,
    protected: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    wrote: Callable[[int], object] = lambda n_places: None,
) -> int:
    """Write a lazy array to ``.zarr`` or ``.npy`` in bounded memory.

    A ``.zarr`` that was begun by a process that was stopped, by whatever, is gone on with: its blocks whose checksums
    hold are kept, and only the others are computed. A ``.npy``, which has no checksums, starts anew.

    Parameters
    ----------
    result : dask.array.Array
        A block of it becomes one file, written by one task, so that no two tasks ever share one; blocks of unequal
        lengths are made equal first, and those of one place one.
    path : pathlib.Path
        ``.zarr`` or ``.npy``. Until everything is written and synced its name ends in ``.partial``.
    record : Record
        What the result is of. A ``.partial`` of anything else is replaced, with a warning.
    tile : int, optional
        Longest chunk along the axes of the places. A block that is longer becomes a shard of such chunks, so that a
        viewer need not read all of it. By default a block is one chunk.
    places : int, default=1
        Axes, from the first, along which the places of results are: rows, or pixels of an image.
    protected : path-like, optional
        What must never be replaced: the input.
    overwrite : bool, default=False
        Whether an array that is at ``path`` may be replaced.
    wrote : callable, optional
        Told the number of places that are there already, then that of every block once it is written; may be called
        from any thread.

    Returns
    -------
    int
        Places that were there already.

    Raises
    ------
    InputError
        ``path`` is the input, or is no array and must not be overwritten.
    ResultError
        Another process is writing it.
    OSError
        It exists, or cannot be written.
    """
    lengths = tuple(max(parts) if axis < places else sum(parts) for axis, parts in enumerate(result.chunks))
    if result.chunks != normalize_chunks(lengths, result.shape):
        result = result.rechunk(lengths)
    if path.suffix.lower() == ".npy":
        with atomic_output(path, protected=protected, overwrite=overwrite) as partial:
            target = np.lib.format.open_memmap(partial, "w+", result.dtype, result.shape)

            def put_into(block: Block, values: NDArray[Any]) -> None:
                starts = [number * length for number, length in zip(block, lengths, strict=True)]
                region = zip(starts, values.shape, strict=True)
                target[tuple(slice(start, start + length) for start, length in region)] = values

            with closing(_Open(put_into, wrote, places)) as put:
                _put_blocks(result, list(np.ndindex(*result.numblocks)), put)
            target.flush()
        return 0
    tiles = tuple(_tile(n, tile if axis < places else None) for axis, n in enumerate(lengths))
    with atomic_output(path, protected=protected, overwrite=overwrite, restartable=True) as partial:
        stored, lacking = _begun(partial, result, tiles, record)
        n_lacking = sum(_n_places(stored.region(block), places) for block in lacking)
        there: int = prod(result.shape[:places]) - n_lacking
        wrote(there)
        with closing(_Open(stored.put, wrote, places)) as put:
            _put_blocks(result, lacking, put)
        stored.array.update_attributes({ATTRIBUTE: {**stored.array.attrs[ATTRIBUTE], "complete": True}})
    return there


def _tile(length: int, most: int | None) -> int:
    """Longest divisor of the length of a block that is not above ``most``; all of it where only slivers would be left.

    Examples
    --------
    >>> _tile(5120, 1024), _tile(1864, 1024), _tile(640, 1024), _tile(1031, 1024), _tile(10**6, None)
    (1024, 932, 640, 1031, 1000000)
    """
    if most is None or length <= most:
        return length
    longest = max(part for part in range(1, most + 1) if length % part == 0)
    return longest if longest >= most / SLIVER else length


def _begun(partial: Path, result: Any, tile: Block, record: Record) -> tuple[StoredArray, list[Block]]:
    """What is there of a result, or else a new one, and the numbers of the blocks that it lacks."""
    if any(partial.iterdir()):
        try:
            stored = StoredArray.open(partial, "r+")
            difference = record.difference(stored.record) or _layout_difference(stored, result, tile)
            reason = difference and f"it is of {difference}"
        except ResultError as error:
            reason = str(error)
        if not reason:
            return stored, _swept(stored)
        warnings.warn(f"{partial} is not gone on with, but replaced: {reason}", stacklevel=4)
        for entry in partial.iterdir():
            remove_path(entry)
    stored = StoredArray.create(partial, result, tile, record)
    return stored, stored.blocks()


def _swept(stored: StoredArray) -> list[Block]:
    """Remove the files that are no blocks, or damaged ones; the numbers of the blocks that are then not there."""
    faults = stored.faults()
    kept = {stored.file(block) for block in stored.blocks() if block not in faults} | {stored.path / "zarr.json"}
    for folder, _, names in os.walk(stored.path):
        for file in {Path(folder, name) for name in names} - kept:
            remove_path(file)
    return list(faults)


def _layout_difference(stored: StoredArray, result: Any, tile: Block) -> str:
    """What is different about an array than a lazy one, in words; empty where nothing is."""
    for name, there, wanted in (
        ("shape", stored.array.shape, result.shape),
        ("blocks", stored.lengths, result.chunksize),
        ("chunks", stored.array.chunks, tile),
        ("dtype", stored.array.dtype, result.dtype),
    ):
        if there != wanted:
            return f"{name} {there}, not {wanted}"
    return ""


def _put_blocks(result: Any, numbers: Sequence[Block], put: _Open) -> None:
    """Compute some blocks of a lazy array, and nothing for the others; each is put where it belongs as it is made."""
    if not numbers:
        return
    name = f"put-{uuid4().hex}"
    tasks: dict[Any, Any] = {
        (name, place): (put, list(number), (result.name, *number)) for place, number in enumerate(numbers)
    }
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[result])
    da.Array(graph, name, ((1,) * len(numbers),), meta=np.empty(0, np.intp)).compute()


def _n_places(region: Sequence[slice], places: int) -> int:
    return prod(part.stop - part.start for part in region[:places])


class _Open:
    """Puts blocks, and tells how many places they have, until it is closed.

    A computation that is interrupted leaves threads behind that go on with what they do; what they write then must not
    come after the result was removed, or was begun anew.
    """

    def __init__(self, put: Put, wrote: Callable[[int], object], places: int) -> None:
        self._put = put
        self._wrote = wrote
        self._places = places
        self._changed = Condition()
        self._writers = 0
        self._closed = False

    def __call__(self, number: Sequence[int], values: NDArray[Any]) -> NDArray[np.intp]:
        """Put a block; what comes back takes no memory."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the result is closed")
            self._writers += 1
        try:
            self._put(tuple(number), values)
        finally:
            with self._changed:
                self._writers -= 1
                self._changed.notify_all()
        self._wrote(prod(values.shape[: self._places]))
        return np.zeros(1, np.intp)

    def close(self) -> None:
        """Wait for those who are writing, and let nobody else begin."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._writers == 0)
