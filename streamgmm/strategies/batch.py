"""Batch EM: one M-step a pass, on the statistics of all rows (Dempster, Laird & Rubin, 1977)."""

from __future__ import annotations

from typing import Any

from streamgmm.em import Expectation, Surrogate
from streamgmm.reduction import Counter, push, total


class Batch:
    """The state is the running tree sum of the waves of this pass."""

    def init(self) -> Counter[Expectation]:
        """No wave yet."""
        return ()

    def update(
        self, state: Counter[Expectation], expectation: Expectation | None, last: bool
    ) -> tuple[Surrogate | None, Any]:
        """Nothing until the pass ends, then its total."""
        if expectation is not None:
            state = push(state, expectation)
        if not last or not state:
            return None, state
        whole = total(state)
        return Surrogate(whole.statistics, whole.likelihood.rows, whole.likelihood), ()
