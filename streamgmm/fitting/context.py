"""The task and the context of a fit, and the notes that its phases pass on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import RandomState

from streamgmm.algorithms.settings import EMSettings
from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.source import Source
from streamgmm.data.subsample import Subsample, SubsampleState
from streamgmm.fitting.driver import PhaseState
from streamgmm.fitting.plan import ends_with_whole_passes, plan_stages
from streamgmm.fitting.storage_order import Segments, StorageOrderMonitor
from streamgmm.initialization.find_starts import choose_subsample_size, draw_rows_to_start
from streamgmm.initialization.multistart import Restarts
from streamgmm.initialization.user_start import UserStart
from streamgmm.iteration.run import Stage, Trajectory
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent


@persistent("fit-task-1")
@dataclass(frozen=True, slots=True, eq=False)
class FitTask:
    """Inputs of a fit besides its settings: only the same can resume it."""

    rows: Fingerprint | None  # of the source; None where no checkpoint is kept
    algorithm: str  # the chosen one
    seed: int  # of all draws from the rows
    random: tuple[Any, ...]  # state of the generator of starts, as from `numpy.random.RandomState.get_state`
    before: Parameters | None  # of an earlier fit, where this is a warm start
    previous: float  # lower bound of the earlier fit

    def validate(self) -> None:
        """Raise ValueError unless there is the state of a generator."""
        if any(isinstance(part, np.ndarray) and part.dtype != np.uint32 for part in self.random):
            raise ValueError("the state of the generator has another dtype")
        RandomState().set_state(self.random)


@dataclass(slots=True, eq=False)
class FitContext:
    """All that the phases of a fit depend on."""

    source: Source
    settings: EMSettings
    task: FitTask
    n_components: int
    n_init: int
    init_params: str
    max_iter: int
    split_merge: bool
    random: RandomState  # of the starts
    user_start: UserStart

    _subsample: Subsample | None = None

    def draw_subsample(
        self, state: SubsampleState | None = None, observe: Callable[[SubsampleState], None] | None = None
    ) -> Subsample:
        """Return the rows to start from, which are read once in a process."""
        if self._subsample is None:
            self._subsample = draw_rows_to_start(self.source, self.n_components, self.task.seed, state, observe)
        return self._subsample

    @property
    def is_resized(self) -> bool:
        """True for a warm start with another number of components, to be reached by splits and merges."""
        before = self.task.before
        return self.split_merge and before is not None and before.n_components != self.n_components

    @property
    def samples_outliers(self) -> bool:
        """True where all rows may have outliers that the subsample of the start has not."""
        n_rows, k = self.source.n_rows, self.n_components
        is_known = n_rows is not None and n_rows <= choose_subsample_size(k, self.source.n_features)
        is_guess = self.task.before is None and self.user_start.is_empty
        return ends_with_whole_passes(self.task.algorithm) and k > 1 and not is_known and is_guess

    def plan(self, n_starts: int = 1, monitor: StorageOrderMonitor | None = None) -> list[Stage]:
        """Return the stages; where splits and merges follow, half of the passes are theirs."""
        plan = plan_stages(
            self.task.algorithm,
            self.source,
            self.settings,
            self.n_components,
            n_starts,
            self.task.seed,
            tap=None if monitor is None else monitor.sample_chunks,
            before_moves=self.split_merge,
        )
        if self.split_merge:
            plan[-1] = replace(plan[-1], max_passes=ceil(self.max_iter / 2))
        return plan


@persistent("fit-notes-1")
@dataclass(frozen=True, slots=True, eq=False)
class FitNotes:
    """Facts about a fit that later phases only carry."""

    restarts: Restarts | None = None
    segments: Segments = field(default_factory=Segments)  # sampled order of the storage


class FitState(PhaseState):
    """Base of the states of the phases of a fit."""

    __slots__ = ()

    if TYPE_CHECKING:  # a field or a property of each state

        @property
        def notes(self) -> FitNotes:
            """Facts that later phases carry along."""

    @abstractmethod
    def summarize(self, context: FitContext) -> Trajectory | None:
        """Return the best trajectory so far; None before any update."""
