"""Starts of a fit: the subsample they are found on, and the search that ``init_params`` names.

A new start method is a function and a row in `streamgmm.initialization.start_methods.START_METHODS`; the estimator and
the command line take its name from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from numpy.random import RandomState

from streamgmm.data.source import Source
from streamgmm.data.subsample import Subsample, SubsampleState, draw_subsample
from streamgmm.errors import DegenerateError, InputError
from streamgmm.initialization import search_settings
from streamgmm.initialization.multistart import Restarts, run_multistart, run_repeated_kmeans
from streamgmm.initialization.search_settings import choose_budget
from streamgmm.initialization.split_merge import resize_mixture
from streamgmm.initialization.start_methods import START_METHODS, estimate_start
from streamgmm.initialization.user_start import UserStart
from streamgmm.initialization.validation import ValidationSplit, run_em
from streamgmm.iteration.run import Trajectory
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.parameters import Parameters

INIT_METHODS = ("auto", "split", *START_METHODS)  # values of ``init_params``
TOO_FEW_ROWS = "Expected n_samples >= n_components but got n_components = {}, n_samples = {}"


def choose_subsample_size(n_components: int, n_features: int) -> int:
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
    subsample = draw_subsample(source, choose_subsample_size(n_components, source.n_features), seed, state, watch)
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
) -> tuple[list[Parameters], Restarts | None]:
    """Find ``n_init`` starts, or fewer where others lead to the same, and return what multi-start tried.

    'auto' is multi-start; repeated k-means on small data; and k-means once where rows per parameter are many, where a
    part of the start is given, or where all starts degenerate. 'split' splits components, from a single one. All other
    methods draw from the subsample. Where ``n_rows``, the rows of the source, are very many, fewer starts are tried.
    """
    structure = user_start.structure
    if init_params == "split":
        split = ValidationSplit.from_all_rows(subsample, structure, reg_covar)
        single = estimate_start(subsample, np.ones((len(subsample.rows), 1)), structure, reg_covar)
        return [user_start.override(resize_mixture(single, n_components, split))], None
    if init_params == "auto" and user_start.is_empty and n_components > 1:
        settings = (subsample, structure, n_components, n_init, random, reg_covar)
        n_sampled, n_features = subsample.rows.shape
        needed = search_settings.SEARCH.single_start_rows_per_parameter
        with suppress(DegenerateError):
            if not is_small_problem(n_sampled, n_features, n_components, structure):
                return run_multistart(*settings, choose_budget(structure, n_components, n_features, n_rows))
            if n_sampled < needed * n_parameters(structure, n_components, n_features):
                return run_repeated_kmeans(*settings)
    method = START_METHODS["kmeans" if init_params == "auto" else init_params]
    drawn = (method(subsample, n_components, random) for _ in range(n_init))
    return [user_start.override(estimate_start(subsample, part, structure, reg_covar)) for part in drawn], None


def is_small_problem(n_rows: int, n_features: int, n_components: int, structure: CovarianceStructure) -> bool:
    """Return True if the data hardly distinguish good starts from bad ones, or if a fit must be immediate."""
    search = search_settings.SEARCH
    per_parameter = n_rows / n_parameters(structure, n_components, n_features)
    is_uncertain = per_parameter < search.uncertain_rows_per_parameter and n_rows < 2 * search.training_rows
    is_tiny = n_rows * n_features * n_components < search.small_problem
    return per_parameter < search.min_rows_per_parameter or is_uncertain or is_tiny


def run_em_on_subsample(
    subsample: Subsample, starts: Sequence[Parameters], structure: CovarianceStructure, reg_covar: float
) -> list[Trajectory]:
    """Run EM on the subsample, before an algorithm whose single pass moves parameters little."""
    search = search_settings.SEARCH
    return run_em(starts, subsample, structure, reg_covar, passes=search.em_passes, tol=search.em_tolerance)
