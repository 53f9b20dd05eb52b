"""The one loop. It advances every candidate by the same reading of the data and yields what happened as Steps.

Stopping, progress, checkpoints and criteria consume steps; the loop knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from streamgmm import execution
from streamgmm.covariances import CovarianceStructure
from streamgmm.em import Expectation, MStepInfo
from streamgmm.em import update as m_step
from streamgmm.execution import Wave
from streamgmm.likelihood import LogLikelihood
from streamgmm.parameters import Parameters
from streamgmm.strategies import Strategy


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """One M-step of one candidate.

    Attributes
    ----------
    candidate : int
        Which of the starts this descends from.
    parameters : Parameters
        After the M-step.
    before : Parameters
        Under which the rows were read.
    latest : Expectation
        What the rows read since the last M-step say.
    info : MStepInfo
    state : object
        Of the strategy, after it.
    """

    candidate: int
    parameters: Parameters
    before: Parameters
    latest: Expectation
    info: MStepInfo
    state: Any

    @property
    def likelihood(self) -> LogLikelihood:
        """Tally of the rows read since the last M-step, under the parameters before it."""
        return self.latest.likelihood


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One wave.

    Attributes
    ----------
    number : int
        Passes begun, from 1.
    rows : int
        Rows of this wave.
    last : bool
        Whether the pass ends with it.
    updates : tuple of Update
        One for each candidate whose M-step it completed.
    """

    number: int
    rows: int
    last: bool
    updates: tuple[Update, ...]


def iterate(
    passes: Callable[[int], Iterator[Wave]],
    starts: Sequence[Parameters],
    strategy: Strategy[Any],
    structure: CovarianceStructure,
    reg_covar: float,
) -> Generator[Step, Collection[int] | None, None]:
    """Yield steps for as long as the consumer wants, and candidates remain.

    ``passes`` makes the waves of pass 1, 2, … After a step with updates, ``send`` the set of candidates that shall go
    on; without ``send`` all do.
    """
    current = dict(enumerate(starts))
    states = {candidate: strategy.init(start) for candidate, start in current.items()}
    number = 0
    while current:
        number += 1
        for wave in passes(number):
            active = list(current)
            expectations = execution.expect(wave, [current[candidate] for candidate in active])
            updates = []
            for candidate, parts in zip(active, expectations, strict=True):
                surrogate, states[candidate] = strategy.update(states[candidate], parts, wave)
                if surrogate is not None:
                    before = current[candidate]
                    current[candidate], info = m_step(surrogate, before, structure, reg_covar)
                    latest = Expectation(surrogate.latest or surrogate.statistics, surrogate.likelihood)
                    updates.append(Update(candidate, current[candidate], before, latest, info, states[candidate]))
            rows = sum(part.likelihood.rows for part in expectations[0])
            keep = yield Step(number, rows, wave.last, tuple(updates))
            if keep is not None:
                current = {candidate: current[candidate] for candidate in current if candidate in keep}
