"""Starts of a fit: the subsample they are found on, and the search that ``init_params`` names.

`INIT_METHODS` is the only list of these names. A new start method is a function and a row in
`streamgmm.initialization.start_methods.START_METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.random import RandomState

from streamgmm.data.source import Source
from streamgmm.data.subsample import Subsample, SubsampleState, draw_subsample
from streamgmm.errors import DegenerateError, InputError
from streamgmm.initialization import search_settings
from streamgmm.initialization.multistart import Restarts, run_multistart, run_repeated_kmeans
from streamgmm.initialization.search_settings import choose_budget
from streamgmm.initialization.split_merge import resize_mixture
from streamgmm.initialization.start_methods import START_METHODS, StartMethod, estimate_start
from streamgmm.initialization.user_start import UserStart
from streamgmm.initialization.validation import ValidationSplit, run_em
from streamgmm.iteration.run import Trajectory
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.parameters import Parameters

TOO_FEW_ROWS = "Expected n_samples >= n_components but got n_components = {}, n_samples = {}"

Starts = tuple[list[Parameters], Restarts | None]


def subsample_size(n_components: int, n_features: int) -> int:
    """Return the number of rows from which a fit is started."""
    search = search_settings.SEARCH
    return max(search.subsample_rows, search.subsample_rows_per_mean * n_components * n_features)


def draw_rows_to_start(
    source: Source,
    n_components: int,
    seed: int,
    state: SubsampleState | None = None,
    watch: Callable[[SubsampleState], None] | None = None,
) -> Subsample:
    """Draw the rows to start from, in one pass or the rest of one; raise InputError for fewer rows than components."""
    subsample = draw_subsample(source, subsample_size(n_components, source.n_features), seed, state, watch)
    if len(subsample.rows) < n_components:
        raise InputError(TOO_FEW_ROWS.format(n_components, len(subsample.rows)))
    return subsample


def check_warm_start(parameters: Parameters, n_components: int, n_features: int) -> Parameters:
    """Return the parameters of an earlier fit; raise InputError if they have another shape."""
    if parameters.means.shape != (n_components, n_features):
        raise InputError(
            f"warm_start goes on from {parameters.n_components} components in {parameters.n_features} features, but "
            f"n_components is {n_components} and X has {n_features} features; set warm_start=False."
        )
    return parameters


def find_starts(
    subsample: Subsample,
    user_start: UserStart,
    n_components: int,
    init_params: str,
    n_init: int,
    random: RandomState,
    reg_covar: float,
    n_rows: int | None = None,
) -> Starts:
    """Find ``n_init`` starts, and what multi-start tried for them.

    Parameters
    ----------
    subsample : Subsample
        Rows to start from.
    user_start : UserStart
        Parts of the start that are given.
    n_components : int
        Number of components.
    init_params : str
        One of `INIT_METHODS`.
    n_init : int
        Number of starts. Methods other than k-means and random ones may return fewer.
    random : RandomState
        Random generator.
    reg_covar : float
        Added to variances.
    n_rows : int, optional
        Number of rows of the source, if known; of very many, fewer starts are tried.
    """
    return INIT_METHODS[init_params](subsample, user_start, n_components, n_init, random, reg_covar, n_rows)


def _draw_starts(
    method: StartMethod,
    subsample: Subsample,
    user_start: UserStart,
    n_components: int,
    n_init: int,
    random: RandomState,
    reg_covar: float,
    n_rows: int | None,
) -> Starts:
    starts = []
    for _ in range(n_init):
        responsibilities = method(subsample, n_components, random)
        starts.append(user_start.override(estimate_start(subsample, responsibilities, user_start.structure, reg_covar)))
    return starts, None


def _search_starts(
    subsample: Subsample,
    user_start: UserStart,
    n_components: int,
    n_init: int,
    random: RandomState,
    reg_covar: float,
    n_rows: int | None,
) -> Starts:
    """Run multi-start, or repeated k-means on small data; k-means once where a part is given or all degenerate."""
    n_sampled, n_features = subsample.rows.shape
    structure = user_start.structure
    if user_start.is_empty and n_components > 1:
        settings = (subsample, structure, n_components, n_init, random, reg_covar)
        needed = search_settings.SEARCH.single_start_rows_per_parameter
        try:
            if not is_small_problem(n_sampled, n_features, n_components, structure):
                return run_multistart(*settings, choose_budget(structure, n_components, n_features, n_rows))
            if n_sampled < needed * n_parameters(structure, n_components, n_features):
                return run_repeated_kmeans(*settings)
        except DegenerateError:
            pass
    return _draw_starts(START_METHODS["kmeans"], subsample, user_start, n_components, n_init, random, reg_covar, n_rows)


def _split_starts(
    subsample: Subsample,
    user_start: UserStart,
    n_components: int,
    n_init: int,
    random: RandomState,
    reg_covar: float,
    n_rows: int | None,
) -> Starts:
    """Split components, from a single one, until there are enough."""
    split = ValidationSplit.from_all_rows(subsample, user_start.structure, reg_covar)
    one = estimate_start(subsample, np.ones((len(subsample.rows), 1)), user_start.structure, reg_covar)
    return [user_start.override(resize_mixture(one, n_components, split))], None


INIT_METHODS: dict[str, Callable[[Subsample, UserStart, int, int, RandomState, float, int | None], Starts]] = {
    "auto": _search_starts,
    "split": _split_starts,
    **{name: partial(_draw_starts, method) for name, method in START_METHODS.items()},
}
"""Values of ``init_params``."""


def is_small_problem(n_rows: int, n_features: int, n_components: int, structure: CovarianceStructure) -> bool:
    """Return True if the data hardly tell good starts from bad ones, or if a fit must not take noticeable time."""
    search = search_settings.SEARCH
    per_parameter = n_rows / n_parameters(structure, n_components, n_features)
    is_uncertain = per_parameter < search.uncertain_rows_per_parameter and n_rows < 2 * search.training_rows
    is_tiny = n_rows * n_features * n_components < search.small_problem
    return per_parameter < search.min_rows_per_parameter or is_uncertain or is_tiny


def run_em_on_subsample(
    subsample: Subsample, starts: Sequence[Parameters], structure: CovarianceStructure, reg_covar: float
) -> list[Trajectory]:
    """Run EM on the rows of the starts, before algorithms of which one pass leads not far."""
    search = search_settings.SEARCH
    return run_em(starts, subsample, structure, reg_covar, passes=search.em_passes, tol=search.em_tolerance)
