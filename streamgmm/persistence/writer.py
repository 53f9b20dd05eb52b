"""How often a fit or a stream is kept, and where."""

from __future__ import annotations

import os
import platform
import time
import uuid
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from streamgmm.errors import InputError
from streamgmm.persistence.container import Arrays
from streamgmm.persistence.store import KEPT, Generation, Store

SHARE = 0.01  # of the time that a fit takes may be spent on its checkpoint, unless more was asked for
PACE = 1e-8  # seconds a byte, until one of at least so many was written:
TELLING = 2**20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder for the generations of a fit or stream, and how often one is written.

    Without ``seconds`` and ``batches``, as often as takes a hundredth of the time: where batches are few and far
    between, after each. In any case when a fit has ended or is interrupted.

    Parameters
    ----------
    path : str or path-like
        The folder; made where there is none, in a folder that exists.
    seconds : float, optional
        After which one is due.
    batches : int, optional
        After which one is due, whatever the time: calls of `partial_fit`, or waves of a pass of `fit`.
    kept : int, default=3
        Generations that are not removed, all verified; at least 3.

    Raises
    ------
    InputError
        A value cannot be meant; a ValueError.

    Examples
    --------
    >>> Checkpoint("fit.ckpt", seconds=600)
    Checkpoint(path='fit.ckpt', seconds=600, batches=None, kept=3)
    """

    path: str | os.PathLike[str]
    seconds: float | None = None
    batches: int | None = None
    kept: int = KEPT

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike) or not os.fspath(self.path):
            raise InputError(f"The path of a checkpoint is {self.path!r}; give that of a folder.")
        if self.seconds is not None and not (isinstance(self.seconds, Real) and float(self.seconds) >= 0.0):
            raise InputError(f"seconds={self.seconds!r} is no time between two generations; give at least 0.")
        if self.batches is not None and not (isinstance(self.batches, Integral) and self.batches >= 1):
            raise InputError(f"batches={self.batches!r} is no number of batches; give at least 1.")
        if not (isinstance(self.kept, Integral) and self.kept >= KEPT):
            raise InputError(f"kept={self.kept!r} generations are too few to survive damage; keep at least {KEPT}.")

    @property
    def folder(self) -> Path:
        """The folder, whatever the working directory becomes."""
        return Path(os.path.abspath(self.path))


class CheckpointWriter:
    """Writes generations of one fit or stream, when they are due.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where and how often.
    least : float
        Seconds between two generations at least, where no other time was asked for.
    """

    def __init__(self, checkpoint: Checkpoint, least: float) -> None:
        self.checkpoint = checkpoint
        self.store = Store(checkpoint.folder, checkpoint.kept)
        self.run = new_run()
        self._least = least
        self._cost = 0.0
        self._postponed = 0.0  # to so long after the last one
        self._pace = PACE
        self._since = self._asked = time.monotonic()
        self._batches = 0
        self._failed = False

    def due(self, *, again: bool = False) -> bool:
        """Whether a generation should be made and written after one more batch; ``again``, if the last one failed."""
        self._batches += 1
        self._asked = time.monotonic()
        elapsed = self._asked - self._since
        seconds, batches = self.checkpoint.seconds, self.checkpoint.batches
        if (again and self._failed) or (batches is not None and self._batches >= batches):
            return True
        if seconds is not None:
            return elapsed >= seconds
        return batches is None and elapsed >= max(self._least, self._cost / SHARE, self._postponed)

    def worth(self, arrays: Arrays) -> bool:
        """Whether what is due shall be written now that its size is known; if not, it is due again later."""
        if self.checkpoint.seconds is not None or self.checkpoint.batches is not None:
            return True
        elapsed, needed = self._asked - self._since, self._pace * _size(arrays) / SHARE
        looking = time.monotonic() - self._asked  # takes its time as well
        self._postponed = min(needed, max(2 * elapsed, elapsed + looking / SHARE))  # it may be smaller by then
        return elapsed >= needed

    def write(self, manifest: dict[str, Any], arrays: Arrays) -> Generation:
        """Write one; raises CheckpointWriteError, after which the next is due as if it had been written."""
        self._failed = True
        try:
            generation = self.store.write(manifest, arrays)
            self._failed = False
            return generation
        finally:
            self._since = time.monotonic()
            self._cost, self._batches, self._postponed = self._since - self._asked, 0, 0.0
            if _size(arrays) >= TELLING:
                self._pace = self._cost / _size(arrays)


def _size(arrays: Arrays) -> int:
    """Bytes of arrays, beside which the manifest is small."""
    return sum(array.nbytes for array in arrays.values())


def new_run() -> str:
    """A name for a fit or a stream that is begun."""
    return uuid.uuid4().hex


def environment() -> dict[str, str]:
    """What the bits of a result depend on beside the rows and the settings."""
    import llvmlite
    import numba
    import numpy
    import scipy
    from llvmlite import binding

    return {
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "machine": platform.machine(),
        "processor": binding.get_host_cpu_name(),
    }
