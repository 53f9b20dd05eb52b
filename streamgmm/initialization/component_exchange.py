"""Components for rows that none explains, in the place of others that lose little as one.

What is gained there is known, since hardly any of these rows is missing from their sample; what is lost elsewhere is
estimated on a uniform one, with an error: what may be better is tried on all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization.component_placement import Placement, cost, least_rows, log_densities, placed
from streamgmm.initialization.outliers import OutlierSampler, PoorlyExplainedRows, distances, radius
from streamgmm.initialization.split_merge import FIRST_PASSES, MOST_MOVES, ComponentArrays, merge_losses
from streamgmm.initialization.validation import ValidationSplit, at_hand, survivors
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Parameters

PLACED = "repair: rows that no component explained"
QUICK = 3  # passes over the sample after which it is known which two are best made one
UNSURE = 3.0  # standard errors within which something may be better
LIGHTEST = 64  # components of which every two are compared


def propose_exchange(
    second: OutlierSampler,
    read: Parameters,
    parameters: Parameters,
    tally: LogLikelihood,
    sample: Callable[[], Subsample],
    structure: CovarianceStructure,
    reg_covar: float,
) -> Parameters | None:
    """What may be better than what a pass has led to; None where that explains all that it can.

    ``read`` are the parameters that rows were read under, ``tally`` is that of the pass; ``sample`` is called only
    where there are enough unexplained rows.
    """
    found = second.unexplained(read)
    if len(found.rows) < least_rows(parameters, structure):
        return None
    subsample = sample()
    if tally.rows <= len(subsample.rows):  # none can have been missed
        return None
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of wild rows, which lead to nothing
            trials = ValidationSplit.on(_whole(subsample, read, found, tally.weight), structure, reg_covar)
            return exchanged(parameters, found, tally.weight, trials, second.draw.seed)
    except (DegenerateError, np.linalg.LinAlgError):  # of what was only to be tried
        return None


def exchanged(
    parameters: Parameters, found: PoorlyExplainedRows, weight: float, trials: ValidationSplit, seed: int
) -> Parameters | None:
    """The mixture with as many components where rows are unexplained as gains most; None where that is surely nothing.

    ``trials`` are on a sample that stands for all rows, of that weight, and ends with those found.
    """
    placements = placed(parameters, found.under(parameters), weight, trials, np.random.default_rng(seed))
    (before,) = trials.run([parameters], FIRST_PASSES) if placements else (None,)
    if before is None:
        return None
    better: Parameters | None = None
    most = -np.inf
    price = cost(parameters, trials.structure, weight)
    for number, after in enumerate(_exchanges(parameters, placements, trials), 1):
        gain, error = _gain(before, after, trials, len(found.rows))
        if gain > number * price - UNSURE * error and gain - number * price > most:
            better, most = after, gain - number * price
    return better


def _whole(subsample: Subsample, parameters: Parameters, found: PoorlyExplainedRows, weight: float) -> Subsample:
    """Ordinary rows of a uniform sample, which stand for all that are not unexplained; and those that are, last."""
    rows = subsample.rows.astype(np.float64)
    ordinary = distances(rows, parameters) <= radius(parameters.n_features)
    weights = (np.ones(len(rows)) if subsample.weights is None else subsample.weights)[ordinary]
    weights = weights * (max(weight - found.weights.sum(), 0.0) / max(weights.sum(), np.finfo(np.float64).tiny))
    return Subsample(np.concatenate([rows[ordinary], found.rows]), np.concatenate([weights, found.weights]))


def _exchanges(parameters: Parameters, placements: list[Placement], trials: ValidationSplit) -> Iterator[Parameters]:
    """Mixtures with one, two, … of these components, the best first, and as many less of the others.

    All of them are there while two others become one, time and again: else those that are would widen until they have
    the rows of those that are not.
    """
    old, k = ComponentArrays.of(parameters), parameters.n_components
    new = ComponentArrays(
        np.array([one.share for one in placements]),
        np.concatenate([one.part.means for one in placements]),
        np.concatenate([one.part.covariances for one in placements]),
    )
    parts = ComponentArrays((1.0 - new.weights.sum()) * old.weights, old.means, old.covariances).beside(new, 1.0)
    for left in range(k - 1, k - 1 - len(placements), -1):
        begun = survivors(trials.run(_one_less(parts, left + 1, trials), QUICK))
        if not begun:
            return
        (ran,) = trials.run([begun[int(trials.scores(begun).argmax())]], FIRST_PASSES)
        if ran is None:
            return
        parts = ComponentArrays.of(ran)
        try:
            (few,) = trials.run([parts.without(*range(k, len(parts.weights))).mixture(trials.structure)], QUICK)
        except DegenerateError:
            return
        if few is not None:
            yield few


def _one_less(parts: ComponentArrays, old: int, trials: ValidationSplit) -> list[Parameters]:
    """Mixtures in which two of the first ``old`` components that lose little are one, and the first."""
    found = []
    light = np.argsort(parts.weights[:old], kind="stable")[:LIGHTEST]
    pairs = light[np.column_stack(np.triu_indices(len(light), 1))]
    for _, one, other in merge_losses(parts, pairs)[:MOST_MOVES]:
        merged, weight = parts.merged(one, other), parts.weights[one] + parts.weights[other]
        first = ComponentArrays(weight * merged.weights, merged.means, merged.covariances)
        try:
            found.append(first.beside(parts.without(one, other), 1.0).mixture(trials.structure))
        except DegenerateError:
            continue
    return found


def _gain(before: Parameters, after: Parameters, trials: ValidationSplit, n_far: int) -> tuple[float, float]:
    """What one mixture is better than another for all rows, nats, and the standard error of that estimate.

    The error is that of the uniform sample, beside which the other is certain.
    """
    sample = at_hand(trials.judging)
    assert sample.weights is not None
    gains = log_densities(sample.rows, after) - log_densities(sample.rows, before)
    ordinary = slice(0, len(gains) - n_far)
    deviations = sample.weights[ordinary] * (gains[ordinary] - gains[ordinary].mean())
    return float(sample.weights @ gains), float(np.linalg.norm(deviations))
