"""Variance-reduced EM for streams: a retained subsample corrects old statistics for the current parameters.

Rows that come once are read under the parameters of their time, the *anchor*. When the anchor moves, the subsample is
read under the old anchor and the new one, and the sum over all rows moves by the scaled difference: control variates,
as in the variance-reduced EM of Chen, Zhu, Teh & Zhang (2018), but for rows that cannot be read again. So long as the
subsample holds all rows, this is EM on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from streamgmm.algorithms.algorithm import StreamState, UpdateInfo
from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.shuffling import BATCH_LEAF_ROWS
from streamgmm.data.source import Chunk
from streamgmm.data.subsample import KeyedRows, Subsample, draw_keyed_rows, keep_smallest_keys
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.drift import DriftMonitor, count_degrees_of_freedom
from streamgmm.model.em import Expectation, MStepInfo, count_component_parameters, make_pseudo_statistics, maximize
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import Counter, push, total
from streamgmm.model.statistics import Statistics
from streamgmm.persistence.codec import persistent

Restart = Callable[[Subsample], Parameters | None]
"""Finds the best start on some rows; returns None where there is none."""


@dataclass(frozen=True, slots=True)
class VarianceReductionSettings:
    """Tuned constants, measured by ``benchmarks/online.py`` on shuffled, image-like and sorted streams."""

    sample_rows: int = 2**16  # largest subsample, which is saved with its model
    sample_bytes: int = 2**24
    growth: float = 1 / 16  # the anchor moves whenever the rows have grown by this fraction
    rows_per_parameter: int = 10  # rows per free parameter from which on the start is not reported
    start_share: float = 0.3  # share of the start in the anchor while the order of the rows would carry components away
    shift: float = 0.7  # mean squared shift that reveals such an order
    shift_ratio: float = 2.0  # the same, as a multiple of its expectation
    shift_rows: int = 30  # rows for each degree of freedom in a window of the order-shift monitor
    shift_batches: int = 16  # batches in such a window, at least
    restart_growth: float = 1.25  # growth of the rows after which a new start is searched in such an order
    restart_rows: int = 8_192  # rows of the subsample on which it is searched
    # a corrected count or variance below this fraction of the subsample's own is noise; the latter is taken
    least_ratio: float = 0.1


SETTINGS = VarianceReductionSettings()


@persistent("variance-reduced-1")
@dataclass(frozen=True, slots=True, eq=False)
class VarianceReducedState(StreamState):
    """State of variance-reduced EM."""

    start: Parameters  # first parameters
    start_rows: float  # rows that the start is worth
    anchor: Parameters  # parameters under which rows are read
    monitor: DriftMonitor  # watches for an order of rows that carries components away
    earlier: Statistics | None = None  # of rows of an earlier fit, which are not in the subsample
    earlier_rows: int = 0
    # sum over all rows, each under the parameters of its time; it bounds their log-likelihood
    accumulated: Expectation | None = None
    # ``accumulated + correction`` is the sum of all rows under the anchor; with ``report_correction`` it is that under
    # the reported parameters, where the anchor is held back
    correction: Statistics | None = None
    report_correction: Statistics | None = None
    sample: KeyedRows | None = None  # the subsample at the last move of the anchor
    fresh: KeyedRows | None = None  # rows to be joined to the subsample
    n_rows: int = 0  # rows sampled from
    weight: float = 0.0  # of these rows
    next_move: float = 0.0  # number of rows at which the anchor moves
    restart_tried: int = 0  # number of rows when a new start was last searched
    partial_sums: Counter[Expectation] = ()  # of a batch that is not complete

    def validate(self) -> None:
        """Raise ValueError where parts are of different numbers of components or features."""
        statistics = (self.earlier, self.correction, self.report_correction)
        origins = [part.origin for part in statistics if part is not None]
        origins += [] if self.accumulated is None else [self.accumulated.statistics.origin]
        shapes = {self.anchor.means.shape, self.monitor.shift.shape, *(origin.shape for origin in origins)}
        widths = {
            self.start.n_features,
            *(part.rows.shape[1] for part in (self.sample, self.fresh) if part is not None),
        }
        if shapes != {self.start.means.shape} or len(widths) != 1:
            raise ValueError("parts are of different numbers of components or features")

    @property
    def parameters(self) -> Parameters:
        """Parameters under which the next rows are read."""
        return self.anchor

    @property
    def statistics(self) -> Statistics | None:
        """Sum of all rows under the anchor, as far as is known."""
        if self.accumulated is None:
            return self.correction
        whole = self.accumulated.statistics
        return whole if self.correction is None else whole + self.correction.recentred(whole.origin)


@dataclass(frozen=True, slots=True)
class VarianceReduced:
    """Variance-reduced EM; the anchor moves whenever the rows have grown by a sixteenth."""

    structure: CovarianceStructure
    reg_covar: float
    batch_size: int
    seed: int = 0  # of the subsample
    settings: VarianceReductionSettings = field(default_factory=lambda: SETTINGS)

    def init(self, start: Parameters, n_rows: int = 0, accumulated: Expectation | None = None) -> VarianceReducedState:
        """Return the state at a start learnt from ``n_rows`` rows, of which ``accumulated`` is the sum if known."""
        settings = self.settings
        span = max(settings.shift_rows * count_degrees_of_freedom(start), settings.shift_batches * self.batch_size)
        monitor = DriftMonitor.from_parameters(start, span, large=settings.shift, far=settings.shift_ratio)
        earlier = None if accumulated is None else accumulated.statistics
        if earlier is None and n_rows:
            earlier = float(n_rows) * make_pseudo_statistics(start, self.structure, self.reg_covar)
        return VarianceReducedState(
            start,
            start_rows=0.0 if n_rows else 2.0 * self.batch_size,
            anchor=start,
            monitor=monitor,
            earlier=earlier,
            earlier_rows=n_rows,
            accumulated=accumulated,
            correction=None if accumulated is not None else earlier,
        )

    def update(
        self, state: VarianceReducedState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[VarianceReducedState, UpdateInfo | None]:
        """Add a batch, and move the anchor where that is due."""
        state = replace(state, partial_sums=push(state.partial_sums, *expectations))
        state = replace(state, fresh=self._draw(state, chunk_group))
        if not chunk_group.ends_batch:
            return state, None
        if not state.partial_sums or not (batch := total(state.partial_sums)).likelihood.weight > 0.0:
            return replace(state, partial_sums=()), None
        likelihood, earlier = batch.likelihood, state.accumulated
        state = replace(
            state,
            accumulated=batch if earlier is None else earlier.recentred(batch.statistics.origin) + batch,
            n_rows=state.n_rows + likelihood.rows,
            weight=state.weight + likelihood.weight,
            monitor=state.monitor.update(batch, state.anchor, state.next_move + state.start_rows),
            partial_sums=(),
        )
        if state.n_rows >= state.next_move:
            state = self._move_anchor(state)
        return state, UpdateInfo(batch, state.n_rows + state.earlier_rows + state.start_rows)

    def accumulated(self, state: VarianceReducedState) -> Expectation | None:
        """Return the sum over all rows, each under the parameters of its time."""
        return state.accumulated

    def report(self, state: VarianceReducedState) -> tuple[Parameters, MStepInfo] | None:
        """Return the parameters of all rows under the anchor, without the start once there are rows enough."""
        statistics = state.statistics
        if statistics is None or state.accumulated is None:
            return None
        if state.report_correction is not None:
            statistics = statistics + state.report_correction
        needed = count_component_parameters(self.structure, state.start.n_features) * state.start.n_components
        enough = self.settings.rows_per_parameter * needed
        return self._maximize(
            state, statistics, 0.0 if state.n_rows + state.earlier_rows >= enough else state.start_rows
        )

    def is_restart_due(self, state: VarianceReducedState) -> bool:
        """Tell whether to search a new start: rows shift away from those that the first start was found on."""
        return (
            state.monitor.has_drifted
            and state.earlier is None
            and state.n_rows >= self.settings.restart_growth * state.restart_tried
            and not state.partial_sums
        )

    def restart(
        self, state: VarianceReducedState, reported: Parameters, search: Restart
    ) -> tuple[VarianceReducedState, Expectation | None]:
        """Search a start on the subsample; return the state at it and its expectation there, if it is better."""
        state = replace(state, restart_tried=state.n_rows)
        keyed = _join([state.sample, state.fresh], self._sample_size(state.start))
        assert keyed is not None  # rows have come
        sample = keyed.subsample(self._sample_size(state.start))
        step = -(-len(sample.rows) // self.settings.restart_rows)
        start = search(Subsample(sample.rows[::step], None if sample.weights is None else sample.weights[::step]))
        if start is None:
            return state, None
        before, after = _expect(sample, (reported, start))
        if after.likelihood.mean - before.likelihood.mean <= self._sampling_loss(state, sample):
            return state, None
        return _set_anchor(replace(state, start=start), start, self._extrapolate(state, after)), after

    def _draw(self, state: VarianceReducedState, chunk_group: ChunkGroup) -> KeyedRows | None:
        size, known = self._sample_size(state.start), state.sample
        is_full = known is not None and known.weights is None and len(known.rows) == size
        largest = float(known.keys.max()) if known is not None and is_full else np.inf
        keyed = draw_keyed_rows(chunk_group, self.seed + state.n_rows, size, largest)
        return _join([state.fresh, *map(_copy, keyed)], size)

    def _sample_size(self, start: Parameters) -> int:
        return max(1, min(self.settings.sample_rows, self.settings.sample_bytes // (8 * start.n_features)))

    def _move_anchor(self, state: VarianceReducedState) -> VarianceReducedState:
        """Move the anchor to the maximum, or back to the start if that explains the subsample better."""
        state = replace(state, next_move=(1.0 + self.settings.growth) * state.n_rows)
        size = self._sample_size(state.start)
        statistics, keyed = state.statistics, _join([state.sample, state.fresh], size)
        assert statistics is not None and keyed is not None  # rows have come
        state = replace(state, sample=keyed, fresh=None)
        target = self._maximize_held(state, statistics, 0.0)
        further: tuple[Parameters, ...] = ()
        anchor = target
        if state.monitor.has_drifted:  # components whose rows are still to come stay near the start
            anchor, further = self._maximize_held(state, statistics, self.settings.start_share), (target,)
            if state.report_correction is not None:
                further = (target, self._maximize_held(state, statistics + state.report_correction, 0.0))
        sample = keyed.subsample(size)
        if len(sample.rows) < min(n_parameters(self.structure, *state.start.means.shape), state.n_rows):
            return _set_anchor(state, anchor, statistics.recentred(anchor.means))  # too few rows to compare
        before, at_start, after, *others = _expect(sample, (state.anchor, state.start, anchor, *further))
        best = max((after, *others), key=lambda expectation: expectation.likelihood.mean)
        if at_start.likelihood.mean - best.likelihood.mean > self._sampling_loss(state, sample):
            return _set_anchor(state, state.start, self._extrapolate(state, at_start))
        whole, report_correction = self._correct(state, statistics, before, after), None
        if others:
            report_correction = self._correct(state, statistics, before, best).recentred(anchor.means) - whole
        return _set_anchor(state, anchor, whole, report_correction)

    def _sampling_loss(self, state: VarianceReducedState, sample: Subsample) -> float:
        """Return the nats a row lost by learning from the subsample alone: half for each parameter in total."""
        free = n_parameters(self.structure, *state.start.means.shape)
        return free / (2 * len(sample.rows)) if len(sample.rows) < state.n_rows else 0.0

    def _correct(
        self, state: VarianceReducedState, whole: Statistics, before: Expectation, after: Expectation
    ) -> Statistics:
        """Return the statistics of all rows under other parameters, by the change that these make in the subsample."""
        if state.sample is not None and len(state.sample.rows) == state.n_rows:
            return self._extrapolate(state, after)
        origin = after.statistics.origin
        change = after.statistics - before.statistics.recentred(origin)
        corrected = whole.recentred(origin) + (state.weight / after.likelihood.weight) * change
        sampled = self._extrapolate(state, after)
        return replace_noise(corrected, sampled, self.structure, self.reg_covar, self.settings.least_ratio)

    def _extrapolate(self, state: VarianceReducedState, read: Expectation) -> Statistics:
        """Scale the statistics of the subsample to all rows."""
        sampled = (state.weight / read.likelihood.weight) * read.statistics
        return sampled if state.earlier is None else sampled + state.earlier.recentred(sampled.origin)

    def _maximize_held(self, state: VarianceReducedState, statistics: Statistics, start_share: float) -> Parameters:
        """Maximize with at least a share of the start."""
        rows = state.n_rows + state.earlier_rows
        return self._maximize(state, statistics, max(state.start_rows, rows * start_share / (1.0 - start_share)))[0]

    def _maximize(
        self, state: VarianceReducedState, statistics: Statistics, start_rows: float
    ) -> tuple[Parameters, MStepInfo]:
        """Maximize on the statistics, to which the start is added as ``start_rows`` rows."""
        rows = state.n_rows + state.earlier_rows
        if start_rows > 0.0:
            start = make_pseudo_statistics(state.start, self.structure, self.reg_covar).recentred(statistics.origin)
            statistics = statistics + (start_rows * float(statistics.counts.sum()) / rows) * start
        return maximize(
            statistics,
            self.structure,
            self.reg_covar,
            effective_rows=rows + start_rows,
            current=state.anchor,
            least_rows=count_component_parameters(self.structure, state.start.n_features),
        )


def _set_anchor(
    state: VarianceReducedState, anchor: Parameters, whole: Statistics, report_correction: Statistics | None = None
) -> VarianceReducedState:
    """Return the state with another anchor, under which the statistics of all rows are ``whole``."""
    assert state.accumulated is not None  # rows have come
    accumulated = state.accumulated.recentred(anchor.means)
    return replace(
        state,
        anchor=anchor,
        accumulated=accumulated,
        correction=whole - accumulated.statistics,
        report_correction=report_correction,
    )


def _join(parts: Sequence[KeyedRows | None], size: int) -> KeyedRows | None:
    """Return one sample of several, some of which may have weights."""
    known = [part for part in parts if part is not None and len(part.rows)]
    if any(part.weights is not None for part in known):
        known = [replace(part, weights=np.ones(len(part.rows))) if part.weights is None else part for part in known]
    return keep_smallest_keys(known, size) if known else None


def _copy(keyed: KeyedRows) -> KeyedRows:
    """Copy the rows: the caller may write over its arrays."""
    return KeyedRows(keyed.keys, np.array(keyed.rows), None if keyed.weights is None else np.array(keyed.weights))


def _expect(sample: Subsample, candidates: Sequence[Parameters]) -> list[Expectation]:
    chunk = Chunk(0, sample.rows, sample.weights, None, len(sample.rows))
    chunk_group = ChunkGroup((chunk,), ends_pass=False, ends_batch=True, leaf_rows=BATCH_LEAF_ROWS)
    return [expectation for (expectation,) in execution.expect(chunk_group, candidates)]


def replace_noise(
    corrected: Statistics, sampled: Statistics, structure: CovarianceStructure, reg_covar: float, least_ratio: float
) -> Statistics:
    """Return corrected statistics; of components of which the correction left too little, the sampled ones."""
    enough = corrected.counts > least_ratio * sampled.counts
    with np.errstate(all="ignore"):
        pairs = zip(
            *(structure.regularize(structure.estimate(s), reg_covar) for s in (corrected, sampled)), strict=True
        )
        is_wide = np.array([_least_variance_ratio(*pair) > least_ratio for pair in pairs])
    if enough.all() and is_wide.all():
        return corrected
    if len(corrected.products) != len(enough):
        return sampled  # one matrix of all components
    kept = enough & is_wide
    counts, sums, products = (
        np.where(kept.reshape(-1, *[1] * (mine.ndim - 1)), mine, other)
        for mine, other in (
            (corrected.counts, sampled.counts),
            (corrected.sums, sampled.sums),
            (corrected.products, sampled.products),
        )
    )
    return Statistics(corrected.origin, counts, sums, products)


def _least_variance_ratio(covariance: Array, other: Array) -> float:
    """Return the least ratio of two covariances along any direction; NaN or negative where one is not definite."""
    if covariance.ndim == 1:
        return float(np.min(covariance / other))
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(other))
        return float(np.linalg.eigvalsh(inverse @ covariance @ inverse.T)[0])
    except np.linalg.LinAlgError:
        return float(np.nan)
