"""The phases of a fit in their order, and the first: subsample and starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamgmm.data.subsample import SubsampleState
from streamgmm.fitting.context import FitContext, FitNotes, FitState
from streamgmm.fitting.driver import Observe, Phase, count_groups
from streamgmm.fitting.em_phase import EMPhase, EMState
from streamgmm.fitting.final_pass import FinalPass
from streamgmm.fitting.plan import begins_with_whole_passes
from streamgmm.fitting.refinement import RefinementPhase
from streamgmm.initialization import find_starts
from streamgmm.initialization.find_starts import check_warm_start
from streamgmm.initialization.split_merge import resize_mixture
from streamgmm.initialization.validation import ValidationSplit
from streamgmm.iteration.run import Trajectory, start_run
from streamgmm.persistence.codec import persistent


@persistent("fit-starts-1")
@dataclass(frozen=True, slots=True, eq=False)
class StartsState(FitState):
    """State of the search for starts: the reading of the subsample."""

    phase: ClassVar[str] = "starts"
    subsample: SubsampleState = field(default_factory=SubsampleState)

    @property
    def notes(self) -> FitNotes:
        """No notes yet."""
        return FitNotes()

    def describe(self) -> str:
        """Return in words how far the reading has come."""
        return f"drawing a subsample, {count_groups(self.subsample.taken)} read"

    def summarize(self, context: FitContext) -> Trajectory | None:
        """Return None: nothing is learnt yet."""
        return None


class StartsPhase:
    """Subsample, and starts from it."""

    name: ClassVar[str] = StartsState.phase

    def __init__(self, context: FitContext) -> None:
        self.context = context

    def run(self, state: StartsState, observe: Observe) -> EMState:
        """Find the starts, from one reading at most."""
        context, settings, task = self.context, self.context.settings, self.context.task
        k, source = context.n_components, context.source
        if task.before is None and context.user_start.is_complete:
            return EMState(start_run([context.user_start.to_parameters()]))
        if task.before is not None and not context.is_resized:
            return EMState(start_run([check_warm_start(task.before, k, source.n_features)]))
        subsample = context.draw_subsample(state.subsample, lambda drawing: observe(None, StartsState(drawing)))
        structure, reg_covar = settings.structure, settings.reg_covar
        if task.before is not None:
            before = check_warm_start(task.before, task.before.n_components, source.n_features)
            resized = resize_mixture(before, k, ValidationSplit.from_all_rows(subsample, structure, reg_covar))
            return EMState(start_run([resized]))
        starts, restarts = find_starts.find_starts(
            subsample,
            context.user_start,
            k,
            context.init_params,
            context.n_init,
            context.random,
            reg_covar,
            source.n_rows,
        )
        if not begins_with_whole_passes(task.algorithm):
            trajectories = find_starts.run_em_on_subsample(subsample, starts, structure, reg_covar)
            starts = [trajectory.parameters for trajectory in trajectories]
        return EMState(start_run(starts), FitNotes(restarts))


def make_fit_phases(context: FitContext) -> list[Phase[Any]]:
    """Return the phases of a fit: starts, EM, refinement, final pass."""
    return [StartsPhase(context), EMPhase(context), RefinementPhase(context), FinalPass(context.source)]
