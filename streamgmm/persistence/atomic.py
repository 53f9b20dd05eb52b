"""Atomic writes: a file or folder under its name is complete and durable, or not there at all; and who may write.

The package touches the file system through `Disk` where a checkpoint depends on it, so that tests can put a disk in its
place that forgets what was not synced, fails at any call, or is killed there.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from streamgmm.errors import CheckpointError, InputError, ResultError, StreamGMMError

if TYPE_CHECKING:
    from filelock import BaseFileLock

DRAFT = re.compile(r"\.tmp-[0-9a-f]{32}")  # no reader takes such a name for a file of its own
MAX_FILE_BYTES = 2**32  # a mixture of 1,000 components in 700 dimensions fits
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # errors of file systems without locks


class Disk:
    """File system of this machine."""

    def names(self, folder: Path) -> list[str]:
        """Return the sorted names in a folder."""
        return sorted(os.listdir(folder))

    def make_folder(self, folder: Path) -> None:
        """Make a folder whose parent exists, if it is not there."""
        folder.mkdir(exist_ok=True)

    def lock(self, path: Path) -> BaseFileLock | None:
        """Lock a file, made if need be; None where this or another process holds it. The lock ends with the process."""
        from filelock import FileLock, Timeout

        lock = FileLock(path, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def create(self, path: Path, mode: int) -> int:
        """Open a file that must not exist, to write to it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        return os.open(path, flags, mode)

    def write(self, file: int, content: memoryview) -> int:
        """Write some of the content; return the number of bytes written."""
        return os.write(file, content)

    def sync(self, file: int) -> None:
        """Make the content of a file durable."""
        if sys.platform == "darwin":  # there fsync leaves it in the cache of the drive
            import fcntl

            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
        else:
            os.fsync(file)

    def close(self, file: int) -> None:
        """Close a file."""
        os.close(file)

    def read(self, path: Path, *, follow: bool = False) -> bytes:
        """Return the content of a regular file of at most 4 GiB; CheckpointError where it is none.

        ``follow`` allows a symbolic link, where the user gave its name.
        """
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a FIFO must not block
        flags |= 0 if follow else getattr(os, "O_NOFOLLOW", 0)
        try:
            with os.fdopen(os.open(path, flags), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise CheckpointError(f"{path} is not a regular file.")
                if not 8 <= status.st_size <= MAX_FILE_BYTES:
                    raise CheckpointError(
                        f"{path} has {status.st_size} bytes; a saved model has 8 to {MAX_FILE_BYTES}."
                    )
                return file.read(status.st_size)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{path} cannot be read: {reason}.") from None

    def rename(self, before: Path, after: Path) -> None:
        """Give a file another name, in one step; a file of that name is replaced."""
        os.replace(before, after)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable, where the system can."""
        if os.name == "posix":
            _sync_entry(folder)


def write_file(disk: Disk, path: Path, content: bytes, read_back: Callable[[bytes], object], mode: int = 0o600) -> None:
    """Write a file that is complete or not there, and durable once this returns.

    A draft beside it is written, synced and read back; only then it takes the name, and the name is synced. An error
    leaves no draft, as far as the disk lets it be removed, and what had the name before. If only the name could not be
    synced, the new file has it, perhaps not for good. A failed sync is never tried again: the system may have dropped
    the pages, and would not report it twice.

    Parameters
    ----------
    read_back : callable
        Decodes the bytes of the draft; an error it raises refuses the file.
    """
    draft = path.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        file = disk.create(draft, mode)
        try:
            rest = memoryview(content)
            while rest:
                written = disk.write(file, rest)
                if not written:
                    raise OSError(errno.EIO, "nothing more is written")
                rest = rest[written:]
            disk.sync(file)
        finally:
            disk.close(file)
        if not _has_content(disk, draft, content):
            raise OSError(errno.EIO, "what was written is not what is read")
        read_back(content)
        disk.rename(draft, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(draft)):
            error.filename = str(path)  # writing does not say where, and nobody knows the draft
        with suppress(OSError):  # the first error says more
            disk.remove(draft)
        raise
    disk.sync_folder(path.parent)


def _has_content(disk: Disk, path: Path, content: bytes) -> bool:
    try:
        return disk.read(path) == content
    except CheckpointError:
        return False


@contextmanager
def atomic_output(
    path: Path,
    *,
    protected: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    restartable: bool = False,
) -> Iterator[Path]:
    """Yield a name to write to, ``path`` with ``.partial`` behind it, which becomes ``path`` when the block ends.

    What a killed process left under that name is removed first, and what a failure leaves is removed too.

    Parameters
    ----------
    path : pathlib.Path
        File or zarr folder.
    protected : path-like, optional
        Input of the work, which must not be replaced.
    overwrite : bool, default=False
        An existing file or folder at ``path`` may be replaced.
    restartable : bool, default=False
        True for a folder that the same call can resume. It is then locked for one process, and its content
        stays, both before the block and after a failure. Only a `StreamGMMError` removes it: the rows or the files in
        it are of no use.

    Raises
    ------
    InputError
        ``path`` is the input, or a folder that is no zarr array.
    FileExistsError
        Something is at ``path``, and must not be replaced.
    ResultError
        Another process writes it, or it could not be made durable.
    """
    if protected is not None and path.resolve() == Path(protected).resolve():
        raise InputError(f"{path} is the input; write the result somewhere else.")
    if path.exists() and not overwrite:
        raise FileExistsError(errno.EEXIST, "it exists; choose another name, or pass --overwrite", str(path))
    if path.is_dir() and not any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")):
        raise InputError(f"{path} is a folder that is no zarr array; choose another name.")
    partial = path.with_name(path.name + ".partial")
    if not (restartable and partial.is_dir()):
        remove_path(partial)
    with folder_lock(partial) if restartable else nullcontext():
        try:
            yield partial
            _sync_tree(partial)
            _replace(partial, path)
        except BaseException as error:
            if not restartable or isinstance(error, StreamGMMError):
                remove_path(partial)
            elif partial.is_dir():
                error.add_note(f"run the same again: it goes on from {partial}")
            raise


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Let no other process write to a folder, which is made if need be. A lock ends with its process.

    A file beside the folder is locked, since the folder is renamed meanwhile. Its holder removes it; a file that a
    killed process left locks nothing.
    """
    file, lock = folder.with_name(folder.name + ".lock"), None
    try:
        lock = Disk().lock(file)
        if lock is None:
            raise ResultError(f"{folder} is being written by another process; wait for it to end.")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        folder.mkdir(exist_ok=True)
        yield
    finally:
        if os.name == "posix":  # nobody else can hold what has no name; elsewhere what is open cannot be removed
            file.unlink(missing_ok=True)
        if lock is not None:
            lock.release()
        if os.name != "posix":
            with suppress(OSError):  # another process may hold it by now
                file.unlink(missing_ok=True)


def remove_path(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_tree(path: Path) -> None:
    """Make files and folders durable; ResultError where they cannot be, since parts may be lost."""
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


def _replace(partial: Path, path: Path) -> None:
    """Rename a file or folder; a process killed here leaves all of the old, all of the new, or nothing at ``path``."""
    replaced = path.with_name(path.name + ".replaced")
    remove_path(replaced)
    if path.exists() or path.is_symlink():
        os.replace(path, replaced)
    os.replace(partial, path)
    _sync_entry(path.parent)
    remove_path(replaced)


def _sync_entry(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
