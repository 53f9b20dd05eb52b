"""A selection from its first reading to its last, as something that can be left at any moment and gone on with.

A sample, starts of every size and family from it, a contest of all of them, and a last pass for the exact likelihoods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import RandomState

from streamgmm.contest.comparison import Key, Lead, Outcome, best_start, held_out
from streamgmm.contest.contest import PENALTIES, Candidate, Contest, contested
from streamgmm.course import read_so_far
from streamgmm.covariances import STRUCTURES
from streamgmm.criteria import n_parameters
from streamgmm.em import ILL_DEFINED
from streamgmm.errors import DegenerateError
from streamgmm.fitting.iteration import Step
from streamgmm.initialization import Reservoir, Sampling, drawn
from streamgmm.parameters import Array
from streamgmm.planning import Learning
from streamgmm.reading import execution
from streamgmm.reading.execution import Evaluation
from streamgmm.reduction import total
from streamgmm.search import Rung, Trials, ladder, log_densities
from streamgmm.search.trials import MOST, at_hand
from streamgmm.sources.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What a selection goes on from.

    Attributes
    ----------
    now : Sampling, Contest or Evaluation
        What it is at, and how far that has come.
    rungs : tuple of Rung
        Starts of each candidate; none before the sample is there.
    judged : ndarray of shape (m, 2)
        What rows held out say of each candidate, as `streamgmm.contest.comparison.held_out` has it; NaN where nothing.
    contest : Contest or None
        Once it has ended.
    complete : bool
        Whether there is nothing left to do.
    """

    now: Sampling | Contest | Evaluation = field(default_factory=Sampling)
    rungs: tuple[Rung, ...] = ()
    judged: Array = field(default_factory=lambda: np.empty((0, 2)))
    contest: Contest | None = None
    complete: bool = False

    @property
    def lean(self) -> Choice:
        """The same, without what is not looked at again."""
        now = self.now.lean if isinstance(self.now, Contest) else self.now
        return replace(self, now=now, contest=None if self.contest is None else self.contest.lean)

    @property
    def place(self) -> str:
        """How far the selection has come, in words."""
        now = self.now
        if isinstance(now, Sampling):
            return f"drawing a sample, {read_so_far(now.taken)} read"
        if isinstance(now, Evaluation):
            return "ended" if self.complete else f"at its last reading, {read_so_far(now.taken)} read"
        n = sum(len(rung.starts) for rung in self.rungs)
        position = now.run.position
        where = "between two passes" if position is None else f"in pass {now.passes + 1}"
        taken = "" if position is None else f", {read_so_far(position.taken)} of it read"
        return f"{where}{taken}; {len(now.going)} of {n} starts are still in it"


Watch = Callable[[Step | None, Choice], None]


@dataclass(frozen=True, slots=True, eq=False)
class Choosing:
    """What a selection depends on.

    Attributes
    ----------
    source : Source
        The rows.
    learning : Learning
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
    learning: Learning
    keys: tuple[Key, ...]
    n_init: int
    init_params: str
    max_iter: int
    criterion: str
    effective_n: float | None
    dropping: bool
    seed: int
    random: RandomState

    def run(self, choice: Choice, watch: Watch) -> tuple[list[Outcome | None], Choice]:
        """Go on from a moment to the end: the best start of each candidate, where one is sound, and the last moment.

        ``watch`` sees every step, and what the selection could be gone on with from there. DegenerateError where no
        candidate is sound.
        """

        def saw(step: Step | None, now: Sampling | Contest | Evaluation) -> None:
            nonlocal choice
            choice = replace(choice, now=now)
            watch(step, choice)

        if isinstance(choice.now, Sampling):
            largest = max(size for _, size in self.keys)
            reservoir = drawn(self.source, largest, self.seed, choice.now, lambda now: saw(None, now))
            rungs, judged = started(
                reservoir, self.keys, self.learning, self.n_init, self.init_params, self.seed, self.random, self.divided
            )
            choice = replace(choice, rungs=rungs, judged=judged)
            saw(None, Contest.of([candidate.start for _, candidate in self.candidates(choice)]))
        entries = self.candidates(choice)
        if isinstance(choice.now, Contest):
            contest = contested(
                self.source,
                [candidate for _, candidate in entries],
                self.learning,
                choice.now,
                max_iter=self.max_iter,
                drop_by=self.criterion if self.dropping and self.criterion in PENALTIES else None,
                effective_n=self.effective_n,
                lead=self.lead(choice),
                watch=saw,
            )
            choice = replace(choice, now=Evaluation(), contest=contest)
        ended, evaluation = choice.contest, choice.now
        assert ended is not None and isinstance(evaluation, Evaluation)
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

    def candidates(self, choice: Choice) -> list[tuple[Key, Candidate]]:
        """Every start that competes, and which candidate it is of."""
        return [
            (key, Candidate(STRUCTURES[key[0]], start))
            for key, rung in zip(self.keys, choice.rungs, strict=True)
            for start in rung.starts
        ]

    def lead(self, choice: Choice) -> Lead | None:
        """What rows held out say of every start that competes: what they say of the best of its candidate."""
        entries, judged = self.candidates(choice), dict(zip(self.keys, choice.judged, strict=True))
        free = np.array([candidate.n_parameters for _, candidate in entries])
        return Lead.of(np.array([judged[key] for key, _ in entries]).reshape(-1, 2), free, MOST)

    @property
    def divided(self) -> bool:
        """Whether the sample is dealt in two, to learn from and to judge by."""
        return self.criterion == "heldout"


def started(
    reservoir: Reservoir,
    keys: Sequence[Key],
    learning: Learning,
    n_init: int,
    init_params: str,
    seed: int,
    random: RandomState,
    divided: bool,
) -> tuple[tuple[Rung, ...], Array]:
    """Starts of every candidate; where some rows are held out, also what these say of the best of each, else NaN."""
    families, sizes = list(dict.fromkeys(family for family, _ in keys)), sorted({size for _, size in keys})
    largest, d = sizes[-1], reservoir.rows.shape[1]
    most = max((STRUCTURES[family] for family in families), key=lambda one: n_parameters(one, largest, d))
    shared = Trials.of(reservoir, most, largest, learning.reg_covar, seed, divided)
    rungs: dict[Key, Rung] = {}
    densities: dict[Key, Array] = {}
    for family in families:
        trials = replace(shared, structure=STRUCTURES[family])
        found = ladder(reservoir, trials, sizes, n_init, init_params, random)
        rungs |= {(family, size): rung for size, rung in found.items()}
        if divided or (shared.held_out and init_params == "auto" and reservoir.weights is None):
            # a start that was not searched for may come from the rows held out, and a weight may be of no draws
            densities |= {
                (family, size): log_densities(trials, rung.starts[0])
                for size, rung in found.items()
                if rung.starts and (divided or rung.restarts is not None or size == 1)
            }
    weights = at_hand(shared.judging).weights if divided else None
    return tuple(rungs[key] for key in keys), held_out(keys, densities, weights)
