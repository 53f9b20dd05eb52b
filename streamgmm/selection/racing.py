"""EM of all candidates in shared passes, with early dropping of those that cannot win; and the final pass.

Candidates that are clearly worse on held-out rows are dropped after one pass. Others are dropped when their criterion
would stay above the best one's even with ten times the gain that they may still make.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, ClassVar

import numpy as np

from streamgmm.algorithms.accelerated import AcceleratedState
from streamgmm.data import execution
from streamgmm.data.execution import EvaluationState
from streamgmm.errors import DegenerateError
from streamgmm.fitting.driver import Observe, Phase, count_groups
from streamgmm.fitting.plan import plan_stages
from streamgmm.initialization.search_settings import SEARCH
from streamgmm.iteration.loop import Event, pick
from streamgmm.iteration.run import Run, Stage, Trajectory, run_stages
from streamgmm.model.em import ILL_DEFINED, Expectation
from streamgmm.model.reduction import total
from streamgmm.persistence.codec import persistent
from streamgmm.selection.comparison import HeldOutLead, Key, Outcome, choose_best_start, find_lead
from streamgmm.selection.context import RaceCandidate, SelectionContext, SelectionStartsPhase
from streamgmm.selection.race_state import RaceState, SelectionState

GAIN_ALLOWANCE = 10.0  # times the estimated remaining gain is granted to a candidate before it is dropped
LEAST_PASSES = 6  # before that estimate counts; their gain is its lower limit


class RacePhase:
    """EM of all candidates, in as many readings as the longest takes."""

    name: ClassVar[str] = RaceState.phase

    def __init__(self, context: SelectionContext) -> None:
        self.context = context

    def run(self, state: RaceState, observe: Observe) -> SelectionFinalState:
        """Run until every candidate has converged, was dropped, or degenerated."""
        context = self.context
        candidates = context.list_candidates(state.starts)
        lead = _find_lead(context, candidates, state)
        while state.candidates:

            def adjust(event: Event, run: Run) -> Run:
                nonlocal state
                state = replace(state, run=run)
                if event.ends_pass and run.position is not None:
                    state = _drop_candidates(state, event, context, candidates, lead)
                observe(event, state.without_ended_states())
                return state.run

            racing = [candidates[index] for index in state.candidates]
            try:
                trajectories = run_stages(
                    state.run, [_plan_stage(context, racing)], max_iter=context.max_iter, adjust=adjust
                )
            except DegenerateError as error:
                state = state.remove_degenerate(error.candidate)
            else:
                state = replace(state, run=Run(tuple(trajectories), stage=1))
                break
        if not state.trajectories:
            raise DegenerateError(ILL_DEFINED)
        return SelectionFinalState(state.without_ended_states())


@persistent("selection-final-1")
@dataclass(frozen=True, slots=True, eq=False)
class SelectionFinalState(SelectionState):
    """State of the final pass: the exact likelihoods of all candidates.

    Attributes
    ----------
    race : RaceState
        As it has ended.
    evaluation : EvaluationState
        Progress of the pass.
    is_complete : bool
        The pass has ended.
    """

    phase: ClassVar[str] = "final pass"
    race: RaceState
    evaluation: EvaluationState = field(default_factory=EvaluationState)
    is_complete: bool = False

    def validate(self) -> None:
        """Raise ValueError where the pass is of other candidates."""
        if len(self.evaluation.counters) not in ((0,) if not self.evaluation.groups_read else ()) + (
            len(self.race.trajectories),
        ) or (self.is_complete and not self.evaluation.counters):
            raise ValueError("the final pass is of other candidates")

    def describe(self) -> str:
        """Return in words how far the pass has come."""
        return "ended" if self.is_complete else f"in the final pass, {count_groups(self.evaluation.groups_read)} read"

    def find_outcomes(self, context: SelectionContext) -> list[Outcome | None]:
        """Return the best start of each size and family; None where all have degenerated."""
        candidates = context.list_candidates(self.race.starts)
        outcomes: dict[Key, list[Outcome]] = {key: [] for key in context.keys}
        for (index, trajectory), counter in zip(self.race.trajectories.items(), self.evaluation.counters, strict=True):
            expectation: Expectation = total(counter)
            outcomes[candidates[index].key].append(Outcome(trajectory, expectation, index in self.race.dropped))
        return [choose_best_start(outcomes[key]) for key in context.keys]


class SelectionFinalPass:
    """The exact likelihoods of all candidates, in one reading."""

    name: ClassVar[str] = SelectionFinalState.phase

    def __init__(self, context: SelectionContext) -> None:
        self.context = context

    def run(self, state: SelectionFinalState, observe: Observe) -> SelectionFinalState:
        """Read all rows once more, unless that is done."""
        if state.is_complete:
            return state

        def report(evaluation: EvaluationState) -> None:
            nonlocal state
            state = replace(state, evaluation=evaluation)
            observe(None, state)

        mixtures = [trajectory.parameters for trajectory in state.race.trajectories.values()]
        execution.expect_all(self.context.source, mixtures, state.evaluation, report)
        return replace(state, is_complete=True)


def make_selection_phases(context: SelectionContext) -> list[Phase[Any]]:
    """Return the phases of a selection: starts, EM of all candidates, final pass."""
    return [SelectionStartsPhase(context), RacePhase(context), SelectionFinalPass(context)]


def estimate_remaining_gain(trajectory: Trajectory) -> float:
    """Return the nats a row that more passes would gain: the largest of three estimates.

    Aitken extrapolation of the last gains, the estimate of accelerated EM, and the gain of the last passes together.
    """
    bounds = trajectory.lower_bounds
    if len(bounds) <= LEAST_PASSES:
        return inf
    recent = bounds[-1] - bounds[-1 - LEAST_PASSES]
    state = trajectory.state
    if isinstance(state, AcceleratedState) and state.is_accelerating:
        return max(recent, state.remaining_gain)
    before, latest = bounds[-2] - bounds[-3], bounds[-1] - bounds[-2]
    if latest <= 0.0:
        return recent
    return max(recent, latest * latest / (before - latest)) if before > latest else inf


def _find_lead(context: SelectionContext, candidates: list[RaceCandidate], state: RaceState) -> HeldOutLead | None:
    """Return by how much the best candidate on held-out rows leads; None where no rows are held out."""
    scores = dict(zip(context.keys, state.scores, strict=True))
    free = np.array([candidate.n_parameters for candidate in candidates])
    return find_lead(
        np.array([scores[candidate.key] for candidate in candidates]).reshape(-1, 2), free, SEARCH.training_rows
    )


def _drop_candidates(
    state: RaceState,
    event: Event,
    context: SelectionContext,
    candidates: list[RaceCandidate],
    lead: HeldOutLead | None,
) -> RaceState:
    """Drop the candidates that cannot win: see `streamgmm.select`."""
    criterion, run = context.criterion, state.run
    if not (context.drops_early and criterion.allows_early_dropping):
        return state
    weight = context.effective_n or max(update.info.latest.likelihood.weight for update in event.updates)

    def evaluate(index: int, log_likelihood: float) -> float:
        return criterion.evaluate(log_likelihood, None, weight, candidates[index].n_parameters)

    def is_far_behind(index: int) -> bool:
        if lead is None or lead.leader not in state.trajectories:
            return False
        saved = (evaluate(lead.leader, 0.0) - evaluate(index, 0.0)) / (2.0 * weight)
        return bool(lead.by[index] > max(0.0, saved))

    values = {index: evaluate(index, weight * one.lower_bound) for index, one in state.trajectories.items()}
    best = min(values.values())
    staying, dropped = [], []
    for number in run.candidates:
        index = state.candidates[number]
        granted = 2.0 * GAIN_ALLOWANCE * weight * estimate_remaining_gain(run.trajectories[number])
        if values[index] - granted > best or is_far_behind(index):
            dropped.append(index)
        else:
            staying.append(number)
    return replace(state, run=run.only(staying), dropped=(*state.dropped, *dropped))


def _plan_stage(context: SelectionContext, candidates: list[RaceCandidate]) -> Stage:
    """Return the stage of batch EM, accelerated unless a tolerance was set, with an algorithm for each candidate."""
    name = "accelerated" if context.settings.tol is None else "batch"
    stages = [
        plan_stages(
            name,
            context.source,
            replace(context.settings, structure=candidate.structure),
            candidate.start.n_components,
            n_starts=1,
            seed=0,
        )[0]
        for candidate in candidates
    ]
    return replace(
        stages[0],
        algorithm=tuple(pick(0, stage.algorithm) for stage in stages),
        stop=tuple(pick(0, stage.stop) for stage in stages),
    )
