"""State of the EM of all candidates of a selection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from streamgmm.fitting.driver import PhaseState, count_groups
from streamgmm.initialization.starts_per_size import StartsOfSize
from streamgmm.iteration.run import Run, Trajectory
from streamgmm.model.parameters import Array
from streamgmm.persistence.codec import persistent


class SelectionState(PhaseState):
    """Base of the states of the phases of a selection."""

    __slots__ = ()


@persistent("selection-race-1")
@dataclass(frozen=True, slots=True, eq=False)
class RaceState(SelectionState):
    """State of the EM of all candidates.

    Attributes
    ----------
    starts : tuple of StartsOfSize
        Starts of each size and family.
    scores : ndarray of shape (m, 2)
        Validation score of each size and family, and the standard error of its difference from the best; NaN where
        there is none.
    candidates : tuple of int
        Indices of the candidates in the run.
    run : Run
        Trajectories of these candidates.
    ended : tuple of (int, Trajectory)
        Candidates that left the run when one degenerated, and it began anew with the others.
    dropped : tuple of int
        Candidates that cannot win.
    degenerate : tuple of int
        Candidates with a covariance that cannot be inverted.
    """

    phase: ClassVar[str] = "em"
    starts: tuple[StartsOfSize, ...]
    scores: Array
    candidates: tuple[int, ...]
    run: Run
    ended: tuple[tuple[int, Trajectory], ...] = ()
    dropped: tuple[int, ...] = ()
    degenerate: tuple[int, ...] = ()

    def validate(self) -> None:
        """Raise ValueError where candidates, starts or scores contradict each other."""
        known = {*self.candidates, *(index for index, _ in self.ended)}
        if self.scores.shape != (len(self.starts), 2) or len(self.candidates) != len(self.run.trajectories):
            raise ValueError("candidates and scores contradict each other")
        if not known >= {*self.dropped, *self.degenerate} or len(known) != sum(len(s.starts) for s in self.starts):
            raise ValueError("candidates of the race contradict each other")

    @property
    def trajectories(self) -> dict[int, Trajectory]:
        """Latest trajectory of each candidate that has not degenerated."""
        latest = {**dict(self.ended), **dict(zip(self.candidates, self.run.trajectories, strict=True))}
        return {index: latest[index] for index in sorted(latest) if index not in self.degenerate}

    @property
    def active(self) -> tuple[int, ...]:
        """Candidates that have not ended."""
        if self.run.position is None:
            return () if self.run.stage else self.candidates
        return tuple(self.candidates[number] for number in self.run.candidates)

    @property
    def passes(self) -> int:
        """Number of completed passes."""
        return self.run.passes + (0 if self.run.position is None else self.run.position.number - 1)

    def describe(self) -> str:
        """Return in words how far the race has come."""
        position, n_starts = self.run.position, sum(len(starts.starts) for starts in self.starts)
        where = "between two passes"
        if position is not None:
            where = f"in pass {self.passes + 1}, {count_groups(position.taken)} of it read"
        return f"{where}; {len(self.active)} of {n_starts} starts are active"

    def remove_degenerate(self, number: int) -> RaceState:
        """Return the state before its next pass, without the candidate of this number in the run."""
        degenerate, active = self.candidates[number], self.active
        latest = dict(zip(self.candidates, self.run.trajectories, strict=True))
        staying = tuple(index for index in active if index != degenerate)
        left = tuple((index, latest[index]) for index in self.candidates if index not in staying)
        return replace(
            self,
            candidates=staying,
            run=Run(tuple(latest[index] for index in staying), passes=self.passes),
            ended=(*self.ended, *left),
            degenerate=(*self.degenerate, degenerate),
        )

    def without_ended_states(self) -> RaceState:
        """Return the state to save: the loop continues from its position, and ended candidates need no state."""
        ended = tuple((index, replace(one, state=None, accumulated=None)) for index, one in self.ended)
        trajectories = tuple(replace(one, state=None, accumulated=None) for one in self.run.trajectories)
        return replace(self, run=replace(self.run, trajectories=trajectories), ended=ended)
