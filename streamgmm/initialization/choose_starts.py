"""Where fits begin: which way there is time for, and rows for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import RandomState

from streamgmm.algorithms.batch import Batch
from streamgmm.algorithms.stopping import Tolerance
from streamgmm.data import execution
from streamgmm.data.sources import as_source
from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization.budget import SearchBudget
from streamgmm.initialization.candidates import candidates
from streamgmm.initialization.multistart import Restarts, run_multistart
from streamgmm.initialization.repeated_kmeans import repeated
from streamgmm.initialization.split_merge import resize_mixture
from streamgmm.initialization.starting_points import start
from streamgmm.initialization.user_start import UserStart
from streamgmm.initialization.validation import MOST, UNSURE, ValidationSplit
from streamgmm.iteration.run import Stage, Trajectory, run_stages, start_run
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.parameters import Parameters

LITTLE = 2**14  # rows x features x components
FEW = 2  # rows for each free parameter, below which a search finds components that have collapsed
SURE = 50  # the same, from which one start will do


def starts(
    subsample: Subsample,
    given: UserStart,
    n_components: int,
    init_params: str,
    n_init: int,
    random: RandomState,
    reg_covar: float,
    n_rows: int | None = None,
) -> tuple[list[Parameters], Restarts | None]:
    """Where ``n_init`` fits begin, in one of scikit-learn's ways or one of ours; and what 'auto' has tried for it.

    ``n_rows`` are those that the reservoir is a sample of, where their number is known: of very many less is tried. Of
    little data 'auto' is the best of several times 'kmeans', or 'kmeans' where the rows for each free parameter are
    many; so it is where a part of the start is given, or all mixtures degenerate.
    """
    if init_params == "split":
        trials = ValidationSplit.on(subsample, given.structure, reg_covar)
        one = start(subsample, np.ones((len(subsample.rows), 1)), given.structure, reg_covar)
        return [given.replacing(resize_mixture(one, n_components, trials))], None
    kept, n_features = subsample.rows.shape
    structure = given.structure
    if init_params == "auto" and given.empty and n_components > 1:
        try:
            if not is_little(kept, n_features, n_components, structure):
                effort = SearchBudget.of(structure, n_components, n_features, n_rows)
                return run_multistart(subsample, structure, n_components, n_init, random, reg_covar, effort)
            if kept < SURE * n_parameters(structure, n_components, n_features):
                return repeated(subsample, structure, n_components, n_init, random, reg_covar)
        except DegenerateError:
            pass
    way = "kmeans" if init_params == "auto" else init_params
    return candidates(subsample, given, n_components, way, n_init, random, reg_covar), None


def is_little(n_rows: int, n_features: int, n_components: int, structure: CovarianceStructure) -> bool:
    """Whether there is so little data that it hardly tells good starts from bad, or a fit shall take no time."""
    rows = n_rows / n_parameters(structure, n_components, n_features)
    unsure = rows < UNSURE and n_rows < 2 * MOST
    return rows < FEW or unsure or n_rows * n_features * n_components < LITTLE


def run_em_on_subsample(
    subsample: Subsample, starts: Sequence[Parameters], structure: CovarianceStructure, reg_covar: float
) -> list[Trajectory]:
    """Starts after EM on the rows that they were found on: one pass is too short to get far from its start."""
    rows = as_source(subsample.rows, subsample.weights)
    stage = Stage("start", Batch(structure, reg_covar), execution.plan_passes(rows), Tolerance(1e-4))
    return run_stages(start_run(starts), [stage], max_iter=50)
