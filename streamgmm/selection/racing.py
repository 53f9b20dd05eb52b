"""Mixtures of several sizes and families learn together, from the same readings; those that cannot win leave.

Those that rows held out of the sample leave no hope do so after their first pass; the others when the log-likelihood of
all rows, which every pass gives, says that what they may gain yet is too little.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import inf

from streamgmm.algorithms.accelerated import AcceleratedState
from streamgmm.data import execution
from streamgmm.data.source import Source
from streamgmm.errors import DegenerateError
from streamgmm.fitting.plan import EMSettings, stages
from streamgmm.iteration.loop import Step, of
from streamgmm.iteration.run import Run, Stage, Trajectory, fit
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.information_criteria import SelectionCriterion
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent
from streamgmm.selection.comparison import HeldOutLead

SAFETY = 10.0  # times what is left to gain by a candidate's own estimate, which it is granted before it is dropped
PATIENCE = 6  # passes before that estimate is believed; and those whose gain it is at least


@dataclass(frozen=True, slots=True, eq=False)
class RaceCandidate:
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


@persistent("race-1")
@dataclass(frozen=True, slots=True, eq=False)
class RaceState:
    """A contest as far as it has come: all that it goes on from.

    Attributes
    ----------
    places : tuple of int
        Which candidates are in the run.
    run : Run
        Of these.
    ended : tuple of (int, Trajectory)
        Candidates that left it when one degenerated, and it began anew with the others.
    dropped : tuple of int
        That left because they could not win.
    degenerate : tuple of int
        That have no covariance that can be inverted.
    """

    places: tuple[int, ...]
    run: Run
    ended: tuple[tuple[int, Trajectory], ...] = ()
    dropped: tuple[int, ...] = ()
    degenerate: tuple[int, ...] = ()

    def validate(self) -> None:
        """Raise ValueError where unknown candidates are in the run, or have left it."""
        known = {*self.places, *(index for index, _ in self.ended)}
        if len(self.places) != len(self.run.trajectories) or not known >= {*self.dropped, *self.degenerate}:
            raise ValueError("candidates contradict each other")

    @classmethod
    def of(cls, starts: Sequence[Parameters]) -> RaceState:
        """Before the first pass."""
        return cls(tuple(range(len(starts))), Run(tuple(Trajectory(start) for start in starts)))

    @property
    def trajectories(self) -> dict[int, Trajectory]:
        """Of each candidate that has not degenerated, the latest."""
        latest = {**dict(self.ended), **dict(zip(self.places, self.run.trajectories, strict=True))}
        return {place: latest[place] for place in sorted(latest) if place not in self.degenerate}

    @property
    def going(self) -> tuple[int, ...]:
        """Candidates that have not ended."""
        if self.run.position is None:
            return () if self.run.stage else self.places
        return tuple(self.places[number] for number, *_ in self.run.position.candidates)

    @property
    def passes(self) -> int:
        """That are complete."""
        return self.run.passes + (0 if self.run.position is None else self.run.position.number - 1)

    def without(self, number: int) -> RaceState:
        """The same before its next pass, less one of the run, which has degenerated."""
        place, going = self.places[number], self.going
        latest = dict(zip(self.places, self.run.trajectories, strict=True))
        staying = tuple(one for one in going if one != place)
        left = tuple((one, latest[one]) for one in self.places if one not in staying)
        run = Run(tuple(latest[one] for one in staying), passes=self.passes)
        return RaceState(staying, run, (*self.ended, *left), self.dropped, (*self.degenerate, place))

    @property
    def lean(self) -> RaceState:
        """The same, without what is not looked at again: the loop goes on from its position, and ended is ended."""
        ended = tuple((place, replace(one, state=None, covered=None)) for place, one in self.ended)
        trajectories = tuple(replace(one, state=None, covered=None) for one in self.run.trajectories)
        return replace(self, run=replace(self.run, trajectories=trajectories), ended=ended)


def run_race(
    source: Source,
    candidates: Sequence[RaceCandidate],
    learning: EMSettings,
    contest: RaceState,
    *,
    max_iter: int,
    drop_by: SelectionCriterion | None,
    watch: Callable[[Step, RaceState], None],
    effective_n: float | None = None,
    lead: HeldOutLead | None = None,
) -> RaceState:
    """The contest after EM, in as many readings as the longest candidate takes.

    ``drop_by`` is the criterion by which candidates that cannot win leave; None for none to leave. ``effective_n`` is
    its number of rows where that is not the sum of their weights. ``lead`` is what rows held out say of the candidates,
    if they say anything. A candidate that degenerates leaves, too. ``watch`` sees every
    step, and what the contest could be gone on with from there.
    """
    while contest.places:
        some = [candidates[place] for place in contest.places]
        round_ = _Round(candidates, contest, drop_by, effective_n, lead, watch)
        try:
            found = fit(
                contest.run,
                [_stage(source, some, learning)],
                tuple(candidate.structure for candidate in some),
                reg_covar=learning.reg_covar,
                max_iter=max_iter,
                watch=round_.watch,
                retire=round_.retire,
            )
        except DegenerateError as error:
            contest = round_.contest.without(error.candidate)
        else:
            return replace(round_.contest, run=Run(tuple(found), stage=1))
    return contest


def left_to_gain(trajectory: Trajectory) -> float:
    """Nats a row that more passes would gain, by the trajectory's own estimates: the largest of them.

    Aitken's extrapolation of the last gains, that of `AcceleratedStop`, and what the last passes have gained together.
    """
    bounds = trajectory.lower_bounds
    if len(bounds) <= PATIENCE:
        return inf
    seen = bounds[-1] - bounds[-1 - PATIENCE]
    state = trajectory.state
    if isinstance(state, AcceleratedState) and state.striding:
        return max(seen, state.remaining)
    before, now = bounds[-2] - bounds[-3], bounds[-1] - bounds[-2]
    if now <= 0.0:
        return seen
    return max(seen, now * now / (before - now)) if before > now else inf


@dataclass(slots=True, eq=False)
class _Round:
    """A contest while it runs, from one degenerate candidate to the next."""

    candidates: Sequence[RaceCandidate]
    contest: RaceState
    drop_by: SelectionCriterion | None
    effective_n: float | None
    lead: HeldOutLead | None
    seen: Callable[[Step, RaceState], None]

    def watch(self, step: Step, run: Run) -> None:
        """Take a step."""
        self.contest = replace(self.contest, run=run)
        self.seen(step, self.contest)

    def retire(self, step: Step, run: Run) -> Collection[int]:
        """Candidates that cannot win: see `streamgmm.select`."""
        if self.drop_by is None or run.position is None:
            return ()
        contest = replace(self.contest, run=run)
        weight = self.effective_n or max(update.likelihood.weight for update in step.updates)
        values = {
            place: self.drop_by.evaluate(
                weight * trajectory.lower_bound, None, weight, self.candidates[place].n_parameters
            )
            for place, trajectory in contest.trajectories.items()
        }
        best = min(values.values())
        leaving = [
            number
            for number, *_ in run.position.candidates
            if values[contest.places[number]] - 2.0 * SAFETY * weight * left_to_gain(run.trajectories[number]) > best
            or self._is_far_behind(contest.places[number], contest, self.drop_by, weight)
        ]
        dropped = (*contest.dropped, *(contest.places[number] for number in leaving))
        self.contest = replace(contest, dropped=dropped)
        return leaving

    def _is_far_behind(self, place: int, contest: RaceState, criterion: SelectionCriterion, weight: float) -> bool:
        """Return True if held-out rows leave a candidate no hope, with its smaller penalty granted."""
        if self.lead is None or self.lead.leader not in contest.trajectories:
            return False
        leader, own = (
            criterion.evaluate(0.0, None, weight, self.candidates[number].n_parameters)
            for number in (self.lead.leader, place)
        )
        return bool(self.lead.by[place] > max(0.0, (leader - own) / (2.0 * weight)))


def _stage(source: Source, candidates: Sequence[RaceCandidate], learning: EMSettings) -> Stage:
    """Batch EM, accelerated unless a tolerance was set; every candidate by a strategy and a rule of its own."""
    name = "accelerated" if learning.tol is None else "batch"
    own = [
        stages(name, source, replace(learning, structure=one.structure), one.start.n_components, 1, 0)[0]
        for one in candidates
    ]
    strategies = tuple(of(0, stage.strategy) for stage in own)
    rules = tuple(of(0, stage.stop) for stage in own)
    return Stage(name, strategies, execution.passes(source), None, rules)
