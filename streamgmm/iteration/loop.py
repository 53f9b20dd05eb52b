"""The EM loop advances all candidates in one reading of the rows, and yields an event for each chunk group.

Stopping rules, histories, progress bars, checkpoints and criteria consume events; the loop knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from streamgmm.algorithms.algorithm import Algorithm, AlgorithmState, UpdateInfo
from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.errors import DegenerateError
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent

Item = TypeVar("Item")
Passes = Callable[[int, int], Iterator[ChunkGroup]]
"""Makes the chunk groups of a pass, counted from 1, after as many as were taken before."""


def pick(candidate: int, shared: Item | tuple[Item, ...]) -> Item:
    """Return the item of a candidate: a tuple has one for each of the starts, anything else is for all."""
    return shared[candidate] if isinstance(shared, tuple) else shared


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """Change of the parameters of one candidate."""

    candidate: int  # index of the start that it descends from
    before: Parameters  # under which the rows were read
    parameters: Parameters  # after the M-step
    info: UpdateInfo


@persistent("position-1")
@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """Position of the loop: from it, the loop takes the same steps as if it had not stopped."""

    number: int  # of the pass, from 1
    taken: int  # chunk groups of the pass that were taken
    states: tuple[tuple[int, AlgorithmState], ...]  # active candidates, each with the state of its algorithm

    def validate(self) -> None:
        """Raise ValueError where there is no such pass."""
        if self.number < 1:
            raise ValueError("passes count from 1")

    @property
    def candidates(self) -> list[int]:
        """Indices of the active candidates."""
        return [candidate for candidate, _ in self.states]

    def only(self, candidates: Collection[int]) -> Position:
        """Return the position with some of the candidates."""
        return replace(self, states=tuple(item for item in self.states if item[0] in candidates))


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One chunk group."""

    number: int  # of the pass, from 1
    rows: int
    ends_pass: bool
    updates: tuple[Update, ...]  # one for each candidate whose parameters changed
    position: Position  # after the group


def start_position(starts: Sequence[Parameters], algorithm: Algorithm[Any] | tuple[Algorithm[Any], ...]) -> Position:
    """Return the position before the first pass."""
    return Position(1, 0, tuple((index, pick(index, algorithm).init(start)) for index, start in enumerate(starts)))


def iterate(
    passes: Passes,
    position: Position,
    algorithm: Algorithm[Any] | tuple[Algorithm[Any], ...],
    n_passes: int | None = None,
) -> Generator[Event, Position | None, None]:
    """Yield an event for each chunk group, up to pass ``n_passes``, while candidates remain and passes have rows.

    The consumer may ``send`` a position, to continue with fewer, more or changed candidates. A DegenerateError says
    which candidate has degenerated.
    """
    number, taken, states = position.number, position.taken, dict(position.states)
    while states and (n_passes is None or number <= n_passes):
        for chunk_group in passes(number, taken):
            expectations = execution.expect(chunk_group, [state.parameters for state in states.values()])
            updates = []
            for (candidate, state), parts in zip(list(states.items()), expectations, strict=True):
                try:
                    states[candidate], info = pick(candidate, algorithm).update(state, parts, chunk_group)
                except DegenerateError as error:
                    error.candidate = candidate
                    raise
                if info is not None:
                    updates.append(Update(candidate, state.parameters, states[candidate].parameters, info))
            rows = sum(part.likelihood.rows for part in expectations[0])
            taken += 1
            after = (number + 1, 0) if chunk_group.ends_pass else (number, taken)
            position = Position(*after, tuple(states.items()))
            adjusted = yield Event(number, rows, chunk_group.ends_pass, tuple(updates), position)
            if adjusted is not None:
                states = dict(adjusted.states)
            if not states:
                return
        if not taken:  # a pass without rows
            return
        number, taken = number + 1, 0
