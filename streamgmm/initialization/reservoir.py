"""A sample of the rows of a source, small enough to hold, taken in one reading: each row as likely as its weight.

Every row draws a key from (seed, chunk); the rows with the smallest keys are kept. So the sample does not depend on the
order in which chunks are read, and rows that fit are all kept, in their order. Where rows have weights, a key is when a
row is first met that is met as often as its weight: drawn evenly, of a table in which a few values are most pixels,
hardly one of these would be among them. What is more likely to be drawn then counts for less (Cohen & Kaplan, 2007,
"Summarizing data using bottom-k sketches").
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

LEAST = 1e-300  # weight: what weighs nothing is drawn where nothing else is left


@dataclass(frozen=True, slots=True)
class Reservoir:
    """Sampled rows in storage order.

    Attributes
    ----------
    rows : ndarray of shape (m, d)
        In the dtype of the source.
    weights : ndarray of shape (m,) or None
        By which they stand for all rows: their sample weights, over how likely they were to be drawn where not all are.
    """

    rows: NDArray[Any]
    weights: Array | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows with their keys, and their sample weights."""

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
    threshold = np.inf
    if source.n_rows is not None and source.n_rows > size and not source.weighted:
        threshold = size / source.n_rows
    n_kept = size + 1 if source.weighted else size  # the key of one more says how likely the others were
    now = Sampling() if since is None else since
    for wave in execution.waves(source, now.taken):
        drawn = execution.over_chunks(wave, _draw, seed, n_kept, threshold)
        now = Sampling(now.taken + 1, _smallest([*([] if now.drawn is None else [now.drawn]), *drawn], n_kept))
        if watch is not None:
            watch(now)
    kept = now.drawn
    if kept is None:
        raise InputError("X has no rows; pass at least one.")
    if kept.weights is not None and not kept.weights.any():
        raise InputError(NO_WEIGHT)
    return Reservoir(kept.rows, kept.weights) if len(kept.keys) <= size else _standing_for_all(kept)


def _standing_for_all(drawn: Drawn) -> Reservoir:
    """All but the row with the largest key, each with its weight over how likely it was to have a smaller one.

    Rows of one weight keep it.
    """
    assert drawn.weights is not None
    last = int(np.argmax(drawn.keys))
    rows, weights = np.delete(drawn.rows, last, axis=0), np.delete(drawn.weights, last)
    times = np.zeros(len(weights))
    some = weights > 0.0
    times[some] = 1.0 / -np.expm1(-np.maximum(weights[some], LEAST) * drawn.keys[last])
    return Reservoir(rows, weights * times * (some.sum() / max(times.sum(), LEAST)))


def _draw(rows: NDArray[Any], weights: Array | None, chunk: Chunk, seed: int, size: int, threshold: float) -> Drawn:
    check_one_weight_a_row(rows, weights, chunk.index)
    keys = np.random.default_rng([seed, chunk.index]).random(len(rows))
    if weights is not None:
        keys = -np.log1p(-keys) / np.maximum(weights, LEAST)
    chosen: Any = slice(None) if threshold == np.inf else np.flatnonzero(keys < threshold)
    taken = rows[chosen]
    if taken.dtype.kind == "f" and not (np.abs(taken) <= LARGEST).all():
        raise non_finite_error(rows, chunk)
    return _smallest([Drawn(keys[chosen], taken, None if weights is None else weights[chosen])], size)


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
