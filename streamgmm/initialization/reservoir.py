"""A uniform sample of the rows of a source, small enough to hold, taken in one reading.

Every row draws a key from (seed, chunk); the rows with the smallest keys are kept. So the sample does not depend on the
order in which chunks are read, and rows that fit are all kept, in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.em import NO_WEIGHT
from streamgmm.errors import InputError
from streamgmm.parameters import Array
from streamgmm.reading import execution
from streamgmm.sources.checks import check_one_weight_a_row, non_finite_error
from streamgmm.sources.source import Chunk, Source
from streamgmm.statistics import LARGEST


@dataclass(frozen=True, slots=True)
class Reservoir:
    """Sampled rows in storage order.

    Attributes
    ----------
    rows : ndarray of shape (m, d)
        In the dtype of the source.
    weights : ndarray of shape (m,) or None
        Their sample weights.
    """

    rows: NDArray[Any]
    weights: Array | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows with their keys."""

    keys: Array
    rows: NDArray[Any]
    weights: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """A sample in the middle of its reading.

    Attributes
    ----------
    taken : int
        Waves that were read.
    drawn : Drawn or None
        What is kept of them.
    """

    taken: int = 0
    drawn: Drawn | None = None


def sample(
    source: Source,
    size: int,
    seed: int,
    since: Sampling | None = None,
    watch: Callable[[Sampling], None] | None = None,
) -> Reservoir:
    """Sample about ``size`` rows, or all where there are no more, reading every chunk once, or those left."""
    threshold = np.inf if source.n_rows is None or source.n_rows <= size else size / source.n_rows
    now = Sampling() if since is None else since
    for wave in execution.waves(source, now.taken):
        drawn = execution.over_chunks(wave, _draw, seed, size, threshold)
        now = Sampling(now.taken + 1, _smallest([*([] if now.drawn is None else [now.drawn]), *drawn], size))
        if watch is not None:
            watch(now)
    kept = now.drawn
    if kept is None:
        raise InputError("X has no rows; pass at least one.")
    if kept.weights is not None and not kept.weights.any():
        raise InputError(NO_WEIGHT)
    return Reservoir(kept.rows, kept.weights)


def _draw(rows: NDArray[Any], weights: Array | None, chunk: Chunk, seed: int, size: int, threshold: float) -> Drawn:
    check_one_weight_a_row(rows, weights, chunk.index)
    if threshold == np.inf and len(rows) <= size:
        chosen: Any = slice(None)
        keys = np.random.default_rng([seed, chunk.index]).random(len(rows))
    else:
        keys = np.random.default_rng([seed, chunk.index]).random(len(rows))
        chosen = np.flatnonzero(keys < threshold)
        keys = keys[chosen]
    taken = rows[chosen]
    if taken.dtype.kind == "f" and not (np.abs(taken) <= LARGEST).all():
        raise non_finite_error(rows, chunk)
    return _smallest([Drawn(keys, taken, None if weights is None else weights[chosen])], size)


def _smallest(drawn: list[Drawn], size: int) -> Drawn:
    """Those with the ``size`` smallest keys, in their order."""
    keys = np.concatenate([one.keys for one in drawn])
    rows = np.concatenate([one.rows for one in drawn]) if len(drawn) > 1 else drawn[0].rows
    weights = (
        None if drawn[0].weights is None else np.concatenate([one.weights for one in drawn if one.weights is not None])
    )
    if len(keys) <= size:
        return Drawn(keys, rows, weights)
    chosen = np.sort(np.argpartition(keys, size)[:size])
    return Drawn(keys[chosen], rows[chosen], None if weights is None else weights[chosen])
