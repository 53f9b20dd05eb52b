"""Checkpoint of a fit or stream: where it is, how often it is written, and the writer that is asked after a batch."""

from __future__ import annotations

import os
import platform
import time
import uuid
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

from streamgmm.errors import InputError
from streamgmm.persistence.codec import persistent
from streamgmm.persistence.container import Arrays, Manifest
from streamgmm.persistence.store import MIN_KEPT, Generation, Reader, Store

PAUSE = 50  # times as long as a generation took to write, until the next is due: at most 2 % of a fit


@persistent("checkpoint-setting-1")
@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Folder for the generations of a fit or stream, and how often one is written.

    Without ``seconds`` and ``batches`` a generation is due at most once a second, and 50 times as long after one as it
    took to write: that costs at most 2 % of the time. One is always written when a fit ends or is interrupted.

    Parameters
    ----------
    path : str or path-like
        The folder; made where there is none, in a folder that exists.
    seconds : float, optional
        Seconds after which a generation is due.
    batches : int, optional
        Batches after which a generation is due, whatever the time: calls of `partial_fit`, or chunk groups of a pass
        of `fit`.
    kept : int, default=3
        Verified generations that are not removed; at least 3.

    Raises
    ------
    InputError
        A value is out of range; a ValueError.

    Examples
    --------
    >>> Checkpoint("fit.ckpt", seconds=600)
    Checkpoint(path='fit.ckpt', seconds=600, batches=None, kept=3)
    """

    path: str | os.PathLike[str]
    seconds: float | None = None
    batches: int | None = None
    kept: int = MIN_KEPT

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike) or not os.fspath(self.path):
            raise InputError(f"The path of a checkpoint is {self.path!r}; give that of a folder.")
        if self.seconds is not None and not (isinstance(self.seconds, Real) and float(self.seconds) >= 0.0):
            raise InputError(f"seconds={self.seconds!r} is no time between two generations; give at least 0.")
        if self.batches is not None and not (isinstance(self.batches, Integral) and self.batches >= 1):
            raise InputError(f"batches={self.batches!r} is no number of batches; give at least 1.")
        if not (isinstance(self.kept, Integral) and self.kept >= MIN_KEPT):
            raise InputError(f"kept={self.kept!r} generations are too few to survive damage; keep at least {MIN_KEPT}.")

    @property
    def folder(self) -> Path:
        """The folder, whatever the working directory becomes."""
        return Path(os.path.abspath(self.path))


class CheckpointWriter:
    """Writer of the generations of one fit or stream.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where and how often.
    min_seconds : float
        Least time between two generations, where ``checkpoint`` has none.
    """

    def __init__(self, checkpoint: Checkpoint, min_seconds: float) -> None:
        self.checkpoint = checkpoint
        self.store = Store(checkpoint.folder, checkpoint.kept)
        self.run = new_run()
        self._min_seconds = min_seconds
        self._duration = 0.0  # of the last write, encoding included
        self._written_at = self._asked_at = time.monotonic()
        self._batches = 0
        self._failed = False

    def is_due(self, *, retry: bool = False) -> bool:
        """Count a batch, and return whether a generation is due; with ``retry`` also if the last one failed."""
        self._batches += 1
        self._asked_at = time.monotonic()
        elapsed = self._asked_at - self._written_at
        seconds, batches = self.checkpoint.seconds, self.checkpoint.batches
        if (retry and self._failed) or (batches is not None and self._batches >= batches):
            return True
        if seconds is not None:
            return elapsed >= seconds
        return batches is None and elapsed >= max(self._min_seconds, PAUSE * self._duration)

    def write(self, manifest: Manifest, arrays: Arrays, read: Reader[object]) -> Generation:
        """Write a generation; after a CheckpointWriteError the next is due as if it had been written."""
        self._failed = True
        try:
            generation = self.store.write(manifest, arrays, read)
            self._failed = False
            return generation
        finally:
            self._written_at = time.monotonic()
            self._duration, self._batches = self._written_at - self._asked_at, 0


def new_run() -> str:
    """Return a name for a fit or a stream that begins."""
    return uuid.uuid4().hex


def environment() -> dict[str, str]:
    """Return what the bits of a result depend on beside the rows and the settings."""
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
