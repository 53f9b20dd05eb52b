"""Stepwise EM: after every batch, statistics move towards those of the batch by a step of a schedule.

Sato & Ishii (2000); Cappé & Moulines (2009); with power decay and large batches it is the mini-batch EM of Nguyen,
Forbes & McLachlan (2020). Their truncation is not needed: statistics that start valid stay in the hull of valid ones,
and a component with too few rows keeps its parameters.

Reported parameters come from the plain sum of the statistics of all batches, each taken at the parameters of its time.
The sum counts every row alike, and its parameters maximize the bound of the log-likelihood (Neal & Hinton, 1998).
Polyak averages of the moving statistics reach the same point from a part of the rows only (``benchmarks/onepass.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamgmm.algorithms.algorithm import StreamState, UpdateInfo
from streamgmm.algorithms.schedules import Schedule
from streamgmm.data.execution import ChunkGroup
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import Expectation, MStepInfo, count_component_parameters, make_pseudo_statistics, maximize
from streamgmm.model.parameters import Parameters
from streamgmm.model.reduction import Counter, push, total
from streamgmm.model.statistics import Statistics
from streamgmm.persistence.codec import persistent

ROWS_PER_PARAMETER = 10  # rows per free parameter from which on the sum of all batches is reported


@persistent("stepwise-1")
@dataclass(frozen=True, slots=True, eq=False)
class StepwiseState(StreamState):
    """State of stepwise EM."""

    parameters: Parameters
    statistics: Statistics  # moving statistics, per unit of weight
    clock: float  # rows learnt, and the rows that the start is worth: the argument of the schedule
    variance: float  # one over the number of rows that the moving statistics stand for
    n_rows: int = 0  # of all batches so far
    weight: float = 0.0
    accumulated: Expectation | None = None  # sum over the batches of this pass, less what was forgotten
    is_pass_complete: bool = False  # the next batch begins a new sum
    partial_sums: Counter[Expectation] = ()  # of a batch that is not complete


@dataclass(frozen=True, slots=True)
class Stepwise:
    """Stepwise EM, one update a batch."""

    schedule: Schedule  # maps rows learnt to a step size
    batch_size: float  # rows of one step of the schedule
    structure: CovarianceStructure
    reg_covar: float
    averaging: bool  # report the sum over all batches instead of the moving statistics
    forgetting: Schedule | None = None  # decay of the sum over all batches; none by default

    def init(self, start: Parameters, n_rows: float = 0.0, accumulated: Expectation | None = None) -> StepwiseState:
        """Return the state at a start learnt from ``n_rows`` rows; a guess is worth two batches."""
        clock = float(n_rows) or 2.0 * self.batch_size
        if accumulated is None:
            statistics = make_pseudo_statistics(start, self.structure, self.reg_covar)
            return StepwiseState(start, statistics, clock, 1.0 / clock)
        likelihood = accumulated.likelihood
        statistics = (1.0 / likelihood.weight) * accumulated.statistics
        return StepwiseState(start, statistics, clock, 1.0 / clock, likelihood.rows, likelihood.weight, accumulated)

    def update(
        self, state: StepwiseState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[StepwiseState, UpdateInfo | None]:
        """Add the expectations; when a batch is complete, move the statistics towards it and maximize."""
        state = replace(state, partial_sums=push(state.partial_sums, *expectations))
        if not chunk_group.ends_batch:
            return state, None
        if not state.partial_sums or not (batch := total(state.partial_sums)).likelihood.weight > 0.0:
            return replace(
                state, partial_sums=(), is_pass_complete=state.is_pass_complete or chunk_group.ends_pass
            ), None
        weight = batch.likelihood.weight
        rows = _count_equivalent_rows(state, batch)
        step = self.schedule(state.clock, rows, self.batch_size)
        statistics = (step / weight) * batch.statistics
        variance = step**2 / rows
        if step < 1.0:
            statistics = (1.0 - step) * state.statistics.recentred(batch.statistics.origin) + statistics
            variance += (1.0 - step) ** 2 * state.variance
        # a step of 1 leaves nothing of the start to hold on to: it is an iteration of batch EM
        least_rows = count_component_parameters(self.structure, state.parameters.n_features) if step < 1.0 else 0
        effective_rows = 1.0 / variance
        parameters, m_step = self._maximize(statistics, effective_rows, state.parameters, least_rows)
        state = StepwiseState(
            parameters,
            statistics,
            clock=state.clock + rows,
            variance=variance,
            n_rows=state.n_rows + batch.likelihood.rows,
            weight=state.weight + weight,
            accumulated=self._accumulate(state, batch, rows),
            is_pass_complete=chunk_group.ends_pass,
        )
        return state, UpdateInfo(batch, effective_rows, m_step)

    def accumulated(self, state: StepwiseState) -> Expectation | None:
        """Return the sum over the batches of this pass."""
        return state.accumulated

    def report(self, state: StepwiseState) -> tuple[Parameters, MStepInfo] | None:
        """Return the parameters of the sum over all batches, once it has rows enough to estimate them well."""
        whole = state.accumulated
        if not self.averaging or whole is None:
            return None
        least_rows = count_component_parameters(self.structure, state.parameters.n_features)
        rows = whole.likelihood.rows
        if rows < ROWS_PER_PARAMETER * least_rows * len(whole.statistics.counts):
            return None
        return self._maximize(whole.statistics, rows, state.parameters, least_rows)

    def _accumulate(self, state: StepwiseState, batch: Expectation, rows: float) -> Expectation:
        if state.is_pass_complete or state.accumulated is None:
            return batch
        earlier = state.accumulated.recentred(batch.statistics.origin)
        if self.forgetting is not None:
            earlier = (1.0 - self.forgetting(state.clock, rows, self.batch_size)) * earlier
        return earlier + batch

    def _maximize(
        self, statistics: Statistics, effective_rows: float, current: Parameters, least_rows: float
    ) -> tuple[Parameters, MStepInfo]:
        return maximize(
            statistics,
            self.structure,
            self.reg_covar,
            effective_rows=effective_rows,
            current=current,
            least_rows=least_rows,
        )


def _count_equivalent_rows(state: StepwiseState, batch: Expectation) -> float:
    """Return the rows of average weight that a batch is worth: a weight of 2 is the row twice."""
    weight = batch.likelihood.weight
    return weight * (state.n_rows + batch.likelihood.rows) / (state.weight + weight)
