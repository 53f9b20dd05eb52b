"""Two processes that both want to write to one folder."""

from __future__ import annotations

import os
import signal
import tempfile
from collections import Counter
from pathlib import Path

from kills import forking
from lives import payload, read_number

from streamgmm.errors import CheckpointLocked
from streamgmm.persistence.store import Store

WON, LOCKED, ELSE = b"w", b"l", b"?"


def raced(folder: Path) -> Counter[str]:
    """Two processes open a store at once; the one that wins is killed, and the lock has to be free."""
    gate, start = os.pipe()
    heard, told = os.pipe()
    with forking():
        children = [os.fork() or _open(folder, gate, start, told) for _ in range(2)]
    os.close(gate)
    os.close(start)  # both go
    os.close(told)
    said = b""
    while len(said) < 2:
        said += os.read(heard, 2 - len(said))
    os.close(heard)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    store = Store(folder).open()
    store.close()
    return Counter(
        {"races": 1, "two winners": said.count(WON) == 2, "no winner": WON not in said, "errors": ELSE in said}
    )


def _open(folder: Path, gate: int, start: int, told: int) -> int:
    """Wait for the start, open, tell what came of it, and hold on to it."""
    os.close(start)
    os.read(gate, 1)
    message = ELSE
    try:
        store = Store(folder).open()
        store.write(*payload(1), read_number)
        message = WON
    except CheckpointLocked:
        message = LOCKED
    finally:
        os.write(told, message)
        signal.pause()
    raise AssertionError("killed")


def races(full: bool) -> Counter[str]:
    """All of them, or enough to see that it works; of a folder that is there and of one that is not."""
    counts: Counter[str] = Counter()
    for number in range(50 if full else 6):
        with tempfile.TemporaryDirectory() as parent:
            if number % 2:
                (Path(parent) / "fit.ckpt").mkdir()
            counts.update(raced(Path(parent) / "fit.ckpt"))
    return counts
