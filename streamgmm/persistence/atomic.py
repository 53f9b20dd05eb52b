"""The few calls to the file system that make a file durable, and the one order in which they do.

A test puts another disk in its place: one that forgets what was not synced, fails at any call, or is killed there.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import uuid
from pathlib import Path
from typing import Protocol

from streamgmm.errors import CheckpointError

DRAFT = re.compile(
    r"\.tmp-[0-9a-f]{32}"
)  # names that no reader takes for a file of its own, and no other program makes
LARGEST_FILE = 2**32  # bytes; a mixture of 1,000 components in 700 dimensions fits


class Lock(Protocol):
    """What is held until it is released, or the process ends, however it does."""

    def release(self) -> None:
        """Give it free."""


class Disk:
    """The file system of this machine."""

    def names(self, folder: Path) -> list[str]:
        """Names in a folder, sorted."""
        return sorted(os.listdir(folder))

    def make_folder(self, folder: Path) -> None:
        """Make a folder whose parent exists, if it is not there."""
        folder.mkdir(exist_ok=True)

    def lock(self, path: Path) -> Lock | None:
        """Lock a file, made if need be; None where it is locked already, by this process or another one."""
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
        """Write some of it; the number of bytes that were."""
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
        """Content of a regular file of a sane size; raises CheckpointError where it is none.

        A link is followed only where the caller was given its name.
        """
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a FIFO must not block
        flags |= 0 if follow else getattr(os, "O_NOFOLLOW", 0)
        try:
            with os.fdopen(os.open(path, flags), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise CheckpointError(f"{path} is not a regular file.")
                if not 8 <= status.st_size <= LARGEST_FILE:
                    raise CheckpointError(f"{path} has {status.st_size} bytes; a saved model has 8 to {LARGEST_FILE}.")
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
        if os.name != "posix":
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_whole(disk: Disk, path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that is complete or not there, and durable once this returns.

    A draft beside it is written, synced and read again; only then it takes the name, and the name is synced. An error
    leaves no draft, as far as the disk lets it be removed, and what had the name before; but where only the name could
    not be synced, the new file has it, perhaps not for good. A sync that failed is never tried again: the system may
    have dropped what it could not write, and would not say so twice.
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
        if not _holds(disk, draft, content):
            raise OSError(errno.EIO, "what was written is not what is read")
        disk.rename(draft, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(draft)):
            error.filename = str(path)  # writing does not say where, and nobody knows the draft
        try:
            disk.remove(draft)
        except OSError:
            pass  # the first error says more
        raise
    disk.sync_folder(path.parent)


def _holds(disk: Disk, path: Path, content: bytes) -> bool:
    try:
        return disk.read(path) == content
    except CheckpointError:
        return False
