"""The driver of fits and selections: a list of phases, of which any can be resumed in its middle.

A fit is subsample and starts → EM → refinement → final pass; a selection is subsample and starts of all sizes → EM of
all candidates → final pass. A state names its phase.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from streamgmm.iteration.loop import Event
from streamgmm.iteration.run import Run


class PhaseState(ABC):
    """Base of the states of phases, by which a checkpoint recognizes them; immutable and saved as they are."""

    __slots__ = ()
    phase: ClassVar[str]

    @abstractmethod
    def describe(self) -> str:
        """Return in words how far the phase has come."""


State = TypeVar("State", bound=PhaseState, contravariant=True)
Observe = Callable[[Event | None, Any], None]
"""Sees every event (None where there is none to show), and the state that the fit could be resumed from."""


class Phase(Protocol[State]):
    """One phase of a fit. It holds what it depends on; its state is all that changes."""

    name: ClassVar[str]

    def run(self, state: State, observe: Observe) -> PhaseState:
        """Run from a state to the end of the phase; return the state that the next phase begins with."""


def run_phases(phases: Sequence[Phase[Any]], state: PhaseState, observe: Observe) -> Any:
    """Run the phases from the one that the state belongs to; return the result of the last."""
    first = [phase.name for phase in phases].index(state.phase)
    for phase in phases[first:]:
        if phase is not phases[first]:
            observe(None, state)
        state = phase.run(state, observe)
    return state


def describe_run(run: Run) -> str:
    """Return in words how far a run has come."""
    if run.position is None:
        return "between two passes"
    return f"in pass {run.passes + run.position.number}, {count_groups(run.position.taken)} of it read"


def count_groups(number: int) -> str:
    """Return a number of chunk groups in words."""
    return f"{number:,} chunk group{'s' * (number != 1)}"
