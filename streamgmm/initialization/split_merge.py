"""Split and merge moves from one optimum of EM to a better one, as in SMEM (Ueda, Nakano, Ghahramani & Hinton, 2000).

Pairs to merge are ranked by moments alone, with Runnalls' bound on the divergence (2007), "Kullback-Leibler approach to
Gaussian mixture reduction"; no affine map of the data changes it. Components to split are ranked by what EM with two
components gains on their own rows, which is Ueda's local divergence from the best local density.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization import search_settings
from streamgmm.initialization.validation import ValidationSplit, drop_degenerate
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import maximize
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics, expand_covariances, reduce_products

PAIR_ENTRIES = 2**20  # entries of pair covariances that are in memory at a time


@dataclass(frozen=True, slots=True, eq=False)
class ComponentArrays:
    """Components of a mixture, each with a covariance of its own even if the family shares it."""

    weights: Array  # (k,)
    means: Array  # (k, d)
    covariances: Array  # (k, d, d), or variances (k, d) in the diagonal families

    @classmethod
    def from_parameters(cls, parameters: Parameters) -> ComponentArrays:
        """Return the components of a mixture."""
        covariances = expand_covariances(parameters.covariances, *parameters.means.shape)
        return cls(parameters.weights, parameters.means, covariances)

    @classmethod
    def from_rows(
        cls, rows: Array, weights: Array, structure: CovarianceStructure, reg_covar: float
    ) -> ComponentArrays:
        """Return one component of weight 1 with the moments of some rows."""
        d = rows.shape[1]
        shares = weights / weights.sum()
        mean = shares @ rows
        deviations = rows - mean
        if len(structure.shape(1, d)) == 3:
            return cls(np.ones(1), mean[None], ((shares * deviations.T) @ deviations + reg_covar * np.eye(d))[None])
        return cls(np.ones(1), mean[None], (shares @ deviations**2 + reg_covar)[None])

    def drop(self, *indices: int) -> ComponentArrays:
        """Return the other components."""
        kept = np.setdiff1d(np.arange(len(self.weights)), indices)
        return ComponentArrays(self.weights[kept], self.means[kept], self.covariances[kept])

    def append(self, others: ComponentArrays, weight: float = 1.0) -> ComponentArrays:
        """Return these and other components, whose weights are multiplied by ``weight``."""
        return ComponentArrays(
            np.concatenate([self.weights, weight * others.weights]),
            np.concatenate([self.means, others.means]),
            np.concatenate([self.covariances, others.covariances]),
        )

    def merge_pair(self, i: int, j: int) -> ComponentArrays:
        """Return one component with the moments of two, and with their weight."""
        weights = self.weights[[i, j]]
        shares = weights / weights.sum()
        mean = shares @ self.means[[i, j]]
        deviations = self.means[[i, j]] - mean
        between = (shares * deviations.T) @ deviations if self.covariances.ndim == 3 else shares @ deviations**2
        covariance = np.tensordot(shares, self.covariances[[i, j]], axes=1) + between
        return ComponentArrays(np.array([weights[0] + weights[1]]), mean[None], covariance[None])

    def merge(self, i: int, j: int) -> ComponentArrays:
        """Return the components with two of them merged; the merged component is the last."""
        return self.drop(i, j).append(self.merge_pair(i, j))

    def halve(self, index: int) -> ComponentArrays:
        """Return two components of total weight 1 with the moments of one, apart along its longest axis."""
        own, distance = self.covariances[index], search_settings.SEARCH.split_distance
        if own.ndim == 2:
            values, axes = np.linalg.eigh(own)
            step = distance * np.sqrt(max(values[-1], 0.0)) * axes[:, -1]
            rest = own - step[:, None] * step
        else:
            step = np.where(np.arange(len(own)) == own.argmax(), distance * np.sqrt(own), 0.0)
            rest = own - step**2
        means = self.means[index] + np.array([[1.0], [-1.0]]) * step
        return ComponentArrays(np.full(2, 0.5), means, np.stack([rest, rest]))

    def to_parameters(self, structure: CovarianceStructure) -> Parameters:
        """Return the mixture of a family with these moments.

        Raises
        ------
        DegenerateError
            A covariance is not positive definite.
        """
        products = self.weights.reshape(-1, *[1] * (self.covariances.ndim - 1)) * self.covariances
        products = reduce_products(products, structure.shape(*self.means.shape))
        statistics = Statistics(self.means, self.weights, np.zeros_like(self.means), products)
        return maximize(statistics, structure, effective_rows=1.0 / np.finfo(np.float64).eps)[0]


def rank_merges(components: ComponentArrays, pairs: NDArray[np.integer] | None = None) -> list[tuple[float, int, int]]:
    """Return (loss, i, j) of every pair, or of these pairs, least loss first.

    The loss bounds the divergence of the merged mixture from the original one, nats a row.
    """
    k = len(components.weights)
    pairs = np.column_stack(np.triu_indices(k, 1)) if pairs is None else pairs
    log_determinants, ranked = _log_determinants(components.covariances), []
    at_a_time = max(1, PAIR_ENTRIES // components.covariances[0].size)
    for some in np.array_split(pairs, max(1, -(-len(pairs) // at_a_time))):
        i, j = some.T
        weights = components.weights[i] + components.weights[j]
        shares = components.weights[i] / np.maximum(weights, np.finfo(np.float64).tiny)
        steps = components.means[i] - components.means[j]
        squares = steps[:, :, None] * steps[:, None, :] if components.covariances.ndim == 3 else steps**2
        shares = shares.reshape(-1, *[1] * (squares.ndim - 1))
        merged = shares * components.covariances[i] + (1.0 - shares) * components.covariances[j]
        merged += shares * (1.0 - shares) * squares
        apart = components.weights[i] * log_determinants[i] + components.weights[j] * log_determinants[j]
        losses = 0.5 * (weights * _log_determinants(merged) - apart)
        ranked += list(zip(losses.tolist(), i.tolist(), j.tolist(), strict=True))
    return sorted(ranked)


def _log_determinants(covariances: Array) -> Array:
    if covariances.ndim == 2:
        return np.asarray(np.log(covariances).sum(axis=1))
    return np.asarray(np.linalg.slogdet(covariances)[1])


def rank_splits(parameters: Parameters, split: ValidationSplit) -> list[tuple[float, int, ComponentArrays]]:
    """Return (gain, index, halves) of every component that can be split, largest gain first.

    The gain is that of the whole mixture, nats a training row; the halves have a total weight of 1.
    """
    weights = split.training.row_weights / split.training.row_weights.mean()
    rows = split.training.rows.astype(np.float64)
    joint = log_joint(rows, parameters)
    responsibilities = np.exp(joint - joint.max(axis=1, keepdims=True))
    responsibilities /= responsibilities.sum(axis=1, keepdims=True)
    ranked = []
    for index, shares in enumerate(responsibilities.T):
        own = np.flatnonzero(shares > search_settings.SEARCH.min_responsibility)
        halves = _fit_halves(rows[own], shares[own] * weights[own], split)
        if halves is not None:
            ranked.append((halves[0] / len(rows), index, halves[1]))
    return sorted(ranked, key=lambda candidate: -candidate[0])


def _fit_halves(rows: Array, weights: Array, split: ValidationSplit) -> tuple[float, ComponentArrays] | None:
    """Fit two components to some rows; return the gain over one component, nats, or None if that is impossible."""
    least = 2 * (rows.shape[1] + 1)
    if weights.sum() < least or len(rows) < least:
        return None
    whole = ComponentArrays.from_rows(rows, weights, split.structure, split.reg_covar)
    try:
        one, two = whole.to_parameters(split.structure), whole.halve(0).to_parameters(split.structure)
    except (DegenerateError, np.linalg.LinAlgError):
        return None
    local = ValidationSplit.from_all_rows(Subsample(rows, weights), split.structure, split.reg_covar)
    (fitted,) = local.run_em([two], search_settings.SEARCH.split_passes)
    if fitted is None:
        return None
    before, after = (np.logaddexp.reduce(log_joint(rows, mixture), axis=1) for mixture in (one, fitted))
    return float(weights @ (after - before)), ComponentArrays.from_parameters(fitted)


def log_joint(rows: Array, parameters: Parameters) -> Array:
    """Compute log π_k + log N(x | μ_k, Σ_k), shape (n, k), nats."""
    factors = parameters.precision_factors
    joint = np.empty((len(rows), parameters.n_components))
    for k, mean in enumerate(parameters.means):
        factor = factors[k % len(factors)]
        whitened = (rows - mean) @ factor if factors.ndim == 3 else (rows - mean) * factor
        joint[:, k] = -0.5 * np.einsum("nj,nj->n", whitened, whitened)
    return joint + parameters.constants


def propose_moves(parameters: Parameters, split: ValidationSplit) -> Iterator[Parameters]:
    """Yield mixtures in which two components are merged and another is split, the most promising first."""
    components = ComponentArrays.from_parameters(parameters)
    splits = rank_splits(parameters, split)
    merges = rank_merges(components)[: 2 * parameters.n_components]
    ranked = sorted(
        (
            (gain - loss, number, i, j)
            for number, (gain, index, _) in enumerate(splits)
            for loss, i, j in merges
            if index not in (i, j)
        ),
        reverse=True,
    )
    for _, number, i, j in ranked:
        _, index, halves = splits[number]
        moved = components.drop(i, j, index).append(components.merge_pair(i, j))
        try:
            yield moved.append(halves, float(components.weights[index])).to_parameters(split.structure)
        except DegenerateError:
            continue


def split_and_merge(
    parameters: Parameters, split: ValidationSplit, whole: ValidationSplit, max_rounds: int
) -> tuple[Parameters, list[float]]:
    """Move between optima as long as that helps; return the best mixture and the gains, nats a row.

    Moves are found on the rows of ``split`` and accepted if they are better on those of ``whole``.
    """
    score = float(whole.score_on_validation([parameters])[0])
    gains: list[float] = []
    while len(gains) < max_rounds:
        moves = list(islice(propose_moves(parameters, split), search_settings.SEARCH.moves_per_round))
        better = try_moves(moves, score, split, whole)
        if not better:
            break
        best, parameters = max(better, key=lambda scored: scored[0])
        gains.append(best - score)
        score = best
    return parameters, gains


def try_moves(
    moves: list[Parameters], score: float, split: ValidationSplit, whole: ValidationSplit
) -> list[tuple[float, Parameters]]:
    """Run EM from moves, a few passes on ``split``, then the best on ``whole``; return those that exceed a score."""
    search = search_settings.SEARCH
    tried = drop_degenerate(split.run_em(moves, search.move_passes))
    order = np.argsort(-whole.score_on_validation(tried), kind="stable")[: search.moves_kept] if tried else ()
    kept = [tried[index] for index in order]
    ended = drop_degenerate(whole.run_em(kept, search.kept_move_passes, accelerated=True))
    scores = whole.score_on_validation(ended).tolist() if ended else ()
    return [scored for scored in zip(scores, ended, strict=True) if scored[0] > score + search.min_move_gain]


def resize_mixture(parameters: Parameters, n_components: int, split: ValidationSplit) -> Parameters:
    """Merge the cheapest pairs or split the most promising components, until there are ``n_components``."""
    while parameters.n_components > n_components:
        components = ComponentArrays.from_parameters(parameters)
        _, i, j = rank_merges(components)[0]
        parameters = components.merge(i, j).to_parameters(split.structure)
    while parameters.n_components < n_components:
        components = ComponentArrays.from_parameters(parameters)
        splits = rank_splits(parameters, split)
        index = splits[0][1] if splits else int(components.weights.argmax())
        halves = splits[0][2] if splits else components.halve(index)
        grown = components.drop(index).append(halves, float(components.weights[index])).to_parameters(split.structure)
        parameters = split.run_em([grown], search_settings.SEARCH.move_passes)[0] or grown
    return parameters
