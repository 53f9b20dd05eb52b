"""A whole fit: all candidates through the one loop, stage by stage, until each has converged or used up its passes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from streamgmm.algorithms.algorithm import Algorithm, AlgorithmState
from streamgmm.algorithms.drift import score
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.partitions import Partitions
from streamgmm.errors import InputError
from streamgmm.iteration.history import History, Record
from streamgmm.iteration.loop import Position, Step, Update, iterate, of
from streamgmm.iteration.stopping import StoppingRule
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import Expectation, expected_log_density
from streamgmm.model.em import update as m_step
from streamgmm.model.parameters import Parameters
from streamgmm.model.reduction import Counter
from streamgmm.persistence.codec import persistent


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of passes by one algorithm.

    Candidates that differ in size or family have a strategy and a rule each, as a tuple.

    Attributes
    ----------
    name : str
        As the history shows it.
    strategy : Algorithm, or a tuple of one for each start
        The algorithm.
    passes : callable
        Waves of pass 1, 2, …, but for as many as were taken before.
    most : int or None
        Passes at most; None for as many as the fit has left.
    stop : StoppingRule, or a tuple of one for each start
        When a candidate has had enough of it.
    pieces : Partitions or None, default=None
        What the entries of its final state are of, where the strategy keeps entries to be used later.
    recorded : bool, default=True
        Whether the history tells of its updates.
    """

    name: str
    strategy: Algorithm[Any] | tuple[Algorithm[Any], ...]
    passes: Callable[[int, int], Iterator[ChunkGroup]]
    most: int | None
    stop: StoppingRule | tuple[StoppingRule, ...]
    pieces: Partitions | None = None
    recorded: bool = True


@persistent("trajectory-1")
@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """What became of one start.

    Attributes
    ----------
    parameters : Parameters
        The latest to report.
    lower_bounds : tuple of float
        Nats a row, one a pass: for batch EM the mean log-likelihood of the parameters before the M-step, else the bound
        (the free energy) of those after it.
    converged : bool
        Whether the last stage ended by its rule.
    starved : tuple of int
        Components that had no rows in the last M-step.
    covered : Expectation or None
        Every row of the last pass, once; None after batch EM.
    state : object
        Of the last stage's strategy, after its last pass.
    history : History
        One record an update.
    """

    parameters: Parameters
    lower_bounds: tuple[float, ...] = ()
    converged: bool = False
    starved: tuple[int, ...] = ()
    covered: Expectation | None = None
    state: AlgorithmState | Counter[Expectation] | None = None
    history: History = field(default_factory=History)

    @property
    def lower_bound(self) -> float:
        """The latest, minus infinity before the first pass ended."""
        return self.lower_bounds[-1] if self.lower_bounds else -np.inf


@persistent("run-1")
@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A fit in the middle of its passes: all that it goes on from.

    Attributes
    ----------
    trajectories : tuple of Trajectory
        One for each start.
    stage : int
        Which one it is in; as many as there are stages once it has ended.
    passes : int
        Passes of the stages before.
    bounds : tuple of tuple of float
        Of each trajectory, those that the rule of this stage sees.
    updates : tuple of (float, tuple of int)
        Of each trajectory, of its latest M-step: mean log-likelihood before it, nats a row, and components that had no
        rows; NaN before the first of the stage.
    position : Position or None
        Of the loop; None where the stage has not begun.
    """

    trajectories: tuple[Trajectory, ...]
    stage: int = 0
    passes: int = 0
    bounds: tuple[tuple[float, ...], ...] = ()
    updates: tuple[tuple[float, tuple[int, ...]], ...] = ()
    position: Position | None = None

    def validate(self) -> None:
        """Raise ValueError where the loop is at candidates that are not there."""
        if self.position is not None:
            last = max((candidate for candidate, *_ in self.position.candidates), default=0)
            if not len(self.bounds) == len(self.updates) == len(self.trajectories) > last:
                raise ValueError("candidates contradict each other")

    @property
    def lean(self) -> Run:
        """The same, without what is not looked at again: states that the loop has gone on from."""
        going = () if self.position is None else {candidate for candidate, *_ in self.position.candidates}
        trajectories = (
            replace(one, state=None) if place in going else one for place, one in enumerate(self.trajectories)
        )
        return replace(self, trajectories=tuple(trajectories))

    def joined(self, candidate: int, other: Parameters, state: Any, name: str) -> Run:
        """The same with one candidate more, between two passes of a stage; its past is that of another.

        ``state`` is that of its strategy; ``name`` says in the history what it is.
        """
        assert self.position is not None  # or the stage has ended
        before, (mean, _) = self.trajectories[candidate], self.updates[candidate]
        record = Record(name, 0, mean, other.weights, 0.0)
        trajectory = Trajectory(other, before.lower_bounds, history=before.history.appended(record))
        candidates = (*self.position.candidates, (len(self.trajectories), other, state))
        return replace(
            self,
            trajectories=(*self.trajectories, trajectory),
            bounds=(*self.bounds, ()),
            updates=(*self.updates, (np.nan, ())),
            position=replace(self.position, candidates=candidates),
        )

    def without_last(self) -> Run:
        """The same without the last candidate, in the middle of a stage: ended where no other is in it."""
        assert self.position is not None  # or the stage has ended
        position = self.position.of(range(len(self.trajectories) - 1))
        run = replace(
            self,
            trajectories=self.trajectories[:-1],
            bounds=self.bounds[:-1],
            updates=self.updates[:-1],
            position=position,
        )
        if position.candidates:
            return run
        return replace(run, stage=self.stage + 1, passes=self.passes + position.number - 1, position=None)


Watch = Callable[[Step, Run], None]
Join = Callable[[Step, Run], Run]
Retire = Callable[[Step, Run], Collection[int]]
Structures = CovarianceStructure | tuple[CovarianceStructure, ...]


def fit(
    starts: Sequence[Parameters] | Run,
    stages: Sequence[Stage],
    structure: Structures,
    *,
    reg_covar: float,
    max_iter: int,
    previous: float = -np.inf,
    watch: Watch | None = None,
    retire: Retire | None = None,
    join: Join | None = None,
) -> list[Trajectory]:
    """Take every start through all stages, in shared passes, or go on with a run.

    ``structure`` is one for all starts, or a tuple of one for each. ``previous`` is the lower bound that the first is
    compared with, where a fit goes on; ``watch`` sees every step, and what it leads to; ``retire`` says at the end of a
    pass which candidates have been in it for the last time, converged or not; ``join`` may let others join the run.
    """
    run = starts if isinstance(starts, Run) else Run(tuple(Trajectory(start) for start in starts))
    while run.stage < len(stages):
        stage = stages[run.stage]
        most = max_iter - run.passes if stage.most is None else min(stage.most, max_iter - run.passes)
        if most <= 0:
            run = replace(run, stage=run.stage + 1)
            continue
        if run.position is None:
            before = (previous,) if np.isfinite(previous) and run.passes == 0 else ()
            n = len(run.trajectories)
            run = replace(run, bounds=(before,) * n, updates=((np.nan, ()),) * n)
        run = _stage(run, stage, structure, reg_covar, most, watch, retire, join)
    return list(run.trajectories)


def _stage(
    run: Run,
    stage: Stage,
    structure: Structures,
    reg_covar: float,
    most: int,
    watch: Watch | None,
    retire: Retire | None,
    join: Join | None,
) -> Run:
    """The run after one stage, or in the middle of it where a candidate has joined."""
    begin = run.position or [one.parameters for one in run.trajectories]
    loop = iterate(stage.passes, begin, stage.strategy, structure, reg_covar)
    step = next(loop, None)
    while step is not None:
        run = _after(run, step, stage, structure, reg_covar, most, retire)
        together = run if join is None else join(step, run)
        if watch is not None:
            watch(step, together)
        if together is not run or run.position is None:
            run = together
            break
        step = loop.send([candidate for candidate, *_ in run.position.candidates])
    loop.close()
    return run


def _after(
    run: Run,
    step: Step,
    stage: Stage,
    structure: Structures,
    reg_covar: float,
    most: int,
    retire: Retire | None,
) -> Run:
    """The run after one step."""
    trajectories, updates, bounds = list(run.trajectories), list(run.updates), list(run.bounds)
    for update in step.updates:
        tally = update.likelihood
        updates[update.candidate] = (tally.mean if tally.weight > 0.0 else np.nan, update.info.starved)
        if tally.weight > 0.0 and stage.recorded:
            trajectory = trajectories[update.candidate]
            history = trajectory.history.appended(_record(stage.name, update))
            trajectories[update.candidate] = replace(trajectory, history=history)
    run = replace(run, trajectories=tuple(trajectories), updates=tuple(updates), position=step.position)
    if not step.last:
        return run
    going = []
    for candidate, parameters, state in step.position.candidates:
        family, strategy = of(candidate, structure), of(candidate, stage.strategy)
        ended = _ended(trajectories[candidate], strategy, parameters, state, updates[candidate], family, reg_covar)
        bounds[candidate] = (*bounds[candidate], ended.lower_bound)
        converged = of(candidate, stage.stop)(bounds[candidate], state)
        trajectories[candidate] = replace(ended, converged=converged)
        if not converged and step.number < most:
            going.append(candidate)
    run = replace(run, trajectories=tuple(trajectories), bounds=tuple(bounds), position=step.position.of(going))
    if going and retire is not None:
        leaving = retire(step, run)
        going = [candidate for candidate in going if candidate not in leaving]
        run = replace(run, position=step.position.of(going))
    if going:
        return run
    return replace(run, stage=run.stage + 1, passes=run.passes + step.number, position=None)


def _ended(
    trajectory: Trajectory,
    strategy: Algorithm[Any],
    parameters: Parameters,
    state: Any,
    update: tuple[float, tuple[int, ...]],
    structure: CovarianceStructure,
    reg_covar: float,
) -> Trajectory:
    """The trajectory with what a pass has come to."""
    mean, starved = update
    covered = strategy.covered(state)
    if np.isnan(mean) and covered is None:
        raise InputError("X has no rows; pass at least one.")
    surrogate = strategy.reported(state)
    if surrogate is not None:
        parameters, info = m_step(surrogate, parameters, structure, reg_covar)
        starved = info.starved
    if covered is not None:
        mean = bound(covered, parameters) / covered.likelihood.weight
    return replace(
        trajectory,
        parameters=parameters,
        lower_bounds=(*trajectory.lower_bounds, mean),
        starved=starved,
        covered=covered,
        state=state,
    )


def bound(covered: Expectation, parameters: Parameters) -> float:
    """F = s·θ + H, nats: never above the log-likelihood of the rows covered, whatever the parameters.

    Neal & Hinton (1998): statistics and entropy of each row must come from the same responsibilities.
    """
    return expected_log_density(covered.statistics, parameters) + covered.likelihood.entropy


def _record(stage: str, update: Update) -> Record:
    tally = update.likelihood
    occupancy = update.latest.statistics.counts / tally.weight
    return Record(stage, tally.rows, tally.mean, occupancy, score(update.latest, update.before), 1)


def halfway(run: Run, stages: Sequence[Stage], structure: Structures, reg_covar: float) -> Trajectory | None:
    """What a run that is left has come to: as its last pass ended, or, in its first, what its updates have made of it.

    None before any update.
    """
    ended = [trajectory for trajectory in run.trajectories if trajectory.lower_bounds]
    if ended:
        return replace(best(ended), converged=False)
    latest = [] if run.position is None else list(run.position.candidates)
    latest = [one for one in latest if not np.isnan(run.updates[one[0]][0])]
    if not latest:
        return None
    candidate, parameters, state = max(latest, key=lambda one: run.updates[one[0]][0])
    strategy = of(candidate, stages[run.stage].strategy)
    surrogate = strategy.reported(state)
    if surrogate is not None:
        parameters, _ = m_step(surrogate, parameters, of(candidate, structure), reg_covar)
    return replace(run.trajectories[candidate], parameters=parameters, covered=strategy.covered(state))


def best(trajectories: Sequence[Trajectory]) -> Trajectory:
    """The one with the largest lower bound; the first of equals."""
    return max(trajectories, key=lambda trajectory: trajectory.lower_bound)
