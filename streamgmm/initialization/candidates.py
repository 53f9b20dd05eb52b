"""Starting parameters of every candidate of a fit, from one reading at most."""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import RandomState

from streamgmm.errors import InputError
from streamgmm.initialization.given import Given
from streamgmm.initialization.reservoir import Reservoir, Sampling, sample
from streamgmm.initialization.starts import WAYS, start
from streamgmm.parameters import Parameters
from streamgmm.sources.source import Source

RESERVOIR = 32_768  # rows from which a fit is started, unless so many features or components need more

TOO_FEW_ROWS = "Expected n_samples >= n_components but got n_components = {}, n_samples = {}"


def rows_to_keep(n_components: int, n_features: int) -> int:
    """Rows that are held in memory, so that a fit can be started from them."""
    return max(RESERVOIR, 100 * n_components * n_features)


def drawn(
    source: Source,
    n_components: int,
    seed: int,
    since: Sampling | None = None,
    watch: Callable[[Sampling], None] | None = None,
) -> Reservoir:
    """Rows to start from, in one reading or the rest of one; InputError where there are fewer than components."""
    reservoir = sample(source, rows_to_keep(n_components, source.n_features), seed, since, watch)
    if len(reservoir.rows) < n_components:
        raise InputError(TOO_FEW_ROWS.format(n_components, len(reservoir.rows)))
    return reservoir


def candidates(
    reservoir: Reservoir,
    given: Given,
    n_components: int,
    init_params: str,
    n_init: int,
    random: RandomState,
    reg_covar: float,
) -> list[Parameters]:
    """Find ``n_init`` starts, with what is given in its place; arguments as in `GaussianMixture`."""
    way = WAYS[init_params]
    return [
        given.replacing(start(reservoir, way(reservoir, n_components, random), given.structure, reg_covar))
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
