"""A sample of the rows of a source, small enough to hold, taken in one reading.

Every row draws a key from (seed, chunk); the rows with the smallest keys are kept. So the sample does not depend on the
order in which chunks are read, and rows that fit are all kept, in their order. A key is divided by the weight of its
row: where few rows have most of the weight, as few colours are most of an image, a sample without them would tell
nothing (priority sampling: Duffield, Lund & Thorup, 2007).
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
from streamgmm.reading.execution import Wave
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

    def lighter(self, size: int) -> Reservoir:
        """The first so many of rows in random order; where they have weights the heavier the likelier.

        Examples
        --------
        >>> few = Reservoir(np.arange(100.0)[:, None], np.append(np.ones(99), 900.0)).lighter(10)
        >>> few.rows[-1], few.weights[-1:], len(few.rows)
        (array([99.]), array([900.]), 10)
        """
        if self.weights is None:
            return Reservoir(self.rows[:size], None)
        n = len(self.rows)
        keys = _by_weight(np.arange(1, n + 1) / n, self.weights)
        chosen, weights = prioritized(keys, self.weights, size)
        return Reservoir(self.rows[chosen], weights)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows with their keys."""

    keys: Array
    rows: NDArray[Any]
    weights: Array | None

    def reservoir(self, size: int) -> Reservoir:
        """At most ``size`` of the rows, with weights that stand for all that they were drawn from."""
        if self.weights is None:
            return Reservoir(self.rows, None)
        chosen, weights = prioritized(self.keys, self.weights, size)
        return Reservoir(self.rows[chosen], weights)


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
        drawn = drawn_of(wave, seed, size, threshold)
        now = Sampling(now.taken + 1, smallest([*([] if now.drawn is None else [now.drawn]), *drawn], size))
        if watch is not None:
            watch(now)
    kept = now.drawn
    if kept is None:
        raise InputError("X has no rows; pass at least one.")
    if kept.weights is not None and not kept.weights.any():
        raise InputError(NO_WEIGHT)
    return kept.reservoir(size)


def prioritized(keys: Array, weights: Array, size: int) -> tuple[NDArray[np.intp], Array]:
    """Places of the ``size`` smallest keys, in order, and weights whose sums are, on average, those over all rows.

    The next larger key says how much weight one of the light rows stands for; a heavier one keeps its own.
    """
    if len(keys) <= size:
        return np.arange(len(keys)), weights
    order = np.argpartition(keys, size)
    chosen = np.sort(order[:size])
    next_key = keys[order[size]]
    return chosen, np.maximum(weights[chosen], 1.0 / next_key)  # 0 where all others have no weight


def drawn_of(wave: Wave, seed: int, size: int, threshold: float = np.inf) -> list[Drawn]:
    """Of each chunk the rows with the smallest keys, as many as a sample has; without weights, those below a key."""
    return execution.over_chunks(wave, _draw, seed, size, threshold)


def _draw(rows: NDArray[Any], weights: Array | None, chunk: Chunk, seed: int, size: int, threshold: float) -> Drawn:
    check_one_weight_a_row(rows, weights, chunk.index)
    random = np.random.Generator(np.random.PCG64([seed, chunk.index]))
    chosen: Any = slice(None)
    if weights is not None:
        keys = _by_weight(_keys(random, len(rows), threshold), weights)
    elif threshold < 1.0:
        chosen, keys = _below(random, len(rows), threshold)
    else:
        keys = _keys(random, len(rows), threshold)
    taken = rows[chosen]
    if taken.dtype.kind == "f" and not (np.abs(taken) <= LARGEST).all():
        raise non_finite_error(rows, chunk)
    return smallest([Drawn(keys, taken, weights)], size)


def _below(random: np.random.Generator, n: int, threshold: float) -> tuple[NDArray[np.intp], Array]:
    """Which of so many uniform keys are below a threshold, and these: the others need not be drawn for that."""
    places = np.sort(random.choice(n, random.binomial(n, threshold), replace=False, shuffle=False))
    return places, threshold * random.random(len(places))


def _keys(random: np.random.Generator, n: int, threshold: float) -> Array:
    """So many uniform keys, of which the same are below the threshold."""
    if threshold >= 1.0:
        return random.random(n)
    places, low = _below(random, n, threshold)
    keys = threshold + (1.0 - threshold) * random.random(n)
    keys[places] = low
    return keys


def _by_weight(keys: Array, weights: Array) -> Array:
    """Keys of rows, the smaller the heavier; infinite where there is no weight."""
    divided: Array = np.divide(keys, weights, out=np.full(len(keys), np.inf), where=weights > 0)
    return divided


def smallest(drawn: list[Drawn], size: int) -> Drawn:
    """Those with the ``size`` smallest keys, in their order; one more where there are weights, which says theirs."""
    keys = np.concatenate([one.keys for one in drawn])
    rows = np.concatenate([one.rows for one in drawn]) if len(drawn) > 1 else drawn[0].rows
    weights = (
        None if drawn[0].weights is None else np.concatenate([one.weights for one in drawn if one.weights is not None])
    )
    size += weights is not None
    if len(keys) <= size:
        return Drawn(keys, rows, weights)
    chosen = np.sort(np.argpartition(keys, size)[:size])
    return Drawn(keys[chosen], rows[chosen], None if weights is None else weights[chosen])
