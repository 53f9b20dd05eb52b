"""Start methods: responsibilities of some rows, from which an M-step makes starting parameters.

On all rows of a small array, k-means and the other methods of scikit-learn give scikit-learn's own starts, draw by
draw.
"""

from __future__ import annotations

from collections.abc import Callable
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

PEAK_ROWS = 256  # rows among which density peaks are searched

StartMethod = Callable[[Subsample, int, RandomState], Array]
"""Function of rows, number of components k and random generator that returns responsibilities, shape (n, k)."""


def kmeans(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Assign each row to its nearest k-means centre."""
    model = cluster.KMeans(n_components, n_init=1, random_state=random)
    # OpenMP threads spin while they wait: on a busy machine k-means with two threads takes a hundred times as long
    with _get_threadpool_controller().limit(limits=1, user_api="openmp"):
        model.fit(scale_to_square(subsample.rows), sample_weight=subsample.weights)
    return _one_hot(model.labels_, n_components)


def kmeans_plusplus(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Begin every component on one row, with rows far from each other (Arthur & Vassilvitskii, 2007)."""
    rows = scale_to_square(subsample.rows)
    rows = rows.astype(np.result_type(rows, np.float32))  # scikit-learn squares small integers in their own dtype
    _, chosen = cluster.kmeans_plusplus(rows, n_components, sample_weight=subsample.weights, random_state=random)
    return _on_rows(chosen, len(subsample.rows))


def random(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Draw uniform responsibilities."""
    draws = random.uniform(size=(len(subsample.rows), n_components))
    return np.asarray(draws / draws.sum(axis=1, keepdims=True))


def random_from_data(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Begin every component on one random row."""
    return _on_rows(_draw_rows(subsample, n_components, random), len(subsample.rows))


def seeds(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Assign each row to the nearest of the rows that k-means++ chooses."""
    rows = scale_to_square(subsample.rows).astype(np.float64)
    rows -= rows.mean(axis=0)  # distances would cancel far from zero
    _, chosen = cluster.kmeans_plusplus(rows, n_components, sample_weight=subsample.weights, random_state=random)
    return _assign_to_nearest(rows, chosen)


def random_rows(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Assign each row to the nearest of some random rows."""
    # explicit weights of 1, so that equal weights draw the same rows
    chosen = _draw_rows(Subsample(subsample.rows, subsample.row_weights), n_components, random)
    return _assign_to_nearest(subsample.rows, chosen)


def density_peaks(subsample: Subsample, n_components: int, random: RandomState) -> Array:
    """Assign each row to the nearest density peak: dense, and far from denser rows (Rodriguez & Laio, 2014)."""
    rows = subsample.rows
    some = np.sort(random.permutation(len(rows))[: max(PEAK_ROWS, 2 * n_components)])
    squares = np.maximum(_squared_distances(rows[some], rows[some]), 0.0)
    near = np.partition(squares.ravel(), int(0.02 * squares.size))[int(0.02 * squares.size)]
    densities = np.exp(-squares / (near if near > 1e-9 else 1.0)).sum(axis=1)
    densest_first = np.argsort(-densities, kind="stable")
    heights = np.full(len(some), np.inf)  # squared distances from the nearest denser row
    for rank, index in enumerate(densest_first[1:], 1):
        heights[index] = squares[index, densest_first[:rank]].min()
    peaks = np.argsort(-densities * np.sqrt(heights), kind="stable")[:n_components]
    return _assign_to_nearest(rows, some[peaks])


START_METHODS: dict[str, StartMethod] = {
    "kmeans": kmeans,
    "k-means++": kmeans_plusplus,
    "random": random,
    "random_from_data": random_from_data,
}
"""Start methods that ``init_params`` names, as in scikit-learn."""

MULTISTART_METHODS: dict[str, tuple[StartMethod, bool]] = {
    "kmeans": (kmeans, False),
    "k-means++, whitened": (seeds, True),
    "kmeans, whitened": (kmeans, True),
    "k-means++": (seeds, False),
    "density peaks": (density_peaks, True),
    "random rows, whitened": (random_rows, True),
}
"""Start methods that multi-start tries in turn, and whether on whitened rows.

scikit-learn's default comes first, then methods that fail on other data.
"""


def repeat_kmeans(
    subsample: Subsample, n_components: int, random: RandomState, times: int
) -> tuple[list[Array], list[int]]:
    """Run k-means several times; return its different partitions, and which of them each run found."""
    rows = scale_to_square(subsample.rows).astype(np.float64)
    partitions: dict[bytes, tuple[int, Array]] = {}
    partition_of_run = []
    for _ in range(times):
        responsibilities = kmeans(Subsample(rows, subsample.weights), n_components, random)
        _, first_rows, names = np.unique(responsibilities.argmax(axis=1), return_index=True, return_inverse=True)
        key = np.argsort(np.argsort(first_rows))[names].tobytes()  # labels in the order of their first rows
        partition_of_run.append(partitions.setdefault(key, (len(partitions), responsibilities))[0])
    return [responsibilities for _, responsibilities in partitions.values()], partition_of_run


def estimate_start(
    subsample: Subsample, responsibilities: Array, structure: CovarianceStructure, reg_covar: float
) -> Parameters:
    """Compute starting parameters by an M-step on the rows, with moments about the new means."""
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
        deviations, weights = centred[member] - shift, responsibilities[member, k]
        sums[k] = weights @ deviations
        weighted = weights[:, None] * deviations
        products[k] = weighted.T @ deviations if len(shape) == 3 else weights @ deviations**2
    statistics = Statistics(middle + shifts, counts, sums, reduce_products(products, shape))
    used = int(np.count_nonzero(responsibilities.any(axis=1)))
    return maximize(statistics, structure, reg_covar, effective_rows=used)[0]


def whiten(subsample: Subsample) -> Subsample:
    """Return rows whose covariance is the unit matrix; directions without variance are dropped."""
    rows = scale_to_square(subsample.rows).astype(np.float64)
    weights = subsample.row_weights
    rows = rows - weights @ rows / weights.sum()
    variances, axes = np.linalg.eigh((weights * rows.T) @ rows / weights.sum())
    kept = variances > 1e-12 * max(variances[-1], 0.0)
    if not kept.any():
        return Subsample(rows, subsample.weights)
    return Subsample(rows @ (axes[:, kept] / np.sqrt(variances[kept])), subsample.weights)


def scale_to_square(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the rows, times a power of two where k-means could not square them in their dtype."""
    largest = float(np.abs(rows).max()) if rows.dtype.kind == "f" else 1.0
    if largest == 0.0 or 1e-15 <= largest <= 1e15:
        return rows
    return np.ldexp(rows.astype(np.float64), -int(np.frexp(largest)[1]))


def _draw_rows(subsample: Subsample, n_components: int, random: RandomState) -> NDArray[np.integer]:
    """Draw row indices with the probabilities of the weights; rows without weight where those with one are too few."""
    n, weights = len(subsample.rows), subsample.weights
    if weights is not None and np.count_nonzero(weights) < n_components:
        return np.argsort(weights == 0.0, kind="stable")[:n_components]
    return random.choice(n, size=n_components, replace=False, p=None if weights is None else weights / weights.sum())


def _assign_to_nearest(rows: Array, chosen: NDArray[np.integer]) -> Array:
    """Assign rows to the nearest chosen row; a chosen row to itself, even if another chosen row equals it."""
    labels = _squared_distances(rows, rows[chosen]).argmin(axis=1)
    labels[chosen] = np.arange(len(chosen))
    return _one_hot(labels, len(chosen))


def _squared_distances(rows: Array, others: Array) -> Array:
    """|x|² − 2·x·y + |y|², shape (n, m); good for comparisons only, since near rows cancel."""
    distances: Array = (rows**2).sum(axis=1)[:, None] - 2.0 * rows @ others.T + (others**2).sum(axis=1)
    return distances


def _one_hot(labels: NDArray[np.integer], n_components: int) -> Array:
    responsibilities: Array = np.eye(n_components)[labels]
    return responsibilities


def _on_rows(chosen: NDArray[np.integer], n_rows: int) -> Array:
    responsibilities = np.zeros((n_rows, len(chosen)))
    responsibilities[chosen, np.arange(len(chosen))] = 1.0
    return responsibilities
