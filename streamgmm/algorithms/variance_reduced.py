"""Online EM whose statistics follow the parameters: a sample of the rows that went by tells what all would say now.

Rows that come once are read under the parameters of their time, the *anchor*, which few rows or their order may have
led astray. When the anchor moves, the sample is read under the old one and the new one, and the sum over all rows moves
by the difference, scaled up: control variates, as in the variance-reduced EM of Chen, Zhu, Teh & Zhang (2018), but for
rows that cannot be read again. The noise of a sample is thus only in what has changed, and once rows are many that is
little; so long as all rows are in the sample, it is EM on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamgmm.algorithms.algorithm import AlgorithmState
from streamgmm.algorithms.drift import Monitor, degrees_of_freedom
from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.shuffling import PART_ROWS
from streamgmm.data.source import Chunk
from streamgmm.data.subsample import KeyedRows, Subsample, draw_keyed_rows, keep_smallest_keys
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.em import Expectation, MStepInfo, Surrogate, pseudo_statistics, update
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import Counter, push, total
from streamgmm.model.statistics import Statistics
from streamgmm.persistence.codec import persistent

SAMPLE, SAMPLE_BYTES = 2**16, 2**24  # rows of a sample, and what it may take, since it is saved with its model
GROWTH = 1 / 16  # of the rows, after which the anchor moves
ENOUGH = 10  # rows for each free parameter, from which the start is not reported any more
SHARE = 0.3  # of what the anchor is made of is the start, where rows come in an order that would carry components away
STORM, STORM_SPAN, STORM_BATCHES = 0.7, 30, 16  # mean squared shift of such an order; rows a degree of freedom, batches
AGAIN = 1.25  # times as many rows after which a start is found anew, where order carries components away;
SEARCHED = 8_192  # on so many of the sample
BELIEVED = 0.1  # of what the sample alone says of a count or a variance: with less left of it, a correction is noise


Restart = Callable[[Subsample], Parameters | None]  # the best start from some rows; None where there is none


@persistent("variance-reduced-1")
@dataclass(frozen=True, slots=True, eq=False)
class VarianceReducedState(AlgorithmState):
    """State.

    Attributes
    ----------
    start : Parameters
        Where it began.
    start_rows : float
        Rows that the start is worth.
    anchor : Parameters
        Under which rows are read.
    fixed : Statistics or None
        Of rows that are not sampled, those of an earlier fit.
    fixed_rows : int
        Their number.
    covered : Expectation or None
        Sum over all rows, each under the parameters of its time, which bounds their likelihood.
    moved : Statistics or None
        What has to be added to it for the sum of all rows under the anchor.
    ahead : Statistics or None
        What has to be added for the sum under the parameters that are reported, where the anchor is held back.
    sample : KeyedRows or None
        Rows that stand for those that are sampled, as of the last move of the anchor.
    fresh : KeyedRows or None
        What is to be joined to it.
    rows, weight : int, float
        Those that are sampled.
    due : float
        Rows at which the anchor moves.
    searched : int
        Rows when a start was found anew.
    storm : Monitor
        Of an order of rows that carries components away.
    batch : Counter of Expectation
        Waves of a batch that is not complete.
    """

    start: Parameters
    start_rows: float
    anchor: Parameters
    fixed: Statistics | None
    fixed_rows: int
    covered: Expectation | None
    moved: Statistics | None
    ahead: Statistics | None
    sample: KeyedRows | None
    fresh: KeyedRows | None
    rows: int
    weight: float
    due: float
    searched: int
    storm: Monitor
    batch: Counter[Expectation] = ()

    def validate(self) -> None:
        """Raise ValueError where parts are of different numbers of components or features."""
        origins = [part.origin for part in (self.fixed, self.moved, self.ahead) if part is not None]
        origins += [] if self.covered is None else [self.covered.statistics.origin]
        shapes = {self.anchor.means.shape, self.storm.shift.shape, *(origin.shape for origin in origins)}
        samples = [part.rows.shape[1] for part in (self.sample, self.fresh) if part is not None]
        if shapes != {self.start.means.shape} or {*samples, self.start.n_features} != {self.start.n_features}:
            raise ValueError("parts are of different numbers of components or features")

    @property
    def statistics(self) -> Statistics | None:
        """Sum of all rows under the anchor, as far as is known."""
        if self.covered is None:
            return self.moved
        whole = self.covered.statistics
        return whole if self.moved is None else whole + self.moved.recentred(whole.origin)


@dataclass(frozen=True, slots=True)
class VarianceReduced:
    """Moves its anchor whenever the rows are a sixteenth more.

    Parameters
    ----------
    structure : CovarianceStructure
        The family of covariances.
    reg_covar : float
        As the M-step adds it.
    batch_size : int
        Rows that are read together.
    seed : int
        Of the sample.
    """

    structure: CovarianceStructure
    reg_covar: float
    batch_size: int
    seed: int = 0

    def init(self, start: Parameters, n_rows: int = 0, covered: Expectation | None = None) -> VarianceReducedState:
        """State at a start, which ``n_rows`` rows were learnt for; ``covered`` has all of them where it is given."""
        span = max(STORM_SPAN * degrees_of_freedom(start), STORM_BATCHES * self.batch_size)
        storm = Monitor.of(start, span, large=STORM, far=2.0)
        fixed = None if covered is None else covered.statistics
        if fixed is None and n_rows:
            fixed = float(n_rows) * pseudo_statistics(start, self.structure, self.reg_covar)
        start_rows = 0.0 if n_rows else 2.0 * self.batch_size
        moved = None if covered is not None else fixed
        return VarianceReducedState(
            start, start_rows, start, fixed, n_rows, covered, moved, None, None, None, 0, 0.0, 0.0, 0, storm
        )

    def update(
        self, state: VarianceReducedState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[Surrogate | None, VarianceReducedState]:
        """Take a batch in, and move the anchor where that is due."""
        for expectation in expectations:
            state = replace(state, batch=push(state.batch, expectation))
        state = replace(state, fresh=self._drawn(state, chunk_group))
        if not chunk_group.complete:
            return None, state
        if not state.batch or not (new := total(state.batch)).likelihood.weight > 0.0:
            return None, replace(state, batch=())
        tally, covered = new.likelihood, state.covered
        state = replace(
            state,
            covered=new if covered is None else _about(covered, new.statistics.origin) + new,
            rows=state.rows + tally.rows,
            weight=state.weight + tally.weight,
            storm=state.storm.take(new, state.anchor, state.due + state.start_rows),
            batch=(),
        )
        if state.rows >= state.due:
            state = self._moved(state)
        known = (state.anchor, MStepInfo())
        statistics = state.statistics
        assert statistics is not None  # there is a batch at least
        rows = state.rows + state.fixed_rows + state.start_rows
        return Surrogate(statistics, rows, tally, latest=new.statistics, maximum=known), state

    def covered(self, state: VarianceReducedState) -> Expectation | None:
        """Sum over all rows, each under the parameters of its time."""
        return state.covered

    def reported(self, state: VarianceReducedState) -> Surrogate | None:
        """Sum over all rows under the anchor, without the start once there are rows enough."""
        statistics = state.statistics
        if statistics is None or state.covered is None:
            return None
        if state.ahead is not None:
            statistics = statistics + state.ahead
        enough = ENOUGH * self._least_rows(statistics) * len(statistics.counts)
        return self._surrogate(state, statistics, 0.0 if state.rows + state.fixed_rows >= enough else state.start_rows)

    def unlike(self, state: VarianceReducedState) -> bool:
        """Whether it is time to find a start anew, because the rows that the first was found on were unlike others."""
        return state.storm.drifted and state.fixed is None and state.rows >= AGAIN * state.searched and not state.batch

    def restarted(
        self, state: VarianceReducedState, reported: Parameters, restart: Restart
    ) -> tuple[VarianceReducedState, Expectation | None]:
        """The state at a start that is found on the sample, and what that makes of it, if it is the better one."""
        state = replace(state, searched=state.rows)
        drawn = _joined([state.sample, state.fresh], self._size(state.start))
        assert drawn is not None  # rows have come
        sample = drawn.subsample(self._size(state.start))
        step = -(-len(sample.rows) // SEARCHED)
        start = restart(Subsample(sample.rows[::step], None if sample.weights is None else sample.weights[::step]))
        if start is None:
            return state, None
        before, after = _read(sample, (reported, start))
        if after.likelihood.mean - before.likelihood.mean <= self._lost(state, sample):
            return state, None
        return _under(replace(state, start=start), start, self._of_sample(state, after)), after

    def _drawn(self, state: VarianceReducedState, chunk_group: ChunkGroup) -> KeyedRows | None:
        """What is to be joined to the sample, with what there is of a wave."""
        size, known = self._size(state.start), state.sample
        full = known is not None and known.weights is None and len(known.rows) == size
        largest = float(known.keys.max()) if known is not None and full else np.inf
        drawn = draw_keyed_rows(chunk_group, self.seed + state.rows, size, largest)
        return _joined([state.fresh, *map(_copied, drawn)], size)

    def _size(self, start: Parameters) -> int:
        return max(1, min(SAMPLE, SAMPLE_BYTES // (8 * start.n_features)))

    def _moved(self, state: VarianceReducedState) -> VarianceReducedState:
        """The anchor where the statistics say, or back at the start if that explains the sample better."""
        state = replace(state, due=(1.0 + GROWTH) * state.rows)
        statistics, drawn = state.statistics, _joined([state.sample, state.fresh], self._size(state.start))
        assert statistics is not None and drawn is not None  # rows have come
        state = replace(state, sample=drawn, fresh=None)
        target = self._maximum(state, statistics, 0.0)
        further: tuple[Parameters, ...] = ()
        anchor = target
        if state.storm.drifted:  # a component whose rows are still to come is there to take them
            anchor, further = self._maximum(state, statistics, SHARE), (target,)
            if state.ahead is not None:
                further = (target, self._maximum(state, statistics + state.ahead, 0.0))
        sample = drawn.subsample(self._size(state.start))
        if len(sample.rows) < min(
            n_parameters(self.structure, *state.start.means.shape), state.rows
        ):  # too few to tell
            return _under(state, anchor, statistics.recentred(anchor.means))
        before, at_start, after, *others = _read(sample, (state.anchor, state.start, anchor, *further))
        best = max((after, *others), key=lambda read: read.likelihood.mean)
        if at_start.likelihood.mean - best.likelihood.mean > self._lost(state, sample):
            return _under(state, state.start, self._of_sample(state, at_start))
        whole, ahead = self._carried(state, statistics, before, after), None
        if others:
            ahead = self._carried(state, statistics, before, best).recentred(anchor.means) - whole
        return _under(state, anchor, whole, ahead)

    def _lost(self, state: VarianceReducedState, sample: Subsample) -> float:
        """What is lost where all is learnt from the sample alone, nats a row: half a parameter's worth of each."""
        free = n_parameters(self.structure, *state.start.means.shape)
        return free / (2 * len(sample.rows)) if len(sample.rows) < state.rows else 0.0

    def _carried(
        self, state: VarianceReducedState, whole: Statistics, before: Expectation, after: Expectation
    ) -> Statistics:
        """Statistics of all rows under other parameters, by what these change in the sample."""
        if state.sample is not None and len(state.sample.rows) == state.rows:
            return self._of_sample(state, after)
        origin = after.statistics.origin
        change = after.statistics - before.statistics.recentred(origin)
        corrected = whole.recentred(origin) + (state.weight / after.likelihood.weight) * change
        return believed(corrected, self._of_sample(state, after), self.structure, self.reg_covar)

    def _of_sample(self, state: VarianceReducedState, read: Expectation) -> Statistics:
        """Statistics of all rows as the sample alone tells them."""
        sampled = (state.weight / read.likelihood.weight) * read.statistics
        return sampled if state.fixed is None else sampled + state.fixed.recentred(sampled.origin)

    def _maximum(self, state: VarianceReducedState, statistics: Statistics, share: float) -> Parameters:
        """The M-step on these, the start and what is held to it."""
        rows = state.rows + state.fixed_rows
        surrogate = self._surrogate(state, statistics, max(state.start_rows, rows * share / (1.0 - share)))
        return update(surrogate, state.anchor, self.structure, self.reg_covar)[0]

    def _surrogate(self, state: VarianceReducedState, statistics: Statistics, start_rows: float) -> Surrogate:
        """What the M-step shall see: these, and the start as so many rows."""
        assert state.covered is not None
        rows = state.rows + state.fixed_rows
        if start_rows > 0.0:
            start = pseudo_statistics(state.start, self.structure, self.reg_covar).recentred(statistics.origin)
            statistics = statistics + (start_rows * float(statistics.counts.sum()) / rows) * start
        return Surrogate(statistics, rows + start_rows, state.covered.likelihood, self._least_rows(statistics))

    def _least_rows(self, statistics: Statistics) -> float:
        """Rows that a component must have for its own parameters to be learnt: as many as it has parameters."""
        d = statistics.origin.shape[1]
        return float(d + self.structure.n_parameters(1, d))


def _about(expectation: Expectation, origin: Array) -> Expectation:
    return Expectation(expectation.statistics.recentred(origin), expectation.likelihood)


def _under(
    state: VarianceReducedState, anchor: Parameters, whole: Statistics, ahead: Statistics | None = None
) -> VarianceReducedState:
    """The state with another anchor, under which all rows have these statistics."""
    assert state.covered is not None  # rows have come
    covered = _about(state.covered, anchor.means)
    return replace(state, anchor=anchor, covered=covered, moved=whole - covered.statistics, ahead=ahead)


def _joined(parts: Sequence[KeyedRows | None], size: int) -> KeyedRows | None:
    """One sample of several, some of which may be of rows with weights."""
    known = [one for one in parts if one is not None and len(one.rows)]
    if any(one.weights is not None for one in known):
        known = [one if one.weights is not None else replace(one, weights=np.ones(len(one.rows))) for one in known]
    return keep_smallest_keys(known, size) if known else None


def _copied(drawn: KeyedRows) -> KeyedRows:
    """The same, whatever the caller does with its arrays."""
    weights = None if drawn.weights is None else np.array(drawn.weights)
    return KeyedRows(drawn.keys, np.array(drawn.rows), weights)


def _read(sample: Subsample, candidates: Sequence[Parameters]) -> list[Expectation]:
    chunk = Chunk(0, sample.rows, sample.weights, None, len(sample.rows))
    chunk_group = ChunkGroup((chunk,), last=False, complete=True, leaf_rows=PART_ROWS)
    return [found for (found,) in execution.expect(chunk_group, candidates)]


def believed(corrected: Statistics, own: Statistics, structure: CovarianceStructure, reg_covar: float) -> Statistics:
    """Statistics that were corrected by a sample; of components of which that left too little, the sample's own."""
    enough = corrected.counts > BELIEVED * own.counts
    with np.errstate(all="ignore"):
        ours, theirs = (structure.regularize(structure.estimate(one), reg_covar) for one in (corrected, own))
        wide = np.array([_least_ratio(*pair) > BELIEVED for pair in zip(ours, theirs, strict=True)])
    if enough.all() and wide.all():
        return corrected
    if len(corrected.products) != len(enough):
        return own  # one matrix of all components
    kept = enough & wide
    counts, sums, products = (
        np.where(kept.reshape(-1, *[1] * (mine.ndim - 1)), mine, other)
        for mine, other in (
            (corrected.counts, own.counts),
            (corrected.sums, own.sums),
            (corrected.products, own.products),
        )
    )
    return Statistics(corrected.origin, counts, sums, products)


def _least_ratio(covariance: Array, other: Array) -> float:
    """Least ratio of the variances of two covariances along any direction; NaN or below 0 where one is none."""
    if covariance.ndim == 1:
        return float(np.min(covariance / other))
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(other))
        return float(np.linalg.eigvalsh(inverse @ covariance @ inverse.T)[0])
    except np.linalg.LinAlgError:
        return float(np.nan)
