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

from streamgmm.criteria import n_parameters
from streamgmm.errors import DegenerateError
from streamgmm.initialization import Given, Reservoir
from streamgmm.parameters import Array, Parameters
from streamgmm.search.effort import Effort
from streamgmm.search.moves import log_joint, resized
from streamgmm.search.restarts import Restarts, searched_on
from streamgmm.search.starting import FEW
from streamgmm.search.starting import starts as starts_of
from streamgmm.search.trials import Trials, at_hand

STARTS = 6  # of each size at most
PASSES = 30  # of accelerated EM on the sample, from what a neighbour suggests
LAST_PASSES = 100  # of what is judged by rows held out
FAR = 3  # components more or less, beyond which a neighbour says too little


@dataclass(frozen=True, slots=True, eq=False)
class Rung:
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


def ladder(
    reservoir: Reservoir, trials: Trials, sizes: Sequence[int], n_init: int, init_params: str, random: RandomState
) -> dict[int, Rung]:
    """Starts of every size, by size; ``init_params`` as in `GaussianMixture`, and the same draws for every size.

    With 'auto' little data are searched, too, unless there are fewer than two rows for each free parameter.
    """
    rungs = {
        size: _found(reservoir, trials, size, n_init, init_params, deepcopy(random)) for size in sorted(set(sizes))
    }
    if init_params != "auto":
        return rungs
    for near, size in [*pairwise(rungs), *pairwise(list(rungs)[::-1])]:
        if rungs[near].starts and abs(near - size) <= FAR and size > 1 and not _is_little(trials, size):
            rungs[size] = _suggested(rungs[size], rungs[near].starts[0], size, n_init, trials)
    return rungs


def log_densities(trials: Trials, mixture: Parameters) -> Array:
    """Log-densities of the rows to judge by under what a mixture becomes on the rows to learn from, nats.

    NaN where it degenerates.
    """
    (learnt,) = trials.run([mixture], LAST_PASSES, accelerated=True)
    rows = at_hand(trials.judging).rows.astype(np.float64)
    if learnt is None:
        return np.full(len(rows), np.nan)
    return np.asarray(np.logaddexp.reduce(log_joint(rows, learnt), axis=1))


def _found(reservoir: Reservoir, trials: Trials, size: int, n_init: int, init_params: str, random: RandomState) -> Rung:
    """What is found for one size by itself."""
    way, given = init_params, Given(trials.structure, None, None, None)
    if way == "auto":
        if size > 1 and not _is_little(trials, size):
            try:
                found, restarts = searched_on(trials, trials, size, n_init, random, Effort(STARTS, 0))
                return Rung(tuple(found), restarts)
            except DegenerateError:
                pass
        way, n_init = "kmeans", n_init if size > 1 else 1  # one component has one optimum
    try:
        return Rung(tuple(starts_of(reservoir, given, size, way, n_init, random, trials.reg_covar)[0]))
    except DegenerateError:
        return Rung(())


def _is_little(trials: Trials, size: int) -> bool:
    """Whether there are so few rows that a search would find components that have collapsed."""
    training = trials.training
    return (training.n_rows or 0) < FEW * n_parameters(trials.structure, size, training.n_features)


def _suggested(rung: Rung, neighbour: Parameters, size: int, n_init: int, trials: Trials) -> Rung:
    """Starts of one size with what a neighbour suggests among them, where it is good enough."""
    try:
        moved = resized(neighbour, size, trials)
    except DegenerateError:
        return rung
    (one,) = trials.run([moved], PASSES, accelerated=True)
    if one is None:
        return rung
    starts = [*rung.starts, one]
    order = np.argsort(-trials.scores(starts), kind="stable")[:n_init]
    return Rung(tuple(starts[place] for place in order), rung.restarts)
