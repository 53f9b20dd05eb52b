"""Sliding window: the M-step sees the statistics of the latest rows only, each taken when it came.

A ring of entries, each a part of the window, so that what leaves is dropped and nothing is ever subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamgmm.algorithms.algorithm import AlgorithmState
from streamgmm.data.execution import ChunkGroup
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import Expectation, Surrogate, pseudo_statistics
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import tree_sum
from streamgmm.model.statistics import Statistics
from streamgmm.persistence.codec import persistent

PARTS = 64  # entries of a full window: it is exact to three of them


@persistent("window-1")
@dataclass(frozen=True, slots=True, eq=False)
class WindowState(AlgorithmState):
    """State of a sliding window.

    Attributes
    ----------
    start : Statistics
        What the start implies, a unit of weight; it fills the window as long as rows do not.
    entries : tuple of Expectation
        Complete entries, the oldest first.
    settled : Expectation or None
        Their sum.
    latest : Expectation or None
        The entry that is being filled.
    """

    start: Statistics
    entries: tuple[Expectation, ...] = ()
    settled: Expectation | None = None
    latest: Expectation | None = None

    @property
    def covered(self) -> Expectation | None:
        """Sum over the rows in the window."""
        parts = [part for part in (self.settled, self.latest) if part is not None]
        return tree_sum(parts) if parts else None


@dataclass(frozen=True, slots=True)
class Window:
    """One update a batch, on the latest rows.

    Parameters
    ----------
    rows : int
        Length of the window.
    structure : CovarianceStructure
        The family of covariances.
    reg_covar : float
        As the M-step adds it.
    """

    rows: int
    structure: CovarianceStructure
    reg_covar: float

    def init(self, start: Parameters) -> WindowState:
        """An empty window."""
        return WindowState(pseudo_statistics(start, self.structure, self.reg_covar))

    def update(
        self, state: WindowState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[Surrogate | None, WindowState]:
        """Take the newest rows in, and let the oldest entries go that the window no longer reaches."""
        if not expectations or not (expectation := tree_sum(expectations)).likelihood.weight > 0.0:
            return None, state
        origin = expectation.statistics.origin
        settled = None if state.settled is None else _about(state.settled, origin)
        latest = expectation if state.latest is None else _about(state.latest, origin) + expectation
        entries = state.entries
        if latest.likelihood.rows >= self.rows / PARTS:
            entries = tuple(_about(entry, origin) for entry in self._reached((*entries, latest)))
            state = WindowState(state.start, entries, tree_sum(entries), None)
        else:
            state = WindowState(state.start, entries, settled, latest)
        whole = state.covered
        if whole is None:
            return None, state
        rows, weight = whole.likelihood.rows, whole.likelihood.weight
        missing = max(0.0, 1.0 - rows / self.rows)
        statistics = whole.statistics
        if missing > 0.0:
            statistics = statistics + (missing * self.rows * weight / rows) * state.start.recentred(origin)
        effective = rows + missing * self.rows
        return Surrogate(statistics, effective, expectation.likelihood, latest=expectation.statistics), state

    def covered(self, state: WindowState) -> Expectation | None:
        """Sum over the rows in the window."""
        return state.covered

    def reported(self, state: WindowState) -> Surrogate | None:
        """Nothing: the last surrogate is the window."""
        return None

    def _reached(self, entries: tuple[Expectation, ...]) -> tuple[Expectation, ...]:
        """The newest entries that make a full window."""
        rows, first = 0, len(entries)
        while first > 0 and rows < self.rows:
            first -= 1
            rows += entries[first].likelihood.rows
        return entries[first:]


def _about(expectation: Expectation, origin: Array) -> Expectation:
    return replace(expectation, statistics=expectation.statistics.recentred(origin))
