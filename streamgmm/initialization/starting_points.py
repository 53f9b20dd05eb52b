"""Starting parameters from a sample of rows: scikit-learn's four ways, with scikit-learn's own k-means.

Given all rows of a small array, the starts are scikit-learn's, draw by draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn import cluster
from sklearn.utils.parallel import _get_threadpool_controller

from streamgmm.data.subsample import Subsample
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import maximize
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics, reduce_products

PEAKS = 256  # rows among which peaks are looked for


def kmeans(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Each row belongs to its nearest k-means centre."""
    model = cluster.KMeans(n_components, n_init=1, random_state=random)
    # OpenMP's threads wait for each other spinning: on a busy machine k-means with two takes a hundred times as long
    with _get_threadpool_controller().limit(limits=1, user_api="openmp"):
        model.fit(squarable(subsample.rows), sample_weight=subsample.weights)
    return _one_hot(model.labels_, n_components)


def random(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Responsibilities are uniform draws."""
    draws = random.uniform(size=(len(subsample.rows), n_components))
    return np.asarray(draws / draws.sum(axis=1, keepdims=True))


def random_from_data(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Every component begins on one row."""
    return _on_rows(_drawn(subsample, n_components, random), len(subsample.rows))


def kmeans_plusplus(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Every component begins on one row, the rows far from each other (Arthur & Vassilvitskii, 2007)."""
    rows = squarable(subsample.rows)
    rows = rows.astype(np.result_type(rows, np.float32))  # scikit-learn squares small integers in their own dtype
    _, chosen = cluster.kmeans_plusplus(rows, n_components, sample_weight=subsample.weights, random_state=random)
    return _on_rows(chosen, len(subsample.rows))


def whitened_kmeans(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """k-means where all directions are of one length."""
    return kmeans(whitened(subsample), n_components, random)


def whitened_seeds(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Each row belongs to the nearest of some that are far from each other, where all directions are of one length."""
    white = whitened(subsample)
    _, chosen = cluster.kmeans_plusplus(white.rows, n_components, sample_weight=white.weights, random_state=random)
    return _nearest(white.rows, chosen)


def seeds(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Each row belongs to the nearest of some rows that are far from each other."""
    rows = squarable(subsample.rows).astype(np.float64)
    rows -= rows.mean(axis=0)  # lest distances cancel
    _, chosen = cluster.kmeans_plusplus(rows, n_components, sample_weight=subsample.weights, random_state=random)
    return _nearest(rows, chosen)


def cells(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Each row belongs to the nearest of some random rows, where all directions are of one length."""
    # with weights also where there are none, lest equal ones draw other rows
    weights = np.ones(len(subsample.rows)) if subsample.weights is None else subsample.weights
    return _nearest(whitened(subsample).rows, _drawn(Subsample(subsample.rows, weights), n_components, random))


def density_peaks(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Each row belongs to the nearest of those that are densest and far from denser ones (Rodriguez & Laio, 2014)."""
    rows = whitened(subsample).rows
    some = np.sort(random.permutation(len(rows))[: max(PEAKS, 2 * n_components)])
    squares = np.maximum(_squared_distances(rows[some], rows[some]), 0.0)
    near = np.partition(squares.ravel(), int(0.02 * squares.size))[int(0.02 * squares.size)]
    densities = np.exp(-squares / (near if near > 1e-9 else 1.0)).sum(axis=1)  # of units that are standard deviations
    densest_first = np.argsort(-densities, kind="stable")
    heights = np.full(len(some), np.inf)  # of the densest
    for rank, place in enumerate(densest_first[1:], 1):
        heights[place] = squares[place, densest_first[:rank]].min()
    peaks = np.argsort(-densities * np.sqrt(heights), kind="stable")[:n_components]
    return _nearest(rows, some[peaks])


SCIKIT_START_METHODS = {
    "kmeans": kmeans,
    "k-means++": kmeans_plusplus,
    "random": random,
    "random_from_data": random_from_data,
}

# In the order in which they are tried: scikit-learn's own first, then such as go wrong elsewhere.
START_METHODS = {
    "kmeans": kmeans,
    "k-means++, whitened": whitened_seeds,
    "kmeans, whitened": whitened_kmeans,
    "k-means++": seeds,
    "density peaks": density_peaks,
    "random rows, whitened": cells,
}


def whitened(subsample: Subsample) -> Subsample:
    """Rows in coordinates in which their covariance is the unit matrix; directions without variance are left out."""
    rows = squarable(subsample.rows).astype(np.float64)
    weights = np.ones(len(rows)) if subsample.weights is None else subsample.weights
    rows = rows - weights @ rows / weights.sum()
    variances, axes = np.linalg.eigh((weights * rows.T) @ rows / weights.sum())
    kept = variances > 1e-12 * max(variances[-1], 0.0)
    if not kept.any():
        return Subsample(rows, subsample.weights)
    return Subsample(rows @ (axes[:, kept] / np.sqrt(variances[kept])), subsample.weights)


def _nearest(rows: Array, chosen: NDArray[np.integer]) -> Array:
    """Each row belongs to the nearest of the chosen ones; these to themselves, also where others equal them."""
    labels = _squared_distances(rows, rows[chosen]).argmin(axis=1)
    labels[chosen] = np.arange(len(chosen))
    return _one_hot(labels, len(chosen))


def _squared_distances(rows: Array, others: Array) -> Array:
    """|x|² − 2·x·y + |y|², shape (n, m); for comparing only, since near rows cancel."""
    distances: Array = (rows**2).sum(axis=1)[:, None] - 2.0 * rows @ others.T + (others**2).sum(axis=1)
    return distances


def _drawn(subsample: Subsample, n_components: int, random: RandomState) -> NDArray[np.integer]:
    """Rows at random, each as likely as its weight; some without where those with one are too few."""
    n, weights = len(subsample.rows), subsample.weights
    if weights is not None and np.count_nonzero(weights) < n_components:
        return np.argsort(weights == 0.0, kind="stable")[:n_components]
    return random.choice(n, size=n_components, replace=False, p=None if weights is None else weights / weights.sum())


def squarable(rows: NDArray[Any]) -> NDArray[Any]:
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
    subsample: Subsample, responsibilities: Array, structure: CovarianceStructure, reg_covar: float
) -> Parameters:
    """M-step on the reservoir, with moments about the means themselves."""
    rows = subsample.rows.astype(np.float64)
    if subsample.weights is not None:
        responsibilities = responsibilities * subsample.weights[:, None]
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
    statistics = Statistics(middle + shifts, counts, sums, reduce_products(products, shape))
    used = int(np.count_nonzero(responsibilities.any(axis=1)))
    return maximize(statistics, structure, reg_covar, effective_rows=used)[0]
