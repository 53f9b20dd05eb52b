"""Starting parameters of every candidate of a fit, from one reading at most."""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import RandomState

from streamgmm.data.source import Source
from streamgmm.data.subsample import Subsample, SubsampleState, sample
from streamgmm.errors import InputError
from streamgmm.initialization.starting_points import SCIKIT_START_METHODS, start
from streamgmm.initialization.user_start import UserStart
from streamgmm.model.parameters import Parameters

RESERVOIR = 32_768  # rows from which a fit is started, unless so many features or components need more

TOO_FEW_ROWS = "Expected n_samples >= n_components but got n_components = {}, n_samples = {}"


def subsample_size(n_components: int, n_features: int) -> int:
    """Rows that are held in memory, so that a fit can be started from them."""
    return max(RESERVOIR, 100 * n_components * n_features)


def drawn(
    source: Source,
    n_components: int,
    seed: int,
    since: SubsampleState | None = None,
    watch: Callable[[SubsampleState], None] | None = None,
) -> Subsample:
    """Rows to start from, in one reading or the rest of one; InputError where there are fewer than components."""
    subsample = sample(source, subsample_size(n_components, source.n_features), seed, since, watch)
    if len(subsample.rows) < n_components:
        raise InputError(TOO_FEW_ROWS.format(n_components, len(subsample.rows)))
    return subsample


def candidates(
    subsample: Subsample,
    given: UserStart,
    n_components: int,
    init_params: str,
    n_init: int,
    random: RandomState,
    reg_covar: float,
) -> list[Parameters]:
    """Find ``n_init`` starts, with what is given in its place; arguments as in `GaussianMixture`."""
    way = SCIKIT_START_METHODS[init_params]
    return [
        given.replacing(start(subsample, way(subsample, n_components, random), given.structure, reg_covar))
        for _ in range(n_init)
    ]


def continued(parameters: Parameters, n_components: int, n_features: int) -> Parameters:
    """Parameters of an earlier fit, from which a warm start goes on; InputError where they do not fit any more."""
    if parameters.means.shape != (n_components, n_features):
        raise InputError(
            f"warm_start goes on from {parameters.n_components} components in {parameters.n_features} features, but "
            f"n_components is {n_components} and X has {n_features} features; set warm_start=False."
        )
    return parameters
