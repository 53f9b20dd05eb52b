"""A writer that is killed before or after any of its calls: in memory, and as a process on a real folder."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from disks import FOLDER, Watched, killed_at
from lives import Life, judged, lived
from power import preceded

from streamgmm.persistence.atomic import Disk
from streamgmm.persistence.store import Store


def in_memory(counts: Counter[str], kept: int, before: int) -> None:
    """Killed before and after every call of a life."""
    for point in itertools.count():
        for when in ("before", "after"):
            memory, life = preceded(before, kept)
            if not killed_at(memory, point, when, lambda disk, life=life: lived(disk, FOLDER, life, kept)):
                return
            judged(memory.restarted(), FOLDER, life, kept, counts)


def of_processes(counts: Counter[str], kept: int, before: int, step: int = 1) -> None:
    """The same of a process on a real folder, killed by SIGKILL; every ``step``-th call."""
    for point in itertools.count(0, step):
        for when in ("before", "after"):
            with tempfile.TemporaryDirectory() as parent:
                if not _of_a_process(counts, kept, before, point, when, Path(parent) / "fit.ckpt"):
                    return


def _of_a_process(counts: Counter[str], kept: int, before: int, point: int, when: str, folder: Path) -> bool:
    life = Life()
    if before:
        store = Store(folder, kept).open()
        for _ in range(before):
            life.write(store)
        store.close()

    def kill(number: int, call: str) -> None:
        if number == point:
            os.kill(os.getpid(), signal.SIGKILL)

    watched = Watched(Disk(), **{when: kill})
    came_to_it = _killed(lambda tell: lived(watched, folder, _Told(life, tell), kept), life)
    if came_to_it:
        judged(Disk(), folder, life, kept, counts)
    return came_to_it


def at_random(counts: Counter[str], kills: int, seed: int = 0) -> None:
    """One folder, and writers that are killed at any time, one after the other."""
    chance, usual = random.Random(seed), 0.005
    with tempfile.TemporaryDirectory() as parent:
        folder, life = Path(parent) / "fit.ckpt", Life()
        for _ in range(kills):
            before = life.acknowledged
            _killed(lambda tell: _on_and_on(folder, _Told(life, tell)), life, usual * chance.expovariate(1.0))
            usual *= 1.5 if life.acknowledged == before else 0.8  # whatever else the machine is busy with
            life.attempted += 1_000_000  # what was attempted last is not known
            judged(Disk(), folder, life, 3, counts)
            life.attempted += 1_000_000
    assert life.acknowledged, "nothing was ever acknowledged, so that nothing was proved"


def _on_and_on(folder: Path, life: Life) -> None:
    store = Store(folder).open()
    while True:
        life.write(store)


class _Told(Life):
    """A life in a process that tells another one of what was acknowledged."""

    def __init__(self, life: Life, tell: Callable[[bytes], object]) -> None:
        super().__init__(life.attempted, life.acknowledged)
        self._tell = tell

    def write(self, store: Store) -> None:
        super().write(store)
        self._tell(self.acknowledged.to_bytes(8, "big"))


def _killed(run: Callable[[Callable[[bytes], object]], None], life: Life, after: float | None = None) -> bool:
    """Run in a process of its own, perhaps until some time is over; whether it was killed. Learns what it says."""
    heard, told = os.pipe()
    with forking():
        child = os.fork()
    if not child:
        os.close(heard)
        try:
            run(lambda message: os.write(told, message))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(told)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(heard, "rb") as messages:
        said = messages.read()
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the writer failed"
    life.acknowledged = int.from_bytes(said[-8:], "big") if said else life.acknowledged
    life.attempted = max(life.attempted, life.acknowledged) + 1
    return os.WIFSIGNALED(status)


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Where a fork is no matter of concern."""
    with warnings.catch_warnings():
        # of threads that a fork does not take along: the child needs none of them
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
        yield


def _in_memory(full: bool, counts: Counter[str]) -> None:
    for kept, before in itertools.product((1, 2, 3), (0, 1, 2, 3, 5)) if full else ((2, 0), (2, 3)):
        in_memory(counts, kept, before)


def _of_processes(full: bool, counts: Counter[str]) -> None:
    for kept, before in ((2, 0), (3, 1), (3, 4)) if full else ((2, 1),):
        of_processes(counts, kept, before, step=1 if full else 6)


def _at_random(full: bool, counts: Counter[str]) -> None:
    at_random(counts, kills=1000 if full else 30)


KINDS = {
    "fixed points in memory": _in_memory,
    "fixed points of processes": _of_processes,
    "processes at random": _at_random,
}


def kills(full: bool, only: str) -> Counter[str]:
    """All of one kind, or enough to see that it works."""
    counts: Counter[str] = Counter()
    KINDS[only](full, counts)
    return counts
