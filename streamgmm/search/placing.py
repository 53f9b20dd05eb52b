"""A component for rows that none explains, in the place of two that lose little as one.

What is gained there is known, since hardly any of these rows is missing from their sample; what is lost elsewhere is
estimated on a uniform one. A few wild rows get no component, and neither do rows that have nothing in common: it has to
be worth its parameters, to learn from two different rows for each of them, and to be hardly wider than all rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import log

import numpy as np
from numpy.typing import NDArray

from streamgmm.covariances import CovarianceStructure
from streamgmm.criteria import n_parameters
from streamgmm.errors import DegenerateError
from streamgmm.initialization import Reservoir
from streamgmm.likelihood import LogLikelihood
from streamgmm.parameters import Array, Parameters
from streamgmm.search.moves import FIRST_PASSES, MOST_MOVES, Parts, merge_losses
from streamgmm.search.starting import FEW
from streamgmm.search.trials import Trials, at_hand, survivors
from streamgmm.search.unexplained import SecondLook, Unexplained, distances, radius

PLACED = "repair: rows that no component explained"
SEEDS, MOST_SETTLED = 64, 6  # places that are looked at; of which so many are tried,
LOCAL_PASSES = 10  # each with passes over the unexplained rows
MOST_PLACED = 8  # components
QUICK = 3  # passes over the sample after which it is known which two are best made one
FARTHEST = 8.0  # excess beyond which a row is no likelier to be a seed, lest wild ones are all of them
RARE = 0.01  # of all rows: what is more frequent was in the sample that the start was found on
WIDEST = 2.0  # of the variance of all rows, in any direction
UNSURE = 3.0  # standard errors within which it may be worth its price: all rows will tell
LIGHTEST = 64  # components of which every two are compared


def looked_again(
    second: SecondLook,
    parameters: Parameters,
    tally: LogLikelihood,
    sample: Callable[[], Reservoir],
    structure: CovarianceStructure,
    reg_covar: float,
) -> Parameters | None:
    """Another start after a pass under one; None where its components explain all that they can.

    ``tally`` is that of the pass; ``sample`` is called only where there are enough unexplained rows.
    """
    found = second.unexplained(parameters)
    if len(found.rows) < _least_rows(parameters, structure):
        return None
    reservoir = sample()
    if tally.rows <= len(reservoir.rows):  # none can have been missed
        return None
    return placed(parameters, found, reservoir, tally.weight, structure, reg_covar, second.draw.seed)


def placed(
    parameters: Parameters,
    found: Unexplained,
    reservoir: Reservoir,
    weight: float,
    structure: CovarianceStructure,
    reg_covar: float,
    seed: int,
) -> Parameters | None:
    """The mixture with as many of its components where rows are unexplained as gains most; None where none surely does.

    ``weight`` is that of all rows, of which the reservoir is a uniform sample.
    """
    trials = Trials.on(_whole(reservoir, parameters, found, weight), structure, reg_covar)
    placements = _placements(parameters, found, weight, trials, np.random.default_rng(seed))
    (before,) = trials.run([parameters], FIRST_PASSES) if placements else (None,)
    if before is None:
        return None
    better: Parameters | None = None
    most = -np.inf
    price = _price(parameters, structure, weight)
    for number, after in enumerate(_exchanges(parameters, placements, trials), 1):
        gain, error = _gain(before, after, trials, len(found.rows))
        if gain > number * price - UNSURE * error and gain - number * price > most:
            better, most = after, gain - number * price
    return better


@dataclass(frozen=True, slots=True, eq=False)
class _Placement:
    """A component with its share of all rows, what a mixture gains by it if nothing else changes, nats, and its own."""

    part: Parts
    share: float
    gain: float
    mine: NDArray[np.bool_]


def _whole(reservoir: Reservoir, parameters: Parameters, found: Unexplained, weight: float) -> Reservoir:
    """Ordinary rows of a uniform sample, which stand for all that are not unexplained; and those that are, last."""
    rows = reservoir.rows.astype(np.float64)
    ordinary = distances(rows, parameters) <= radius(parameters.n_features)
    weights = (np.ones(len(rows)) if reservoir.weights is None else reservoir.weights)[ordinary]
    weights = weights * (max(weight - found.weights.sum(), 0.0) / max(weights.sum(), np.finfo(np.float64).tiny))
    return Reservoir(np.concatenate([rows[ordinary], found.rows]), np.concatenate([weights, found.weights]))


def _free(parameters: Parameters, structure: CovarianceStructure) -> int:
    """Free parameters that one component more has."""
    k, d = parameters.means.shape
    return n_parameters(structure, k + 1, d) - n_parameters(structure, k, d)


def _least_rows(parameters: Parameters, structure: CovarianceStructure) -> int:
    """Different rows without which nothing is to be learnt of a component."""
    return max(parameters.n_features + 1, FEW * _free(parameters, structure))


def _price(parameters: Parameters, structure: CovarianceStructure, weight: float) -> float:
    """Nats that a component has to be worth: as for BIC, log(N)/2 for each of its parameters."""
    return 0.5 * _free(parameters, structure) * log(max(weight, 2.0))


def _placements(
    parameters: Parameters, found: Unexplained, weight: float, trials: Trials, random: np.random.Generator
) -> list[_Placement]:
    """Components that are worth their parameters beside a mixture that stays as it is, each among rows of its own."""
    placements: list[_Placement] = []
    while len(placements) < min(MOST_PLACED, parameters.n_components - 1):
        best = _beside(parameters, found, weight, trials, random)
        if best is None:
            break
        placements.append(best)
        rest = ~best.mine
        found = Unexplained(found.rows[rest], found.weights[rest], found.excess[rest])
    return placements


def _beside(
    parameters: Parameters, found: Unexplained, weight: float, trials: Trials, random: np.random.Generator
) -> _Placement | None:
    """The component that gains most; None where none is worth its parameters."""
    least = _least_rows(parameters, trials.structure)
    odds = found.weights * np.minimum(found.excess, FARTHEST)
    number = min(SEEDS, int(np.count_nonzero(odds)))
    if len(odds) < least or not number:
        return None
    known, parts = _log_densities(found.rows, parameters), Parts.of(parameters)
    chosen = random.choice(len(odds), number, replace=False, p=odds / odds.sum())
    begun = _crowds(found, known, _average_root(parts), chosen, least, weight)
    settled = [_settled(found, known, members, weight, trials) for members in islice(begun, MOST_SETTLED)]
    fit = [one for one in settled if one is not None and _is_one(one, found, weight, least, parts)]
    better = max(fit, key=lambda one: one.gain, default=None)
    return better if better is not None and better.gain > _price(parameters, trials.structure, weight) else None


def _crowds(
    found: Unexplained, known: Array, root: Array, chosen: NDArray[np.intp], least: int, weight: float
) -> Iterator[NDArray[np.bool_]]:
    """Rows around some of them, the most promising first: by what a round component gains where they are.

    Each reaches as far as components do on average, or as is needed for rows enough.
    """
    d, crowds = len(root), []
    white = np.linalg.solve(root, found.rows.T).T
    scale = float(np.log(root.diagonal()).sum())
    for seed in chosen:
        squares = ((white - white[seed]) ** 2).sum(axis=1)
        near = squares <= max(d, np.partition(squares, least - 1)[least - 1])
        weights = found.weights[near]
        variance = float(weights @ squares[near] / weights.sum()) / d + np.finfo(np.float64).tiny
        own = log(weights.sum() / weight) - scale - 0.5 * d * (log(2.0 * np.pi * variance) + 1.0)
        crowds.append((float(weights @ np.maximum(own - known[near], 0.0)), int(seed), near))
    taken = np.zeros(len(white), bool)
    for _, seed, near in sorted(crowds, key=lambda crowd: -crowd[0]):
        if not taken[seed]:
            taken |= near
            yield near


def _is_one(placement: _Placement, found: Unexplained, weight: float, least: int, parts: Parts) -> bool:
    """Whether a component is rare, has different rows enough, and is hardly wider than all rows together."""
    different = len(np.unique(found.rows[placement.mine], axis=0))
    enough = min(different, placement.share * weight) >= least
    return enough and placement.share <= RARE and _width(placement.part, parts) <= WIDEST


def _settled(
    found: Unexplained, known: Array, members: NDArray[np.bool_], weight: float, trials: Trials
) -> _Placement | None:
    """What EM makes of some rows, as a component beside what is known; None where it degenerates.

    Rows that it does not explain are none of its own: where nothing else explains them either, they would widen it
    until it has all that is unexplained.
    """
    far = radius(found.rows.shape[1])
    shares = members.astype(np.float64)
    for _ in range(LOCAL_PASSES):
        counts = found.weights * shares
        share = float(counts.sum() / weight)
        if not 0.0 < share < 1.0:
            return None
        try:
            part = Parts.one(found.rows, counts, trials.structure, trials.reg_covar)
            mixture = part.mixture(trials.structure)
        except (DegenerateError, np.linalg.LinAlgError):
            return None
        own = _log_densities(found.rows, mixture) + log(share)
        rest = known + np.log1p(-share)
        together = np.logaddexp(own, rest)
        near = distances(found.rows, mixture) <= far
        shares = np.where(near, np.exp(own - together), 0.0)
    ordinary = weight - float(found.weights.sum())
    gained = np.where(near, together, rest) - known
    gain = float(found.weights @ gained) + ordinary * float(np.log1p(-share))
    return _Placement(part, share, gain, shares > 0.5)


def _exchanges(parameters: Parameters, placements: list[_Placement], trials: Trials) -> Iterator[Parameters]:
    """Mixtures with one, two, … of these components, the best first, and as many less of the others.

    All of them are there while two others become one, time and again: else those that are would widen until they have
    the rows of those that are not.
    """
    old, k = Parts.of(parameters), parameters.n_components
    new = Parts(
        np.array([one.share for one in placements]),
        np.concatenate([one.part.means for one in placements]),
        np.concatenate([one.part.covariances for one in placements]),
    )
    parts = Parts((1.0 - new.weights.sum()) * old.weights, old.means, old.covariances).beside(new, 1.0)
    for left in range(k - 1, k - 1 - len(placements), -1):
        begun = survivors(trials.run(_one_less(parts, left + 1, trials), QUICK))
        if not begun:
            return
        (ran,) = trials.run([begun[int(trials.scores(begun).argmax())]], FIRST_PASSES)
        if ran is None:
            return
        parts = Parts.of(ran)
        try:
            (few,) = trials.run([parts.without(*range(k, len(parts.weights))).mixture(trials.structure)], QUICK)
        except DegenerateError:
            return
        if few is not None:
            yield few


def _one_less(parts: Parts, old: int, trials: Trials) -> list[Parameters]:
    """Mixtures in which two of the first ``old`` components that lose little are one, and the first."""
    found = []
    light = np.argsort(parts.weights[:old], kind="stable")[:LIGHTEST]
    pairs = light[np.column_stack(np.triu_indices(len(light), 1))]
    for _, one, other in merge_losses(parts, pairs)[:MOST_MOVES]:
        merged, weight = parts.merged(one, other), parts.weights[one] + parts.weights[other]
        first = Parts(weight * merged.weights, merged.means, merged.covariances)
        try:
            found.append(first.beside(parts.without(one, other), 1.0).mixture(trials.structure))
        except DegenerateError:
            continue
    return found


def _gain(before: Parameters, after: Parameters, trials: Trials, n_far: int) -> tuple[float, float]:
    """What one mixture is better than another for all rows, nats, and the standard error of that estimate.

    The error is that of the uniform sample, beside which the other is certain.
    """
    sample = at_hand(trials.judging)
    assert sample.weights is not None
    gains = _log_densities(sample.rows, after) - _log_densities(sample.rows, before)
    ordinary = slice(0, len(gains) - n_far)
    deviations = sample.weights[ordinary] * (gains[ordinary] - gains[ordinary].mean())
    return float(sample.weights @ gains), float(np.linalg.norm(deviations))


def _average_root(parts: Parts) -> Array:
    """Cholesky factor of the covariance that components have on average."""
    average = np.tensordot(parts.weights / parts.weights.sum(), parts.covariances, axes=1)
    return np.asarray(np.linalg.cholesky(_matrix(average)))


def _width(part: Parts, others: Parts) -> float:
    """Largest variance of a component in any direction, as a multiple of that of a whole mixture."""
    shares = others.weights / others.weights.sum()
    steps = others.means - shares @ others.means
    variance = _matrix(np.tensordot(shares, others.covariances, axes=1)) + (shares * steps.T) @ steps
    root = np.linalg.inv(np.linalg.cholesky(variance))
    return float(np.linalg.eigvalsh(root @ _matrix(part.covariances[0]) @ root.T)[-1])


def _matrix(covariance: Array) -> Array:
    return covariance if covariance.ndim == 2 else np.diag(covariance)


def _log_densities(rows: Array, parameters: Parameters) -> Array:
    from streamgmm.kernels import Kernel  # loads the compiler

    return Kernel.of(parameters).log_densities(rows)
