"""The one loop. It advances every candidate by the same reading of the data and yields what happened as Steps.

Stopping, progress, checkpoints and criteria consume steps; the loop knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from streamgmm.algorithms.algorithm import Algorithm, AlgorithmState
from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.errors import DegenerateError, InputError
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import Expectation, MStepInfo
from streamgmm.model.em import update as m_step
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Parameters
from streamgmm.model.reduction import Counter
from streamgmm.persistence.codec import persistent

Kind = TypeVar("Kind")


def of(candidate: int, shared: Kind | tuple[Kind, ...]) -> Kind:
    """What a candidate has of something that is one for all of them, or a tuple with one for each of the starts."""
    return shared[candidate] if isinstance(shared, tuple) else shared


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
    """

    candidate: int
    parameters: Parameters
    before: Parameters
    latest: Expectation
    info: MStepInfo

    @property
    def likelihood(self) -> LogLikelihood:
        """Tally of the rows read since the last M-step, under the parameters before it."""
        return self.latest.likelihood


@persistent("position-1")
@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """What the loop goes on from: with it, it takes the same steps as if it had not been left.

    Attributes
    ----------
    number : int
        Of the pass, from 1.
    taken : int
        Waves of it that were taken.
    candidates : tuple of (int, Parameters, object)
        Which of the starts each descends from, under which parameters it reads on, and the state of its strategy.
    """

    number: int
    taken: int
    candidates: tuple[tuple[int, Parameters, AlgorithmState | Counter[Expectation]], ...]

    def validate(self) -> None:
        """Raise ValueError where the pass is none."""
        if self.number < 1:
            raise ValueError("passes count from 1")

    def of(self, chosen: Collection[int]) -> Position:
        """The same for some of the candidates."""
        return replace(self, candidates=tuple(one for one in self.candidates if one[0] in chosen))


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
    position : Position
        After it.
    """

    number: int
    rows: int
    last: bool
    updates: tuple[Update, ...]
    position: Position


def iterate(
    passes: Callable[[int, int], Iterator[ChunkGroup]],
    begin: Sequence[Parameters] | Position,
    strategy: Algorithm[Any] | tuple[Algorithm[Any], ...],
    structure: CovarianceStructure | tuple[CovarianceStructure, ...],
    reg_covar: float,
) -> Generator[Step, Collection[int] | None, None]:
    """Yield steps for as long as the consumer wants, and candidates remain.

    ``passes`` makes the waves of pass 1, 2, …, but for as many as were taken before. ``begin`` has the starts, or where
    an earlier loop was left; they may differ in size. ``strategy`` and ``structure`` are one for all, or one for each
    start. After a step with updates, ``send`` the set of candidates that shall go on; without ``send`` all do.
    A DegenerateError says which candidate has degenerated.
    """
    if not isinstance(begin, Position):
        begin = Position(
            1, 0, tuple((place, start, of(place, strategy).init(start)) for place, start in enumerate(begin))
        )
    number, taken = begin.number, begin.taken
    current = {candidate: parameters for candidate, parameters, _ in begin.candidates}
    states = {candidate: state for candidate, _, state in begin.candidates}
    while current:
        for chunk_group in passes(number, taken):
            active = list(current)
            expectations = execution.expect(chunk_group, [current[candidate] for candidate in active])
            updates = []
            for candidate, parts in zip(active, expectations, strict=True):
                before = current[candidate]
                try:
                    surrogate, states[candidate] = of(candidate, strategy).update(states[candidate], parts, chunk_group)
                    if surrogate is None:
                        continue
                    current[candidate], info = m_step(surrogate, before, of(candidate, structure), reg_covar)
                except DegenerateError as error:
                    error.candidate = candidate
                    raise
                latest = Expectation(surrogate.latest or surrogate.statistics, surrogate.likelihood)
                updates.append(Update(candidate, current[candidate], before, latest, info))
            rows = sum(part.likelihood.rows for part in expectations[0])
            taken += 1
            kept = tuple((candidate, current[candidate], states[candidate]) for candidate in active)
            position = Position(number + 1, 0, kept) if chunk_group.last else Position(number, taken, kept)
            keep = yield Step(number, rows, chunk_group.last, tuple(updates), position)
            if keep is not None:
                current = {candidate: current[candidate] for candidate in current if candidate in keep}
        if not taken:
            raise InputError("X has no rows; pass at least one.")
        number, taken = number + 1, 0
