"""A whole fit from its first reading to its last, as something that can be left at any moment and gone on with.

A sample, starts from it, the stages of the algorithm, repairs and moves, and a last pass for the exact likelihood. What
it is left with is a `Moment`; gone on with, it comes to the same bits as if it had not been left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import ceil
from typing import Any

import numpy as np
from numpy.random import RandomState

from streamgmm import search
from streamgmm.em import Expectation
from streamgmm.errors import DegenerateError
from streamgmm.fitting.iteration import Step, of
from streamgmm.fitting.stages import Run, Stage, Trajectory, best, fit, halfway
from streamgmm.initialization import Drawn, Given, Reservoir, Sampling, continued, drawn, rows_to_keep
from streamgmm.online.stream import Order, Segments
from streamgmm.parameters import Parameters
from streamgmm.planning import Learning, stages
from streamgmm.reading import execution
from streamgmm.reading.execution import Evaluation, Wave
from streamgmm.reading.fingerprint import Fingerprint
from streamgmm.reading.pieces import Pieces
from streamgmm.search import Finishing, Restarts, SecondLook
from streamgmm.sources import Source

STRIDES = ("batch", "accelerated")  # stages that end a fit by passes over all rows alike
TRIED = 3  # passes after which the worse of two starts is left


@dataclass(frozen=True, slots=True, eq=False)
class Ending:
    """A fit of which only the likelihood of all rows is wanting.

    Attributes
    ----------
    winner : Trajectory
        Its outcome.
    pieces : Pieces or None
        What the entries of its state are of, where they are kept.
    evaluation : Evaluation
        How far the last pass has come.
    """

    winner: Trajectory
    pieces: Pieces | None = None
    evaluation: Evaluation = field(default_factory=Evaluation)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What a fit goes on from.

    Attributes
    ----------
    now : Sampling, Run, Finishing or Ending
        What it is at, and how far that has come.
    restarts : Restarts or None
        What was tried to find the starts.
    order : Segments
        What was seen of the order of the rows.
    second : Drawn or None
        What a pass has drawn of the rows that its start does not explain, until it has ended.
    """

    now: Sampling | Run | Finishing | Ending = field(default_factory=Sampling)
    restarts: Restarts | None = None
    order: Segments = field(default_factory=Segments)
    second: Drawn | None = None

    @property
    def lean(self) -> Moment:
        """The same, without what is not looked at again."""
        if isinstance(self.now, Run):
            return replace(self, now=self.now.lean)
        if isinstance(self.now, Finishing) and self.now.run is not None:
            return replace(self, now=replace(self.now, run=self.now.run.lean))
        return self

    @property
    def place(self) -> str:
        """How far the fit has come, in words."""
        now = self.now
        if isinstance(now, Sampling):
            return f"drawing a sample, {read_so_far(now.taken)} read"
        if isinstance(now, Ending):
            return f"at its last reading, {read_so_far(now.evaluation.taken)} read"
        run, what = (now, "") if isinstance(now, Run) else (now.run, f", trying a {now.name}")
        if run is None or run.position is None:
            return f"between two passes{what}"
        return f"in pass {run.passes + run.position.number}{what}, {read_so_far(run.position.taken)} of it read"


@dataclass(frozen=True, slots=True, eq=False)
class Task:
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


def read_so_far(number: int) -> str:
    """A number of waves, in words."""
    return f"{number:,} wave{'s' * (number != 1)}"


Watch = Callable[[Step | None, Moment], None]
Saw = Callable[[Step | None, Sampling | Run | Finishing | Ending], None]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What a fit depends on.

    Attributes
    ----------
    source : Source
        The rows.
    learning : Learning
        How they are learnt.
    task : Task
        What it was begun with.
    n_components, n_init, init_params, max_iter, split_merge
        As in `GaussianMixture`.
    random : RandomState
        Of the starts.
    given : Given
        Parts of the start that are given.
    """

    source: Source
    learning: Learning
    task: Task
    n_components: int
    n_init: int
    init_params: str
    max_iter: int
    split_merge: bool
    random: RandomState
    given: Given

    def run(self, moment: Moment, watch: Watch) -> tuple[Ending, Expectation, Moment]:
        """Go on from a moment to the end: the outcome, the expectation of all rows, and the last moment.

        ``watch`` sees every step, and what the fit could be gone on with from there.
        """
        order, pieces = Order(moment.order), None
        second = SecondLook(self.task.seed, self.source.n_features, moment.second) if self._looks else None

        def saw(step: Step | None, now: Sampling | Run | Finishing | Ending) -> None:
            nonlocal moment
            moment = replace(moment, now=now, order=order.segments, second=None if second is None else second.drawn)
            watch(step, moment)

        def sampled(now: Sampling) -> None:
            if isinstance(moment.now, Sampling):  # not where it is drawn once more, to finish a fit that was left
                saw(None, now)

        since = moment.now if isinstance(moment.now, Sampling) else None
        sample = cache(partial(drawn, self.source, self.n_components, self.task.seed, since, sampled))
        if isinstance(moment.now, Sampling):
            starts, restarts = self._starts(sample)
            moment = replace(moment, now=Run(tuple(map(Trajectory, starts))), restarts=restarts)
            watch(None, moment)
        if isinstance(moment.now, Run):
            plan = self.stages(len(moment.now.trajectories), order)
            trajectories: list[Trajectory] | None = None
            while trajectories is None:
                assert isinstance(moment.now, Run)
                try:
                    trajectories = self._fitted(moment.now, plan, second, sample, saw)
                except DegenerateError as error:
                    if len(moment.now.trajectories) <= self.n_init or error.candidate != self.n_init:
                        raise
                    moment = replace(moment, now=moment.now.without_last())  # it was only to be tried
            # what was left behind has come to no end, also where `reg_covar` has lowered the other since
            most = max(len(one.lower_bounds) for one in trajectories)
            winner = best([one for one in trajectories if one.converged or len(one.lower_bounds) == most])
            pieces = plan[-1].pieces
            passes = self.max_iter - len(winner.lower_bounds) if plan[-1].name in STRIDES else 0
            moment = replace(moment, now=Finishing(winner, passes), order=order.segments)
        if isinstance(moment.now, Finishing):
            winner = search.finished(
                moment.now,
                self.stages(1, order)[-1],
                self.learning.structure,
                reg_covar=self.learning.reg_covar,
                split_merge=self.split_merge,
                sample=sample,
                watch=saw,
            )
            moment = replace(moment, now=Ending(winner, pieces))
        ending = moment.now
        assert isinstance(ending, Ending)
        (covered,) = execution.expect_all(
            self.source,
            (ending.winner.parameters,),
            ending.evaluation,
            lambda evaluation: saw(None, replace(ending, evaluation=evaluation)),
        )
        return ending, covered, moment

    def stages(self, n_starts: int, order: Order | None = None) -> list[Stage]:
        """The stages of the algorithm; where splits and mergers follow, half of the passes are theirs."""
        look = None if order is None else order.look
        task, source, learning = self.task, self.source, self.learning
        plan = stages(task.algorithm, source, learning, self.n_components, n_starts, task.seed, look, self.split_merge)
        if self.split_merge:
            plan[-1] = replace(plan[-1], most=ceil(self.max_iter / 2))
        return plan

    def interim(self, moment: Moment) -> Trajectory | None:
        """What a fit that is left at a moment has come to; None where it has learnt nothing yet."""
        now = moment.now
        if isinstance(now, Finishing | Ending):
            return now.trajectory if isinstance(now, Finishing) else now.winner
        if isinstance(now, Sampling):
            return None
        plan = self.stages(len(now.trajectories))
        return halfway(now, plan, self.learning.structure, self.learning.reg_covar)

    def _fitted(
        self, run: Run, plan: list[Stage], second: SecondLook | None, sample: Callable[[], Reservoir], saw: Saw
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
        known = n_rows is not None and n_rows <= rows_to_keep(k, self.source.n_features)
        strides = self.task.algorithm not in ("stepwise", "incremental")
        return strides and k > 1 and not known and self.task.before is None and self.given.empty

    def _join(self, second: SecondLook, sample: Callable[[], Reservoir], step: Step, run: Run) -> Run:
        """The run with another start, where the first pass of its last stage has found rows that the first has not."""
        if second.drawn is None or not step.last or run.position is None:
            return run
        read = step.updates[0]
        structure, reg_covar = self.learning.structure, self.learning.reg_covar
        found = search.looked_again(second, read.before, read.parameters, read.likelihood, sample, structure, reg_covar)
        second.drawn = None
        if found is None:
            return run
        strategy = of(0, self.stages(1)[-1].strategy)
        return run.joined(read.candidate, found, strategy.init(found), search.PLACED)

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

    def _starts(self, sample: Callable[[], Reservoir]) -> tuple[list[Parameters], Restarts | None]:
        """Starting parameters of every candidate, from one reading at most, and what was tried to find them."""
        k, d = self.n_components, self.source.n_features
        structure, reg_covar = self.learning.structure, self.learning.reg_covar
        if self.task.before is not None and self.resizes:
            before = continued(self.task.before, self.task.before.n_components, d)
            return [search.resized(before, k, search.Trials.on(sample(), structure, reg_covar))], None
        if self.task.before is not None:
            return [continued(self.task.before, k, d)], None
        if self.given.complete:
            return [self.given.parameters()], None
        reservoir = sample()
        way, n_init = self.init_params, self.n_init
        starts, restarts = search.starts(
            reservoir, self.given, k, way, n_init, self.random, reg_covar, self.source.n_rows
        )
        if self.task.algorithm not in STRIDES:
            starts = [one.parameters for one in search.polished(reservoir, starts, structure, reg_covar)]
        return starts, restarts


def _watched(stage: Stage, second: SecondLook) -> Stage:
    """The stage, in whose first pass rows are looked at a second time."""

    def passes(number: int, taken: int) -> Iterator[Wave]:
        waves = stage.passes(number, taken)
        return (replace(wave, look=second) for wave in waves) if number == 1 else waves

    return replace(stage, passes=passes)
