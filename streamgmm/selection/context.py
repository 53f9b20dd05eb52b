"""The context of a selection, and its first phase: a subsample, and starts of every candidate from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from numpy.random import RandomState

from streamgmm.algorithms.settings import EMSettings
from streamgmm.data.source import Source
from streamgmm.data.subsample import Subsample, SubsampleState
from streamgmm.fitting.driver import Observe, count_groups
from streamgmm.initialization.find_starts import draw_rows_to_start
from streamgmm.initialization.starts_per_size import (
    StartsOfSize,
    compute_validation_log_densities,
    find_starts_per_size,
)
from streamgmm.initialization.validation import ValidationSplit
from streamgmm.iteration.run import start_run
from streamgmm.model.covariances import STRUCTURES, CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.information_criteria import CRITERIA, SelectionCriterion
from streamgmm.model.parameters import Array, Parameters
from streamgmm.persistence.codec import persistent
from streamgmm.selection.comparison import Key, score_held_out
from streamgmm.selection.race_state import RaceState, SelectionState


@dataclass(frozen=True, slots=True, eq=False)
class RaceCandidate:
    """One start of one size and family.

    Attributes
    ----------
    key : (str, int)
        Family and size.
    start : Parameters
        First parameters.
    """

    key: Key
    start: Parameters

    @property
    def structure(self) -> CovarianceStructure:
        """The family."""
        return STRUCTURES[self.key[0]]

    @property
    def n_parameters(self) -> int:
        """Free parameters."""
        return n_parameters(self.structure, *self.start.means.shape)


@dataclass(frozen=True, slots=True, eq=False)
class SelectionContext:
    """All that the phases of a selection depend on.

    Attributes
    ----------
    source : Source
        The rows.
    settings : EMSettings
        Settings of all candidates, except the family.
    keys : tuple of (str, int)
        The candidates: family and size.
    n_init, init_params, max_iter, effective_n
        Arguments of `streamgmm.select`.
    criterion : SelectionCriterion
        Decides between the candidates.
    drops_early : bool
        Candidates that cannot win are dropped.
    seed : int
        Seed of all draws from the rows.
    random : RandomState
        Random state of the starts.
    """

    source: Source
    settings: EMSettings
    keys: tuple[Key, ...]
    n_init: int
    init_params: str
    max_iter: int
    criterion: SelectionCriterion
    effective_n: float | None
    drops_early: bool
    seed: int
    random: RandomState

    def list_candidates(self, starts: tuple[StartsOfSize, ...]) -> list[RaceCandidate]:
        """Return every start that competes."""
        return [
            RaceCandidate(key, start)
            for key, starts_of_size in zip(self.keys, starts, strict=True)
            for start in starts_of_size.starts
        ]


@persistent("selection-starts-1")
@dataclass(frozen=True, slots=True, eq=False)
class SelectionStartsState(SelectionState):
    """State of the search for starts: the reading of the subsample."""

    phase: ClassVar[str] = "starts"
    subsample: SubsampleState = field(default_factory=SubsampleState)

    def describe(self) -> str:
        """Return in words how far the reading has come."""
        return f"drawing a subsample, {count_groups(self.subsample.taken)} read"


class SelectionStartsPhase:
    """Subsample, and starts of every candidate from it."""

    name: ClassVar[str] = SelectionStartsState.phase

    def __init__(self, context: SelectionContext) -> None:
        self.context = context

    def run(self, state: SelectionStartsState, observe: Observe) -> RaceState:
        """Find the starts, from one reading."""
        context = self.context
        largest = max(size for _, size in context.keys)
        subsample = draw_rows_to_start(
            context.source,
            largest,
            context.seed,
            state.subsample,
            lambda drawing: observe(None, SelectionStartsState(drawing)),
        )
        starts, scores = find_starts(subsample, context)
        candidates = context.list_candidates(starts)
        run = start_run([candidate.start for candidate in candidates])
        return RaceState(starts, scores, tuple(range(len(candidates))), run)


def find_starts(subsample: Subsample, context: SelectionContext) -> tuple[tuple[StartsOfSize, ...], Array]:
    """Return starts of every candidate, and the validation scores of the best of each (NaN where there are none)."""
    families = list(dict.fromkeys(family for family, _ in context.keys))
    sizes = sorted({size for _, size in context.keys})
    largest, d = sizes[-1], subsample.rows.shape[1]
    is_divided, init_params = CRITERIA[context.criterion.name].from_held_out, context.init_params
    most = max((STRUCTURES[family] for family in families), key=lambda structure: n_parameters(structure, largest, d))
    shared = ValidationSplit.from_subsample(
        subsample, most, largest, context.settings.reg_covar, context.seed, is_divided
    )
    starts: dict[Key, StartsOfSize] = {}
    densities: dict[Key, Array] = {}
    for family in families:
        split = replace(shared, structure=STRUCTURES[family])
        by_size = find_starts_per_size(subsample, split, sizes, context.n_init, init_params, context.random)
        starts |= {(family, size): starts_of_size for size, starts_of_size in by_size.items()}
        if is_divided or (shared.is_held_out and init_params == "auto" and subsample.weights is None):
            # a start that was not searched may come from validation rows, and a weight may stand for no draws
            densities |= {
                (family, size): compute_validation_log_densities(split, starts_of_size.starts[0])
                for size, starts_of_size in by_size.items()
                if starts_of_size.starts and (is_divided or starts_of_size.restarts is not None or size == 1)
            }
    weights = shared.validation.weights if is_divided else None
    return tuple(starts[key] for key in context.keys), score_held_out(context.keys, densities, weights)
