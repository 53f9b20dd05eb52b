"""A whole fit: all candidates through the one loop, stage by stage, until each has converged or used up its passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamgmm.covariances import CovarianceStructure
from streamgmm.drift import score
from streamgmm.em import Expectation, expected_log_density
from streamgmm.em import update as m_step
from streamgmm.errors import InputError
from streamgmm.execution import Wave
from streamgmm.history import History, Record
from streamgmm.iteration import Step, Update, iterate
from streamgmm.parameters import Parameters
from streamgmm.pieces import Pieces
from streamgmm.stopping import Rule
from streamgmm.strategies import Strategy


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of passes by one algorithm.

    Attributes
    ----------
    name : str
        As the history shows it.
    strategy : Strategy
        The algorithm.
    passes : callable
        Waves of pass 1, 2, …
    most : int or None
        Passes at most; None for as many as the fit has left.
    stop : Rule
        When a candidate has had enough of it.
    pieces : Pieces or None, default=None
        What the entries of its final state are of, where the strategy keeps entries to be used later.
    """

    name: str
    strategy: Strategy[Any]
    passes: Callable[[int], Iterator[Wave]]
    most: int | None
    stop: Rule
    pieces: Pieces | None = None


@dataclass(slots=True)
class Trajectory:
    """What became of one start.

    Attributes
    ----------
    parameters : Parameters
        The latest to report.
    lower_bounds : list of float
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
    lower_bounds: list[float] = field(default_factory=list)
    converged: bool = False
    starved: tuple[int, ...] = ()
    covered: Expectation | None = None
    state: Any = None
    history: History = field(default_factory=History)

    @property
    def lower_bound(self) -> float:
        """The latest, minus infinity before the first pass ended."""
        return self.lower_bounds[-1] if self.lower_bounds else -np.inf


def fit(
    starts: Sequence[Parameters],
    stages: Sequence[Stage],
    structure: CovarianceStructure,
    *,
    reg_covar: float,
    max_iter: int,
    previous: float = -np.inf,
    watch: Callable[[Step], None] | None = None,
) -> list[Trajectory]:
    """Take every start through all stages, in shared passes.

    ``previous`` is the lower bound that the first is compared with, where a fit goes on; ``watch`` sees every step.
    """
    trajectories = [Trajectory(start) for start in starts]
    used = 0
    for stage in stages:
        most = max_iter - used if stage.most is None else min(stage.most, max_iter - used)
        if most > 0:
            before = [previous] if np.isfinite(previous) and used == 0 else []
            used += _run(stage, trajectories, structure, reg_covar, most, before, watch)
    return trajectories


def _run(
    stage: Stage,
    trajectories: list[Trajectory],
    structure: CovarianceStructure,
    reg_covar: float,
    most: int,
    before: list[float],
    watch: Callable[[Step], None] | None,
) -> int:
    """One stage; the number of its passes."""
    going = set(range(len(trajectories)))
    bounds: list[list[float]] = [list(before) for _ in trajectories]
    latest: dict[int, Update] = {}
    loop = iterate(stage.passes, [one.parameters for one in trajectories], stage.strategy, structure, reg_covar)
    step = next(loop)
    while True:
        for update in step.updates:
            latest[update.candidate] = update
            trajectory = trajectories[update.candidate]
            if update.likelihood.weight > 0.0:
                trajectory.history = trajectory.history.appended(_record(stage.name, update))
        if step.last:
            for candidate in sorted(going):
                if candidate not in latest:
                    raise InputError("X has no rows; pass at least one.")
                trajectory = trajectories[candidate]
                bound = _finish_pass(stage.strategy, trajectory, latest[candidate], structure, reg_covar)
                trajectory.lower_bounds.append(bound)
                bounds[candidate].append(bound)
                trajectory.converged = stage.stop(bounds[candidate], latest[candidate].state)
                if trajectory.converged or step.number == most:
                    going.discard(candidate)
        if watch is not None:
            watch(step)
        if not going:
            loop.close()
            return step.number
        step = loop.send(going)


def _finish_pass(
    strategy: Strategy[Any], trajectory: Trajectory, update: Update, structure: CovarianceStructure, reg_covar: float
) -> float:
    """Take over what a pass has come to; the lower bound of the log-likelihood, nats a row."""
    trajectory.parameters = update.parameters
    trajectory.starved = update.info.starved
    trajectory.state = update.state
    trajectory.covered = strategy.covered(update.state)
    surrogate = strategy.reported(update.state)
    if surrogate is not None:
        trajectory.parameters, info = m_step(surrogate, update.parameters, structure, reg_covar)
        trajectory.starved = info.starved
    if trajectory.covered is None:
        return update.likelihood.mean
    return bound(trajectory.covered, trajectory.parameters) / trajectory.covered.likelihood.weight


def bound(covered: Expectation, parameters: Parameters) -> float:
    """F = s·θ + H, nats: never above the log-likelihood of the rows covered, whatever the parameters.

    Neal & Hinton (1998): statistics and entropy of each row must come from the same responsibilities.
    """
    return expected_log_density(covered.statistics, parameters) + covered.likelihood.entropy


def _record(stage: str, update: Update) -> Record:
    tally = update.likelihood
    occupancy = update.latest.statistics.counts / tally.weight
    return Record(stage, tally.rows, tally.mean, occupancy, score(update.latest, update.before), 1)


def best(trajectories: Sequence[Trajectory]) -> Trajectory:
    """The one with the largest lower bound; the first of equals."""
    return max(trajectories, key=lambda trajectory: trajectory.lower_bound)
