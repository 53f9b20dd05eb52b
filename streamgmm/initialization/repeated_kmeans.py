"""k-means many times over, and EM to its end from each: for little data, and few rows for each free parameter.

Too few rows to hold some out are judged by what they were learnt from, by which the mixture that is best for them is
often bad for others. So nothing is tried here but what scikit-learn tries with ``n_init=10``: the same starts, ended by
the same rule, of which the same number says which is the best.
"""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState

from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization.batched_kmeans import partitions
from streamgmm.initialization.multistart import Restarts, disagreement
from streamgmm.initialization.validation import ValidationSplit, ranked
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.em import ILL_DEFINED
from streamgmm.model.parameters import Array, Parameters

TIMES = 10
WORK = 2**30  # rows x free parameters of all starts, beyond which there are fewer
TOL, PASSES = 1e-3, 100  # scikit-learn's


def repeated(
    subsample: Subsample,
    structure: CovarianceStructure,
    n_components: int,
    n_init: int,
    random: RandomState,
    reg_covar: float,
) -> tuple[list[Parameters], Restarts]:
    """The ``n_init`` starts that lead furthest, the best first, or fewer where others lead to the same.

    Raises DegenerateError where all degenerate.
    """
    n_rows, n_features = subsample.rows.shape
    work = n_rows * n_parameters(structure, n_components, n_features)
    found, which = partitions(subsample, n_components, random, max(n_init, min(TIMES, WORK // work)))
    trials = ValidationSplit.on(subsample, structure, reg_covar)
    begun = [trials.begun(subsample, responsibilities) for responsibilities in found]
    mixtures, scores = _judged(begun, trials)
    order = [place for place in ranked(scores) if np.isfinite(scores[place])]
    if not order:
        raise DegenerateError(ILL_DEFINED)
    best, *others = (mixtures[place] for place in order)
    differing = max((disagreement(best, other, trials) for other in others), default=0.0)
    told = Restarts(("kmeans",) * len(which), tuple(scores[which].tolist()), False, (), differing)
    return [one for place in order[:n_init] if (one := begun[place]) is not None], told


def _judged(begun: list[Parameters | None], trials: ValidationSplit) -> tuple[dict[int, Parameters], Array]:
    """Where each start leads, and how good that is, nats a row; one that is alone needs no judge, and stays."""
    scores = np.full(len(begun), -np.inf)
    sound = {place: one for place, one in enumerate(begun) if one is not None}
    if len(sound) == 1:
        scores[list(sound)] = trials.scores(list(sound.values()))
        return sound, scores
    ended = zip(sound, trials.ends(list(sound.values()), TOL, PASSES), strict=True)
    reached = {place: one for place, one in ended if one is not None}
    scores[list(reached)] = [one.lower_bound for one in reached.values()]
    return {place: one.parameters for place, one in reached.items()}, scores
