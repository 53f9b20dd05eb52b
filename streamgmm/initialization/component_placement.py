"""Components for rows that none explains, each beside a mixture that stays as it is.

A few wild rows get no component, and neither do rows that have nothing in common: it has to be worth its parameters, to
have two different rows for each of them, and to be hardly wider than all rows are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import log

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import DegenerateError
from streamgmm.initialization.choose_starts import FEW
from streamgmm.initialization.outliers import PoorlyExplainedRows, distances, radius
from streamgmm.initialization.split_merge import ComponentArrays
from streamgmm.initialization.validation import ValidationSplit
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.parameters import Array, Parameters

SEEDS, MOST_SETTLED = 64, 6  # places that are looked at; of which so many are tried,
LOCAL_PASSES = 10  # each with passes over the unexplained rows
MOST_PLACED = 8  # components
FARTHEST = 8.0  # excess beyond which a row is no likelier to be a seed, lest wild ones are all of them
RARE = 0.01  # of all rows: what is more frequent was in the sample that the start was found on
WIDEST = 2.0  # of the variance of all rows, in any direction


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A component beside a mixture.

    Attributes
    ----------
    part : ComponentArrays
        The component.
    share : float
        Of all rows.
    gain : float
        Nats, of all rows, if nothing else changes.
    own : ndarray of bool
        Which of the unexplained rows are its own.
    """

    part: ComponentArrays
    share: float
    gain: float
    own: NDArray[np.bool_]


def _n_free(parameters: Parameters, structure: CovarianceStructure) -> int:
    """Free parameters that one component more has."""
    k, d = parameters.means.shape
    return n_parameters(structure, k + 1, d) - n_parameters(structure, k, d)


def least_rows(parameters: Parameters, structure: CovarianceStructure) -> int:
    """Different rows without which nothing is to be learnt of a component."""
    return max(parameters.n_features + 1, FEW * _n_free(parameters, structure))


def cost(parameters: Parameters, structure: CovarianceStructure, weight: float) -> float:
    """Nats that a component has to be worth: as for BIC, log(N)/2 for each of its parameters."""
    return 0.5 * _n_free(parameters, structure) * log(max(weight, 2.0))


def placed(
    parameters: Parameters,
    found: PoorlyExplainedRows,
    weight: float,
    trials: ValidationSplit,
    random: np.random.Generator,
) -> list[Placement]:
    """Components that are worth their parameters beside a mixture that stays as it is, each among rows of its own."""
    placements: list[Placement] = []
    while len(placements) < min(MOST_PLACED, parameters.n_components - 1):
        best = _beside(parameters, found, weight, trials, random)
        if best is None:
            break
        placements.append(best)
        rest = ~best.own
        found = PoorlyExplainedRows(found.rows[rest], found.weights[rest], found.excess[rest])
    return placements


def _beside(
    parameters: Parameters,
    found: PoorlyExplainedRows,
    weight: float,
    trials: ValidationSplit,
    random: np.random.Generator,
) -> Placement | None:
    """The component that gains most; None where none is worth its parameters."""
    least = least_rows(parameters, trials.structure)
    odds = found.weights * np.minimum(found.excess, FARTHEST)
    number = min(SEEDS, int(np.count_nonzero(odds)))
    if len(odds) < least or not number:
        return None
    known, parts = log_densities(found.rows, parameters), ComponentArrays.of(parameters)
    chosen = random.choice(len(odds), number, replace=False, p=odds / odds.sum())
    begun = _crowds(found, known, _average_root(parts), chosen, least, weight)
    settled = [_settled(found, known, members, weight, trials) for members in islice(begun, MOST_SETTLED)]
    fit = [one for one in settled if one is not None and _is_one(one, found, weight, least, parts)]
    better = max(fit, key=lambda one: one.gain, default=None)
    return better if better is not None and better.gain > cost(parameters, trials.structure, weight) else None


def _crowds(
    found: PoorlyExplainedRows, known: Array, root: Array, chosen: NDArray[np.intp], least: int, weight: float
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


def _is_one(
    placement: Placement, found: PoorlyExplainedRows, weight: float, least: int, parts: ComponentArrays
) -> bool:
    """Whether a component is rare, has different rows enough, and is hardly wider than all rows together."""
    different = len(np.unique(found.rows[placement.own], axis=0))
    enough = min(different, placement.share * weight) >= least
    return enough and placement.share <= RARE and _width(placement.part, parts) <= WIDEST


def _settled(
    found: PoorlyExplainedRows, known: Array, members: NDArray[np.bool_], weight: float, trials: ValidationSplit
) -> Placement | None:
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
            part = ComponentArrays.one(found.rows, counts, trials.structure, trials.reg_covar)
            mixture = part.mixture(trials.structure)
        except (DegenerateError, np.linalg.LinAlgError):
            return None
        own = log_densities(found.rows, mixture) + log(share)
        rest = known + np.log1p(-share)
        together = np.logaddexp(own, rest)
        near = distances(found.rows, mixture) <= far
        shares = np.where(near, np.exp(own - together), 0.0)
    ordinary = weight - float(found.weights.sum())
    gained = np.where(near, together, rest) - known
    gain = float(found.weights @ gained) + ordinary * float(np.log1p(-share))
    return Placement(part, share, gain, shares > 0.5)


def _average_root(parts: ComponentArrays) -> Array:
    """Cholesky factor of the covariance that components have on average."""
    average = np.tensordot(parts.weights / parts.weights.sum(), parts.covariances, axes=1)
    return np.asarray(np.linalg.cholesky(_matrix(average)))


def _width(part: ComponentArrays, others: ComponentArrays) -> float:
    """Largest variance of a component in any direction, as a multiple of that of a whole mixture."""
    shares = others.weights / others.weights.sum()
    steps = others.means - shares @ others.means
    variance = _matrix(np.tensordot(shares, others.covariances, axes=1)) + (shares * steps.T) @ steps
    root = np.linalg.inv(np.linalg.cholesky(variance))
    return float(np.linalg.eigvalsh(root @ _matrix(part.covariances[0]) @ root.T)[-1])


def _matrix(covariance: Array) -> Array:
    return covariance if covariance.ndim == 2 else np.diag(covariance)


def log_densities(rows: Array, parameters: Parameters) -> Array:
    """Of rows, nats."""
    from streamgmm.kernels.kernel import Kernel

    return Kernel.from_parameters(parameters).log_densities(rows)
