"""Starts of mixtures of several sizes from one subsample, for `streamgmm.select`.

A mixture of k components suggests a start of k + 1 by a split, and of k − 1 by a merger, so that no size is left at an
optimum that its neighbours show to be poor. All are scored on the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.random import RandomState

from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization import search_settings
from streamgmm.initialization.find_starts import find_starts
from streamgmm.initialization.multistart import Restarts, run_multistart_on
from streamgmm.initialization.search_settings import SearchBudget
from streamgmm.initialization.split_merge import log_joint, resize_mixture
from streamgmm.initialization.user_start import UserStart
from streamgmm.initialization.validation import ValidationSplit
from streamgmm.model.criteria import n_parameters
from streamgmm.model.parameters import Array, Parameters
from streamgmm.persistence.codec import persistent


@persistent("starts-of-size-1")
@dataclass(frozen=True, slots=True, eq=False)
class StartsOfSize:
    """Starts of one size."""

    starts: tuple[Parameters, ...]  # best first, by their validation scores; empty if all degenerate
    restarts: Restarts | None = None  # None if multi-start did not run


def find_starts_per_size(
    subsample: Subsample,
    split: ValidationSplit,
    sizes: Sequence[int],
    n_init: int,
    init_params: str,
    random: RandomState,
) -> dict[int, StartsOfSize]:
    """Find ``n_init`` starts of every size, with the same random draws for each; ``init_params`` as in `find_starts`.

    With 'auto', multi-start runs on small data, too, unless there are fewer than two rows per free parameter.
    """
    starts_by_size = {
        size: _find_starts(subsample, split, size, n_init, init_params, deepcopy(random)) for size in sorted(set(sizes))
    }
    if init_params != "auto":
        return starts_by_size
    for near, size in [*pairwise(starts_by_size), *pairwise(list(starts_by_size)[::-1])]:
        neighbours = starts_by_size[near].starts
        is_near = abs(near - size) <= search_settings.SEARCH.neighbour_distance
        if neighbours and is_near and _has_enough_rows(split, size):
            starts_by_size[size] = _try_neighbour(starts_by_size[size], neighbours[0], size, n_init, split)
    return starts_by_size


def compute_validation_log_densities(split: ValidationSplit, mixture: Parameters) -> Array:
    """Compute log-densities of the validation rows after EM on the training rows, nats; NaN where it degenerates."""
    (fitted,) = split.run_em([mixture], search_settings.SEARCH.validation_passes, accelerated=True)
    rows = split.validation.rows.astype(np.float64)
    if fitted is None:
        return np.full(len(rows), np.nan)
    return np.asarray(np.logaddexp.reduce(log_joint(rows, fitted), axis=1))


def _find_starts(
    subsample: Subsample, split: ValidationSplit, size: int, n_init: int, init_params: str, random: RandomState
) -> StartsOfSize:
    if init_params == "auto":
        if _has_enough_rows(split, size):
            try:
                budget = SearchBudget(search_settings.SEARCH.starts_per_size, 0)
                starts, restarts = run_multistart_on(split, split, size, n_init, random, budget)
                return StartsOfSize(tuple(starts), restarts)
            except DegenerateError:
                pass
        init_params, n_init = "kmeans", n_init if size > 1 else 1  # one component has one optimum
    try:
        starts, _ = find_starts(
            subsample, UserStart(split.structure), size, init_params, n_init, random, split.reg_covar
        )
    except DegenerateError:
        starts = []
    return StartsOfSize(tuple(starts))


def _has_enough_rows(split: ValidationSplit, size: int) -> bool:
    n_rows, n_features = split.training.rows.shape
    least = search_settings.SEARCH.min_rows_per_parameter * n_parameters(split.structure, size, n_features)
    return size > 1 and n_rows >= least


def _try_neighbour(
    starts_of_size: StartsOfSize, neighbour: Parameters, size: int, n_init: int, split: ValidationSplit
) -> StartsOfSize:
    """Add the start that a neighbouring size suggests, and keep the best."""
    try:
        resized = resize_mixture(neighbour, size, split)
    except DegenerateError:
        return starts_of_size
    (fitted,) = split.run_em([resized], search_settings.SEARCH.neighbour_passes, accelerated=True)
    if fitted is None:
        return starts_of_size
    starts = [*starts_of_size.starts, fitted]
    order = np.argsort(-split.score_on_validation(starts), kind="stable")[:n_init]
    return replace(starts_of_size, starts=tuple(starts[index] for index in order))
