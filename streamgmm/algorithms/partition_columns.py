"""Entries of incremental EM as a few large arrays: thousands of small ones would take longer than the fit may wait.

Of symmetric products the triangles are kept, which are little more than half of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from streamgmm.algorithms.incremental import IncrementalState, leaves, placed
from streamgmm.algorithms.stepwise import StepwiseState
from streamgmm.model.em import Expectation
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array
from streamgmm.model.statistics import Statistics, is_products_shape


@dataclass(frozen=True, slots=True, eq=False)
class EntryColumns:
    """Entries, one row each."""

    origins: Array  # of shape (k, d) where all have the same, else (n, k, d)
    places: NDArray[np.int64]
    counts: Array
    sums: Array
    products: Array  # of symmetric matrices (d, d) the d·(d+1)/2 numbers of a triangle, line by line
    tallies: Array
    rows: NDArray[np.int64]
    versions: NDArray[np.int64]  # -1 for None

    def agree(self) -> bool:
        """Whether these are columns of entries of one number of components and features, and finite."""
        n = len(self.places)
        if not self.places.shape == self.rows.shape == self.versions.shape == (n,):
            return False
        if not all((column >= 0).all() for column in (self.places, self.rows, self.versions + 1)):
            return False
        if n == 0:
            return all(column.shape == (0,) for column in (self.counts, self.sums, self.products, self.tallies))
        if self.sums.ndim != 3 or self.tallies.shape != (n, 4):
            return False
        _, k, d = self.sums.shape
        shape, triangles = self.products.shape[1:], ((k, _triangle(d)), (1, _triangle(d)))
        shapes_agree = (
            self.counts.shape == (n, k)
            and self.sums.shape[0] == n == len(self.products)
            and (shape in triangles or is_products_shape(shape, k, d))
            and self.origins.shape in ((k, d), (n, k, d))
        )
        moments = (self.origins, self.counts, self.sums, self.products)
        return shapes_agree and all(np.isfinite(column).all() for column in moments)


@dataclass(frozen=True, slots=True, eq=False)
class TreeColumns:
    """State of incremental EM, whose tree is made anew."""

    origin: Array
    kept: EntryColumns
    moving: StepwiseState | None
    visited: EntryColumns

    @classmethod
    def of(cls, state: IncrementalState) -> TreeColumns:
        """The columns of a state."""
        return cls(state.origin, _columns(leaves(state), state.origin), state.moving, _columns(state.visited))

    def entries(self) -> IncrementalState:
        """The state."""
        state = IncrementalState(self.origin, moving=self.moving, visited=tuple(_rows_of(self.visited)))
        return placed(state, dict(_rows_of(self.kept)))


def _columns(entries: Sequence[tuple[int, Expectation]], origin: Array | None = None) -> EntryColumns:
    statistics = [entry.statistics for _, entry in entries]
    tallies = [entry.likelihood for _, entry in entries]
    return EntryColumns(
        np.array([part.origin for part in statistics]) if origin is None else origin,
        np.array([place for place, _ in entries], np.int64),
        np.array([part.counts for part in statistics]),
        np.array([part.sums for part in statistics]),
        _without_mirrors([part.products for part in statistics]),
        np.array([(tally.total, tally.entropy, tally.classification, tally.weight) for tally in tallies]),
        np.array([tally.rows for tally in tallies], np.int64),
        np.array([-1 if tally.version is None else tally.version for tally in tallies], np.int64),
    )


def _rows_of(columns: EntryColumns) -> Iterator[tuple[int, Expectation]]:
    """What `_columns` made arrays of."""
    shared = columns.origins.ndim == 2
    numbers = (columns.places.tolist(), columns.tallies.tolist(), columns.rows.tolist(), columns.versions.tolist())
    products = columns.products
    if products.ndim == 3 and products.shape[2] not in (1, columns.sums.shape[2]):
        products = _mirrored(products)
    moments = (columns.counts, columns.sums, products)
    for turn, (place, tally, n, version) in enumerate(zip(*numbers, strict=True)):
        origin = columns.origins if shared else columns.origins[turn]
        total, entropy, classification, weight = tally
        likelihood = LogLikelihood(total, entropy, classification, weight, n, None if version < 0 else version)
        yield place, Expectation(Statistics(origin, *(part[turn] for part in moments)), likelihood)


def _triangle(d: int) -> int:
    return d * (d + 1) // 2


def _without_mirrors(products: Sequence[Array]) -> Array:
    """Products of all entries, (n, ..., d, d) as (n, ..., d·(d+1)/2) where they are symmetric to the bit."""
    whole = np.array(products)
    if whole.ndim < 4 or whole.shape[-1] == 1:
        return whole
    n, k, d, _ = whole.shape
    lines, columns = np.tril_indices(d)
    flat = whole.reshape(-1, d * d)
    triangles = flat.take(d * lines + columns, axis=1)
    symmetric = np.array_equal(triangles, flat.take(d * columns + lines, axis=1))
    return triangles.reshape(n, k, -1) if symmetric else whole


def _mirrored(triangles: Array) -> Array:
    """The inverse of `_without_mirrors`."""
    d = (isqrt(8 * triangles.shape[2] + 1) - 1) // 2
    lines, columns = np.tril_indices(d)
    whole = np.empty((*triangles.shape[:2], d, d))
    whole[:, :, lines, columns] = triangles
    whole[:, :, columns, lines] = triangles
    return whole
