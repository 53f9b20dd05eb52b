"""Many starts, short runs of EM from each, and the best of them improved: em-EM, with moves between optima.

Biernacki, Celeux & Govaert (2003), "Choosing starting values for the EM algorithm". The best third goes on for longer.
Moves are those of `streamgmm.search.moves`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil

import numpy as np
from numpy.random import RandomState
from sklearn.exceptions import ConvergenceWarning

from streamgmm.covariances import CovarianceStructure
from streamgmm.em import ILL_DEFINED
from streamgmm.errors import DegenerateError
from streamgmm.initialization import MANY_WAYS, Reservoir, start
from streamgmm.parameters import Parameters
from streamgmm.search.moves import improved, log_joint
from streamgmm.search.trials import Trials, at_hand

PLACED = 2_048  # rows on which starts are found
PASSES = (6, 20)  # of short runs from all starts, and of longer ones from the best third
MOST_STARTS = 10  # two for each component more than one
MOST_ROUNDS, MOST_MOVED = 5, 64  # rounds of moves; components, of which every two are compared
AGREED = 0.02  # of the rows labelled otherwise, up to which mixtures are at one optimum


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
        Whether that is of rows that were not learnt from: where there were enough of them.
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

    def __repr__(self) -> str:
        best = max(self.scores)
        spread, winner = best - float(np.median(self.scores)), self.ways[self.scores.index(best)]
        return (
            f"Restarts({len(self.ways)} starts, best by {winner}, {spread:.2g} nats/row above the median, "
            f"disagreement {self.disagreement:.1%}, {len(self.gains)} moves)"
        )


def searched(
    reservoir: Reservoir,
    structure: CovarianceStructure,
    n_components: int,
    n_init: int,
    random: RandomState,
    reg_covar: float,
) -> tuple[list[Parameters], Restarts]:
    """The ``n_init`` best of more starts, the best first; raises DegenerateError where all degenerate."""
    seed = int(random.randint(2**31 - 1))
    trials = Trials.of(reservoir, structure, n_components, reg_covar, seed)
    return searched_on(trials, n_components, n_init, random)


def searched_on(
    trials: Trials,
    n_components: int,
    n_init: int,
    random: RandomState,
    most_starts: int = MOST_STARTS,
    most_rounds: int = MOST_ROUNDS,
) -> tuple[list[Parameters], Restarts]:
    """`searched`, on rows that were dealt before, with fewer starts or moves where other sizes will suggest some."""
    n_starts = max(min(most_starts, 2 * n_components - 2), 3 * n_init if n_init > 1 else 1)
    ways = list(islice(cycle(MANY_WAYS), n_starts))
    mixtures = _placed(ways, trials, n_components, random)
    scores = np.full(n_starts, -np.inf)
    last = list(range(n_starts))
    for number, passes in enumerate(PASSES):
        if number:  # two at least, to see whether they agree
            last = last[: max(2, n_init, ceil(len(last) / 3))]
        ran = trials.run([mixtures[place] for place in last], passes)
        mixtures.update((place, mixture) for place, mixture in zip(last, ran, strict=True) if mixture is not None)
        last = [place for place, mixture in zip(last, ran, strict=True) if mixture is not None]
        if not last:
            raise DegenerateError(ILL_DEFINED)
        scores[last] = trials.scores([mixtures[place] for place in last])
        last.sort(key=lambda place: -scores[place])
    best, *others = (mixtures[place] for place in last)
    differing = max((disagreement(best, other, trials) for other in others), default=0.0)
    # where all came to the same optimum there is hardly another to move to
    rounds = most_rounds if differing > AGREED and n_components <= MOST_MOVED else 0
    best, gains = improved(best, trials, rounds)
    restarts = Restarts(tuple(ways), tuple(scores.tolist()), trials.held_out, tuple(gains), differing)
    return [best, *others[: n_init - 1]], restarts


def _placed(ways: Sequence[str], trials: Trials, n_components: int, random: RandomState) -> dict[int, Parameters]:
    """A start in each way, on some of the rows to learn from."""
    training = at_hand(trials.training)
    some = slice(max(PLACED, 20 * n_components))
    rows = Reservoir(training.rows[some], None if training.weights is None else training.weights[some])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of k-means, which is one start of many
        return {
            place: start(rows, MANY_WAYS[way](rows, n_components, random), trials.structure, trials.reg_covar)
            for place, way in enumerate(ways)
        }


def disagreement(one: Parameters, other: Parameters, trials: Trials) -> float:
    """Share of the rows to judge by that two mixtures label otherwise, once their components are matched."""
    from scipy.optimize import linear_sum_assignment  # takes long to load

    rows = at_hand(trials.judging).rows.astype(np.float64)
    mine, theirs = (log_joint(rows, mixture).argmax(axis=1) for mixture in (one, other))
    together = np.zeros((one.n_components, other.n_components))
    np.add.at(together, (mine, theirs), 1.0)
    return float(1.0 - together[linear_sum_assignment(together, maximize=True)].sum() / len(rows))
