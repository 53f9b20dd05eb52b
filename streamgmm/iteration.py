"""The one loop. It advances every candidate by the same reading of the data and yields what happened as Steps.

Stopping, progress, checkpoints and criteria consume steps; the loop knows none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from streamgmm import execution
from streamgmm.covariances import CovarianceStructure
from streamgmm.em import MStepInfo, Surrogate, maximize
from streamgmm.likelihood import LogLikelihood
from streamgmm.parameters import Parameters
from streamgmm.sources.source import Source
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
    likelihood : LogLikelihood
        Of the rows read, under the parameters before it.
    info : MStepInfo
    """

    candidate: int
    parameters: Parameters
    likelihood: LogLikelihood
    info: MStepInfo


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
    source: Source,
    starts: Sequence[Parameters],
    strategy: Strategy[Any],
    structure: CovarianceStructure,
    reg_covar: float,
) -> Generator[Step, Collection[int] | None, None]:
    """Yield steps for as long as the consumer wants, and candidates remain.

    After a step with updates, ``send`` the set of candidates that shall go on; without ``send`` all do.
    """
    current = dict(enumerate(starts))
    states = {candidate: strategy.init() for candidate in current}
    number = 0
    while current:
        number += 1
        for wave in execution.waves(source):
            active = list(current)
            expectations = execution.expect(wave, [current[candidate] for candidate in active])
            updates = []
            for place, candidate in enumerate(active):
                expectation = None if expectations is None else expectations[place]
                surrogate, states[candidate] = strategy.update(states[candidate], expectation, wave.last)
                if surrogate is not None:
                    updates.append(_update(candidate, surrogate, structure, reg_covar))
                    current[candidate] = updates[-1].parameters
            rows = 0 if expectations is None else expectations[0].likelihood.rows
            keep = yield Step(number, rows, wave.last, tuple(updates))
            if keep is not None:
                current = {candidate: current[candidate] for candidate in current if candidate in keep}


def _update(candidate: int, surrogate: Surrogate, structure: CovarianceStructure, reg_covar: float) -> Update:
    parameters, info = maximize(surrogate.statistics, structure, reg_covar, effective_rows=surrogate.effective_rows)
    return Update(candidate, parameters, surrogate.likelihood, info)
