"""Power loss at every call of the store, every state that it may leave, and protocols that do not stand it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from unittest import mock

import lives
import numpy as np
from disks import FOLDER, ROOT, MemoryDisk, Watched, killed_at
from lives import SIZE, Found, Life, UntilFound, judged, judged_file, lived, saved

from streamgmm.errors import CheckpointError, CheckpointWarning, CheckpointWriteError
from streamgmm.persistence import atomic as disk_module
from streamgmm.persistence import container, store
from streamgmm.persistence.atomic import Disk

MODEL = ROOT / "model.safetensors"


class Outages:
    """Judges, before every call, every disk that a power loss would leave; each state once."""

    MOST: int | None = None  # states of one call; a broken protocol syncs so little that there may be very many

    def __init__(self, memory: MemoryDisk, life: Life, judge, counts: Counter[str]) -> None:
        self._memory, self._life, self._judge, self._counts = memory, life, judge, counts
        self._seen: set[object] = set()
        self.disk = Watched(memory, before=lambda number, call: self.happen())

    def happen(self) -> None:
        """Now."""
        for tree, disk in itertools.islice(self._memory.after_power_loss(), self.MOST):
            key = (tree, self._life.acknowledged)
            if key not in self._seen:
                self._seen.add(key)
                self._judge(disk, self._life, self._counts)


def preceded(before: int, kept: int) -> tuple[MemoryDisk, Life]:
    """A disk with so many generations, all durable, and no folder where there is none."""
    memory, life = MemoryDisk(), Life()
    if before:
        opened = store.Store(FOLDER, kept, memory).open()
        for _ in range(before):
            life.write(opened)
        opened.close()
    return memory, life


def of_a_store(counts: Counter[str], kept: int, before: int, writes: int) -> None:
    """Power losses in one life."""
    memory, life = preceded(before, kept)
    outages = Outages(memory, life, lambda disk, now, found: judged(disk, FOLDER, now, kept, found), counts)
    lived(outages.disk, FOLDER, life, kept, writes)
    outages.happen()


def after_kills(counts: Counter[str], kept: int, before: int, step: int = 1) -> None:
    """Power losses in the life after one that was killed: what it left may not be durable."""
    for point in itertools.count(0, step):
        memory, life = preceded(before, kept)
        if not killed_at(memory, point, "before", lambda disk, life=life: lived(disk, FOLDER, life, kept, writes=1)):
            return
        memory = memory.restarted()
        outages = Outages(memory, life, lambda disk, now, found: judged(disk, FOLDER, now, kept, found), counts)
        try:
            lived(outages.disk, FOLDER, life, kept, writes=1)
        except (CheckpointError, AssertionError):
            counts["stuck after a kill"] += 1
        outages.happen()


def after_errors(counts: Counter[str], kept: int, before: int, writes: int) -> None:
    """Power losses in a life that had an error at one call and went on, whether the call had its effect or not."""
    for point in itertools.count():
        calls = max(_with_error_at(counts, kept, before, writes, point, when) for when in ("before", "after"))
        if point >= calls:
            return


def _with_error_at(counts: Counter[str], kept: int, before: int, writes: int, point: int, when: str) -> int:
    memory, life = preceded(before, kept)
    outages = Outages(memory, life, lambda disk, now, found: judged(disk, FOLDER, now, kept, found), counts)

    def fail(number, call):
        if number == point and not (call == "lock" and when == "after"):  # a lock is had or not
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    failing = Watched(outages.disk, **{when: fail})
    opened = None
    for _ in range(writes):
        with contextlib.suppress(CheckpointWriteError):
            opened = opened or store.Store(FOLDER, kept, failing).open()
            life.write(opened)
    outages.happen()
    return len(failing.calls)


def of_a_file(counts: Counter[str], writes: int = 3) -> None:
    """Power losses while one file is replaced."""
    memory, life = MemoryDisk(), Life()
    outages = Outages(memory, life, lambda disk, now, found: judged_file(disk, MODEL, now, found), counts)
    saved(outages.disk, MODEL, life, writes)
    outages.happen()


def power_loss(full: bool, counts: Counter[str] | None = None) -> Counter[str]:
    """All of it, or enough to see that it works."""
    counts = Counter() if counts is None else counts
    for kept, before in itertools.product((1, 2, 3), (0, 1, 2, 4)) if full else ((2, 0), (2, 3)):
        of_a_store(counts, kept, before, writes=4 if full else 2)
    for kept, before in itertools.product((1, 3), (0, 1, 3)) if full else ((1, 0),):
        after_kills(counts, kept, before, step=1 if full else 3)
        after_errors(counts, kept, before, writes=4 if full else 2)
    of_a_file(counts, writes=4 if full else 2)
    return counts


def _nothing(*given, **named):
    return None


def _in_place(disk, path, content, read_back=None, mode=0o600):
    file = disk.emptied(path, mode)
    disk.write(file, memoryview(content))
    disk.sync(file)
    disk.close(file)
    disk.sync_folder(path.parent)


def _renamed_before_it_is_synced(disk, path, content, read_back=None, mode=0o600):
    draft = path.with_name(".tmp-" + "0" * 32)
    file = disk.create(draft, mode)
    disk.write(file, memoryview(content))
    disk.rename(draft, path)
    disk.sync(file)
    disk.close(file)
    disk.sync_folder(path.parent)


def synced_again_where_it_failed(disk, path, content, read_back=None, mode=0o600):
    """Not to be done: the second sync says that all is well."""
    draft = path.with_name(f".tmp-{next(_DRAFTS):032x}")
    file = disk.create(draft, mode)
    rest = memoryview(content)
    while rest:
        rest = rest[disk.write(file, rest) :]
    try:
        disk.sync(file)
    except OSError:
        disk.sync(file)
    disk.close(file)
    disk.rename(draft, path)
    disk.sync_folder(path.parent)


_DRAFTS = itertools.count()


def _not_told_of_names(disk, path, content, read_back=None, mode=0o600):
    with contextlib.suppress(OSError):
        _WRITE_FILE(disk, path, content, read_back, mode)
    if path.name not in disk.names(path.parent):
        raise OSError(errno.EIO, "not written")


_WRITE_FILE = disk_module.write_file


class _UnlinksEarly(store.Store):
    def write(self, *content):
        with contextlib.suppress(OSError, CheckpointError):
            for generation in store.generations(self.folder, self._disk):
                self._disk.remove(self.folder / generation.name)
        return super().write(*content)


class _SyncsTheParentOnlyOfANewFolder(store.Store):
    def open(self):
        try:
            new = self.folder.name not in self._disk.names(self.folder.parent)
            super().open()
            if new:
                self._disk.sync_folder(self.folder.parent)
        except OSError as error:
            self.close()
            raise CheckpointWriteError from error
        return self

    def _prepare(self):
        with mock.patch.object(self, "_disk", _ForgetsParents(self._disk, self.folder)):
            super()._prepare()


class _ForgetsParents:
    def __init__(self, disk, folder):
        self._disk, self._folder = disk, folder

    def __getattr__(self, name):
        return getattr(self._disk, name)

    def sync_folder(self, folder):
        if folder == self._folder:
            self._disk.sync_folder(folder)


class _UsesNumbersAgain(store.Store):
    def write(self, *content):
        before = self._last
        try:
            return super().write(*content)
        except OSError:
            self._last = before
            raise


def _unchecked(folder, generation, disk=None):
    path = folder / generation.name
    return _undigested((disk or Disk()).read(path), path)


def _undigested(content, path):
    """What a reader without digests makes of a file: it trusts the header, and takes zeros for what is missing."""
    length = int.from_bytes(content[:8], "little")
    try:
        manifest = container._parse_manifest(content)
    except (LookupError, TypeError, ValueError):
        raise CheckpointError(f"{path} is damaged") from None
    return manifest, {"numbers": np.frombuffer(content[8 + length :].ljust(8 * SIZE, b"\0")[: 8 * SIZE])}


def _patched(*pairs):
    @contextlib.contextmanager
    def patches() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for owner, name, value in pairs:
                stack.enter_context(mock.patch.object(owner, name, value))
            yield

    return patches


def _writing(function):
    return (disk_module, "write_file", function), (store, "write_file", function)


_NO_FILE_SYNC = (MemoryDisk, "sync", _nothing)

# each has to be found out: a harness that lets one pass proves nothing
BROKEN = {
    "no sync of the file": _patched(_NO_FILE_SYNC),
    "no sync of the folder": _patched((MemoryDisk, "sync_folder", _nothing)),
    "no sync of the parent of a folder that a killed writer made": _patched(
        (store, "Store", _SyncsTheParentOnlyOfANewFolder)
    ),
    "written in place": _patched(*_writing(_in_place)),
    "old generations unlinked early": _patched((store, "Store", _UnlinksEarly)),
    "renamed before it is synced": _patched(*_writing(_renamed_before_it_is_synced)),
    "a sync that failed is tried again": _patched(*_writing(synced_again_where_it_failed)),
    "a folder's sync that failed is overlooked": _patched(*_writing(_not_told_of_names)),
    "no digest, and no sync of the file": _patched(
        _NO_FILE_SYNC, (store, "read_generation", _unchecked), (container, "from_bytes", _undigested)
    ),
    "numbers of failed writes used again": _patched((store, "Store", _UsesNumbersAgain)),
}


def losses_of(variant: str, full: bool = False) -> Counter[str]:
    """What a broken protocol does in the same harness: all of it, or the first that is wrong."""
    counts = Counter() if full else UntilFound()
    with (
        contextlib.suppress(Found),
        warnings.catch_warnings(action="ignore", category=CheckpointWarning),
        BROKEN[variant](),
        mock.patch.object(lives, "Store", store.Store),
        mock.patch.object(lives, "from_bytes", container.from_bytes),
        mock.patch.object(Outages, "MOST", 400 if full else 8),
    ):
        power_loss(full=False, counts=counts)
    return counts
