"""Moves from one optimum of EM to a better one: two components become one, and one becomes two.

Ueda, Nakano, Ghahramani & Hinton (2000), "SMEM algorithm for mixture models". Which two lose least is judged by their
moments alone: Runnalls' bound of the divergence (2007), "Kullback-Leibler approach to Gaussian mixture reduction",
which no affine map of the data changes. What a component gains in two parts is found by EM on the rows that are its own
(Ueda's local divergence, by what a better local density would reach).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization.validation import ValidationSplit, at_hand, survivors
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import maximize
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics, expand_covariances, reduce_products

APART = 0.5  # standard deviations from the middle, where the halves of a component begin
LOCAL_PASSES = 5
HELD = 2**20  # entries of the covariances of pairs, held at a time
OWN = 0.01  # responsibility from which a row matters to a component
MOST_MOVES, PROPOSED = 8, 2  # tried at a time, and gone on with
FIRST_PASSES, MORE_PASSES = 10, 30  # of all of them; of the best
WORTH = 1e-4  # nats a row that a move has to gain


@dataclass(frozen=True, slots=True, eq=False)
class ComponentArrays:
    """Components one by one, with covariances of their own also where the family shares them.

    Attributes
    ----------
    weights : ndarray of shape (k,)
    means : ndarray of shape (k, d)
    covariances : ndarray of shape (k, d, d) or (k, d)
        Matrices, or variances alone in the diagonal families.
    """

    weights: Array
    means: Array
    covariances: Array

    @classmethod
    def of(cls, parameters: Parameters) -> ComponentArrays:
        """Components of a mixture."""
        covariances = expand_covariances(parameters.covariances, *parameters.means.shape)
        return cls(parameters.weights, parameters.means, covariances)

    @classmethod
    def one(cls, rows: Array, weights: Array, structure: CovarianceStructure, reg_covar: float) -> ComponentArrays:
        """A component with the moments of some rows, of weight 1."""
        d = rows.shape[1]
        shares = weights / weights.sum()
        mean = shares @ rows
        steps = rows - mean
        if len(structure.shape(1, d)) == 3:
            return cls(np.ones(1), mean[None], ((shares * steps.T) @ steps + reg_covar * np.eye(d))[None])
        return cls(np.ones(1), mean[None], (shares @ steps**2 + reg_covar)[None])

    def without(self, *places: int) -> ComponentArrays:
        """The other components."""
        kept = np.setdiff1d(np.arange(len(self.weights)), places)
        return ComponentArrays(self.weights[kept], self.means[kept], self.covariances[kept])

    def beside(self, others: ComponentArrays, weight: float) -> ComponentArrays:
        """These and others, which share a weight as their own weights say."""
        return ComponentArrays(
            np.concatenate([self.weights, weight * others.weights]),
            np.concatenate([self.means, others.means]),
            np.concatenate([self.covariances, others.covariances]),
        )

    def merged(self, one: int, other: int) -> ComponentArrays:
        """One component with the moments of two, of weight 1."""
        pair = [one, other]
        shares = self.weights[pair] / self.weights[pair].sum()
        mean = shares @ self.means[pair]
        steps = self.means[pair] - mean
        between = (shares * steps.T) @ steps if self.covariances.ndim == 3 else shares @ steps**2
        return ComponentArrays(
            np.ones(1), mean[None], (np.tensordot(shares, self.covariances[pair], axes=1) + between)[None]
        )

    def halved(self, place: int) -> ComponentArrays:
        """Two components with the moments of one, apart along its longest axis; of weight 1 together."""
        own = self.covariances[place]
        if own.ndim == 2:
            values, axes = np.linalg.eigh(own)
            step = APART * np.sqrt(max(values[-1], 0.0)) * axes[:, -1]
            rest = own - step[:, None] * step
        else:
            step = np.where(np.arange(len(own)) == own.argmax(), APART * np.sqrt(own), 0.0)
            rest = own - step**2
        return ComponentArrays(
            np.full(2, 0.5), self.means[place] + np.array([[1.0], [-1.0]]) * step, np.stack([rest, rest])
        )

    def mixture(self, structure: CovarianceStructure) -> Parameters:
        """The mixture of a family with these moments; raises DegenerateError where there is none."""
        products = self.weights.reshape(-1, *[1] * (self.covariances.ndim - 1)) * self.covariances
        products = reduce_products(products, structure.shape(*self.means.shape))
        statistics = Statistics(self.means, self.weights, np.zeros_like(self.means), products)
        return maximize(statistics, structure, effective_rows=1.0 / np.finfo(np.float64).eps)[0]


def merge_losses(parts: ComponentArrays, pairs: NDArray[np.integer] | None = None) -> list[tuple[float, int, int]]:
    """What every two components (of those pairs) lose at most as one, nats a row of the mixture, least first."""
    k = len(parts.weights)
    pairs = np.column_stack(np.triu_indices(k, 1)) if pairs is None else pairs
    logarithms, found = _log_determinants(parts.covariances), []
    at_a_time = max(1, HELD // parts.covariances[0].size)
    for some in np.array_split(pairs, max(1, -(-len(pairs) // at_a_time))):
        one, other = some.T
        weights = parts.weights[one] + parts.weights[other]
        shares = parts.weights[one] / np.maximum(weights, np.finfo(np.float64).tiny)
        steps = parts.means[one] - parts.means[other]
        squares = steps[:, :, None] * steps[:, None, :] if parts.covariances.ndim == 3 else steps**2
        shares = shares.reshape(-1, *[1] * (squares.ndim - 1))
        joint = shares * parts.covariances[one] + (1.0 - shares) * parts.covariances[other]
        joint += shares * (1.0 - shares) * squares
        apart = parts.weights[one] * logarithms[one] + parts.weights[other] * logarithms[other]
        losses = 0.5 * (weights * _log_determinants(joint) - apart)
        found += list(zip(losses.tolist(), one.tolist(), other.tolist(), strict=True))
    return sorted(found)


def _log_determinants(covariances: Array) -> Array:
    if covariances.ndim == 2:
        return np.asarray(np.log(covariances).sum(axis=1))
    return np.asarray(np.linalg.slogdet(covariances)[1])


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A component in two parts of weight 1 together, and what the mixture gains by them, nats a row."""

    gain: float
    place: int
    halves: ComponentArrays


def splits(parameters: Parameters, trials: ValidationSplit) -> list[Split]:
    """Every component in two, those that gain most first; without those of too few rows or that cannot be two."""
    subsample = at_hand(trials.training)
    weights = np.ones(len(subsample.rows)) if subsample.weights is None else subsample.weights
    weights = weights / weights.mean()  # a common factor says nothing
    rows = subsample.rows.astype(np.float64)
    joint = log_joint(rows, parameters)
    peak = joint.max(axis=1, keepdims=True)
    shares = np.exp(joint - peak)
    shares /= shares.sum(axis=1, keepdims=True)
    found: list[Split] = []
    for place in range(parameters.n_components):
        own = np.flatnonzero(shares[:, place] > OWN)
        gained = _in_two(rows[own], shares[own, place] * weights[own], trials)
        if gained is not None:
            found.append(Split(gained[0] / len(rows), place, gained[1]))
    return sorted(found, key=lambda split: -split.gain)


def _in_two(rows: Array, weights: Array, trials: ValidationSplit) -> tuple[float, ComponentArrays] | None:
    """Nats that two components gain over one on some rows, and the two; None where they cannot be found."""
    least = 2 * (rows.shape[1] + 1)
    if weights.sum() < least or len(rows) < least:
        return None
    whole = ComponentArrays.one(rows, weights, trials.structure, trials.reg_covar)
    try:
        one, two = whole.mixture(trials.structure), whole.halved(0).mixture(trials.structure)
    except (DegenerateError, np.linalg.LinAlgError):
        return None
    local = ValidationSplit.on(Subsample(rows, weights), trials.structure, trials.reg_covar)
    (after,) = local.run([two], LOCAL_PASSES)
    if after is None:
        return None
    before, now = (np.logaddexp.reduce(log_joint(rows, mixture), axis=1) for mixture in (one, after))
    return float(weights @ (now - before)), ComponentArrays.of(after)


def log_joint(rows: Array, parameters: Parameters) -> Array:
    """log π_k + log N(x | μ_k, Σ_k), shape (n, k), nats."""
    factors = parameters.precision_factors
    found = np.empty((len(rows), parameters.n_components))
    for place, mean in enumerate(parameters.means):
        factor = factors[place % len(factors)]
        whitened = (rows - mean) @ factor if factors.ndim == 3 else (rows - mean) * factor
        found[:, place] = -0.5 * np.einsum("nj,nj->n", whitened, whitened)
    return found + parameters.constants


def moves(parameters: Parameters, trials: ValidationSplit) -> Iterator[Parameters]:
    """Mixtures in which two components have become one and another two, the most promising first."""
    parts = ComponentArrays.of(parameters)
    halved = splits(parameters, trials)
    losses = merge_losses(parts)[: 2 * parameters.n_components]
    ranked = sorted(
        (
            (split.gain - loss, number, one, other)
            for number, split in enumerate(halved)
            for loss, one, other in losses
            if split.place not in (one, other)
        ),
        reverse=True,
    )
    for _, number, one, other in ranked:
        split = halved[number]
        weight = float(parts.weights[one] + parts.weights[other])
        rest = parts.without(one, other, split.place)
        moved = rest.beside(parts.merged(one, other), weight)
        try:
            yield moved.beside(split.halves, float(parts.weights[split.place])).mixture(trials.structure)
        except DegenerateError:
            continue


def improved(
    parameters: Parameters, trials: ValidationSplit, whole: ValidationSplit, rounds: int
) -> tuple[Parameters, list[float]]:
    """The mixture after as many moves as help, at most ``rounds``, and what each gained, nats a row.

    They are found on the rows of ``trials``, and taken where they are better of the ``whole``.
    """
    (score,) = whole.scores([parameters])
    gains: list[float] = []
    while len(gains) < rounds:
        tried = survivors(trials.run(list(islice(moves(parameters, trials), MOST_MOVES)), FIRST_PASSES))
        if not tried:
            break
        order = np.argsort(-whole.scores(tried), kind="stable")[:PROPOSED]
        found = survivors(whole.run([tried[place] for place in order], MORE_PASSES, accelerated=True))
        if not found:
            break
        scores = whole.scores(found)
        if scores.max() <= score + WORTH:
            break
        gains.append(float(scores.max() - score))
        parameters, score = found[int(scores.argmax())], float(scores.max())
    return parameters, gains


def resize_mixture(parameters: Parameters, n_components: int, trials: ValidationSplit) -> Parameters:
    """The mixture with more components, each by a split of the one that gains most by it, or with fewer, by mergers."""
    while parameters.n_components > n_components:
        parts = ComponentArrays.of(parameters)
        _, one, other = merge_losses(parts)[0]
        weight = float(parts.weights[one] + parts.weights[other])
        parameters = parts.without(one, other).beside(parts.merged(one, other), weight).mixture(trials.structure)
    while parameters.n_components < n_components:
        parts = ComponentArrays.of(parameters)
        halved = splits(parameters, trials)
        place = halved[0].place if halved else int(parts.weights.argmax())
        halves = halved[0].halves if halved else parts.halved(place)
        grown = parts.without(place).beside(halves, float(parts.weights[place])).mixture(trials.structure)
        parameters = trials.run([grown], FIRST_PASSES)[0] or grown
    return parameters
