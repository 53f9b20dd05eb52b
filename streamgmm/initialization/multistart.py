"""Many starts, short runs of EM from each, and the best of them improved: em-EM, with moves between optima.

Biernacki, Celeux & Govaert (2003), "Choosing starting values for the EM algorithm". The best go on for longer, on all
rows at hand, and the best of these almost to their ends: a part of the rows has optima of its own, and what few rows
say, learnt from or held out, is too uncertain to choose by where outliers decide. Only where the rows for each free
parameter are few does what was held out judge. Moves are those of `streamgmm.initialization.split_merge`.
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
from streamgmm.initialization.batched_kmeans import partitions
from streamgmm.initialization.budget import SearchBudget
from streamgmm.initialization.split_merge import improved, log_joint
from streamgmm.initialization.starting_points import START_METHODS, whitened
from streamgmm.initialization.validation import UNSURE, ValidationSplit, at_hand, ranked
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.em import ILL_DEFINED
from streamgmm.model.parameters import Array, Parameters
from streamgmm.persistence.codec import persistent

PLACED = 2_048  # rows on which starts are found


@dataclass(frozen=True, slots=True)
class HalvingRound:
    """A run of EM from the best of the starts.

    Attributes
    ----------
    passes : int
        At most.
    share : int
        Of how many starts the best one has them.
    of_all_rows : bool
        At hand, or of some of them.
    accelerated : bool
        As a fit is.
    """

    passes: int
    share: int
    of_all_rows: bool
    accelerated: bool


HALVING_ROUNDS = HalvingRound(5, 1, False, False), HalvingRound(8, 3, True, False), HalvingRound(20, 8, True, True)


@persistent("restarts-1")
@dataclass(frozen=True, slots=True)
class Restarts:
    """What became of the starts that were tried on a sample.

    Attributes
    ----------
    ways : tuple of str
        How each was found.
    scores : tuple of float
        Mean log-likelihood where each was left, nats a row; minus infinity where it had degenerated.
    held_out : bool
        Whether that is of rows that were not learnt from: where there are many, but few for each free parameter.
    gains : tuple of float
        What each split and merge gained after that, nats a row.
    disagreement : float
        Largest share of the rows that one of the last starts labels otherwise than the best of them, once components
        are matched; 0 where all came to the same optimum.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> centres = np.repeat([[0, 0], [9, 0], [0, 9], [9, 9]], 625, axis=0)
    >>> rows = centres + np.random.default_rng(0).normal(size=(2500, 2))
    >>> tried = GaussianMixture(4, random_state=0).fit(rows).restarts_
    >>> tried.ways[:3], tried.held_out, tried.disagreement
    (('kmeans', 'k-means++, whitened', 'kmeans, whitened'), False, 0.0)
    """

    ways: tuple[str, ...]
    scores: tuple[float, ...]
    held_out: bool
    gains: tuple[float, ...]
    disagreement: float

    def validate(self) -> None:
        """Raise ValueError unless there are starts, and as many scores."""
        if not len(self.ways) == len(self.scores) > 0:
            raise ValueError("starts and scores differ in number")

    def __repr__(self) -> str:
        best = max(self.scores)
        spread, winner = best - float(np.median(self.scores)), self.ways[self.scores.index(best)]
        return (
            f"Restarts({len(self.ways)} starts, best by {winner}, {spread:.2g} nats/row above the median, "
            f"disagreement {self.disagreement:.1%}, {len(self.gains)} moves)"
        )


def run_multistart(
    subsample: Subsample,
    structure: CovarianceStructure,
    n_components: int,
    n_init: int,
    random: RandomState,
    reg_covar: float,
    effort: SearchBudget,
) -> tuple[list[Parameters], Restarts]:
    """The ``n_init`` best of more starts, the best first; raises DegenerateError where all degenerate."""
    seed = int(random.randint(2**31 - 1))
    trials = ValidationSplit.of(subsample, structure, n_components, reg_covar, seed)
    free = n_parameters(structure, n_components, subsample.rows.shape[1])
    enough = len(subsample.rows) >= max(UNSURE * free, trials.training.n_rows or 0)
    whole = ValidationSplit.on(subsample, structure, reg_covar) if enough else trials
    return run_multistart_on(trials, whole, n_components, n_init, random, effort)


def run_multistart_on(
    trials: ValidationSplit,
    whole: ValidationSplit,
    n_components: int,
    n_init: int,
    random: RandomState,
    effort: SearchBudget,
) -> tuple[list[Parameters], Restarts]:
    """`run_multistart`, on rows that were dealt before: a first heat on few of them, the others on all, and all judge."""
    placed = _placed(max(effort.starts, 3 * n_init if n_init > 1 else 1), trials, n_components, random)
    ways, mixtures = [way for way, _ in placed], dict(enumerate(mixture for _, mixture in placed))
    scores = np.full(len(placed), -np.inf)
    last = list(mixtures)
    going = [
        max(2, n_init, ceil(len(placed) / heat.share)) for heat in HALVING_ROUNDS
    ]  # two, to see whether they agree
    for heat, most, next_most in zip(HALVING_ROUNDS, going, [*going[1:], 0], strict=True):
        last = last[:most]
        if 0 < len(last) <= next_most:
            continue  # none of them would be left behind
        rows = whole if heat.of_all_rows else trials
        ran = rows.run([mixtures[place] for place in last], heat.passes, accelerated=heat.accelerated)
        mixtures.update((place, mixture) for place, mixture in zip(last, ran, strict=True) if mixture is not None)
        last = [place for place, mixture in zip(last, ran, strict=True) if mixture is not None]
        if not last:
            raise DegenerateError(ILL_DEFINED)
        scores[last] = whole.scores([mixtures[place] for place in last])
        last = [place for place in ranked(scores) if place in last]
    best, *others = (mixtures[place] for place in last)
    differing = max((disagreement(best, other, trials) for other in others), default=0.0)
    # also where all came to the same optimum, which may be the easiest to come to
    best, gains = improved(best, trials, whole, effort.rounds)
    restarts = Restarts(tuple(ways), tuple(scores.tolist()), whole.held_out, tuple(gains), differing)
    return [best, *others[: n_init - 1]], restarts


def _placed(
    n_starts: int, trials: ValidationSplit, n_components: int, random: RandomState
) -> list[tuple[str, Parameters]]:
    """Starts, found in all ways in turn on some of the rows to learn from, without the same or what has degenerated."""
    rows = at_hand(trials.training).lighter(max(PLACED, 20 * n_components))
    times = Counter(islice(cycle(START_METHODS), n_starts))
    found = [[(way, one) for one in _several(way, rows, n_components, random, times[way])] for way in times]
    in_turn = filter(None, chain.from_iterable(zip_longest(*found)))
    placed = [(way, trials.begun(rows, responsibilities)) for way, responsibilities in in_turn]
    return [(way, one) for way, one in placed if one is not None]


def _several(way: str, rows: Subsample, n_components: int, random: RandomState, times: int) -> list[Array]:
    """Responsibilities, so many times in one way."""
    if way in ("kmeans", "kmeans, whitened"):
        return partitions(rows if way == "kmeans" else whitened(rows), n_components, random, times)[0]
    return [START_METHODS[way](rows, n_components, random) for _ in range(times)]


def disagreement(one: Parameters, other: Parameters, trials: ValidationSplit) -> float:
    """Share of the rows to judge by that two mixtures label otherwise, once their components are matched."""
    from scipy.optimize import linear_sum_assignment  # takes long to load

    rows = at_hand(trials.judging).rows.astype(np.float64)
    mine, theirs = (log_joint(rows, mixture).argmax(axis=1) for mixture in (one, other))
    together = np.zeros((one.n_components, other.n_components))
    np.add.at(together, (mine, theirs), 1.0)
    return float(1.0 - together[linear_sum_assignment(together, maximize=True)].sum() / len(rows))
