"""A sample of the rows of a source, small enough to hold, taken in one reading.

Every row draws a key from (seed, row index); the rows with the smallest keys are kept. So the sample depends neither on
chunks nor on the order in which they are read, and rows that fit are all kept, in their order. A key is divided by the
weight of its row: where few rows have most of the weight, as few colours are most of an image, a sample without them
would tell nothing (priority sampling: Duffield, Lund & Thorup, 2007).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data import execution
from streamgmm.data.checks import check_weight_count, make_non_finite_error
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.source import Chunk, Source
from streamgmm.errors import InputError
from streamgmm.model.em import NO_WEIGHT
from streamgmm.model.parameters import Array
from streamgmm.model.statistics import MAX_MAGNITUDE
from streamgmm.persistence.codec import persistent

OF_A_BLOCK = 1_024  # rows to keep that are drawn together
LEAST = 2.0**-40  # threshold that is as good as 0


@dataclass(frozen=True, slots=True)
class Subsample:
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

    def lighter(self, size: int) -> Subsample:
        """The first so many of rows in random order; where they have weights the heavier the likelier.

        Examples
        --------
        >>> few = Subsample(np.arange(100.0)[:, None], np.append(np.ones(99), 900.0)).lighter(10)
        >>> few.rows[-1], few.weights[-1:], len(few.rows)
        (array([99.]), array([900.]), 10)
        """
        if self.weights is None:
            return Subsample(self.rows[:size], None)
        n = len(self.rows)
        keys = _by_weight(np.arange(1, n + 1) / n, self.weights)
        chosen, weights = prioritized(keys, self.weights, size)
        return Subsample(self.rows[chosen], weights)


@persistent("keyed-rows-1")
@dataclass(frozen=True, slots=True)
class KeyedRows:
    """Rows with their keys."""

    keys: Array
    rows: NDArray[Any]
    weights: Array | None

    def validate(self) -> None:
        """Raise ValueError unless each row has a key, and a weight where there are any."""
        keyed = self.keys.shape == self.rows.shape[:1] and not np.isnan(self.keys).any()
        weighted = self.weights is None or self.weights.shape == self.keys.shape
        if not (keyed and weighted and self.rows.ndim == 2 and self.rows.dtype.kind in "biuf"):
            raise ValueError("rows, keys and weights contradict each other")

    def subsample(self, size: int) -> Subsample:
        """At most ``size`` of the rows, with weights that stand for all that they were drawn from."""
        if self.weights is None:
            return Subsample(self.rows, None)
        chosen, weights = prioritized(self.keys, self.weights, size)
        return Subsample(self.rows[chosen], weights)


@persistent("subsample-1")
@dataclass(frozen=True, slots=True, eq=False)
class SubsampleState:
    """A sample in the middle of its reading.

    Attributes
    ----------
    taken : int
        Waves that were read.
    drawn : KeyedRows or None
        What is kept of them.
    """

    taken: int = 0
    drawn: KeyedRows | None = None


def sample(
    source: Source,
    size: int,
    seed: int,
    since: SubsampleState | None = None,
    watch: Callable[[SubsampleState], None] | None = None,
) -> Subsample:
    """Sample about ``size`` rows, or all where there are no more, reading every chunk once, or those left."""
    threshold = np.inf if source.n_rows is None or source.n_rows <= size else size / source.n_rows
    now = SubsampleState() if since is None else since
    for chunk_group in execution.iter_chunk_groups(source, now.taken):
        drawn = draw_keyed_rows(chunk_group, seed, size, threshold)
        now = SubsampleState(
            now.taken + 1, keep_smallest_keys([*([] if now.drawn is None else [now.drawn]), *drawn], size)
        )
        if watch is not None:
            watch(now)
    kept = now.drawn
    if kept is None:
        raise InputError("X has no rows; pass at least one.")
    if kept.weights is not None and not kept.weights.any():
        raise InputError(NO_WEIGHT)
    return kept.subsample(size)


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


def draw_keyed_rows(chunk_group: ChunkGroup, seed: int, size: int, threshold: float = np.inf) -> list[KeyedRows]:
    """Of each chunk the rows with the smallest keys, as many as a sample has; without weights, those below a key."""
    return execution.map_chunks(chunk_group, _draw, seed, size, threshold)


def _draw(rows: NDArray[Any], weights: Array | None, chunk: Chunk, seed: int, size: int, threshold: float) -> KeyedRows:
    check_weight_count(rows, weights, chunk.index)
    # where chunks are of unknown length each has draws of its own
    first = chunk.index << 40 if chunk.start is None else chunk.start
    chosen: Any = slice(None)
    if weights is not None:
        keys = _by_weight(_keys(seed, first, len(rows), threshold), weights)
    elif threshold < 1.0:
        chosen, keys = _below(seed, first, len(rows), threshold)
    else:
        keys = _keys(seed, first, len(rows), threshold)
    taken = rows[chosen]
    if taken.dtype.kind == "f" and not (np.abs(taken) <= MAX_MAGNITUDE).all():
        raise make_non_finite_error(rows, chunk)
    return keep_smallest_keys([KeyedRows(keys, taken, weights)], size)


def _below(seed: int, first: int, n: int, threshold: float) -> tuple[NDArray[np.intp], Array]:
    """Which of so many rows have uniform keys below a threshold, and these: the others need not be drawn for that.

    They are drawn for blocks of rows that have nothing to do with chunks.
    """
    block = 1 << ceil(log2(OF_A_BLOCK / max(threshold, LEAST)))
    places, keys = [np.empty(0, np.intp)], [np.empty(0)]
    for number in range(first // block, -(-(first + n) // block)):
        random = _random([seed, 1 + number])
        found = np.sort(random.choice(block, random.binomial(block, threshold), replace=False, shuffle=False))
        drawn, found = threshold * random.random(len(found)), found + (number * block - first)
        here = slice(*np.searchsorted(found, (0, n)))
        places.append(found[here])
        keys.append(drawn[here])
    return np.concatenate(places), np.concatenate(keys)


def _keys(seed: int, first: int, n: int, threshold: float) -> Array:
    """So many uniform keys, of which the same are below the threshold."""
    keys = _random([seed], first).random(n)
    if threshold < 1.0:
        places, low = _below(seed, first, n, threshold)
        keys = threshold + (1.0 - threshold) * keys
        keys[places] = low
    return keys


def _random(seed: list[int], after: int = 0) -> np.random.Generator:
    """Draws of their own for each seed, after so many that are of earlier rows."""
    return np.random.Generator(np.random.PCG64(seed).advance(after))


def _by_weight(keys: Array, weights: Array) -> Array:
    """Keys of rows, the smaller the heavier; infinite where there is no weight."""
    divided: Array = np.divide(keys, weights, out=np.full(len(keys), np.inf), where=weights > 0)
    return divided


def keep_smallest_keys(drawn: list[KeyedRows], size: int) -> KeyedRows:
    """Those with the ``size`` smallest keys, in their order; one more where there are weights, which says theirs."""
    keys = np.concatenate([one.keys for one in drawn])
    rows = np.concatenate([one.rows for one in drawn]) if len(drawn) > 1 else drawn[0].rows
    weights = (
        None if drawn[0].weights is None else np.concatenate([one.weights for one in drawn if one.weights is not None])
    )
    size += weights is not None
    if len(keys) <= size:
        return KeyedRows(keys, rows, weights)
    chosen = np.sort(np.argpartition(keys, size)[:size])
    return KeyedRows(keys[chosen], rows[chosen], None if weights is None else weights[chosen])
