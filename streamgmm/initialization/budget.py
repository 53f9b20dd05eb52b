"""How much is tried before a fit: counted in rows that are read for it, never in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from streamgmm.initialization.starting_points import START_METHODS
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters

MOST_STARTS, LEAST_STARTS, EACH = 40, 10, 8  # of many components the least; for each component more than one
MOST_WORK = 4_000  # free parameters of all starts, beyond which there are no more than the least
MOST_ROUNDS, MOST_MOVED = 5, 64  # rounds of moves; components, of which every two are compared

LARGE = 10_000_000  # rows from which a search is held to a part of one pass over them
SHARE = 1 / 3  # of a pass; to read all for the sample takes another part
START_ROWS, ROUND_ROWS = 200_000, 2_000_000  # of the sample that are read for a start, and for a round of moves
STEPS = 40_000_000  # rows x free parameters of a pass that takes as long as what a start does besides reading
STEPS_OF_A_ROUND = 10  # times as much for a round of moves


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """How much is tried.

    Attributes
    ----------
    starts : int
        At least 1.
    rounds : int
        Of moves after them.

    Examples
    --------
    >>> from streamgmm.model.covariances import STRUCTURES
    >>> SearchBudget.of(STRUCTURES["full"], 8, 3, 1_000_000), SearchBudget.of(STRUCTURES["full"], 8, 3, 10_000_000)
    (Effort(starts=40, rounds=5), Effort(starts=6, rounds=0))
    """

    starts: int
    rounds: int

    @classmethod
    def of(cls, structure: CovarianceStructure, n_components: int, n_features: int, n_rows: int | None) -> SearchBudget:
        """For so many rows in all; None where they are unknown.

        Below ten million rows, of which a pass takes a fraction of a second, as much as is of use. From there on what a
        part of a pass has time for, but two starts for each component more than one, or one of each way.
        """
        free = n_parameters(structure, n_components, n_features)
        starts = min(MOST_STARTS, max(LEAST_STARTS, MOST_WORK // free), EACH * (n_components - 1))
        rounds = MOST_ROUNDS if n_components <= MOST_MOVED else 0
        if n_rows is None or n_rows < LARGE:
            return cls(max(1, starts), rounds)
        work, steps = SHARE * n_rows, STEPS / free
        least = min(len(START_METHODS), 2 * (n_components - 1))
        starts = max(1, min(starts, max(least, int(work / (START_ROWS + steps)))))
        left = work - starts * (START_ROWS + steps)
        return cls(starts, max(0, min(rounds, int(left / (ROUND_ROWS + STEPS_OF_A_ROUND * steps)))))
