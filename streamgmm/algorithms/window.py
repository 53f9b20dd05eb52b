"""Sliding-window EM: the M-step sees the statistics of the latest rows only, each taken when it came.

The window is a queue of expectations. The oldest is dropped as a whole, so nothing is ever subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamgmm.algorithms.algorithm import Algorithm, StreamState, UpdateInfo
from streamgmm.data.execution import ChunkGroup
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import Expectation, make_pseudo_statistics, maximize
from streamgmm.model.parameters import Parameters
from streamgmm.model.reduction import sum_tree
from streamgmm.model.statistics import Statistics
from streamgmm.persistence.codec import persistent

WINDOW_ENTRIES = 64  # entries of a full window, whose length is then exact to three entries


@persistent("window-1")
@dataclass(frozen=True, slots=True, eq=False)
class WindowState(StreamState):
    """State of a sliding window."""

    parameters: Parameters
    start: Statistics  # pseudo-statistics of the start, per unit of weight; they fill the window until rows do
    entries: tuple[Expectation, ...] = ()  # complete entries, the oldest first
    entries_sum: Expectation | None = None  # their sum
    latest: Expectation | None = None  # the entry that is being filled

    @property
    def accumulated(self) -> Expectation | None:
        """Sum over the rows in the window."""
        parts = [part for part in (self.entries_sum, self.latest) if part is not None]
        return sum_tree(parts) if parts else None


@dataclass(frozen=True, slots=True)
class Window(Algorithm[WindowState]):
    """EM on the latest rows, one update a batch."""

    n_rows: int  # length of the window
    structure: CovarianceStructure
    reg_covar: float

    def init(self, start: Parameters, n_rows: float = 0.0, accumulated: Expectation | None = None) -> WindowState:
        """Return an empty window: rows of an earlier fit are not among the latest."""
        return WindowState(start, make_pseudo_statistics(start, self.structure, self.reg_covar))

    def update(
        self, state: WindowState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[WindowState, UpdateInfo | None]:
        """Append the newest rows, drop the oldest entries beyond the window, and maximize."""
        if not expectations or not (batch := sum_tree(expectations)).likelihood.weight > 0.0:
            return state, None
        origin = batch.statistics.origin
        latest = batch if state.latest is None else state.latest.recentred(origin) + batch
        if latest.likelihood.rows >= self.n_rows / WINDOW_ENTRIES:
            entries = tuple(entry.recentred(origin) for entry in self._drop_oldest((*state.entries, latest)))
            state = replace(state, entries=entries, entries_sum=sum_tree(entries), latest=None)
        else:
            earlier = None if state.entries_sum is None else state.entries_sum.recentred(origin)
            state = replace(state, entries_sum=earlier, latest=latest)
        whole = state.accumulated
        if whole is None:
            return state, None
        rows, weight = whole.likelihood.rows, whole.likelihood.weight
        missing = max(0.0, 1.0 - rows / self.n_rows)
        statistics = whole.statistics
        if missing > 0.0:
            statistics = statistics + (missing * self.n_rows * weight / rows) * state.start.recentred(origin)
        effective_rows = rows + missing * self.n_rows
        parameters, m_step = maximize(statistics, self.structure, self.reg_covar, effective_rows=effective_rows)
        return replace(state, parameters=parameters), UpdateInfo(batch, effective_rows, m_step)

    def accumulated(self, state: WindowState) -> Expectation | None:
        """Return the sum over the rows in the window."""
        return state.accumulated

    def _drop_oldest(self, entries: tuple[Expectation, ...]) -> tuple[Expectation, ...]:
        """Return the newest entries that make a full window."""
        rows, first = 0, len(entries)
        while first > 0 and rows < self.n_rows:
            first -= 1
            rows += entries[first].likelihood.rows
        return entries[first:]
