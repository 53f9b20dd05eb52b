"""A component for rows that none explains, in the place of two that lose little as one.

What is gained there is known, since hardly any of these rows is missing from their sample; what is lost elsewhere is
estimated on a uniform one. A few wild rows get no component, and neither do rows that have nothing in common: it has to
be worth its parameters, to learn from two different rows for each of them, and to be hardly wider than all rows are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from streamgmm.covariances import CovarianceStructure
from streamgmm.criteria import n_parameters
from streamgmm.errors import DegenerateError
from streamgmm.initialization import Reservoir
from streamgmm.likelihood import LogLikelihood
from streamgmm.parameters import Array, Parameters
from streamgmm.search.moves import FIRST_PASSES, MORE_PASSES, MOST_MOVES, Parts, merge_losses
from streamgmm.search.starting import FEW
from streamgmm.search.trials import Trials, at_hand
from streamgmm.search.unexplained import SecondLook, Unexplained, distances, radius

PLACED = "repair: rows that no component explained"
SEEDS, LOCAL_PASSES = 64, 10  # places that are tried, and passes over the unexplained rows from each
FARTHEST = 8.0  # excess beyond which a row is no likelier to be a seed, lest wild ones are all of them
RARE = 0.01  # of all rows: what is more frequent was in the sample that the start was found on
WIDEST = 2.0  # of the variance of all rows, in any direction
SURE = 3.0  # standard errors that a gain has to be above its price
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
    """The mixture with as many of its components where rows are unexplained as is sure to be worth it, if any.

    ``weight`` is that of all rows, of which the reservoir is a uniform sample.
    """
    trials = Trials.on(_whole(reservoir, parameters, found, weight), structure, reg_covar)
    n_far = len(found.rows)
    best: Parameters | None = None
    for _ in range(parameters.n_components - 1):
        placement = _beside(parameters, found, weight, trials, np.random.default_rng(seed))
        better = None if placement is None else _exchanged(parameters, placement, weight, trials, n_far)
        if better is None:
            break
        best = parameters = better
        excess = distances(found.rows, parameters) / radius(parameters.n_features) - 1.0
        found = Unexplained(*(part[excess > 0.0] for part in (found.rows, found.weights, excess)))
    return best


@dataclass(frozen=True, slots=True, eq=False)
class _Placement:
    """A component, its share of all rows, and what a mixture gains by it if nothing else changes, nats in all."""

    part: Parts
    share: float
    gain: float


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


def _beside(
    parameters: Parameters, found: Unexplained, weight: float, trials: Trials, random: np.random.Generator
) -> _Placement | None:
    """The component that gains most beside a mixture that stays as it is; None where none is worth its parameters."""
    least = _least_rows(parameters, trials.structure)
    if len(found.rows) < least:
        return None
    known = _log_densities(found.rows, parameters)
    odds = found.weights * np.minimum(found.excess, FARTHEST)
    number = min(SEEDS, int(np.count_nonzero(odds)))
    white = _whitened(found.rows, Parts.of(parameters))
    best: _Placement | None = None
    for seed in random.choice(len(odds), number, replace=False, p=odds / odds.sum()):
        squares = ((white - white[seed]) ** 2).sum(axis=1)
        # as wide as components are on average, or as is needed for rows enough
        members = squares <= max(parameters.n_features, np.partition(squares, least - 1)[least - 1])
        try:
            placement, own = _settled(found, known, members, weight, trials)
        except (DegenerateError, np.linalg.LinAlgError):
            continue
        if best is not None and placement.gain <= best.gain:
            continue
        enough = len(np.unique(found.rows[own], axis=0)) >= least and placement.share * weight >= least
        if enough and placement.share <= RARE and _width(placement.part, Parts.of(parameters)) <= WIDEST:
            best = placement
    return None if best is None or best.gain <= _price(parameters, trials.structure, weight) else best


def _settled(
    found: Unexplained, known: Array, members: NDArray[np.bool_], weight: float, trials: Trials
) -> tuple[_Placement, NDArray[np.bool_]]:
    """What EM makes of some of the rows, as a component beside what is known; and which rows are then its own."""
    shares = members.astype(np.float64)
    for _ in range(LOCAL_PASSES):
        counts = found.weights * shares
        share = float(counts.sum() / weight)
        part = Parts.one(found.rows, counts, trials.structure, trials.reg_covar)
        own = _log_densities(found.rows, part.mixture(trials.structure)) + log(share)
        together = np.logaddexp(own, known + np.log1p(-share))
        shares = np.exp(own - together)
    ordinary = weight - float(found.weights.sum())
    gain = float(found.weights @ (together - known)) + ordinary * float(np.log1p(-share))
    return _Placement(part, share, gain), shares > 0.5


def _exchanged(
    parameters: Parameters, placement: _Placement, weight: float, trials: Trials, n_far: int
) -> Parameters | None:
    """The mixture with the component in the place of two that become one; None where that is no sure gain."""
    candidates = _without_two(parameters, placement, trials)
    ran = [one for one in trials.ends(candidates, 0.0, FIRST_PASSES) if one is not None]
    if not ran:
        return None
    best = max(ran, key=lambda one: one.lower_bound)
    after, before = (trials.ends([one], 0.0, MORE_PASSES)[0] for one in (best.parameters, parameters))
    if after is None or before is None:
        return None
    sample = at_hand(trials.judging)
    assert sample.weights is not None
    gains = _log_densities(sample.rows, after.parameters) - _log_densities(sample.rows, before.parameters)
    ordinary = slice(0, len(gains) - n_far)
    deviations = gains[ordinary] - gains[ordinary].mean()
    error = float(np.linalg.norm(sample.weights[ordinary] * deviations))
    sure = float(sample.weights @ gains) - SURE * error
    return after.parameters if sure > _price(parameters, trials.structure, weight) else None


def _without_two(parameters: Parameters, placement: _Placement, trials: Trials) -> list[Parameters]:
    """Mixtures in which two components that lose little are one, and the component is where rows were unexplained."""
    parts, found = Parts.of(parameters), []
    light = np.argsort(parts.weights, kind="stable")[:LIGHTEST]
    pairs = light[np.column_stack(np.triu_indices(len(light), 1))]
    for _, one, other in merge_losses(parts, pairs)[:MOST_MOVES]:
        merged = parts.merged(one, other)
        rest = parts.without(one, other).beside(merged, float(parts.weights[one] + parts.weights[other]))
        rest = Parts(rest.weights * (1.0 - placement.share), rest.means, rest.covariances)
        try:
            found.append(rest.beside(placement.part, placement.share).mixture(trials.structure))
        except DegenerateError:
            continue
    return found


def _whitened(rows: Array, parts: Parts) -> Array:
    """Rows in units of the deviations that components have on average."""
    average = _matrix(np.tensordot(parts.weights / parts.weights.sum(), parts.covariances, axes=1))
    return np.asarray(np.linalg.solve(np.linalg.cholesky(average), rows.T).T)


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
