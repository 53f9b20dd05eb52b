"""Starts of mixtures of several sizes from one sample: of each size many, and what the sizes beside it suggest.

A mixture of k components tells where one of k + 1 may be (by a split), and one of k − 1 (by a merger), so that none is
left at an optimum that its neighbours show to be poor. All are judged by the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import RandomState

from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization.budget import SearchBudget
from streamgmm.initialization.choose_starts import FEW
from streamgmm.initialization.choose_starts import starts as starts_of
from streamgmm.initialization.multistart import Restarts, run_multistart_on
from streamgmm.initialization.split_merge import log_joint, resize_mixture
from streamgmm.initialization.user_start import UserStart
from streamgmm.initialization.validation import ValidationSplit, at_hand
from streamgmm.model.criteria import n_parameters
from streamgmm.model.parameters import Array, Parameters
from streamgmm.persistence.codec import persistent

STARTS = 6  # of each size at most
PASSES = 30  # of accelerated EM on the sample, from what a neighbour suggests
LAST_PASSES = 100  # of what is judged by rows held out
FAR = 3  # components more or less, beyond which a neighbour says too little


@persistent("starts-of-size-1")
@dataclass(frozen=True, slots=True, eq=False)
class StartsOfSize:
    """Starts of one size.

    Attributes
    ----------
    starts : tuple of Parameters
        The best first, by the rows to judge by; none where all have degenerated.
    restarts : Restarts or None
        What was tried; None where a given way was taken.
    """

    starts: tuple[Parameters, ...]
    restarts: Restarts | None = None


def find_starts_per_size(
    subsample: Subsample,
    trials: ValidationSplit,
    sizes: Sequence[int],
    n_init: int,
    init_params: str,
    random: RandomState,
) -> dict[int, StartsOfSize]:
    """Starts of every size, by size; ``init_params`` as in `GaussianMixture`, and the same draws for every size.

    With 'auto' little data are searched, too, unless there are fewer than two rows for each free parameter.
    """
    starts_by_size = {
        size: _found(subsample, trials, size, n_init, init_params, deepcopy(random)) for size in sorted(set(sizes))
    }
    if init_params != "auto":
        return starts_by_size
    for near, size in [*pairwise(starts_by_size), *pairwise(list(starts_by_size)[::-1])]:
        if starts_by_size[near].starts and abs(near - size) <= FAR and size > 1 and not _is_little(trials, size):
            starts_by_size[size] = _suggested(
                starts_by_size[size], starts_by_size[near].starts[0], size, n_init, trials
            )
    return starts_by_size


def log_densities(trials: ValidationSplit, mixture: Parameters) -> Array:
    """Log-densities of the rows to judge by under what a mixture becomes on the rows to learn from, nats.

    NaN where it degenerates.
    """
    (learnt,) = trials.run([mixture], LAST_PASSES, accelerated=True)
    rows = at_hand(trials.judging).rows.astype(np.float64)
    if learnt is None:
        return np.full(len(rows), np.nan)
    return np.asarray(np.logaddexp.reduce(log_joint(rows, learnt), axis=1))


def _found(
    subsample: Subsample, trials: ValidationSplit, size: int, n_init: int, init_params: str, random: RandomState
) -> StartsOfSize:
    """What is found for one size by itself."""
    way, given = init_params, UserStart(trials.structure, None, None, None)
    if way == "auto":
        if size > 1 and not _is_little(trials, size):
            try:
                found, restarts = run_multistart_on(trials, trials, size, n_init, random, SearchBudget(STARTS, 0))
                return StartsOfSize(tuple(found), restarts)
            except DegenerateError:
                pass
        way, n_init = "kmeans", n_init if size > 1 else 1  # one component has one optimum
    try:
        return StartsOfSize(tuple(starts_of(subsample, given, size, way, n_init, random, trials.reg_covar)[0]))
    except DegenerateError:
        return StartsOfSize(())


def _is_little(trials: ValidationSplit, size: int) -> bool:
    """Whether there are so few rows that a search would find components that have collapsed."""
    training = trials.training
    return (training.n_rows or 0) < FEW * n_parameters(trials.structure, size, training.n_features)


def _suggested(
    starts_of_size: StartsOfSize, neighbour: Parameters, size: int, n_init: int, trials: ValidationSplit
) -> StartsOfSize:
    """Starts of one size with what a neighbour suggests among them, where it is good enough."""
    try:
        moved = resize_mixture(neighbour, size, trials)
    except DegenerateError:
        return starts_of_size
    (one,) = trials.run([moved], PASSES, accelerated=True)
    if one is None:
        return starts_of_size
    starts = [*starts_of_size.starts, one]
    order = np.argsort(-trials.scores(starts), kind="stable")[:n_init]
    return StartsOfSize(tuple(starts[place] for place in order), starts_of_size.restarts)
