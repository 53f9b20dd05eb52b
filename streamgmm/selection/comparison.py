"""Comparison of candidates: their outcomes, their scores on held-out rows, and the table of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.iteration.run import Trajectory
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import Criterion, n_parameters
from streamgmm.model.em import Expectation
from streamgmm.model.information_criteria import list_likelihood_criteria
from streamgmm.model.likelihood import RunningMoments
from streamgmm.model.parameters import Array

Key = tuple[str, int]
"""Family and size of a candidate."""

CERTAIN_ERRORS = 5.0  # standard errors from which a difference on held-out rows is certain
GAIN_PER_PARAMETER = 10.0  # times a parameter's share of the rows is granted to a candidate, nats a row


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Outcome of one start.

    Attributes
    ----------
    trajectory : Trajectory
        Its passes.
    accumulated : Expectation
        Statistics of all rows under its parameters.
    dropped : bool
        It was dropped because it could not win.
    """

    trajectory: Trajectory
    accumulated: Expectation
    dropped: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutLead:
    """Lead on held-out rows, before the candidates have learnt from all rows.

    Attributes
    ----------
    leader : int
        Index of the best candidate.
    by : ndarray of shape (m,)
        Nats a row by which it leads each candidate at least; 0 where that is not certain.
    """

    leader: int
    by: Array


def find_lead(scores: Array, n_parameters: NDArray[np.int64], n_training: int) -> HeldOutLead | None:
    """Return the lead of the best candidate; None without scores.

    Parameters
    ----------
    scores : ndarray of shape (m, 2)
        As from `score_held_out`, one row a candidate.
    n_parameters : ndarray of shape (m,)
        Free parameters ν of each candidate.
    n_training : int
        Rows that the candidates have learnt from at least. More rows make a mixture likelier by about ν/2n on average;
        ten times as much is granted to it, and the leader may owe some of its lead to the rows that were drawn.
    """
    if np.isnan(scores[:, 0]).all():
        return None
    leader = int(np.nanargmax(scores[:, 0]))
    allowance = CERTAIN_ERRORS * scores[:, 1] + GAIN_PER_PARAMETER * n_parameters / n_training
    by = scores[leader, 0] - scores[:, 0] - allowance
    return HeldOutLead(leader, np.maximum(np.nan_to_num(by), 0.0))


def score_held_out(keys: Sequence[Key], densities: Mapping[Key, Array], weights: Array | None) -> Array:
    """Return the mean log-density of held-out rows, and the standard error of its difference from the largest.

    Shape (m, 2); NaN where a candidate has none. Differences are taken row by row, because what makes a row likely is
    the same for all candidates.
    """
    moments = {key: RunningMoments.from_values(values, weights) for key, values in densities.items()}
    means = np.array([moments[key].mean if key in moments else nan for key in keys])
    if np.isnan(means).all():
        return np.stack([means, means], axis=1)
    best = densities[keys[int(np.nanargmax(means))]]
    errors = [
        RunningMoments.from_values(densities[key] - best, weights).standard_error if key in densities else nan
        for key in keys
    ]
    return np.stack([means, np.array(errors)], axis=1)


def choose_best_start(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the best start of one candidate; None where there are none."""
    return max(outcomes, key=lambda outcome: outcome.accumulated.likelihood.total, default=None)


def make_table(
    keys: Sequence[Key],
    outcomes: Sequence[Outcome | None],
    n_features: int,
    scores: Array,
    effective_n: float | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the table of a `streamgmm.Selection`, a column a name, a row a candidate."""
    free = [n_parameters(STRUCTURES[family], size, n_features) for family, size in keys]
    exact = [
        None if outcome is None else Criterion.from_likelihood(outcome.accumulated.likelihood, count)
        for outcome, count in zip(outcomes, free, strict=True)
    ]
    effective = [
        criterion if criterion is None or effective_n is None else criterion.for_effective_rows(effective_n)
        for criterion in exact
    ]
    likelihoods = np.array([nan if criterion is None else criterion.log_likelihood for criterion in exact])
    weights = np.array([nan if criterion is None else criterion.n_samples for criterion in exact])
    return {
        "n_components": np.array([size for _, size in keys]),
        "covariance_type": np.array([family for family, _ in keys]),
        "n_parameters": np.array(free),
        "log_likelihood": likelihoods,
        **{
            entry.name: np.array([nan if criterion is None else criterion.value(entry.name) for criterion in effective])
            for entry in list_likelihood_criteria()
        },
        "gain": compute_gains(keys, likelihoods / weights),
        "heldout": scores[:, 0],
        "heldout_error": scores[:, 1],
        "converged": np.array([outcome is not None and outcome.trajectory.converged for outcome in outcomes]),
        "n_iter": np.array([0 if outcome is None else len(outcome.trajectory.lower_bounds) for outcome in outcomes]),
        "dropped": np.array([outcome is not None and outcome.dropped for outcome in outcomes]),
    }


def compute_gains(keys: Sequence[Key], means: Array) -> Array:
    """Return the gain of each candidate over the next smaller of its family, nats a row."""
    by_key = dict(zip(keys, means, strict=True))
    gains = []
    for family, size in keys:
        smaller = [other for other_family, other in keys if other_family == family and other < size]
        gains.append(by_key[family, size] - by_key[family, max(smaller)] if smaller else nan)
    return np.array(gains)
