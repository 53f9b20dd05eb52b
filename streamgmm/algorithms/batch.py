"""Batch EM: one M-step a pass, on the statistics of all rows (Dempster, Laird & Rubin, 1977)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamgmm.algorithms.algorithm import Algorithm, AlgorithmState, UpdateInfo
from streamgmm.data.execution import ChunkGroup
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import Expectation, maximize
from streamgmm.model.parameters import Parameters
from streamgmm.model.reduction import Counter, push, total
from streamgmm.persistence.codec import persistent


@persistent("batch-1")
@dataclass(frozen=True, slots=True, eq=False)
class BatchState(AlgorithmState):
    """State of batch EM: the parameters and the running sum of this pass."""

    parameters: Parameters
    partial_sums: Counter[Expectation] = ()


@dataclass(frozen=True, slots=True)
class Batch(Algorithm[BatchState]):
    """Batch EM for one covariance structure."""

    structure: CovarianceStructure
    reg_covar: float

    def init(self, start: Parameters) -> BatchState:
        """Return the state before the first pass."""
        return BatchState(start)

    def update(
        self, state: BatchState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[BatchState, UpdateInfo | None]:
        """Add the expectations; at the end of a pass, maximize."""
        sums = push(state.partial_sums, *expectations)
        if not chunk_group.ends_batch or not sums:
            return replace(state, partial_sums=sums), None
        whole = total(sums)
        rows = float(whole.likelihood.rows)
        parameters, m_step = maximize(whole.statistics, self.structure, self.reg_covar, effective_rows=rows)
        return BatchState(parameters), UpdateInfo(whole, rows, m_step)

    def accumulated(self, state: BatchState) -> Expectation | None:
        """Return the sum of the pass so far; nothing is kept once it has ended."""
        return total(state.partial_sums) if state.partial_sums else None
