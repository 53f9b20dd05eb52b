"""Tuned constants of the search for a start, and how much of it a fit can afford.

Work is counted in rows read, never in seconds, so that the same seed gives the same start on any machine.
"quality", "cost" and "latency" are sections of ``benchmarks/README.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from streamgmm.initialization.start_methods import MULTISTART_METHODS
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters


class HalvingRound(NamedTuple):
    """Round of successive halving: EM from the best starts of the round before."""

    passes: int  # passes of EM, at most
    keep_one_in: int  # all starts are divided by this number to give the starts of the round
    all_rows: bool  # learn from the whole subsample instead of the training rows
    accelerated: bool


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Tuned constants of the initialization."""

    # Subsample. Above 32,768 rows a fit starts from a subsample; 10,000,000 x 3, k = 8: 0.64 of a pass (cost).
    subsample_rows: int = 32_768
    subsample_rows_per_mean: int = 100  # times k * d, if that is more

    # Which search. Small problems begin with k-means, so that 1,500 x 2, k = 3 is as fast as in scikit-learn (latency).
    small_problem: int = 2**14  # rows * features * components
    # Rows per free parameter. The five small sets of quality have 1.4 to 13: there the best likelihood is often bad for
    # new rows, so scikit-learn's ten starts decide.
    min_rows_per_parameter: int = 2  # below, a search finds collapsed components
    uncertain_rows_per_parameter: int = 20  # below, the training likelihood hardly tells which optimum is better
    single_start_rows_per_parameter: int = 50  # above, small data need one start only (1,500 x 2, k = 3 has 88)

    # Multi-start (em-EM). Forty starts and five rounds of moves beat scikit-learn's n_init=10 on 273 of 280 (quality).
    max_starts: int = 40
    min_starts: int = 10
    starts_per_component: int = 8  # for each component more than one
    max_total_parameters: int = 4_000  # of all starts above `min_starts`
    seeding_rows: int = 2_048  # rows on which starts are found
    seeding_rows_per_component: int = 20  # if that is more
    halving_rounds: tuple[HalvingRound, ...] = (
        HalvingRound(5, 1, False, False),
        HalvingRound(8, 3, True, False),
        HalvingRound(20, 8, True, True),  # almost to the end: early scores mislead on heavy tails (quality)
    )

    # Large input: the search takes part of one pass; the whole initialization takes less than one (cost).
    large_rows: int = 10_000_000
    pass_fraction: float = 1 / 3
    rows_per_start: int = 200_000  # subsample rows read for a start
    rows_per_move_round: int = 2_000_000
    start_overhead: int = 40_000_000  # rows * free parameters of a pass as long as the Python calls of one start
    move_round_overhead: int = 10  # times the overhead of a start

    # Training and validation rows of the subsample.
    training_rows: int = 8_192
    max_training_rows: int = 16_384  # where parameters need more than `training_rows`
    training_rows_per_parameter: int = 5
    leaf_rows: int = 4_096  # small leaves, so that all threads have work
    em_tolerance: float = 1e-4  # nats a row that are worth another pass
    em_passes: int = 50  # on the subsample, before algorithms that do not read all rows in a pass

    # k-means ten times, each followed by EM: what scikit-learn does with n_init=10, with its tolerance and passes.
    kmeans_repeats: int = 10
    max_repeat_work: int = 2**30  # rows * free parameters of all repeats
    repeat_tolerance: float = 1e-3
    repeat_passes: int = 100

    # Split and merge moves: eight Gaussians on a ring and on a grid are found in 100 % of the seeds (moves).
    max_move_rounds: int = 5
    max_components_to_move: int = 64  # every two components are compared
    moves_per_round: int = 8
    moves_kept: int = 2  # after the first passes
    move_passes: int = 10
    kept_move_passes: int = 30
    min_move_gain: float = 1e-4  # nats a row
    split_passes: int = 5  # on the rows of the component
    split_distance: float = 0.5  # standard deviations of either half from the mean
    min_responsibility: float = 0.01  # of the rows on which a split is tried

    # Starts per size: as good as ten of each in 95 % of 400 generated mixtures, at a third of the cost (selection).
    starts_per_size: int = 6
    neighbour_distance: int = 3  # components more or less
    neighbour_passes: int = 30
    validation_passes: int = 100  # of accelerated EM before the validation rows compare sizes

    # Poorly explained rows: 60 of 3,000,000 rows, 8 standard deviations away, were found in 8 of 8 fits (README).
    outlier_tail: float = 1e-4  # probability of a Gaussian beyond which a row counts
    outlier_rows: int = 8_192  # rows kept
    outlier_seeds: int = 64  # rows whose neighbourhoods are compared
    outlier_candidates: int = 6  # densest neighbourhoods from which a component is fitted
    outlier_passes: int = 10  # of EM for one new component
    outlier_max_excess: float = 8.0  # wilder rows are no likelier seeds
    max_new_components: int = 8
    max_new_weight: float = 0.01  # a heavier component had rows in the subsample
    max_new_variance: float = 2.0  # multiple of the variance of all rows, in any direction
    merge_passes: int = 3  # before the best pair to merge is chosen
    max_merge_components: int = 64  # lightest components among which pairs are compared
    relocation_errors: float = 3.0  # standard errors of the estimated gain within which all rows decide


SEARCH = SearchSettings()


class SearchBudget(NamedTuple):
    """Number of starts, and of rounds of split and merge moves after them."""

    starts: int
    move_rounds: int


def choose_budget(
    structure: CovarianceStructure, n_components: int, n_features: int, n_rows: int | None
) -> SearchBudget:
    """Return the search budget for ``n_rows``, or for an unknown number of rows.

    Below `SearchSettings.large_rows`, where a pass takes a fraction of a second, the budget does not depend on the
    number of rows. Above, it fits into a part of a pass, but allows two starts per additional component or one of
    every method.

    Examples
    --------
    >>> from streamgmm.model.covariances import STRUCTURES
    >>> choose_budget(STRUCTURES["full"], 8, 3, 1_000_000)
    SearchBudget(starts=40, move_rounds=5)
    >>> choose_budget(STRUCTURES["full"], 8, 3, 10_000_000)
    SearchBudget(starts=6, move_rounds=0)
    """
    free = n_parameters(structure, n_components, n_features)
    starts = max(SEARCH.min_starts, SEARCH.max_total_parameters // free)
    starts = max(1, min(SEARCH.max_starts, starts, SEARCH.starts_per_component * (n_components - 1)))
    rounds = SEARCH.max_move_rounds if n_components <= SEARCH.max_components_to_move else 0
    if n_rows is None or n_rows < SEARCH.large_rows:
        return SearchBudget(starts, rounds)
    affordable, overhead = SEARCH.pass_fraction * n_rows, SEARCH.start_overhead / free
    rows_per_start = SEARCH.rows_per_start + overhead
    least = min(len(MULTISTART_METHODS), 2 * (n_components - 1))
    starts = max(1, min(starts, max(least, int(affordable / rows_per_start))))
    left = affordable - starts * rows_per_start
    rows_per_round = SEARCH.rows_per_move_round + SEARCH.move_round_overhead * overhead
    return SearchBudget(starts, max(0, min(rounds, int(left / rows_per_round))))
