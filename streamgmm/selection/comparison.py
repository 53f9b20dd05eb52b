"""Candidates side by side: what became of each, and the table of all of them."""

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
from streamgmm.model.information_criteria import likelihood_criteria
from streamgmm.model.likelihood import RunningMoments
from streamgmm.model.parameters import Array

Key = tuple[str, int]  # family and size

CERTAIN = 5.0  # standard errors of a difference
GRANTED = 10.0  # times a mixture's parameters over the rows that it has learnt from, nats a row


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a candidate.

    Attributes
    ----------
    trajectory : Trajectory
        Its passes.
    accumulated : Expectation
        Of all rows under its parameters.
    dropped : bool
        Whether it left because it could not win.
    """

    trajectory: Trajectory
    accumulated: Expectation
    dropped: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutLead:
    """What rows held out say of candidates before these have learnt from all rows.

    Attributes
    ----------
    leader : int
        Which one is ahead.
    by : ndarray of shape (m,)
        Nats a row that it is ahead of each, at least; 0 where that is not certain.
    """

    leader: int
    by: Array

    @classmethod
    def of(cls, judged: Array, free: NDArray[np.int64], n_learnt: int) -> HeldOutLead | None:
        """From what `held_out` gives of mixtures with so many free parameters, learnt from at least so many rows.

        More rows make a mixture of ν parameters likelier by about ν/2n on average, which is granted to it several
        times over, and the leader may owe some of its lead to the rows that were drawn.
        """
        if np.isnan(judged[:, 0]).all():
            return None
        leader = int(np.nanargmax(judged[:, 0]))
        by = judged[leader, 0] - judged[:, 0] - CERTAIN * judged[:, 1] - GRANTED * free / n_learnt
        return cls(leader, np.maximum(np.nan_to_num(by), 0.0))


def best_start(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The best of the starts of one candidate; None where there are none."""
    return max(outcomes, key=lambda one: one.accumulated.likelihood.total, default=None)


def identities(keys: Sequence[Key], n_features: int) -> dict[str, NDArray[Any]]:
    """Columns that say which candidates there are."""
    return {
        "n_components": np.array([size for _, size in keys]),
        "covariance_type": np.array([family for family, _ in keys]),
        "n_parameters": np.array([n_parameters(STRUCTURES[family], size, n_features) for family, size in keys]),
    }


def table(
    keys: Sequence[Key],
    winners: Sequence[Outcome | None],
    n_features: int,
    judged: Array,
    effective_n: float | None = None,
) -> dict[str, NDArray[Any]]:
    """See `streamgmm.Selection`; ``judged`` has what `held_out` gives, or is NaN."""
    which = identities(keys, n_features)
    found = [
        None if won is None else Criterion.from_likelihood(won.accumulated.likelihood, int(free))
        for won, free in zip(winners, which["n_parameters"], strict=True)
    ]
    likelihoods = np.array([nan if one is None else one.log_likelihood for one in found])
    weights = np.array([nan if one is None else one.n_samples for one in found])
    worth = [one if one is None or effective_n is None else one.for_effective_rows(effective_n) for one in found]
    return {
        **which,
        "log_likelihood": likelihoods,
        **{
            criterion.name: np.array([nan if one is None else one.value(criterion.name) for one in worth])
            for criterion in likelihood_criteria()
        },
        "gain": gains(keys, likelihoods / weights),
        "heldout": judged[:, 0],
        "heldout_error": judged[:, 1],
        "converged": np.array([won is not None and won.trajectory.converged for won in winners]),
        "n_iter": np.array([0 if won is None else len(won.trajectory.lower_bounds) for won in winners]),
        "dropped": np.array([won is not None and won.dropped for won in winners]),
    }


def gains(keys: Sequence[Key], means: Array) -> Array:
    """Nats a row that each has more than the next smaller of its family."""
    by_key = dict(zip(keys, means, strict=True))
    found = []
    for family, size in keys:
        smaller = [other for kind, other in keys if kind == family and other < size]
        found.append(by_key[family, size] - by_key[family, max(smaller)] if smaller else nan)
    return np.array(found)


def held_out(keys: Sequence[Key], densities: Mapping[Key, Array], weights: Array | None) -> Array:
    """Mean log-density of the rows held out, and the standard error of its difference from the largest.

    Shape (m, 2); NaN where a candidate has none. The difference is taken row by row: what makes a row likely or not is
    the same for all.
    """
    spreads = {key: RunningMoments.from_values(values, weights) for key, values in densities.items()}
    means = np.array([spreads[key].mean if key in spreads else nan for key in keys])
    if np.isnan(means).all():
        return np.stack([means, means], axis=1)
    first = densities[keys[int(np.nanargmax(means))]]
    errors = [
        RunningMoments.from_values(densities[key] - first, weights).standard_error if key in densities else nan
        for key in keys
    ]
    return np.stack([means, np.array(errors)], axis=1)
