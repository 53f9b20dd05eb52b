"""Candidates through the stages of a fit: each stage is one algorithm, and ends each candidate by its stopping rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from streamgmm.algorithms.algorithm import Algorithm, AlgorithmState
from streamgmm.algorithms.stopping import StoppingRule
from streamgmm.data.partitions import Partitions
from streamgmm.errors import InputError
from streamgmm.iteration.history import History, Record
from streamgmm.iteration.loop import Event, Passes, Position, Update, iterate, pick, start_position
from streamgmm.model.drift import compute_drift_score
from streamgmm.model.em import Expectation, compute_bound
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent

NO_ROWS = "X has no rows; pass at least one."


@dataclass(frozen=True, slots=True)
class Stage:
    """Passes by one algorithm."""

    name: str  # in the history
    algorithm: Algorithm[Any] | tuple[Algorithm[Any], ...]  # a tuple where candidates differ in size or family
    passes: Passes  # makes the chunk groups of a pass
    stop: StoppingRule | tuple[StoppingRule, ...]  # ends a candidate
    max_passes: int | None = None  # passes at most; None for as many as the fit has left
    # partitions of the final state, where the algorithm keeps their entries for later
    partitions: Partitions | None = None
    is_recorded: bool = True  # updates are recorded in the history


@persistent("trajectory-1")
@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """History and outcome of one start."""

    parameters: Parameters  # the latest to report
    # one a pass, nats a row; for batch EM the mean log-likelihood of the parameters before the M-step; else the bound
    # (free energy) of those after it
    lower_bounds: tuple[float, ...] = ()
    converged: bool = False  # the last stage ended by its stopping rule
    starved: tuple[int, ...] = ()  # components that had no rows in the last M-step
    accumulated: Expectation | None = None  # of every row of the last pass, once; None after batch EM
    state: AlgorithmState | None = None  # of the last stage's algorithm, after its last pass
    history: History = field(default_factory=History)

    @property
    def lower_bound(self) -> float:
        """The latest, minus infinity before the first pass ended."""
        return self.lower_bounds[-1] if self.lower_bounds else -np.inf


@persistent("run-1")
@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Candidates in the middle of their passes."""

    trajectories: tuple[Trajectory, ...]
    stage: int = 0  # index of the current stage; the number of stages once the run has ended
    passes: int = 0  # passes of the stages before
    bounds: tuple[tuple[float, ...], ...] = ()  # of each trajectory, those that the stopping rule of this stage sees
    # of each trajectory's latest update: mean log-likelihood before it, nats a row, and starved components; NaN
    # before the first of the stage
    updates: tuple[tuple[float, tuple[int, ...]], ...] = ()
    position: Position | None = None  # of the loop; None where the stage has not begun

    def validate(self) -> None:
        """Raise ValueError where the loop is at candidates that do not exist."""
        if self.position is not None:
            last = max(self.candidates, default=0)
            if not len(self.bounds) == len(self.updates) == len(self.trajectories) > last:
                raise ValueError("candidates contradict each other")

    @property
    def candidates(self) -> list[int]:
        """Candidates that the loop advances; none where the stage has not begun."""
        return [] if self.position is None else self.position.candidates

    def without_ended_states(self) -> Run:
        """Return the run to save: the loop continues from its position, so other copies of states are dropped."""
        active = self.candidates
        trajectories = tuple(
            replace(trajectory, state=None) if index in active else trajectory
            for index, trajectory in enumerate(self.trajectories)
        )
        return replace(self, trajectories=trajectories)

    def only(self, candidates: Collection[int]) -> Run:
        """Return the run with some of its active candidates; the stage has ended where none is left."""
        assert self.position is not None  # or the stage has ended
        if candidates:
            return replace(self, position=self.position.only(candidates))
        return replace(self, stage=self.stage + 1, passes=self.passes + self.position.number - 1, position=None)

    def add_candidate(self, source: int, parameters: Parameters, state: Any, name: str) -> Run:
        """Return the run with one more candidate, between two passes.

        It inherits the history of the candidate ``source``, with a record of the given name.
        """
        assert self.position is not None  # or the stage has ended
        before, (mean, _) = self.trajectories[source], self.updates[source]
        record = Record(name, 0, mean, parameters.weights, 0.0)
        trajectory = Trajectory(parameters, before.lower_bounds, history=before.history.append_record(record))
        states = (*self.position.states, (len(self.trajectories), state))
        return replace(
            self,
            trajectories=(*self.trajectories, trajectory),
            bounds=(*self.bounds, ()),
            updates=(*self.updates, (np.nan, ())),
            position=replace(self.position, states=states),
        )

    def remove_last_candidate(self) -> Run:
        """Return the run without its last candidate, in the middle of a stage."""
        assert self.position is not None  # or the stage has ended
        last = len(self.trajectories) - 1
        run = replace(self, trajectories=self.trajectories[:-1], bounds=self.bounds[:-1], updates=self.updates[:-1])
        return run.only([candidate for candidate in self.candidates if candidate != last])


def start_run(starts: Sequence[Parameters]) -> Run:
    """Return the run before its first pass."""
    return Run(tuple(Trajectory(start) for start in starts))


Adjust = Callable[[Event, Run], Run]
"""Sees the run after every event; returns it with other candidates where the pass has ended."""


def run_stages(
    run: Run, stages: Sequence[Stage], *, max_iter: int, previous: float = -np.inf, adjust: Adjust | None = None
) -> list[Trajectory]:
    """Take all candidates through the stages, in at most ``max_iter`` shared passes.

    The first lower bound of a warm start is compared with ``previous``, nats a row. ``adjust`` sees every event, and
    may drop or add candidates at the end of a pass. A DegenerateError says which candidate has degenerated.
    """
    while run.stage < len(stages):
        stage, left = stages[run.stage], max_iter - run.passes
        max_passes = left if stage.max_passes is None else min(stage.max_passes, left)
        if max_passes <= 0:
            run = replace(run, stage=run.stage + 1)
            continue
        position = run.position
        if position is None:
            before = (previous,) if np.isfinite(previous) and run.passes == 0 else ()
            n = len(run.trajectories)
            run = replace(run, bounds=(before,) * n, updates=((np.nan, ()),) * n)
            position = start_position([trajectory.parameters for trajectory in run.trajectories], stage.algorithm)
        loop = iterate(stage.passes, position, stage.algorithm)
        adjusted: Position | None = None
        while (event := _next_event(loop, adjusted)) is not None:
            run = _advance(run, event, stage, max_passes)
            if adjust is not None:
                run = adjust(event, run)
            adjusted = run.position
            if adjusted is None:
                break
        else:
            raise InputError(NO_ROWS)
        loop.close()
    return list(run.trajectories)


def _next_event(loop: Generator[Event, Position | None, None], adjusted: Position | None) -> Event | None:
    try:
        return loop.send(adjusted)
    except StopIteration:
        return None


def _advance(run: Run, event: Event, stage: Stage, max_passes: int) -> Run:
    """Return the run after one event."""
    trajectories, updates = list(run.trajectories), list(run.updates)
    for update in event.updates:
        likelihood, candidate = update.info.latest.likelihood, update.candidate
        has_weight = likelihood.weight > 0.0
        updates[candidate] = (likelihood.mean if has_weight else np.nan, update.info.m_step.starved)
        if has_weight and stage.is_recorded:
            history = trajectories[candidate].history.append_record(record_update(stage.name, update))
            trajectories[candidate] = replace(trajectories[candidate], history=history)
    run = replace(run, trajectories=tuple(trajectories), updates=tuple(updates), position=event.position)
    if not event.ends_pass:
        return run
    bounds, active = list(run.bounds), []
    for candidate, state in event.position.states:
        trajectory = _end_pass(trajectories[candidate], pick(candidate, stage.algorithm), state, updates[candidate])
        bounds[candidate] = (*bounds[candidate], trajectory.lower_bound)
        converged = pick(candidate, stage.stop)(bounds[candidate], state)
        trajectories[candidate] = replace(trajectory, converged=converged)
        if not converged and event.number < max_passes:
            active.append(candidate)
    return replace(run, trajectories=tuple(trajectories), bounds=tuple(bounds)).only(active)


def _end_pass(
    trajectory: Trajectory, algorithm: Algorithm[Any], state: Any, update: tuple[float, tuple[int, ...]]
) -> Trajectory:
    """Return the trajectory with the outcome of a pass."""
    mean, starved = update
    accumulated = algorithm.accumulated(state)
    if np.isnan(mean) and accumulated is None:
        raise InputError(NO_ROWS)
    parameters, reported = state.parameters, algorithm.report(state)
    if reported is not None:
        parameters, starved = reported[0], reported[1].starved
    if accumulated is not None:
        mean = compute_bound(accumulated, parameters) / accumulated.likelihood.weight
    return replace(
        trajectory,
        parameters=parameters,
        lower_bounds=(*trajectory.lower_bounds, mean),
        starved=starved,
        accumulated=accumulated,
        state=state,
    )


def record_update(stage: str, update: Update) -> Record:
    """Return the record of an update for the history."""
    latest = update.info.latest
    likelihood = latest.likelihood
    occupancy = latest.statistics.counts / likelihood.weight
    return Record(stage, likelihood.rows, likelihood.mean, occupancy, compute_drift_score(latest, update.before))


def summarize_run(run: Run, stages: Sequence[Stage]) -> Trajectory | None:
    """Return the best trajectory of an unfinished run: of its last pass, or of the updates of its first.

    None before any update.
    """
    ended = [trajectory for trajectory in run.trajectories if trajectory.lower_bounds]
    if ended:
        return replace(choose_best_trajectory(ended), converged=False)
    states = () if run.position is None else run.position.states
    updated = [item for item in states if not np.isnan(run.updates[item[0]][0])]
    if not updated:
        return None
    candidate, state = max(updated, key=lambda item: run.updates[item[0]][0])
    algorithm = pick(candidate, stages[run.stage].algorithm)
    reported = algorithm.report(state)
    parameters = state.parameters if reported is None else reported[0]
    return replace(run.trajectories[candidate], parameters=parameters, accumulated=algorithm.accumulated(state))


def choose_best_trajectory(trajectories: Sequence[Trajectory]) -> Trajectory:
    """Return the trajectory with the largest lower bound; the first of equals."""
    return max(trajectories, key=lambda trajectory: trajectory.lower_bound)
