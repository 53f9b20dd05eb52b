"""Refinement: the third phase of a fit repairs redundant and starved components, and tries split and merge moves.

An attempt is prepared on the subsample. It is accepted only where EM over all rows reaches a higher likelihood.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from streamgmm.algorithms.stopping import AcceleratedStop
from streamgmm.errors import DegenerateError
from streamgmm.fitting.context import FitContext, FitNotes, FitState
from streamgmm.fitting.driver import Observe, describe_run
from streamgmm.fitting.final_pass import FinalPassState
from streamgmm.initialization.search_settings import SEARCH
from streamgmm.initialization.split_merge import ComponentArrays, propose_moves, rank_merges, resize_mixture, try_moves
from streamgmm.initialization.validation import ValidationSplit
from streamgmm.iteration.history import Record
from streamgmm.iteration.loop import Event
from streamgmm.iteration.run import Run, Stage, Trajectory, choose_best_trajectory, run_stages, start_run
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent

MERGE_LOSS = 1e-4  # nats a row of theirs that two redundant components lose at most as one
MERGE_DISTANCE = 0.1  # squared standard deviations between the means of redundant components at most
MOVED, LAST = "split and merge", "further EM"


def find_redundant_components(trajectory: Trajectory) -> Iterator[tuple[str, ComponentArrays]]:
    """Yield a description of starved or redundant components, and the mixture without them."""
    parts = ComponentArrays.from_parameters(trajectory.parameters)
    if starved := trajectory.starved:
        noun = "component" if len(starved) == 1 else "components"
        yield f"repair: {noun} {', '.join(map(str, starved))} had no rows", parts.drop(*starved)
        return
    for loss, one, other in rank_merges(parts, _find_near_pairs(trajectory.parameters)):
        weight = float(parts.weights[one] + parts.weights[other])
        if loss > MERGE_LOSS * weight:
            break
        yield f"repair: components {one} and {other} were the same", parts.merge(one, other)


def _find_near_pairs(parameters: Parameters) -> NDArray[np.intp]:
    """Return pairs of components whose means are near, in standard deviations of the first."""
    factors, pairs = parameters.precision_factors, []
    for one, mean in enumerate(parameters.means[:-1]):
        steps, factor = parameters.means[one + 1 :] - mean, factors[one % len(factors)]
        whitened = steps @ factor if factors.ndim == 3 else steps * factor
        others = one + 1 + np.flatnonzero((whitened**2).sum(axis=1) < MERGE_DISTANCE)
        pairs.append(np.column_stack([np.full(len(others), one), others]))
    return np.concatenate([np.empty((0, 2), np.intp), *pairs])


@persistent("fit-refinement-1")
@dataclass(frozen=True, slots=True, eq=False)
class RefinementState(FitState):
    """State of the refinement."""

    phase: ClassVar[str] = "refinement"
    winner: Trajectory  # the best so far
    passes: int  # passes that may yet be spent
    notes: FitNotes = field(default_factory=FitNotes)
    is_repair_refused: bool = False  # a repair was tried and was no improvement
    attempt: str = ""  # name of the attempt that is made on all rows
    run: Run | None = None  # its candidates in the middle of their passes

    def describe(self) -> str:
        """Return in words how far the refinement has come."""
        where = "between two passes" if self.run is None else describe_run(self.run)
        return f"{where}, trying: {self.attempt}" if self.attempt else where

    def summarize(self, context: FitContext) -> Trajectory:
        """Return the best trajectory so far."""
        return self.winner


class RefinementPhase:
    """Repairs of redundant and starved components and, if wanted, split and merge moves, as long as they improve.

    EM continues after the last move where it was stopped before convergence, or where a plateau was taken for it.
    """

    name: ClassVar[str] = RefinementState.phase

    def __init__(self, context: FitContext) -> None:
        self.context = context

    def run(self, state: RefinementState, observe: Observe) -> FinalPassState:
        """Make attempts until none improves, or no passes are left."""
        context, settings = self.context, self.context.settings
        stage = context.plan()[-1]
        split: ValidationSplit | None = None

        def adjust(event: Event, run: Run) -> Run:
            observe(event, replace(state, run=run.without_ended_states()))
            return run

        while state.passes > 0:
            winner = state.winner
            tried: list[Trajectory] = []
            with suppress(DegenerateError):  # of an attempt
                if state.run is None:
                    repair = None if state.is_repair_refused else next(find_redundant_components(winner), None)
                    if repair is None and not context.split_merge:
                        break
                    if split is None:
                        split = ValidationSplit.from_subsample(
                            context.draw_subsample(),
                            settings.structure,
                            winner.parameters.n_components,
                            settings.reg_covar,
                            0,
                        )
                    state = replace(state, attempt=MOVED if repair is None else repair[0])
                    candidates = _propose_candidates(winner.parameters, None if repair is None else repair[1], split)
                    if candidates:
                        state = replace(state, run=start_run(candidates))
                if state.run is not None:
                    patient = _leave_plateaus(stage) if state.attempt == LAST else stage
                    plan = [replace(patient, max_passes=None)]
                    tried = run_stages(state.run, plan, max_iter=state.passes, adjust=adjust)
            attempt, best = state.attempt, choose_best_trajectory([winner, *tried])
            is_improved = best is not winner
            passes = state.passes - max((len(trajectory.lower_bounds) for trajectory in tried), default=0)
            after = _join_trajectories(winner, attempt, best) if is_improved else winner
            state = RefinementState(after, passes, state.notes, not is_improved)
            if attempt == LAST:
                break
            if attempt == MOVED and not is_improved:
                if winner.converged and _leave_plateaus(stage) is stage:
                    break
                state = replace(state, attempt=LAST, run=start_run([winner.parameters]))
        return FinalPassState(state.winner, state.notes)


def _leave_plateaus(stage: Stage) -> Stage:
    """Return the stage with a stopping rule that does not end on plateaus."""
    if not isinstance(stage.stop, AcceleratedStop) or stage.stop.leaves_plateaus:
        return stage
    return replace(stage, stop=replace(stage.stop, leaves_plateaus=True))


def _propose_candidates(
    parameters: Parameters, kept: ComponentArrays | None, split: ValidationSplit
) -> list[Parameters]:
    """Return candidates that are better on the subsample: with lost components replaced, or after a move."""
    if kept is not None:
        candidates = [resize_mixture(kept.to_parameters(split.structure), parameters.n_components, split)]
    else:
        candidates = list(islice(propose_moves(parameters, split), SEARCH.moves_per_round))
    converged = split.run_em([parameters], SEARCH.kept_move_passes, accelerated=True)[0] or parameters
    score = float(split.score_on_validation([converged])[0])
    return [mixture for _, mixture in try_moves(candidates, score, split, split)]


def _join_trajectories(before: Trajectory, name: str, after: Trajectory) -> Trajectory:
    """Return one trajectory of two, with a record of the attempt between them."""
    record = Record(name, 0, before.lower_bound, before.parameters.weights, 0.0)
    history = before.history.append_record(record)
    for later in after.history:
        history = history.append_record(later)
    return replace(after, lower_bounds=(*before.lower_bounds, *after.lower_bounds), history=history)
