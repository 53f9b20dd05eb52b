"""What a store is put through, and what has to be found in it afterwards. Knows nothing of how it is harmed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamgmm.errors import CheckpointError, CheckpointWarning
from streamgmm.persistence import atomic as disk_module
from streamgmm.persistence.atomic import DRAFT, Disk
from streamgmm.persistence.container import from_bytes, to_bytes
from streamgmm.persistence.store import Store

SIZE = 60  # numbers in a payload, so that its file spans sectors


def payload(number):
    """Manifest and arrays that say which writing they are of."""
    return {"payload": number}, {"numbers": np.full(SIZE, float(number))}


def number_of(manifest, arrays):
    """Which writing a payload is of; AssertionError where it is none."""
    number = manifest["payload"]
    assert (arrays["numbers"] == number).all() and len(arrays["numbers"]) == SIZE, "a mixture was loaded"
    return number


def read_number(generation, manifest, arrays):
    """`number_of` as a store calls it."""
    return number_of(manifest, arrays)


@dataclass
class Life:
    """Everything that was attempted, and how far it was acknowledged."""

    attempted: int = 0
    acknowledged: int = 0

    def write(self, store: Store) -> None:
        """One more generation."""
        self.attempted += 1
        store.write(*payload(self.attempted), read_number)
        self.acknowledged = self.attempted


def lived(disk: Disk, folder: Path, life: Life, kept: int, writes: int = 3) -> None:
    """Open, write, close, open again, write: every call of the protocol."""
    for turn in (writes, 1):
        store = Store(folder, kept, disk).open()
        store.read_newest(read_number)
        for _ in range(turn):
            life.write(store)
        store.close()


def judged(disk: Disk, folder: Path, life: Life, kept: int, counts: Counter[str]) -> None:
    """Open what was left as a new process would, and count what is wrong with it."""
    store = Store(folder, kept, disk)

    def newest() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CheckpointWarning)
            return store.open().read_newest(read_number) or 0

    if not _holds_what_it_should(newest, life, counts):
        return
    counts["drafts left"] += any(map(DRAFT.fullmatch, disk.names(folder)))
    later = Life(life.attempted, life.acknowledged)
    try:
        later.write(store)
        counts["lost afterwards"] += store.read_newest(read_number) != later.acknowledged
    except CheckpointError:
        counts["lost afterwards"] += 1
    store.close()


def _holds_what_it_should(read: Callable[[], int], life: Life, counts: Counter[str]) -> bool:
    """Count what is wrong with the number that is read of what was left; whether one could be read at all."""
    counts["states"] += 1
    try:
        found = read()
    except CheckpointError:
        counts["lost" if life.acknowledged else "stuck"] += 1
        return False
    except AssertionError:
        counts["bad loads"] += 1
        return False
    counts["lost"] += found < life.acknowledged
    counts["bad loads"] += found > life.attempted
    return True


def saved(disk: Disk, path: Path, life: Life, writes: int = 3) -> None:
    """Write one file again and again."""
    for _ in range(writes):
        life.attempted += 1
        disk_module.write_file(disk, path, to_bytes(*payload(life.attempted)), len)
        life.acknowledged = life.attempted


def judged_file(disk: Disk, path: Path, life: Life, counts: Counter[str]) -> None:
    """Read the file that was left, and count what is wrong with it."""

    def content() -> int:
        return number_of(*from_bytes(disk.read(path), path)) if path.name in disk.names(path.parent) else 0

    _holds_what_it_should(content, life, counts)


class Found(BaseException):
    """What was to be found was: nothing more need be counted."""


class UntilFound(Counter[str]):
    """Counts that raise `Found` once there is something of these kinds, or anything that is wrong if none is given."""

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        self._kinds = kinds

    def __setitem__(self, kind: str, number: int) -> None:
        super().__setitem__(kind, number)
        if number and (kind in self._kinds if self._kinds else kind != "states"):
            raise Found


def wrong(counts: Counter[str]) -> int:
    """Everything that was counted but states."""
    return sum(number for kind, number in counts.items() if kind != "states")


def told(counts: Counter[str]) -> str:
    """Counts as a line."""
    rest = {kind: number for kind, number in counts.items() if kind != "states"}
    return f"{counts['states']:,} states" + "".join(f", {number:,} {kind}" for kind, number in rest.items())
