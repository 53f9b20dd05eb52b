"""EM: the second phase of a fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from streamgmm.data.execution import ChunkGroup
from streamgmm.data.subsample import KeyedRows
from streamgmm.errors import DegenerateError
from streamgmm.fitting.context import FitContext, FitNotes, FitState
from streamgmm.fitting.driver import Observe, describe_run
from streamgmm.fitting.plan import ends_with_whole_passes
from streamgmm.fitting.refinement import RefinementState
from streamgmm.fitting.storage_order import StorageOrderMonitor
from streamgmm.initialization.outliers import RELOCATED, OutlierSampler, propose_relocation
from streamgmm.iteration.loop import Event, pick
from streamgmm.iteration.run import Run, Stage, Trajectory, choose_best_trajectory, run_stages, summarize_run
from streamgmm.persistence.codec import persistent

LEAST_PASSES = 3  # of a candidate for outliers, before the worse of two candidates is dropped


@persistent("fit-em-1")
@dataclass(frozen=True, slots=True, eq=False)
class EMState(FitState):
    """State of the EM of all starts."""

    phase: ClassVar[str] = "em"
    run: Run
    notes: FitNotes = field(default_factory=FitNotes)
    outliers: KeyedRows | None = None  # poorly explained rows that the current pass has drawn so far

    def describe(self) -> str:
        """Return in words how far the run has come."""
        return describe_run(self.run)

    def summarize(self, context: FitContext) -> Trajectory | None:
        """Return the best trajectory so far; None before any update."""
        return summarize_run(self.run, context.plan(len(self.run.trajectories)))


class EMPhase:
    """EM of all starts, and of a start with components for outliers that the first pass over all rows draws."""

    name: ClassVar[str] = EMState.phase

    def __init__(self, context: FitContext) -> None:
        self.context = context

    def run(self, state: EMState, observe: Observe) -> RefinementState:
        """Run the stages of the algorithm."""
        context = self.context
        monitor, sampler = StorageOrderMonitor(state.notes.segments), None
        if context.samples_outliers:
            sampler = OutlierSampler(context.task.seed, context.source.n_features, state.outliers)
        plan = stages = context.plan(len(state.run.trajectories), monitor)
        if sampler is not None:
            stages = [*plan[:-1], _tap_first_pass(plan[-1], sampler)]

        def adjust(event: Event, run: Run) -> Run:
            nonlocal state
            if sampler is not None and event.ends_pass and run.position is not None:
                run = self._add_outlier_candidate(sampler, event, self._drop_worse(run))
            notes = replace(state.notes, segments=monitor.segments)
            outliers = None if sampler is None else sampler.drawn
            state = EMState(run.without_ended_states(), notes, outliers)
            observe(event, state)
            return run

        previous = -np.inf if context.is_resized else context.task.previous
        trajectories: list[Trajectory] | None = None
        while trajectories is None:
            try:
                trajectories = run_stages(
                    state.run, stages, max_iter=context.max_iter, previous=previous, adjust=adjust
                )
            except DegenerateError as error:
                if len(state.run.trajectories) <= context.n_init or error.candidate != context.n_init:
                    raise
                state = replace(state, run=state.run.remove_last_candidate())  # it was only an attempt
        # a candidate that was dropped has not ended, even if `reg_covar` has lowered the other's likelihood since
        most = max(len(trajectory.lower_bounds) for trajectory in trajectories)
        ended = [one for one in trajectories if one.converged or len(one.lower_bounds) == most]
        winner = choose_best_trajectory(ended)
        passes = context.max_iter - len(winner.lower_bounds) if ends_with_whole_passes(plan[-1].name) else 0
        return RefinementState(winner, passes, replace(state.notes, segments=monitor.segments))

    def _add_outlier_candidate(self, sampler: OutlierSampler, event: Event, run: Run) -> Run:
        """Add a candidate with components for outliers, where the first pass of the last stage has found enough."""
        if sampler.drawn is None or run.position is None:
            return run
        update, settings = event.updates[0], self.context.settings
        proposed = propose_relocation(
            sampler,
            update.before,
            update.parameters,
            update.info.latest.likelihood,
            self.context.draw_subsample,
            settings.structure,
            settings.reg_covar,
        )
        sampler.drawn = None
        if proposed is None:
            return run
        algorithm = pick(0, self.context.plan()[-1].algorithm)
        return run.add_candidate(update.candidate, proposed, algorithm.init(proposed), RELOCATED)

    def _drop_worse(self, run: Run) -> Run:
        """Drop the worse of the first start and the candidate for outliers, once that has had some passes."""
        added, active = len(run.trajectories) - 1, run.candidates
        if added < self.context.n_init:
            return run
        is_tried = len(run.bounds[added]) >= LEAST_PASSES or added not in active
        worse, better = sorted((added, 0), key=lambda candidate: run.trajectories[candidate].lower_bound)
        # the better may have been dropped when it was the worse: `reg_covar` can lower a likelihood
        has_rival = better in active or run.trajectories[better].converged
        if is_tried and worse in active and has_rival:
            return run.only([candidate for candidate in active if candidate != worse])
        return run


def _tap_first_pass(stage: Stage, sampler: OutlierSampler) -> Stage:
    """Return the stage, whose first pass also draws outliers."""

    def passes(number: int, taken: int) -> Iterator[ChunkGroup]:
        groups = stage.passes(number, taken)
        return (replace(group, row_tap=sampler) for group in groups) if number == 1 else groups

    return replace(stage, passes=passes)
