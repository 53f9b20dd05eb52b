"""The last phase of a fit: the exact likelihood of all rows under the fitted parameters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from streamgmm.data import execution
from streamgmm.data.execution import EvaluationState
from streamgmm.data.source import Source
from streamgmm.fitting.context import FitContext, FitNotes, FitState
from streamgmm.fitting.driver import Observe, count_groups
from streamgmm.iteration.run import Trajectory
from streamgmm.model.em import Expectation
from streamgmm.model.reduction import total
from streamgmm.persistence.codec import persistent


@persistent("fit-final-pass-1")
@dataclass(frozen=True, slots=True, eq=False)
class FinalPassState(FitState):
    """State of the final pass."""

    phase: ClassVar[str] = "final pass"
    winner: Trajectory
    notes: FitNotes = field(default_factory=FitNotes)
    evaluation: EvaluationState = field(default_factory=EvaluationState)

    @property
    def expectation(self) -> Expectation:
        """Expectation of all rows, once the pass has ended."""
        return total(self.evaluation.counters[0])

    def describe(self) -> str:
        """Return in words how far the pass has come."""
        return f"in the final pass, {count_groups(self.evaluation.groups_read)} read"

    def summarize(self, context: FitContext) -> Trajectory:
        """Return the outcome of the fit."""
        return self.winner


class FinalPass:
    """The exact likelihood of all rows under the fitted parameters."""

    name: ClassVar[str] = FinalPassState.phase

    def __init__(self, source: Source) -> None:
        self.source = source

    def run(self, state: FinalPassState, observe: Observe) -> FinalPassState:
        """Read all rows once more."""

        def report(evaluation: EvaluationState) -> None:
            nonlocal state
            state = replace(state, evaluation=evaluation)
            observe(None, state)

        execution.expect_all(self.source, (state.winner.parameters,), state.evaluation, report)
        return state
