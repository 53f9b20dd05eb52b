"""scikit-learn's k-means many times over, of all its starts at once: of little data, a call of its own takes longer.

The draws are scikit-learn's, and so are the rules: k-means++ with its number of trials (Arthur & Vassilvitskii, 2007),
and Lloyd's steps until no row changes its cluster, or the centres have moved by less than 1e-4 of the variance.
"""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn import cluster
from sklearn.utils.parallel import _get_threadpool_controller

from streamgmm.data.subsample import Subsample
from streamgmm.initialization.starting_points import squarable
from streamgmm.model.parameters import Array

TOL, MOST_STEPS = 1e-4, 300  # scikit-learn's
HELD = 2**22  # entries of rows x clusters of the starts that are gone on with together


def partitions(
    subsample: Subsample, n_components: int, random: RandomState, times: int
) -> tuple[list[Array], list[int]]:
    """Responsibilities as of so many k-means one after another, each partition once; and which of these each found."""
    rows = squarable(subsample.rows).astype(np.float64)
    tol = TOL * float(rows.var(axis=0).mean())
    rows -= rows.mean(axis=0)  # lest distances cancel
    weights = np.ones(len(rows)) if subsample.weights is None else subsample.weights
    trials = 2 + int(np.log(n_components))
    firsts, draws = np.empty(times, np.intp), np.empty((times, n_components - 1, trials))
    for place in range(times):
        firsts[place] = random.choice(len(rows), p=weights / weights.sum())
        draws[place] = random.uniform(size=(n_components - 1, trials))
    found: dict[bytes, int] = {}
    kept: list[Array] = []
    which = []
    at_a_time = max(1, HELD // (len(rows) * n_components))
    for some in range(0, times, at_a_time):
        part = slice(some, some + at_a_time)
        with _get_threadpool_controller().limit(limits=1, user_api="blas"):  # threads that wait spinning help none
            settled = _settled(rows, weights, rows[_far_apart(rows, weights, firsts[part], draws[part])], tol)
        for members in settled:
            # in the order of their first rows, as clusters have no names
            order = np.lexsort([members.argmax(axis=1), ~members.any(axis=1)])
            which.append(found.setdefault(np.packbits(members[order]).tobytes(), len(found)))
            if which[-1] == len(kept):
                kept.append(np.ascontiguousarray(members.T, np.float64))
    return kept, which


def _far_apart(rows: Array, weights: Array, firsts: NDArray[np.intp], draws: Array) -> NDArray[np.intp]:
    """Rows that k-means++ chooses, shape (starts, k): each the best of some, drawn by their squared distances."""
    squares = np.einsum("nj,nj->n", rows, rows)

    def squared_distances(chosen: NDArray[np.intp]) -> Array:
        found: Array = squares - 2.0 * rows[chosen] @ rows.T + squares[chosen][..., None]
        return np.maximum(found, 0.0, out=found)

    starts, chosen = np.arange(len(firsts)), [firsts]
    near = squared_distances(firsts)
    for drawn in np.moveaxis(draws, 1, 0):
        sums = np.cumsum(weights * near, axis=1)
        levels = drawn * (near @ weights)[:, None]
        places = np.stack([one.searchsorted(level) for one, level in zip(sums, levels, strict=True)])
        places = np.minimum(places, len(rows) - 1)
        nearer = np.minimum(squared_distances(places), near[:, None])
        best = (nearer @ weights).argmin(axis=1)
        near = nearer[starts, best]
        chosen.append(places[starts, best])
    return np.stack(chosen, axis=1)


def _settled(rows: Array, weights: Array, centres: Array, tol: float) -> list[NDArray[np.bool_]]:
    """Members of the clusters that Lloyd's steps lead to, shape (k, n) for each start."""
    d = rows.shape[1]
    ones = np.vstack([rows.T, np.ones(len(rows))])
    summed = np.ascontiguousarray((weights * ones).T)
    begun = centres
    ended: dict[int, NDArray[np.bool_]] = {}
    going, before = np.arange(len(centres)), np.zeros((len(centres), 1, 1), bool)
    for step in range(MOST_STEPS):
        members = _nearest(ones, centres)
        sums = (members.reshape(-1, len(rows)).astype(np.float64) @ summed).reshape(*centres.shape[:2], d + 1)
        empty = (sums[..., d] <= 0.0).any(axis=1)
        means = sums[..., :d] / np.where(sums[..., d:] > 0.0, sums[..., d:], 1.0)
        same = (members == before).all(axis=(1, 2)) if step else np.zeros(len(going), bool)
        near = ((means - centres) ** 2).sum(axis=(1, 2)) <= tol
        if step == MOST_STEPS - 1:
            near[:] = True
        ended.update((int(going[place]), members[place]) for place in np.flatnonzero(same & ~empty))
        for place in np.flatnonzero(near & ~same & ~empty):
            ended[int(going[place])] = _nearest(ones, means[place : place + 1])[0]
        for place in np.flatnonzero(empty):
            ended[int(going[place])] = _by_scikit_learn(rows, weights, begun[going[place]])
        on = ~(same | near | empty)
        if not on.any():
            break
        going, centres, before = going[on], means[on], members[on]
    return [ended[place] for place in range(len(ended))]


def _nearest(ones: Array, centres: Array) -> NDArray[np.bool_]:
    """Which rows are nearest to each centre, shape (starts, k, n); ``ones`` are the rows, transposed, and ones."""
    k = centres.shape[1]
    lines = np.concatenate([-2.0 * centres, np.einsum("skj,skj->sk", centres, centres)[..., None]], axis=2)
    distances = (lines.reshape(-1, len(ones)) @ ones).reshape(len(centres), k, -1)
    members: NDArray[np.bool_] = distances == distances.min(axis=1, keepdims=True)
    if np.count_nonzero(members) > len(centres) * ones.shape[1]:  # the first of those that are equally near
        members = distances.argmin(axis=1)[:, None] == np.arange(k)[:, None]
    return members


def _by_scikit_learn(rows: Array, weights: Array, centres: Array) -> NDArray[np.bool_]:
    """The same by scikit-learn, which moves the centres of empty clusters elsewhere."""
    k = len(centres)
    model = cluster.KMeans(k, init=centres, n_init=1).fit(rows, sample_weight=weights)
    labels: NDArray[np.bool_] = model.labels_ == np.arange(k)[:, None]
    return labels
