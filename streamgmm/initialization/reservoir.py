"""A uniform sample of the rows of a source, small enough to hold, taken in one reading.

Every row draws a key from (seed, chunk); the rows with the smallest keys are kept. So the sample does not depend on the
order in which chunks are read, and rows that fit are all kept, in their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm import execution
from streamgmm.em import NO_WEIGHT
from streamgmm.errors import InputError
from streamgmm.parameters import Array
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


def sample(source: Source, size: int, seed: int) -> Reservoir:
    """Sample about ``size`` rows, or all where there are no more, reading every chunk once."""
    threshold = np.inf if source.n_rows is None or source.n_rows <= size else size / source.n_rows
    kept: list[_Drawn] = []
    for wave in execution.waves(source):
        drawn = execution.over_chunks(wave, _draw, seed, size, threshold)
        kept = [_smallest([*kept, *drawn], size)]
    weights = kept[0].weights
    if weights is not None and not weights.any():
        raise InputError(NO_WEIGHT)
    return Reservoir(kept[0].rows, weights)


@dataclass(frozen=True, slots=True)
class _Drawn:
    keys: Array
    rows: NDArray[Any]
    weights: Array | None


def _draw(rows: NDArray[Any], weights: Array | None, chunk: Chunk, seed: int, size: int, threshold: float) -> _Drawn:
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
    return _smallest([_Drawn(keys, taken, None if weights is None else weights[chosen])], size)


def _smallest(drawn: list[_Drawn], size: int) -> _Drawn:
    """Those with the ``size`` smallest keys, in their order."""
    keys = np.concatenate([one.keys for one in drawn])
    rows = np.concatenate([one.rows for one in drawn]) if len(drawn) > 1 else drawn[0].rows
    weights = (
        None if drawn[0].weights is None else np.concatenate([one.weights for one in drawn if one.weights is not None])
    )
    if len(keys) <= size:
        return _Drawn(keys, rows, weights)
    chosen = np.sort(np.argpartition(keys, size)[:size])
    return _Drawn(keys[chosen], rows[chosen], None if weights is None else weights[chosen])
