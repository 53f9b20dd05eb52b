"""A whole fit from its first reading to its last, as something that can be left at any moment and gone on with.

A sample, starts from it, the stages of the algorithm, repairs and moves, and a last pass for the exact likelihood. What
it is left with is a `FitState`; gone on with, it comes to the same bits as if it had not been left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import ceil
from typing import Any

import numpy as np
from numpy.random import RandomState

from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup, EvaluationState
from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.partitions import Partitions
from streamgmm.data.sources import Source
from streamgmm.data.subsample import KeyedRows, Subsample, SubsampleState
from streamgmm.errors import DegenerateError
from streamgmm.fitting.plan import EMSettings, stages
from streamgmm.fitting.refinement import RefinementState, refine
from streamgmm.fitting.streaming import Order, Segments
from streamgmm.initialization import choose_starts
from streamgmm.initialization.candidates import continued, drawn, subsample_size
from streamgmm.initialization.component_exchange import PLACED, propose_exchange
from streamgmm.initialization.multistart import Restarts
from streamgmm.initialization.outliers import OutlierSampler
from streamgmm.initialization.split_merge import resize_mixture
from streamgmm.initialization.user_start import UserStart
from streamgmm.initialization.validation import ValidationSplit
from streamgmm.iteration.loop import Step, of
from streamgmm.iteration.run import Run, Stage, Trajectory, best, fit, halfway
from streamgmm.model.em import Expectation
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent

STRIDES = ("batch", "accelerated")  # stages that end a fit by passes over all rows alike
TRIED = 3  # passes after which the worse of two starts is left


@persistent("final-pass-1")
@dataclass(frozen=True, slots=True, eq=False)
class FinalPassState:
    """A fit of which only the likelihood of all rows is wanting.

    Attributes
    ----------
    winner : Trajectory
        Its outcome.
    pieces : Partitions or None
        What the entries of its state are of, where they are kept.
    evaluation : EvaluationState
        How far the last pass has come.
    """

    winner: Trajectory
    pieces: Partitions | None = None
    evaluation: EvaluationState = field(default_factory=EvaluationState)


@persistent("fit-1")
@dataclass(frozen=True, slots=True, eq=False)
class FitState:
    """What a fit goes on from.

    Attributes
    ----------
    now : SubsampleState, Run, RefinementState or FinalPassState
        What it is at, and how far that has come.
    restarts : Restarts or None
        What was tried to find the starts.
    order : Segments
        What was seen of the order of the rows.
    second : KeyedRows or None
        What a pass has drawn of the rows that its start does not explain, until it has ended.
    """

    now: SubsampleState | Run | RefinementState | FinalPassState = field(default_factory=SubsampleState)
    restarts: Restarts | None = None
    order: Segments = field(default_factory=Segments)
    second: KeyedRows | None = None

    @property
    def lean(self) -> FitState:
        """The same, without what is not looked at again."""
        if isinstance(self.now, Run):
            return replace(self, now=self.now.lean)
        if isinstance(self.now, RefinementState) and self.now.run is not None:
            return replace(self, now=replace(self.now, run=self.now.run.lean))
        return self

    @property
    def place(self) -> str:
        """How far the fit has come, in words."""
        now = self.now
        if isinstance(now, SubsampleState):
            return f"drawing a sample, {read_so_far(now.taken)} read"
        if isinstance(now, FinalPassState):
            return f"at its last reading, {read_so_far(now.evaluation.taken)} read"
        run, what = (now, "") if isinstance(now, Run) else (now.run, f", trying a {now.name}")
        if run is None or run.position is None:
            return f"between two passes{what}"
        return f"in pass {run.passes + run.position.number}{what}, {read_so_far(run.position.taken)} of it read"


@persistent("fit-task-1")
@dataclass(frozen=True, slots=True, eq=False)
class FitTask:
    """What a fit was begun with, beside its settings: it can only be gone on with by the same.

    Attributes
    ----------
    rows : Fingerprint or None
        Of the source; None where nothing is kept of the fit.
    algorithm : str
        That was chosen.
    seed : int
        Of all draws from the rows.
    random : tuple
        State of the generator that starts are drawn from, as `numpy.random.RandomState.get_state` gives it.
    before : Parameters or None
        Of an earlier fit, where this is a warm start.
    previous : float
        Its lower bound.
    """

    rows: Fingerprint | None
    algorithm: str
    seed: int
    random: tuple[Any, ...]
    before: Parameters | None
    previous: float

    def validate(self) -> None:
        """Raise ValueError where there is no state of a generator."""
        if any(isinstance(part, np.ndarray) and part.dtype != np.uint32 for part in self.random):
            raise ValueError("the state of the generator has another dtype")
        RandomState().set_state(self.random)


def read_so_far(number: int) -> str:
    """A number of waves, in words."""
    return f"{number:,} wave{'s' * (number != 1)}"


Watch = Callable[[Step | None, FitState], None]
Saw = Callable[[Step | None, SubsampleState | Run | RefinementState | FinalPassState], None]


@dataclass(frozen=True, slots=True, eq=False)
class FitProcedure:
    """What a fit depends on.

    Attributes
    ----------
    source : Source
        The rows.
    learning : EMSettings
        How they are learnt.
    task : FitTask
        What it was begun with.
    n_components, n_init, init_params, max_iter, split_merge
        As in `GaussianMixture`.
    random : RandomState
        Of the starts.
    given : UserStart
        Parts of the start that are given.
    """

    source: Source
    learning: EMSettings
    task: FitTask
    n_components: int
    n_init: int
    init_params: str
    max_iter: int
    split_merge: bool
    random: RandomState
    given: UserStart

    def run(self, fit_state: FitState, watch: Watch) -> tuple[FinalPassState, Expectation, FitState]:
        """Go on from a moment to the end: the outcome, the expectation of all rows, and the last moment.

        ``watch`` sees every step, and what the fit could be gone on with from there.
        """
        order, pieces = Order(fit_state.order), None
        second = OutlierSampler(self.task.seed, self.source.n_features, fit_state.second) if self._looks else None

        def saw(step: Step | None, now: SubsampleState | Run | RefinementState | FinalPassState) -> None:
            nonlocal fit_state
            fit_state = replace(
                fit_state, now=now, order=order.segments, second=None if second is None else second.drawn
            )
            watch(step, fit_state)

        def sampled(now: SubsampleState) -> None:
            if isinstance(
                fit_state.now, SubsampleState
            ):  # not where it is drawn once more, to finish a fit that was left
                saw(None, now)

        since = fit_state.now if isinstance(fit_state.now, SubsampleState) else None
        sample = cache(partial(drawn, self.source, self.n_components, self.task.seed, since, sampled))
        if isinstance(fit_state.now, SubsampleState):
            starts, restarts = self._starts(sample)
            fit_state = replace(fit_state, now=Run(tuple(map(Trajectory, starts))), restarts=restarts)
            watch(None, fit_state)
        if isinstance(fit_state.now, Run):
            plan = self.stages(len(fit_state.now.trajectories), order)
            trajectories: list[Trajectory] | None = None
            while trajectories is None:
                assert isinstance(fit_state.now, Run)
                try:
                    trajectories = self._fitted(fit_state.now, plan, second, sample, saw)
                except DegenerateError as error:
                    if len(fit_state.now.trajectories) <= self.n_init or error.candidate != self.n_init:
                        raise
                    fit_state = replace(fit_state, now=fit_state.now.without_last())  # it was only to be tried
            # what was left behind has come to no end, also where `reg_covar` has lowered the other since
            most = max(len(one.lower_bounds) for one in trajectories)
            winner = best([one for one in trajectories if one.converged or len(one.lower_bounds) == most])
            pieces = plan[-1].pieces
            passes = self.max_iter - len(winner.lower_bounds) if plan[-1].name in STRIDES else 0
            fit_state = replace(fit_state, now=RefinementState(winner, passes), order=order.segments)
        if isinstance(fit_state.now, RefinementState):
            winner = refine(
                fit_state.now,
                self.stages(1, order)[-1],
                self.learning.structure,
                reg_covar=self.learning.reg_covar,
                split_merge=self.split_merge,
                sample=sample,
                watch=saw,
            )
            fit_state = replace(fit_state, now=FinalPassState(winner, pieces))
        ending = fit_state.now
        assert isinstance(ending, FinalPassState)
        (covered,) = execution.expect_all(
            self.source,
            (ending.winner.parameters,),
            ending.evaluation,
            lambda evaluation: saw(None, replace(ending, evaluation=evaluation)),
        )
        return ending, covered, fit_state

    def stages(self, n_starts: int, order: Order | None = None) -> list[Stage]:
        """The stages of the algorithm; where splits and mergers follow, half of the passes are theirs."""
        look = None if order is None else order.look
        task, source, learning = self.task, self.source, self.learning
        plan = stages(task.algorithm, source, learning, self.n_components, n_starts, task.seed, look, self.split_merge)
        if self.split_merge:
            plan[-1] = replace(plan[-1], most=ceil(self.max_iter / 2))
        return plan

    def interim(self, fit_state: FitState) -> Trajectory | None:
        """What a fit that is left at a moment has come to; None where it has learnt nothing yet."""
        now = fit_state.now
        if isinstance(now, RefinementState | FinalPassState):
            return now.trajectory if isinstance(now, RefinementState) else now.winner
        if isinstance(now, SubsampleState):
            return None
        plan = self.stages(len(now.trajectories))
        return halfway(now, plan, self.learning.structure, self.learning.reg_covar)

    def _fitted(
        self, run: Run, plan: list[Stage], second: OutlierSampler | None, sample: Callable[[], Subsample], saw: Saw
    ) -> list[Trajectory]:
        """What the stages make of the starts, and of another that a second look at the rows may suggest."""
        return fit(
            run,
            plan if second is None else [*plan[:-1], _watched(plan[-1], second)],
            self.learning.structure,
            reg_covar=self.learning.reg_covar,
            max_iter=self.max_iter,
            previous=-np.inf if self.resizes else self.task.previous,
            watch=saw,
            retire=None if second is None else self._retire,
            join=None if second is None else partial(self._join, second, sample),
        )

    @property
    def _looks(self) -> bool:
        """Whether rows are to be found that the start cannot have known: those it was found on were not all."""
        n_rows, k = self.source.n_rows, self.n_components
        known = n_rows is not None and n_rows <= subsample_size(k, self.source.n_features)
        strides = self.task.algorithm not in ("stepwise", "incremental")
        return strides and k > 1 and not known and self.task.before is None and self.given.empty

    def _join(self, second: OutlierSampler, sample: Callable[[], Subsample], step: Step, run: Run) -> Run:
        """The run with another start, where the first pass of its last stage has found rows that the first has not."""
        if second.drawn is None or not step.last or run.position is None:
            return run
        read = step.updates[0]
        structure, reg_covar = self.learning.structure, self.learning.reg_covar
        found = propose_exchange(second, read.before, read.parameters, read.likelihood, sample, structure, reg_covar)
        second.drawn = None
        if found is None:
            return run
        strategy = of(0, self.stages(1)[-1].strategy)
        return run.joined(read.candidate, found, strategy.init(found), PLACED)

    def _retire(self, step: Step, run: Run) -> Collection[int]:
        """Of the first start and one that has joined, the worse once that has had some passes, or enough of them."""
        joined = len(run.trajectories) - 1
        if joined < self.n_init or run.position is None:
            return ()
        going = {candidate for candidate, *_ in run.position.candidates}
        tried = len(run.bounds[joined]) >= TRIED or joined not in going
        worse, better = sorted((joined, 0), key=lambda candidate: run.trajectories[candidate].lower_bound)
        # the better may have been left behind when it was the worse: what is added to variances can lower a likelihood
        rival = better in going or run.trajectories[better].converged
        return (worse,) if tried and worse in going and rival else ()

    @property
    def resizes(self) -> bool:
        """Whether a warm start has another number of components, which splits and mergers are to bring about."""
        return self.split_merge and self.task.before is not None and self.task.before.n_components != self.n_components

    def _starts(self, sample: Callable[[], Subsample]) -> tuple[list[Parameters], Restarts | None]:
        """Starting parameters of every candidate, from one reading at most, and what was tried to find them."""
        k, d = self.n_components, self.source.n_features
        structure, reg_covar = self.learning.structure, self.learning.reg_covar
        if self.task.before is not None and self.resizes:
            before = continued(self.task.before, self.task.before.n_components, d)
            return [resize_mixture(before, k, ValidationSplit.on(sample(), structure, reg_covar))], None
        if self.task.before is not None:
            return [continued(self.task.before, k, d)], None
        if self.given.complete:
            return [self.given.parameters()], None
        subsample = sample()
        way, n_init = self.init_params, self.n_init
        starts, restarts = choose_starts.starts(
            subsample, self.given, k, way, n_init, self.random, reg_covar, self.source.n_rows
        )
        if self.task.algorithm not in STRIDES:
            starts = [
                one.parameters for one in choose_starts.run_em_on_subsample(subsample, starts, structure, reg_covar)
            ]
        return starts, restarts


def _watched(stage: Stage, second: OutlierSampler) -> Stage:
    """The stage, in whose first pass rows are looked at a second time."""

    def passes(number: int, taken: int) -> Iterator[ChunkGroup]:
        chunk_groups = stage.passes(number, taken)
        return (replace(chunk_group, look=second) for chunk_group in chunk_groups) if number == 1 else chunk_groups

    return replace(stage, passes=passes)
