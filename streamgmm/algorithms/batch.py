"""Batch EM: one M-step a pass, on the statistics of all rows (Dempster, Laird & Rubin, 1977)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamgmm.data.execution import ChunkGroup
from streamgmm.model.em import Expectation, Surrogate
from streamgmm.model.parameters import Parameters
from streamgmm.model.reduction import Counter, push, total


class Batch:
    """The state is the running tree sum of the waves of this pass."""

    def init(self, start: Parameters) -> Counter[Expectation]:
        """No wave yet."""
        return ()

    def update(
        self, state: Counter[Expectation], expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[Surrogate | None, Any]:
        """Nothing until the pass ends, then its total."""
        for expectation in expectations:
            state = push(state, expectation)
        if not chunk_group.complete or not state:
            return None, state
        whole = total(state)
        return Surrogate(whole.statistics, whole.likelihood.rows, whole.likelihood), ()

    def covered(self, state: Counter[Expectation]) -> Expectation | None:
        """Nothing is kept once a pass has ended."""
        return total(state) if state else None

    def reported(self, state: Counter[Expectation]) -> Surrogate | None:
        """Nothing: the last surrogate is all rows."""
        return None
