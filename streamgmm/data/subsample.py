"""Random subsample of a source, small enough for memory, drawn in one pass.

Every row draws a key from (seed, row index), and the rows with the smallest keys are kept. So the subsample depends
neither on chunks nor on the order of reading, and rows that all fit are kept in their order. Keys are divided by the
sample weights (priority sampling: Duffield, Lund & Thorup, 2007): where a few rows have most of the weight, as a few
colours are most of an image, a uniform subsample would miss them.
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

KEYS_PER_BLOCK = 1_024  # expected number of rows that are selected in one call of the random generator
SMALLEST_THRESHOLD = 2.0**-40  # keeps the size of a block finite


@dataclass(frozen=True, slots=True)
class Subsample:
    """Sampled rows in storage order."""

    rows: NDArray[Any]  # (m, d), in the dtype of the source
    weights: Array | None  # (m,); their sums over the subsample estimate sums over all rows

    @property
    def row_weights(self) -> Array:
        """Sample weights; ones if there are none."""
        return np.ones(len(self.rows)) if self.weights is None else self.weights

    def take(self, index: slice | NDArray[Any]) -> Subsample:
        """Return the rows at these positions, with their weights."""
        return Subsample(self.rows[index], None if self.weights is None else self.weights[index])

    def thin(self, size: int) -> Subsample:
        """Return the first ``size`` of rows in random order; with weights, heavier rows are likelier.

        Examples
        --------
        >>> few = Subsample(np.arange(100.0)[:, None], np.append(np.ones(99), 900.0)).thin(10)
        >>> few.rows[-1], few.weights[-1:], len(few.rows)
        (array([99.]), array([900.]), 10)
        """
        if self.weights is None:
            return self.take(slice(size))
        keys = np.arange(1, len(self.rows) + 1) / len(self.rows)
        return KeyedRows(_divide_by_weights(keys, self.weights), self.rows, self.weights).subsample(size)


@persistent("keyed-rows-1")
@dataclass(frozen=True, slots=True)
class KeyedRows:
    """Rows with their random keys; keys are divided by the weights, if there are any."""

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
        """Return at most ``size`` rows with the smallest keys, and weights that stand for all rows drawn from.

        Each light row stands for the reciprocal of the next larger key; a heavier row keeps its own weight.
        """
        if self.weights is None or len(self.keys) <= size:
            return Subsample(self.rows, self.weights)
        order = np.argpartition(self.keys, size)
        chosen = np.sort(order[:size])
        # 0 where all other rows have no weight
        return Subsample(self.rows[chosen], np.maximum(self.weights[chosen], 1.0 / self.keys[order[size]]))


@persistent("subsample-1")
@dataclass(frozen=True, slots=True, eq=False)
class SubsampleState:
    """State of a pass that draws a subsample."""

    taken: int = 0  # chunk groups read
    drawn: KeyedRows | None = None


def draw_subsample(
    source: Source,
    size: int,
    seed: int,
    state: SubsampleState | None = None,
    watch: Callable[[SubsampleState], None] | None = None,
) -> Subsample:
    """Draw at most ``size`` rows, about as many if there are more, in one pass or the rest of an interrupted one.

    ``watch`` receives the state after each chunk group. Raises InputError if no row has a weight.
    """
    threshold = np.inf if source.n_rows is None or source.n_rows <= size else size / source.n_rows
    state = state or SubsampleState()
    for chunk_group in execution.iter_chunk_groups(source, state.taken):
        drawn = draw_keyed_rows(chunk_group, seed, size, threshold)
        kept = keep_smallest_keys([*([] if state.drawn is None else [state.drawn]), *drawn], size)
        state = SubsampleState(state.taken + 1, kept)
        if watch is not None:
            watch(state)
    if state.drawn is None:
        raise InputError(execution.NO_ROWS)
    if state.drawn.weights is not None and not state.drawn.weights.any():
        raise InputError(NO_WEIGHT)
    return state.drawn.subsample(size)


def draw_keyed_rows(chunk_group: ChunkGroup, seed: int, size: int, threshold: float = np.inf) -> list[KeyedRows]:
    """Draw the ``size`` rows with the smallest keys from each chunk; without weights, only keys below a threshold."""
    return execution.map_chunks(chunk_group, _draw, seed, size, threshold)


def keep_smallest_keys(parts: list[KeyedRows], size: int) -> KeyedRows:
    """Keep the ``size`` rows with the smallest keys, in order; with weights one more, see `KeyedRows.subsample`."""
    keys = np.concatenate([part.keys for part in parts])
    rows = np.concatenate([part.rows for part in parts]) if len(parts) > 1 else parts[0].rows
    has_weights = parts[0].weights is not None
    weights = np.concatenate([part.weights for part in parts if part.weights is not None]) if has_weights else None
    size += has_weights
    if len(keys) <= size:
        return KeyedRows(keys, rows, weights)
    chosen = np.sort(np.argpartition(keys, size)[:size])
    return KeyedRows(keys[chosen], rows[chosen], None if weights is None else weights[chosen])


def _draw(rows: NDArray[Any], weights: Array | None, chunk: Chunk, seed: int, size: int, threshold: float) -> KeyedRows:
    check_weight_count(rows, weights, chunk.index)
    # chunks of unknown length draw from streams of their own
    first = chunk.index << 40 if chunk.start is None else chunk.start
    chosen: Any = slice(None)
    if weights is not None:
        keys = _divide_by_weights(_draw_keys(seed, first, len(rows), threshold), weights)
    elif threshold < 1.0:
        chosen, keys = _draw_keys_below(seed, first, len(rows), threshold)
    else:
        keys = _draw_keys(seed, first, len(rows), threshold)
    taken = rows[chosen]
    if taken.dtype.kind == "f" and not (np.abs(taken) <= MAX_MAGNITUDE).all():
        raise make_non_finite_error(rows, chunk)
    return keep_smallest_keys([KeyedRows(keys, taken, weights)], size)


def _draw_keys_below(seed: int, first: int, n: int, threshold: float) -> tuple[NDArray[np.intp], Array]:
    """Draw which of ``n`` rows have uniform keys below a threshold, and these keys, without drawing the others.

    Draws are made for blocks of row indices that do not depend on chunks.
    """
    block = 1 << ceil(log2(KEYS_PER_BLOCK / max(threshold, SMALLEST_THRESHOLD)))
    positions, keys = [np.empty(0, np.intp)], [np.empty(0)]
    for number in range(first // block, -(-(first + n) // block)):
        random = _generator([seed, 1 + number])
        chosen = np.sort(random.choice(block, random.binomial(block, threshold), replace=False, shuffle=False))
        drawn = threshold * random.random(len(chosen))
        chosen += number * block - first
        inside = slice(*np.searchsorted(chosen, (0, n)))
        positions.append(chosen[inside])
        keys.append(drawn[inside])
    return np.concatenate(positions), np.concatenate(keys)


def _draw_keys(seed: int, first: int, n: int, threshold: float) -> Array:
    """Draw ``n`` uniform keys; those below the threshold are the ones of `_draw_keys_below`."""
    keys = _generator([seed], first).random(n)
    if threshold < 1.0:
        positions, low = _draw_keys_below(seed, first, n, threshold)
        keys = threshold + (1.0 - threshold) * keys
        keys[positions] = low
    return keys


def _generator(seed: list[int], skip: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed).advance(skip))


def _divide_by_weights(keys: Array, weights: Array) -> Array:
    divided: Array = np.divide(keys, weights, out=np.full(len(keys), np.inf), where=weights > 0)
    return divided
