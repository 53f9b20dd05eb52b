"""How a file or a folder comes by its name: complete and durable, or not at all. It knows nothing of arrays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from errno import EEXIST, ENOLCK, ENOTSUP, EOPNOTSUPP
from pathlib import Path

from streamgmm.errors import InputError, ResultError, StreamGMMError

LOCKLESS = (ENOLCK, ENOTSUP, EOPNOTSUPP)  # of a file system that knows no locks: nobody can hold anything there


@contextmanager
def complete_or_absent(
    path: Path,
    *,
    protected: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    restartable: bool = False,
) -> Iterator[Path]:
    """Give a name to write to, which becomes ``path`` when the block ends: ``path`` with ``.partial`` behind it.

    What a process that was killed left under that name is removed first, and what a failure leaves is removed too.
    Where it is restartable, that is a folder, held for one process, whose content stays as it is, both before the
    block and after it fails. It goes only with a `StreamGMMError`: either the rows are of no use, and what was made of
    them is not to be gone on with once they are changed, or what was written is.
    """
    if protected is not None and path.resolve() == Path(protected).resolve():
        raise InputError(f"{path} is the input; write the result somewhere else.")
    if path.exists() and not overwrite:
        raise FileExistsError(EEXIST, "it exists; choose another name, or pass --overwrite", str(path))
    if path.is_dir() and not any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")):
        raise InputError(f"{path} is a folder that is no zarr array; choose another name.")
    partial = path.with_name(path.name + ".partial")
    if not (restartable and partial.is_dir()):
        remove(partial)
    with held(partial) if restartable else nullcontext():
        try:
            yield partial
            _sync(partial)
            _rename(partial, path)
        except BaseException as error:
            if not restartable or isinstance(error, StreamGMMError):
                remove(partial)
            elif partial.is_dir():
                error.add_note(f"run the same again: it goes on from {partial}")
            raise


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Make files and folders durable.

    What could not be is of no use: a system that was not able to write a page forgets about it, so that a second try
    succeeds without it.
    """
    try:
        for folder, _, names in os.walk(path):
            for name in names:
                _sync_entry(Path(folder, name))
            _sync_entry(Path(folder))
        if path.is_file():
            _sync_entry(path)
    except OSError as error:
        raise ResultError(
            f"{path} could not be made durable ({error.strerror or error}) and is removed, since parts of it may be "
            "lost; check the disk, or write somewhere else."
        ) from None


def _rename(partial: Path, path: Path) -> None:
    """Whoever is stopped here leaves nothing, or all of the old or the new, under the name, but never a part."""
    replaced = path.with_name(path.name + ".replaced")
    remove(replaced)
    if path.exists() or path.is_symlink():
        os.replace(path, replaced)
    os.replace(partial, path)
    _sync_entry(path.parent)
    remove(replaced)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Let no other process write to a folder, which is made if need be. A process that ends lets go of it.

    What is locked is a file beside it, since the folder gets another name while it is held. The file is removed by
    whoever holds it; one that a killed process left locks nothing.
    """
    from filelock import FileLock, Timeout

    file = folder.with_name(folder.name + ".lock")
    lock = FileLock(file, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise ResultError(f"{folder} is being written by another process; wait for it to end.") from None
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise
    try:
        folder.mkdir(exist_ok=True)
        yield
    finally:
        if os.name == "posix":  # nobody else can hold what has no name; elsewhere what is open cannot be removed
            file.unlink(missing_ok=True)
        lock.release()
        if os.name != "posix":
            with suppress(OSError):  # another process may hold it by now
                file.unlink(missing_ok=True)


def _sync_entry(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
