"""Starting parameters from a sample of rows: scikit-learn's four ways, with scikit-learn's own k-means.

Given all rows of a small array, the starts are scikit-learn's, draw by draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn import cluster

from streamgmm.covariances import CovarianceStructure
from streamgmm.em import maximize
from streamgmm.initialization.reservoir import Reservoir
from streamgmm.parameters import Array, Parameters
from streamgmm.statistics import Statistics, reduced


def kmeans(reservoir: Reservoir, n_components: int, random: RandomState) -> Array:
    """Each row belongs to its nearest k-means centre."""
    model = cluster.KMeans(n_components, n_init=1, random_state=random)
    return _one_hot(model.fit(_squarable(reservoir.rows), sample_weight=reservoir.weights).labels_, n_components)


def random(reservoir: Reservoir, n_components: int, random: RandomState) -> Array:
    """Responsibilities are uniform draws."""
    draws = random.uniform(size=(len(reservoir.rows), n_components))
    return np.asarray(draws / draws.sum(axis=1, keepdims=True))


def random_from_data(reservoir: Reservoir, n_components: int, random: RandomState) -> Array:
    """Every component begins on one row."""
    n = len(reservoir.rows)
    if reservoir.weights is None:
        chosen = random.choice(n, size=n_components, replace=False)
    else:
        chosen = random.choice(n, size=n_components, replace=False, p=reservoir.weights / reservoir.weights.sum())
    return _on_rows(chosen, n)


def kmeans_plusplus(reservoir: Reservoir, n_components: int, random: RandomState) -> Array:
    """Every component begins on one row, the rows far from each other (Arthur & Vassilvitskii, 2007)."""
    rows = _squarable(reservoir.rows)
    _, chosen = cluster.kmeans_plusplus(rows, n_components, sample_weight=reservoir.weights, random_state=random)
    return _on_rows(chosen, len(reservoir.rows))


WAYS = {"kmeans": kmeans, "k-means++": kmeans_plusplus, "random": random, "random_from_data": random_from_data}


def _squarable(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows as they are, or times a power of two where k-means could not square them in their dtype."""
    largest = float(np.abs(rows).max()) if rows.dtype.kind == "f" else 1.0
    if largest == 0.0 or 1e-15 <= largest <= 1e15:
        return rows
    return np.ldexp(rows.astype(np.float64), -int(np.frexp(largest)[1]))


def _one_hot(labels: NDArray[np.integer], n_components: int) -> Array:
    responsibilities: Array = np.eye(n_components)[labels]
    return responsibilities


def _on_rows(chosen: NDArray[np.integer], n_rows: int) -> Array:
    responsibilities = np.zeros((n_rows, len(chosen)))
    responsibilities[chosen, np.arange(len(chosen))] = 1.0
    return responsibilities


def start(
    reservoir: Reservoir, responsibilities: Array, structure: CovarianceStructure, reg_covar: float
) -> Parameters:
    """M-step on the reservoir, with moments about the means themselves."""
    rows = reservoir.rows.astype(np.float64)
    if reservoir.weights is not None:
        responsibilities = responsibilities * reservoir.weights[:, None]
    counts = responsibilities.sum(axis=0)
    middle = rows.mean(axis=0)
    centred = rows - middle
    shifts = responsibilities.T @ centred / np.where(counts > 0, counts, 1.0)[:, None]
    shape = structure.shape(*shifts.shape)
    sums, products = np.empty_like(shifts), np.empty((len(shifts), *shape[1:]) if len(shape) == 3 else shifts.shape)
    for k, shift in enumerate(shifts):
        member = responsibilities[:, k] > 0
        around, weights = centred[member] - shift, responsibilities[member, k]
        sums[k] = weights @ around
        products[k] = (weights[:, None] * around).T @ around if len(shape) == 3 else weights @ around**2
    statistics = Statistics(middle + shifts, counts, sums, reduced(products, shape))
    used = int(np.count_nonzero(responsibilities.any(axis=1)))
    return maximize(statistics, structure, reg_covar, effective_rows=used)[0]
