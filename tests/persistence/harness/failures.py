"""A disk that fails at any call, once or from then on, and the real ones that can be had."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from disks import FOLDER, MemoryDisk, Watched
from kills import forking
from lives import Found, Life, UntilFound, judged, read_number
from power import preceded, synced_again_where_it_failed

from streamgmm.errors import CheckpointWriteError
from streamgmm.persistence import store as store_module
from streamgmm.persistence.atomic import DRAFT, Disk, write_file
from streamgmm.persistence.store import Store, generations

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES)


class Stingy(Watched):
    """Writes a few bytes at a time."""

    def write(self, file, content):
        return super().write(file, content[:100])


def failing(inner: Disk, kind: type[Watched], point: int, lasting: bool, when: str, error: int) -> Watched:
    """A disk that fails at one call, or from it on."""

    def fail(number, call):
        if (number >= point if lasting else number == point) and not (call == "lock" and when == "after"):
            raise OSError(error, os.strerror(error))

    return kind(inner, **{when: fail})


def failed(counts: Counter[str], folder: Path, kept: int, healthy: Disk, life: Life, disk: Watched, lasting: bool):
    """Write to a disk that fails, then to one that does no more, and count what is wrong."""
    store = None
    for _ in range(3):
        try:
            store = store or Store(folder, kept, disk).open()
            life.write(store)
        except CheckpointWriteError:
            there = folder.name in healthy.names(folder.parent)
            drafts = there and any(map(DRAFT.fullmatch, healthy.names(folder)))
            counts["drafts left at once"] += drafts and not lasting  # those that cannot be removed are swept later
        except Exception:
            counts["other errors"] += 1
        counts["lost at once"] += newest_of(healthy, folder) < life.acknowledged
    disk.heal()
    store = store or Store(folder, kept, disk).open()
    life.write(store)
    store.close()
    if isinstance(healthy, MemoryDisk):  # there no two files have the same number
        counts["synced twice"] += len(disk.syncs) - len(set(disk.syncs))
    judged(healthy, folder, life, kept, counts)


def newest_of(disk: Disk, folder: Path) -> int | None:
    """What a reader finds, 0 where there is no folder yet."""
    if folder.name not in disk.names(folder.parent):
        return 0
    return Store(folder, disk=disk).read_newest(read_number) or 0


def in_memory(counts: Counter[str], errors: tuple[int, ...], kept: int, before: int, kind: type[Watched]) -> None:
    """Every call, once and lastingly, with its effect and without."""
    for error, lasting, when in itertools.product(errors, (False, True), ("before", "after")):
        for point in itertools.count():
            memory, life = preceded(before, kept)
            disk = failing(memory, kind, point, lasting, when, error)
            failed(counts, FOLDER, kept, memory, life, disk, lasting)
            if point >= len(disk.calls):  # nothing failed
                break


def on_a_real_folder(counts: Counter[str], errors: tuple[int, ...], step: int) -> None:
    """The same of a folder of this machine."""
    for error, lasting in itertools.product(errors, (False, True)):
        for point in itertools.count(0, step):
            with tempfile.TemporaryDirectory() as parent:
                life, disk = Life(), failing(Disk(), Watched, point, lasting, "before", error)
                failed(counts, Path(parent) / "fit.ckpt", 2, Disk(), life, disk, lasting)
                if point >= len(disk.calls):
                    break


def failures(full: bool, only: str, counts: Counter[str] | None = None) -> Counter[str]:
    """All of one kind, or enough to see that it works."""
    counts = Counter() if counts is None else counts
    if only == "errors on a real folder":
        on_a_real_folder(counts, ERRORS if full else ERRORS[1:2], step=1 if full else 5)
        return counts
    for kind, before in itertools.product((Watched, Stingy), (0, 1, 3)) if full else ((Watched, 1), (Stingy, 0)):
        in_memory(counts, ERRORS if full else ERRORS[:1], 2, before, kind)
    return counts


KINDS = ("errors in memory", "errors on a real folder")


def _drafts_left(disk, path, content, read_back=None, mode=0o600):
    with mock.patch.object(Watched, "remove", lambda *given: None):
        write_file(disk, path, content, read_back, mode)


class _TellsOfRetention(Store):
    def write(self, *content):
        generation = super().write(*content)
        self._retain()
        return generation


class _TellsOfReading(Store):
    def _prepare(self):
        super()._prepare()
        for generation in generations(self.folder, self._disk):
            self._disk.read(self.folder / generation.name)


# each with what is to be counted of it
BROKEN = {
    "drafts are left": ("drafts left at once", (store_module, "write_file", _drafts_left)),
    "a sync that failed is tried again": ("synced twice", (store_module, "write_file", synced_again_where_it_failed)),
    "what could not be removed fails a write": ("other errors", (sys.modules[__name__], "Store", _TellsOfRetention)),
    "what cannot be read fails an open": ("other errors", (sys.modules[__name__], "Store", _TellsOfReading)),
}


def errors_of(variant: str, full: bool = False) -> tuple[str, Counter[str]]:
    """What of a broken protocol is to be counted, and what it does in the same harness: all of it, or until that."""
    kind, patch = BROKEN[variant]
    counts = Counter() if full else UntilFound(kind)
    with contextlib.suppress(Found), mock.patch.object(*patch):
        failures(full=False, only=KINDS[0], counts=counts)
    return kind, counts


def in_a_child(run) -> int:
    """Exit status of a process of its own with a folder of its own: 0 where what is run ends well."""
    with tempfile.TemporaryDirectory() as folder, forking():
        os.chmod(folder, 0o777)
        child = os.fork()
        if not child:
            try:
                run(Path(folder))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def refused_while(store: Store, life: Life, limited, freed) -> None:
    """Writes are refused by their own error while the disk is limited, and go on once it is not."""
    life.write(store)
    limited()
    for _ in range(3):
        try:
            life.write(store)
        except CheckpointWriteError:
            continue
        raise AssertionError("it was written")
    assert not any(map(DRAFT.fullmatch, os.listdir(store.folder)))
    assert store.read_newest(read_number) == 1
    freed()
    life.write(store)
    assert store.read_newest(read_number) == life.attempted


def limited_in_size(parent: Path) -> None:
    """A real error of the system in the midst of a write: no file may be larger than this."""
    import resource

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = Store(parent / "fit.ckpt").open()
    refused_while(store, Life(), lambda: limit(300), lambda: limit(resource.RLIM_INFINITY))


def without_permission(parent: Path) -> None:
    """A folder that one may not write to, or not even look into; root has no such, and becomes nobody first."""
    if os.getuid() == 0:
        os.setuid(65534)
    folder = parent / "fit.ckpt"
    store = Store(folder).open()
    refused_while(store, Life(), lambda: folder.chmod(0o500), lambda: folder.chmod(0o700))
    store.close()
    folder.chmod(0)
    try:
        Store(folder).open()
    except CheckpointWriteError:
        folder.chmod(0o700)
        return
    raise AssertionError("a folder without permissions was opened")


def filled(root: Path) -> None:
    """A file system that is full, and then has room again."""
    ballast = root / "ballast"

    def fill():
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1024))
            except OSError as error:
                assert error.errno == errno.ENOSPC

    refused_while(Store(root / "fit.ckpt").open(), Life(), fill, ballast.unlink)
    path = root / "model"
    write_file(Disk(), path, bytes(100), len)
    fill()
    try:
        write_file(Disk(), path, bytes(2000), len)
    except OSError as error:
        assert error.errno == errno.ENOSPC and path.read_bytes() == bytes(100)


def made_read_only(root: Path) -> None:
    """A file system that becomes read-only, and cannot be opened to write; it can be read."""

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", str(root)], check=True)

    store = Store(root / "fit.ckpt").open()
    # nothing may be open to write while it is remounted: the lock is
    Life().write(store)
    store.close()
    remount("ro")
    try:
        Store(store.folder).open()
    except CheckpointWriteError:
        assert store.read_newest(read_number) == 1
        remount("rw")
        Store(store.folder).open().close()
        return
    raise AssertionError("a read-only folder was opened")


MOUNTED = {"a full file system": filled, "a read-only file system": made_read_only}


def mounted() -> Iterator[tuple[str, str]]:
    """What became of real file systems that are full or read-only; they need root, and are seen by nobody else."""
    for name in MOUNTED:
        with tempfile.TemporaryDirectory() as root:
            script = 'mount -t tmpfs -o size=96k tmpfs "$0" || exit 77; exec "$1" "$2" "$0" "$3"'
            command = ["unshare", "--mount", "bash", "-c", script, root, sys.executable, __file__, name]
            try:
                done = subprocess.run(command, capture_output=True, text=True)
            except FileNotFoundError:
                yield name, "skipped: there is no unshare"
                continue
            told = done.stderr.strip().splitlines()[-1:] or [""]
            skipped = done.returncode == 77 or "unshare" in told[0]
            yield name, "passed" if not done.returncode else f"{'skipped' if skipped else 'FAILED'}: {told[0]}"


if __name__ == "__main__":
    MOUNTED[sys.argv[2]](Path(sys.argv[1]))
