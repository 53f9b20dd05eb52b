"""Stepwise EM: after every batch, statistics move towards the batch's by a step of a schedule.

Sato & Ishii (2000); Cappé & Moulines (2009); with power decay and large batches it is the mini-batch EM of Nguyen,
Forbes & McLachlan (2020). Their truncation is not needed: statistics that start valid stay in the hull of valid ones,
and a component with too few rows keeps what it has.

What is reported is another M-step, on the plain sum of the statistics of all batches, each taken at the parameters of
its time. Long steps find the place soon; the sum counts every row alike, so that where components are well apart it
is what batch EM ends with. These are also the parameters at which the bound of the log-likelihood (Neal & Hinton, 1998)
over the rows so far is largest. Averages of the moving statistics over a later part (Polyak & Juditsky) reach the same
place, but from a part of the rows. ``benchmarks/onepass.py`` sets it beside batch EM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamgmm.algorithms.algorithm import AlgorithmState
from streamgmm.algorithms.schedules import Schedule
from streamgmm.data.execution import ChunkGroup
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import Expectation, Surrogate, pseudo_statistics
from streamgmm.model.parameters import Parameters
from streamgmm.model.reduction import Counter, push, total
from streamgmm.model.statistics import Statistics
from streamgmm.persistence.codec import persistent

ENOUGH = 10  # rows for each free parameter


@persistent("stepwise-1")
@dataclass(frozen=True, slots=True, eq=False)
class StepwiseState(AlgorithmState):
    """State of stepwise EM.

    Attributes
    ----------
    statistics : Statistics
        What the M-step sees, a unit of weight.
    rows : float
        The clock of the schedule: rows learnt, and those that the start is worth.
    variance : float
        One over the number of rows that the statistics stand for.
    learnt_rows, learnt_weight : int, float
        Rows in all batches so far, and their weight.
    covered : Expectation or None
        Sum over the batches of this pass, less what was forgotten.
    ended : bool
        Whether a pass has just ended, so that the next batch begins a new sum.
    batch : Counter of Expectation
        Waves of a batch that is not complete.
    """

    statistics: Statistics
    rows: float
    variance: float
    learnt_rows: int = 0
    learnt_weight: float = 0.0
    covered: Expectation | None = None
    ended: bool = False
    batch: Counter[Expectation] = ()

    def equivalent_rows(self, new: Expectation) -> float:
        """Rows of average weight that a batch is worth: a weight of 2 is the row twice, and a common factor nothing."""
        rows, weight = new.likelihood.rows, new.likelihood.weight
        return weight * (self.learnt_rows + rows) / (self.learnt_weight + weight)


@dataclass(frozen=True, slots=True)
class Stepwise:
    """One update a batch.

    Parameters
    ----------
    schedule : Schedule
        Rows learnt to step size.
    batch_size : float
        Rows that are one step of the schedule.
    structure : CovarianceStructure
        The family of covariances.
    reg_covar : float
        As the M-step adds it.
    averaging : bool
        Whether the sum over all batches is reported, not the latest statistics.
    forgetting : Schedule or None, default=None
        What the sum over all batches forgets; nothing by default.
    """

    schedule: Schedule
    batch_size: float
    structure: CovarianceStructure
    reg_covar: float
    averaging: bool
    forgetting: Schedule | None = None

    def init(self, start: Parameters, rows: float | None = None, covered: Expectation | None = None) -> StepwiseState:
        """State at a start that is worth ``rows`` rows: two batches unless known."""
        rows = 2.0 * self.batch_size if rows is None else rows
        statistics = pseudo_statistics(start, self.structure, self.reg_covar)
        if covered is None:
            return StepwiseState(statistics, rows, 1.0 / rows)
        tally = covered.likelihood
        learnt = (1.0 / tally.weight) * covered.statistics
        return StepwiseState(learnt, rows, 1.0 / rows, tally.rows, tally.weight, covered)

    def update(
        self, state: StepwiseState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[Surrogate | None, StepwiseState]:
        """Nothing until a batch is complete, then statistics that moved towards it."""
        for expectation in expectations:
            state = replace(state, batch=push(state.batch, expectation))
        if not chunk_group.complete:
            return None, state
        if not state.batch or not (new := total(state.batch)).likelihood.weight > 0.0:
            return None, replace(state, batch=(), ended=state.ended or chunk_group.last)
        earlier = None if state.ended else state.covered
        rows = state.equivalent_rows(new)
        step = self.schedule(state.rows, rows, self.batch_size)
        statistics = (step / new.likelihood.weight) * new.statistics
        variance = step**2 / rows
        if step < 1.0:
            statistics = (1.0 - step) * state.statistics.recentred(new.statistics.origin) + statistics
            variance += (1.0 - step) ** 2 * state.variance
        kept = 1.0 if self.forgetting is None else 1.0 - self.forgetting(state.rows, rows, self.batch_size)
        covered = new if earlier is None else _faded(earlier, kept, new.statistics) + new
        learnt = replace(
            state,
            statistics=statistics,
            rows=state.rows + rows,
            variance=variance,
            learnt_rows=state.learnt_rows + new.likelihood.rows,
            learnt_weight=state.learnt_weight + new.likelihood.weight,
            covered=covered,
            ended=chunk_group.last,
            batch=(),
        )
        # where nothing of the start is left there is nothing to keep: a step of 1 is an iteration of batch EM
        least_rows = self._least_rows(statistics) if step < 1.0 else 0.0
        return Surrogate(statistics, 1.0 / variance, new.likelihood, least_rows, new.statistics), learnt

    def covered(self, state: StepwiseState) -> Expectation | None:
        """Sum over the batches of this pass."""
        return state.covered

    def reported(self, state: StepwiseState) -> Surrogate | None:
        """Sum over the batches of this pass, once it has rows enough to estimate all parameters well."""
        whole = state.covered
        if not self.averaging or whole is None:
            return None
        if whole.likelihood.rows < ENOUGH * self._least_rows(whole.statistics) * len(whole.statistics.counts):
            return None
        return Surrogate(whole.statistics, whole.likelihood.rows, whole.likelihood, self._least_rows(whole.statistics))

    def _least_rows(self, statistics: Statistics) -> float:
        """Rows that a component must have for its own parameters to be learnt: as many as it has parameters."""
        d = statistics.origin.shape[1]
        return float(d + self.structure.n_parameters(1, d))


def _faded(whole: Expectation, factor: float, about: Statistics) -> Expectation:
    """A sum about the means of now, of which only a part is kept."""
    statistics = whole.statistics.recentred(about.origin)
    if factor == 1.0:
        return Expectation(statistics, whole.likelihood)
    return Expectation(factor * statistics, factor * whole.likelihood)
