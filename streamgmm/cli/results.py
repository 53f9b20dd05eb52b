"""Results of rows on disk: written chunk by chunk, under their own name only once they are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from errno import EEXIST
from pathlib import Path
from threading import Condition
from typing import Any, cast

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.sources import LEAF_ROWS, Source, as_source
from streamgmm.sources.arrays import ArraySource
from streamgmm.sources.blocks import from_dask
from streamgmm.sources.storage import task_rows


def chunked(path: str) -> Source:
    """Source of what is stored at a path, whose results are lazy also where the rows are mapped into memory."""
    source = as_source(path)
    if not isinstance(source, ArraySource):
        return source
    rows = _Mapped(source.rows)
    length = task_rows(source.n_features, source.dtype.itemsize, LEAF_ROWS)
    return from_dask(da.from_array(rows, (length, -1), name=False, meta=np.empty((0, 0), rows.dtype)), kind="array")


def write(
    result: Any,
    path: Path,
    *,
    protected: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    wrote: Callable[[int], object] = lambda n_rows: None,
) -> None:
    """Write a lazy array to ``.zarr`` or ``.npy`` in bounded memory.

    Parameters
    ----------
    result : dask.array.Array
        Chunked along its first axis only. A chunk of it becomes one chunk on disk, written by one task, so that no two
        tasks ever share one; blocks of unequal lengths are made equal first.
    path : pathlib.Path
        ``.zarr`` or ``.npy``. Until everything is written and synced its name ends in ``.partial``.
    protected : path-like, optional
        What must never be replaced: the input.
    overwrite : bool, default=False
        Whether an array that is at ``path`` may be replaced.
    wrote : callable, optional
        Told the number of rows of every chunk once it is written; may be called from any thread.

    Raises
    ------
    InputError
        ``path`` is the input, or is no array and must not be overwritten.
    OSError
        It exists, or cannot be written.
    """
    lengths = result.chunks[0]
    if len(set(lengths[:-1])) > 1 or lengths[-1] > lengths[0]:
        result = result.rechunk({0: max(lengths)})
    with complete_or_absent(path, protected=protected, overwrite=overwrite) as partial:
        target = _create(partial, path.suffix.lower(), result)
        with closing(_Open(target, wrote)) as store:
            da.store(result, cast(Any, store), lock=False)
        if isinstance(target, np.memmap):
            target.flush()


@contextmanager
def complete_or_absent(
    path: Path, *, protected: str | os.PathLike[str] | None = None, overwrite: bool = False
) -> Iterator[Path]:
    """Give a name to write to, which becomes ``path`` when the block ends, and is removed when the block fails.

    A process that is killed leaves a ``.partial``, which the next one replaces.
    """
    if protected is not None and path.resolve() == Path(protected).resolve():
        raise InputError(f"{path} is the input; write the result somewhere else.")
    if path.exists() and not overwrite:
        raise FileExistsError(EEXIST, "it exists; choose another name, or pass --overwrite", str(path))
    if path.is_dir() and not any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")):
        raise InputError(f"{path} is a folder that is no zarr array; choose another name.")
    partial = path.with_name(path.name + ".partial")
    _remove(partial)
    try:
        yield partial
        _sync(partial)
        _remove(path)
        os.replace(partial, path)
        _sync_entry(path.parent)
    except BaseException:
        _remove(partial)
        raise


def _create(path: Path, suffix: str, like: Any) -> Any:
    """Make an array on disk with the shape, dtype and chunks of a lazy one."""
    if suffix == ".npy":
        return np.lib.format.open_memmap(path, "w+", like.dtype, like.shape)
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return zarr.create_array(
        path,
        shape=like.shape,
        chunks=like.chunksize,
        dtype=like.dtype,
        compressors=[ZstdCodec(level=3), Crc32cCodec()],
        fill_value=np.iinfo(like.dtype).max if like.dtype.kind in "iu" else np.nan,  # no label: not written
        config={"write_empty_chunks": True},
    )


class _Mapped:
    """What dask needs of a memory-mapped array, and no ``copy``, by which it would read all of it."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = rows
        self.shape, self.dtype, self.ndim = rows.shape, rows.dtype, rows.ndim

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(self._rows[key])


class _Open:
    """An array that tells how many rows were written to it, until it is closed.

    A computation that is interrupted leaves threads behind that go on with what they do; what they write then must not
    come after the result was removed.
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


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Make files and folders durable before the rename that declares them complete."""
    for folder, _, names in os.walk(path):
        for name in names:
            _sync_entry(Path(folder, name))
        _sync_entry(Path(folder))
    if path.is_file():
        _sync_entry(path)


def _sync_entry(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
