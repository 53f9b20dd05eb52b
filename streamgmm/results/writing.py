"""Lazy results are written chunk by chunk, and gone on with where an earlier process stopped."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Condition
from typing import Any, cast

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import ResultError
from streamgmm.results.commit import complete_or_absent, remove
from streamgmm.results.record import Record
from streamgmm.results.stored import ATTRIBUTE, Stored


def write(
    result: Any,
    path: Path,
    record: Record,
    *,
    protected: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    wrote: Callable[[int], object] = lambda n_rows: None,
) -> int:
    """Write a lazy array to ``.zarr`` or ``.npy`` in bounded memory.

    A ``.zarr`` that was begun by a process that was stopped, by whatever, is gone on with: its chunks whose checksums
    hold are kept, and only the others are computed. A ``.npy``, which has no checksums, starts anew.

    Parameters
    ----------
    result : dask.array.Array
        A chunk along its first axis becomes one chunk on disk, written by one task, so that no two tasks ever share
        one; blocks of unequal lengths are made equal first.
    path : pathlib.Path
        ``.zarr`` or ``.npy``. Until everything is written and synced its name ends in ``.partial``.
    record : Record
        What the result is of. A ``.partial`` of anything else is replaced, with a warning.
    protected : path-like, optional
        What must never be replaced: the input.
    overwrite : bool, default=False
        Whether an array that is at ``path`` may be replaced.
    wrote : callable, optional
        Told the number of rows that are there already, then that of every chunk once it is written; may be called
        from any thread.

    Returns
    -------
    int
        Rows that were there already.

    Raises
    ------
    InputError
        ``path`` is the input, or is no array and must not be overwritten.
    ResultError
        Another process is writing it.
    OSError
        It exists, or cannot be written.
    """
    lengths = (max(result.chunks[0]), *result.shape[1:])
    if result.chunksize != lengths or any(length != lengths[0] for length in result.chunks[0][:-1]):
        result = result.rechunk(lengths)
    if path.suffix.lower() == ".npy":
        with complete_or_absent(path, protected=protected, overwrite=overwrite) as partial:
            target = np.lib.format.open_memmap(partial, "w+", result.dtype, result.shape)
            _store(result, target, wrote)
            target.flush()
        return 0
    with complete_or_absent(path, protected=protected, overwrite=overwrite, restartable=True) as partial:
        stored, lacking = _begun(partial, result, record)
        there: int = len(result) - sum(result.chunks[0][number] for number in lacking)
        wrote(there)
        if lacking:
            _store(result.blocks[lacking], WholeChunks(stored.array, lacking), wrote)
        stored.array.update_attributes({ATTRIBUTE: {**stored.array.attrs[ATTRIBUTE], "complete": True}})
    return there


class WholeChunks:
    """Some chunks along the first axis of a zarr array, as one array that can only be written a whole chunk at a time.

    Two tasks that write to one chunk would each read, change and write it, and one of the changes would be lost.
    """

    def __init__(self, array: Any, numbers: Sequence[int]) -> None:
        self._array, self._numbers = array, numbers
        starts = [number * array.chunks[0] for number in numbers]
        self._places = [slice(start, min(start + array.chunks[0], array.shape[0])) for start in starts]
        self.shape = (sum(place.stop - place.start for place in self._places), *array.shape[1:])
        self.dtype = array.dtype

    def __setitem__(self, key: Any, values: NDArray[Any]) -> None:
        number, rest = divmod(key[0].start, self._array.chunks[0])
        place = self._places[number]
        if rest or values.shape != (place.stop - place.start, *self.shape[1:]):
            raise ResultError(
                f"A block of shape {values.shape} at row {key[0].start} is not a whole chunk of {self._array.chunks}; "
                "rechunk the result to the chunks of the array that it is written to."
            )
        self._array[place] = values


def _begun(partial: Path, result: Any, record: Record) -> tuple[Stored, list[int]]:
    """What is there of a result, or else a new one, and the numbers of the chunks that it lacks."""
    if any(partial.iterdir()):
        try:
            stored = Stored.open(partial, "r+")
            difference = record.difference(stored.record) or _layout_difference(stored.array, result)
            reason = difference and f"it is of {difference}"
        except ResultError as error:
            reason = str(error)
        if not reason:
            return stored, _swept(stored)
        warnings.warn(f"{partial} is not gone on with, but replaced: {reason}", stacklevel=4)
        for entry in partial.iterdir():
            remove(entry)
    stored = Stored.create(partial, result, record)
    return stored, [number for number, *_ in stored.chunks()]


def _swept(stored: Stored) -> list[int]:
    """Remove the files that are no chunks, or damaged ones; the numbers of the chunks that are then not there."""
    faults = stored.faults()
    kept = {stored.file(chunk) for chunk in stored.chunks() if chunk not in faults} | {stored.path / "zarr.json"}
    for folder, _, names in os.walk(stored.path):
        for file in {Path(folder, name) for name in names} - kept:
            remove(file)
    return [number for number, *_ in faults]


def _layout_difference(array: Any, result: Any) -> str:
    """What is different about an array than a lazy one, in words; empty where nothing is."""
    for name, there, wanted in (
        ("shape", array.shape, result.shape),
        ("chunks", array.chunks, result.chunksize),
        ("dtype", array.dtype, result.dtype),
    ):
        if there != wanted:
            return f"{name} {there}, not {wanted}"
    return ""


def _store(result: Any, target: Any, wrote: Callable[[int], object]) -> None:
    with closing(_Open(target, wrote)) as store:
        da.store(result, cast(Any, store), lock=False)


class _Open:
    """An array that tells how many rows were written to it, until it is closed.

    A computation that is interrupted leaves threads behind that go on with what they do; what they write then must not
    come after the result was removed, or was begun anew.
    """

    def __init__(self, target: Any, wrote: Callable[[int], object]) -> None:
        self._target = target
        self._wrote = wrote
        self._changed = Condition()
        self._writers = 0
        self._closed = False
        self.shape, self.dtype = target.shape, target.dtype

    def __setitem__(self, key: Any, values: NDArray[Any]) -> None:
        with self._changed:
            if self._closed:
                raise RuntimeError("the result is closed")
            self._writers += 1
        try:
            self._target[key] = values
        finally:
            with self._changed:
                self._writers -= 1
                self._changed.notify_all()
        self._wrote(len(values))

    def close(self) -> None:
        """Wait for those who are writing, and let nobody else begin."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._writers == 0)
