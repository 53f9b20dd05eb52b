"""A selection from its first reading to its last, as something that can be left at any moment and gone on with.

A sample, starts of every size and family from it, a contest of all of them, and a last pass for the exact likelihoods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import RandomState

from streamgmm.data import execution
from streamgmm.data.execution import EvaluationState
from streamgmm.data.source import Source
from streamgmm.data.subsample import Subsample, SubsampleState
from streamgmm.errors import DegenerateError
from streamgmm.fitting.driver import read_so_far
from streamgmm.fitting.plan import EMSettings
from streamgmm.initialization.candidates import drawn
from streamgmm.initialization.starts_per_size import StartsOfSize, find_starts_per_size, log_densities
from streamgmm.initialization.validation import MOST, ValidationSplit, at_hand
from streamgmm.iteration.loop import Step
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import n_parameters
from streamgmm.model.em import ILL_DEFINED
from streamgmm.model.information_criteria import CRITERIA
from streamgmm.model.parameters import Array
from streamgmm.model.reduction import total
from streamgmm.persistence.codec import persistent
from streamgmm.selection.comparison import HeldOutLead, Key, Outcome, best_start, held_out
from streamgmm.selection.racing import RaceCandidate, RaceState, run_race


@persistent("selection-1")
@dataclass(frozen=True, slots=True, eq=False)
class SelectionState:
    """What a selection goes on from.

    Attributes
    ----------
    now : SubsampleState, RaceState or EvaluationState
        What it is at, and how far that has come.
    starts_by_size : tuple of StartsOfSize
        Starts of each candidate; none before the sample is there.
    judged : ndarray of shape (m, 2)
        What rows held out say of each candidate, as `streamgmm.selection.comparison.held_out` has it; NaN where nothing.
    contest : RaceState or None
        Once it has ended.
    complete : bool
        Whether there is nothing left to do.
    """

    now: SubsampleState | RaceState | EvaluationState = field(default_factory=SubsampleState)
    starts_by_size: tuple[StartsOfSize, ...] = ()
    judged: Array = field(default_factory=lambda: np.empty((0, 2)))
    contest: RaceState | None = None
    complete: bool = False

    def validate(self) -> None:
        """Raise ValueError unless rows held out score every candidate."""
        if self.judged.shape != (len(self.starts_by_size), 2):
            raise ValueError("candidates and scores differ in number")

    @property
    def lean(self) -> SelectionState:
        """The same, without what is not looked at again."""
        now = self.now.lean if isinstance(self.now, RaceState) else self.now
        return replace(self, now=now, contest=None if self.contest is None else self.contest.lean)

    @property
    def place(self) -> str:
        """How far the selection has come, in words."""
        now = self.now
        if isinstance(now, SubsampleState):
            return f"drawing a sample, {read_so_far(now.taken)} read"
        if isinstance(now, EvaluationState):
            return "ended" if self.complete else f"at its last reading, {read_so_far(now.taken)} read"
        n = sum(len(starts_of_size.starts) for starts_of_size in self.starts_by_size)
        position = now.run.position
        where = "between two passes" if position is None else f"in pass {now.passes + 1}"
        taken = "" if position is None else f", {read_so_far(position.taken)} of it read"
        return f"{where}{taken}; {len(now.going)} of {n} starts are still in it"


Watch = Callable[[Step | None, SelectionState], None]


@dataclass(frozen=True, slots=True, eq=False)
class SelectionProcedure:
    """What a selection depends on.

    Attributes
    ----------
    source : Source
        The rows.
    learning : EMSettings
        How they are learnt, but for the family.
    keys : tuple of (str, int)
        The candidates: family and size.
    n_init, init_params, max_iter, criterion, effective_n
        As in `streamgmm.select`.
    dropping : bool
        Whether candidates leave that cannot win.
    seed : int
        Of all draws from the rows.
    random : RandomState
        Of the starts.
    """

    source: Source
    learning: EMSettings
    keys: tuple[Key, ...]
    n_init: int
    init_params: str
    max_iter: int
    criterion: str
    effective_n: float | None
    dropping: bool
    seed: int
    random: RandomState

    def run(self, choice: SelectionState, watch: Watch) -> tuple[list[Outcome | None], SelectionState]:
        """Go on from a moment to the end: the best start of each candidate, where one is sound, and the last moment.

        ``watch`` sees every step, and what the selection could be gone on with from there. DegenerateError where no
        candidate is sound.
        """

        def saw(step: Step | None, now: SubsampleState | RaceState | EvaluationState) -> None:
            nonlocal choice
            choice = replace(choice, now=now)
            watch(step, choice)

        if isinstance(choice.now, SubsampleState):
            largest = max(size for _, size in self.keys)
            subsample = drawn(self.source, largest, self.seed, choice.now, lambda now: saw(None, now))
            starts_by_size, judged = started(
                subsample, self.keys, self.learning, self.n_init, self.init_params, self.seed, self.random, self.divided
            )
            choice = replace(choice, starts_by_size=starts_by_size, judged=judged)
            saw(None, RaceState.of([candidate.start for _, candidate in self.candidates(choice)]))
        entries = self.candidates(choice)
        if isinstance(choice.now, RaceState):
            criterion = CRITERIA[self.criterion]
            contest = run_race(
                self.source,
                [candidate for _, candidate in entries],
                self.learning,
                choice.now,
                max_iter=self.max_iter,
                drop_by=criterion if self.dropping and criterion.allows_early_dropping else None,
                effective_n=self.effective_n,
                lead=self.lead(choice),
                watch=saw,
            )
            choice = replace(choice, now=EvaluationState(), contest=contest)
        ended, evaluation = choice.contest, choice.now
        assert ended is not None and isinstance(evaluation, EvaluationState)
        sound = ended.trajectories
        if not sound:
            raise DegenerateError(ILL_DEFINED)
        if choice.complete:
            expectations = [total(counter) for counter in evaluation.counters]
        else:
            mixtures = [trajectory.parameters for trajectory in sound.values()]
            expectations = execution.expect_all(self.source, mixtures, evaluation, lambda now: saw(None, now))
        found: dict[Key, list[Outcome]] = {key: [] for key in self.keys}
        for (place, trajectory), covered in zip(sound.items(), expectations, strict=True):
            found[entries[place][0]].append(Outcome(trajectory, covered, place in ended.dropped))
        return [best_start(found[key]) for key in self.keys], replace(choice, complete=True)

    def candidates(self, choice: SelectionState) -> list[tuple[Key, RaceCandidate]]:
        """Every start that competes, and which candidate it is of."""
        return [
            (key, RaceCandidate(STRUCTURES[key[0]], start))
            for key, starts_of_size in zip(self.keys, choice.starts_by_size, strict=True)
            for start in starts_of_size.starts
        ]

    def lead(self, choice: SelectionState) -> HeldOutLead | None:
        """What rows held out say of every start that competes: what they say of the best of its candidate."""
        entries, judged = self.candidates(choice), dict(zip(self.keys, choice.judged, strict=True))
        free = np.array([candidate.n_parameters for _, candidate in entries])
        return HeldOutLead.of(np.array([judged[key] for key, _ in entries]).reshape(-1, 2), free, MOST)

    @property
    def divided(self) -> bool:
        """Whether the sample is dealt in two, to learn from and to judge by."""
        return CRITERIA[self.criterion].from_held_out


def started(
    subsample: Subsample,
    keys: Sequence[Key],
    learning: EMSettings,
    n_init: int,
    init_params: str,
    seed: int,
    random: RandomState,
    divided: bool,
) -> tuple[tuple[StartsOfSize, ...], Array]:
    """Starts of every candidate; where some rows are held out, also what these say of the best of each, else NaN."""
    families, sizes = list(dict.fromkeys(family for family, _ in keys)), sorted({size for _, size in keys})
    largest, d = sizes[-1], subsample.rows.shape[1]
    most = max((STRUCTURES[family] for family in families), key=lambda one: n_parameters(one, largest, d))
    shared = ValidationSplit.of(subsample, most, largest, learning.reg_covar, seed, divided)
    starts_by_size: dict[Key, StartsOfSize] = {}
    densities: dict[Key, Array] = {}
    for family in families:
        trials = replace(shared, structure=STRUCTURES[family])
        found = find_starts_per_size(subsample, trials, sizes, n_init, init_params, random)
        starts_by_size |= {(family, size): starts_of_size for size, starts_of_size in found.items()}
        if divided or (shared.held_out and init_params == "auto" and subsample.weights is None):
            # a start that was not searched for may come from the rows held out, and a weight may be of no draws
            densities |= {
                (family, size): log_densities(trials, starts_of_size.starts[0])
                for size, starts_of_size in found.items()
                if starts_of_size.starts and (divided or starts_of_size.restarts is not None or size == 1)
            }
    weights = at_hand(shared.judging).weights if divided else None
    return tuple(starts_by_size[key] for key in keys), held_out(keys, densities, weights)
