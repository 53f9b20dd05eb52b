"""Multi-start: short runs of EM from many starts, of which successive halving keeps the best.

em-EM of Biernacki, Celeux & Govaert (2003), "Choosing starting values for the EM algorithm", with the split and merge
moves of `streamgmm.initialization.split_merge`. The best starts are scored on the whole subsample, where they almost
reach their optima: a part of the rows has optima of its own, and is too noisy to choose by where outliers decide. Only
where rows per free parameter are few do validation rows decide.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain, cycle, islice, zip_longest
from math import ceil

import numpy as np
from numpy.random import RandomState

from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization import search_settings
from streamgmm.initialization.search_settings import SearchBudget
from streamgmm.initialization.split_merge import log_joint, split_and_merge
from streamgmm.initialization.start_methods import MULTISTART_METHODS, kmeans, repeat_kmeans, whiten
from streamgmm.initialization.validation import ValidationSplit, rank_by_score
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.em import ILL_DEFINED
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent


@persistent("restarts-1")
@dataclass(frozen=True, slots=True)
class Restarts:
    """Starts that were tried on a subsample, and their scores.

    Attributes
    ----------
    methods : tuple of str
        Start method of each.
    scores : tuple of float
        Mean log-likelihood at the end of the last run of each, nats a row; minus infinity for degenerate ones.
    is_held_out : bool
        True if scores are those of validation rows: where rows are many, but few per free parameter.
    gains : tuple of float
        Gain of each accepted split and merge move, nats a row.
    disagreement : float
        Largest fraction of rows that a start of the last round labels otherwise than the best one, once components
        are matched; 0 if all reached the same optimum.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> centres = np.repeat([[0, 0], [9, 0], [0, 9], [9, 9]], 625, axis=0)
    >>> rows = centres + np.random.default_rng(0).normal(size=(2500, 2))
    >>> restarts = GaussianMixture(4, random_state=0).fit(rows).restarts_
    >>> restarts.methods[:3], restarts.is_held_out, restarts.disagreement
    (('kmeans', 'k-means++, whitened', 'kmeans, whitened'), False, 0.0)
    """

    methods: tuple[str, ...]
    scores: tuple[float, ...]
    is_held_out: bool
    gains: tuple[float, ...]
    disagreement: float

    def validate(self) -> None:
        """Raise ValueError unless there are starts, and as many scores."""
        if not len(self.methods) == len(self.scores) > 0:
            raise ValueError("starts and scores differ in number")

    def __repr__(self) -> str:
        best = max(self.scores)
        spread, winner = best - float(np.median(self.scores)), self.methods[self.scores.index(best)]
        return (
            f"Restarts({len(self.methods)} starts, best by {winner}, {spread:.2g} nats/row above the median, "
            f"disagreement {self.disagreement:.1%}, {len(self.gains)} moves)"
        )


def run_multistart(
    subsample: Subsample,
    structure: CovarianceStructure,
    n_components: int,
    n_init: int,
    random: RandomState,
    reg_covar: float,
    budget: SearchBudget,
) -> tuple[list[Parameters], Restarts]:
    """Find the ``n_init`` best starts, best first; raise DegenerateError if all degenerate."""
    seed = int(random.randint(2**31 - 1))
    split = ValidationSplit.from_subsample(subsample, structure, n_components, reg_covar, seed)
    free = n_parameters(structure, n_components, subsample.rows.shape[1])
    is_certain = len(subsample.rows) >= search_settings.SEARCH.uncertain_rows_per_parameter * free
    whole = ValidationSplit.from_all_rows(subsample, structure, reg_covar) if is_certain else split
    return run_multistart_on(split, whole, n_components, n_init, random, budget)


def run_multistart_on(
    split: ValidationSplit,
    whole: ValidationSplit,
    n_components: int,
    n_init: int,
    random: RandomState,
    budget: SearchBudget,
) -> tuple[list[Parameters], Restarts]:
    """Run `run_multistart` on given rows: a first round on the training rows of ``split``, the others on ``whole``."""
    n_starts = max(budget.starts, 3 * n_init if n_init > 1 else 1)
    methods, starts = _draw_starts(n_starts, split, n_components, random)
    mixtures = dict(enumerate(starts))
    scores = np.full(len(starts), -np.inf)
    last = list(mixtures)
    rounds = search_settings.SEARCH.halving_rounds
    # two starts at least, to measure their disagreement
    sizes = [max(2, n_init, ceil(len(starts) / halving.keep_one_in)) for halving in rounds]
    for halving, size, next_size in zip(rounds, sizes, [*sizes[1:], 0], strict=True):
        last = last[:size]
        if 0 < len(last) <= next_size:
            continue  # the round would drop none
        ended = (whole if halving.all_rows else split).run_em(
            [mixtures[index] for index in last], halving.passes, accelerated=halving.accelerated
        )
        sound = {index: mixture for index, mixture in zip(last, ended, strict=True) if mixture is not None}
        if not sound:
            raise DegenerateError(ILL_DEFINED)
        mixtures |= sound
        scores[list(sound)] = whole.score_on_validation(list(sound.values()))
        last = [index for index in rank_by_score(scores) if index in sound]
    best, *others = (mixtures[index] for index in last)
    disagreement = max((measure_disagreement(best, other, split.validation) for other in others), default=0.0)
    # even if all starts reached the same optimum: it may only be the easiest to reach
    best, gains = split_and_merge(best, split, whole, budget.move_rounds)
    restarts = Restarts(methods, tuple(scores.tolist()), whole.is_held_out, tuple(gains), disagreement)
    return [best, *others[: n_init - 1]], restarts


def run_repeated_kmeans(
    subsample: Subsample,
    structure: CovarianceStructure,
    n_components: int,
    n_init: int,
    random: RandomState,
    reg_covar: float,
) -> tuple[list[Parameters], Restarts]:
    """Run EM to its end from k-means ten times; return the ``n_init`` best different starts, best first.

    This is what scikit-learn does with ``n_init=10``: the same starts, stopping rule and score. With few rows per free
    parameter nothing more is tried, because the mixture with the best likelihood is often bad for new rows. Raise
    DegenerateError if all starts degenerate.
    """
    search = search_settings.SEARCH
    n_rows, n_features = subsample.rows.shape
    affordable = search.max_repeat_work // (n_rows * n_parameters(structure, n_components, n_features))
    times = max(n_init, min(search.kmeans_repeats, affordable))
    partitions, partition_of_run = repeat_kmeans(subsample, n_components, random, times)
    split = ValidationSplit.from_all_rows(subsample, structure, reg_covar)
    estimated = [split.estimate_start(subsample, responsibilities) for responsibilities in partitions]
    starts = {index: start for index, start in enumerate(estimated) if start is not None}
    scores = np.full(len(partitions), -np.inf)
    if len(starts) == 1:  # nothing to compare
        mixtures = starts
        scores[list(starts)] = split.score_on_validation(list(starts.values()))
    else:
        ended = split.run_em_until(list(starts.values()), search.repeat_tolerance, search.repeat_passes)
        sound = {index: trajectory for index, trajectory in zip(starts, ended, strict=True) if trajectory is not None}
        mixtures = {index: trajectory.parameters for index, trajectory in sound.items()}
        scores[list(sound)] = [trajectory.lower_bound for trajectory in sound.values()]
    order = [index for index in rank_by_score(scores) if np.isfinite(scores[index])]
    if not order:
        raise DegenerateError(ILL_DEFINED)
    best, *others = (mixtures[index] for index in order)
    disagreement = max((measure_disagreement(best, other, subsample) for other in others), default=0.0)
    restarts = Restarts(("kmeans",) * times, tuple(scores[partition_of_run].tolist()), False, (), disagreement)
    return [starts[index] for index in order[:n_init]], restarts


def _draw_starts(
    n_starts: int, split: ValidationSplit, n_components: int, random: RandomState
) -> tuple[tuple[str, ...], list[Parameters]]:
    """Draw starts by all methods in turn, from some training rows; return methods and starts that are sound."""
    search = search_settings.SEARCH
    rows = split.training.thin(max(search.seeding_rows, search.seeding_rows_per_component * n_components))
    white = whiten(rows)
    drawn = []
    for name, times in Counter(islice(cycle(MULTISTART_METHODS), n_starts)).items():
        method, is_whitened = MULTISTART_METHODS[name]
        where = white if is_whitened else rows
        if method is kmeans:  # often finds the same partition
            partitions, _ = repeat_kmeans(where, n_components, random, times)
        else:
            partitions = [method(where, n_components, random) for _ in range(times)]
        drawn.append([(name, partition) for partition in partitions])
    in_turn = filter(None, chain.from_iterable(zip_longest(*drawn)))
    starts = [(name, split.estimate_start(rows, responsibilities)) for name, responsibilities in in_turn]
    sound = [(name, start) for name, start in starts if start is not None]
    return tuple(name for name, _ in sound), [start for _, start in sound]


def measure_disagreement(one: Parameters, other: Parameters, subsample: Subsample) -> float:
    """Return the fraction of rows that two mixtures label differently, once their components are matched."""
    from scipy.optimize import linear_sum_assignment  # takes long to load

    rows = subsample.rows.astype(np.float64)
    counts = np.zeros((one.n_components, other.n_components))
    np.add.at(counts, tuple(log_joint(rows, mixture).argmax(axis=1) for mixture in (one, other)), 1.0)
    return float(1.0 - counts[linear_sum_assignment(counts, maximize=True)].sum() / len(rows))
