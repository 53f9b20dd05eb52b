"""Mixtures of several sizes and families learn together, from the same readings; those that cannot win leave.

Nothing here is estimated from a part of the rows: a pass gives the log-likelihood of all rows under each mixture.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, log
from typing import Any

from streamgmm import execution
from streamgmm.covariances import CovarianceStructure
from streamgmm.criteria import Criterion, n_parameters
from streamgmm.em import ILL_DEFINED, Expectation
from streamgmm.errors import DegenerateError
from streamgmm.execution import Wave
from streamgmm.fitting import Run, Stage, Trajectory, fit
from streamgmm.iteration import Step
from streamgmm.parameters import Parameters
from streamgmm.planning import Learning, worth_a_pass
from streamgmm.reduction import Counter, push, total
from streamgmm.sources.source import Source
from streamgmm.stopping import Rule, Settled, Tolerance
from streamgmm.strategies import Accelerated, Batch, Strategy
from streamgmm.strategies.accelerated import Striding

SAFETY = 10.0  # times what is left to gain by a candidate's own estimate, which it is granted before it is dropped
PATIENCE = 6  # passes before that estimate is believed; and those whose gain it is at least

PENALTIES: Mapping[str, Callable[[float], float]] = {"bic": log, "aic": lambda n: 2.0}  # a free parameter, by rows


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One start of one size and family.

    Attributes
    ----------
    structure : CovarianceStructure
        The family.
    start : Parameters
        Where it begins.
    """

    structure: CovarianceStructure
    start: Parameters

    @property
    def n_parameters(self) -> int:
        """Free parameters."""
        return n_parameters(self.structure, *self.start.means.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a candidate.

    Attributes
    ----------
    trajectory : Trajectory
        Its passes.
    covered : Expectation or None
        Of all rows under its parameters; None where it has degenerated.
    dropped : bool
        Whether it left because it could not win.
    """

    trajectory: Trajectory
    covered: Expectation | None
    dropped: bool = False

    def criterion(self, free: int) -> Criterion | None:
        """Over all rows."""
        return None if self.covered is None else Criterion.of(self.covered.likelihood, free)


def contested(
    source: Source,
    candidates: Sequence[Candidate],
    learning: Learning,
    *,
    max_iter: int,
    drop_by: str | None,
    watch: Callable[[Step], None],
) -> list[Outcome]:
    """Every candidate after EM, in as many readings as the longest takes, and one more for the exact likelihoods.

    ``drop_by`` is the criterion by which candidates that cannot win leave, 'bic' or 'aic'; None for none to leave. A
    candidate that degenerates leaves, too; DegenerateError where all do.
    """
    run = Run(tuple(Trajectory(candidate.start) for candidate in candidates))
    ended: dict[int, Trajectory] = {}
    dropped: set[int] = set()
    degenerate: set[int] = set()
    going = list(range(len(candidates)))
    while going:
        some = [candidates[place] for place in going]
        round_ = _Round(candidates, going, ended, dropped, drop_by, watch, run)
        stage = _stage(source, some, learning)
        structures = tuple(candidate.structure for candidate in some)
        try:
            found = fit(
                run,
                [stage],
                structures,
                reg_covar=learning.reg_covar,
                max_iter=max_iter,
                watch=round_.watch,
                retire=round_.retire,
            )
        except DegenerateError as error:
            degenerate.add(going[error.candidate])
            ended |= {going[place]: round_.run.trajectories[place] for place in range(len(going))}
            staying = [place for place in round_.going if place != error.candidate]
            run = Run(tuple(round_.run.trajectories[place] for place in staying), passes=round_.passes)
            going = [going[place] for place in staying]
            continue
        ended |= dict(zip(going, found, strict=True))
        going = []
    sound = [place for place in range(len(candidates)) if place not in degenerate]
    if not sound:
        raise DegenerateError(ILL_DEFINED)
    exact = dict(zip(sound, expect_each(source, [ended[place].parameters for place in sound]), strict=True))
    return [Outcome(ended[place], exact.get(place), place in dropped) for place in range(len(candidates))]


def expect_each(source: Source, mixtures: Sequence[Parameters]) -> list[Expectation]:
    """Expectation of all rows under each of some frozen mixtures, in one reading."""
    counters: list[Counter[Expectation]] = [()] * len(mixtures)
    for wave in execution.waves(source):
        for place, parts in enumerate(execution.expect(wave, mixtures)):
            for part in parts:
                counters[place] = push(counters[place], part)
    return [total(counter) for counter in counters]


def left_to_gain(trajectory: Trajectory) -> float:
    """Nats a row that more passes would gain, by the trajectory's own estimates: the largest of them.

    Aitken's extrapolation of the last gains, that of `Settled`, and what the last passes have gained together.
    """
    bounds = trajectory.lower_bounds
    if len(bounds) <= PATIENCE:
        return inf
    seen = bounds[-1] - bounds[-1 - PATIENCE]
    state = trajectory.state
    if isinstance(state, Striding) and state.striding:
        return max(seen, state.remaining)
    before, now = bounds[-2] - bounds[-3], bounds[-1] - bounds[-2]
    if now <= 0.0:
        return seen
    return max(seen, now * now / (before - now)) if before > now else inf


@dataclass(slots=True, eq=False)
class _Round:
    """What is seen of a run while it goes on; ``places`` says which of the candidates are in it."""

    candidates: Sequence[Candidate]
    places: Sequence[int]
    ended: Mapping[int, Trajectory]
    dropped: set[int]
    drop_by: str | None
    seen: Callable[[Step], None]
    run: Run

    def watch(self, step: Step, run: Run) -> None:
        """Take a step."""
        self.run = run
        self.seen(step)

    def retire(self, step: Step, run: Run) -> Collection[int]:
        """Candidates that cannot win: see `streamgmm.select`."""
        if self.drop_by is None or run.position is None:
            return ()
        weight = max(update.likelihood.weight for update in step.updates)
        price = PENALTIES[self.drop_by](weight)
        latest = {**self.ended, **dict(zip(self.places, run.trajectories, strict=True))}
        values = {
            place: self.candidates[place].n_parameters * price - 2.0 * weight * trajectory.lower_bound
            for place, trajectory in latest.items()
        }
        best = min(values.values())
        leaving = [
            number
            for number, *_ in run.position.candidates
            if values[self.places[number]] - 2.0 * SAFETY * weight * left_to_gain(run.trajectories[number]) > best
        ]
        self.dropped |= {self.places[number] for number in leaving}
        return leaving

    @property
    def going(self) -> list[int]:
        """Candidates that have not ended."""
        if self.run.position is None:
            return list(range(len(self.places)))
        return [place for place, *_ in self.run.position.candidates]

    @property
    def passes(self) -> int:
        """That are complete."""
        return self.run.passes + (0 if self.run.position is None else self.run.position.number - 1)


def _stage(source: Source, candidates: Sequence[Candidate], learning: Learning) -> Stage:
    """Batch EM, accelerated unless a tolerance was set; every candidate by a rule of its own."""
    strategies: list[Strategy[Any]] = []
    rules: list[Rule] = []
    for candidate in candidates:
        own = replace(learning, structure=candidate.structure)
        if learning.tol is None:
            strategies.append(Accelerated(candidate.structure, learning.reg_covar))
            rules.append(Settled(worth_a_pass(source, own, candidate.start.n_components)))
        else:
            strategies.append(Batch())
            rules.append(Tolerance(learning.tol))
    read = partial(_waves, source)
    return Stage("batch" if learning.tol is not None else "accelerated", tuple(strategies), read, None, tuple(rules))


def _waves(source: Source, number: int, taken: int) -> Iterator[Wave]:
    return execution.waves(source, taken)
