"""A model that learns as data arrives: what is kept between two calls of partial_fit, and how a call changes it.

A `Stream` is never changed; learning makes another. So a call that fails leaves everything as it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.algorithms.algorithm import Algorithm
from streamgmm.algorithms.drift import Monitor, degrees_of_freedom, ordered_storage, score
from streamgmm.algorithms.stepwise import Stepwise, StepwiseState
from streamgmm.algorithms.variance_reduced import Restart, VarianceReduced, VarianceReducedState
from streamgmm.algorithms.window import Window, WindowState
from streamgmm.data import execution
from streamgmm.data.checks import check_finite
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.shuffling import arriving, batches, loaded
from streamgmm.data.source import Chunk, Reading, Source
from streamgmm.data.subsample import Subsample
from streamgmm.errors import OrderWarning
from streamgmm.fitting.plan import EMSettings
from streamgmm.iteration.history import History, Record
from streamgmm.model.em import Expectation
from streamgmm.model.em import update as m_step
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array, Parameters
from streamgmm.persistence.codec import persistent

SPAN = 100  # rows, for each degree of freedom, of a window of the drift monitor


@persistent("stream-1")
@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """What a stream has come to.

    Attributes
    ----------
    parameters : Parameters
        Under which the next batch is read.
    reported : Parameters
        To be shown.
    state : VarianceReducedState, StepwiseState or WindowState
        Of the strategy.
    monitor : Monitor
        Of drift, to be told.
    n_rows : int
        Rows learnt, those before the stream began included.
    prequential : LogLikelihood or None
        Of every row under parameters that had not seen it, from the first batch after the start.
    history : History
        One record an update.
    """

    parameters: Parameters
    reported: Parameters
    state: VarianceReducedState | StepwiseState | WindowState
    monitor: Monitor
    n_rows: int = 0
    prequential: LogLikelihood | None = None
    history: History = field(default_factory=History)


@persistent("pending-rows-1")
@dataclass(frozen=True, slots=True, eq=False)
class PendingRows:
    """Rows that came before there were enough to start from."""

    rows: tuple[NDArray[Any], ...] = ()
    weights: tuple[NDArray[np.float64] | None, ...] = ()
    n_rows: int = 0

    def to_columns(self) -> PendingRows:
        """Return the same rows in as few arrays as possible: calls with a row each would make a file of names."""

        def kind(part: tuple[NDArray[Any], NDArray[Any] | None]) -> tuple[Any, bool]:
            return part[0].dtype, part[1] is None

        rows, weights = [], []
        for (_, unweighted), parts in groupby(zip(self.rows, self.weights, strict=True), kind):
            run, run_weights = zip(*parts, strict=True)
            rows.append(np.concatenate(run))
            weights.append(None if unweighted else np.concatenate(run_weights))
        return PendingRows(tuple(rows), tuple(weights), self.n_rows)

    def validate(self) -> None:
        """Raise ValueError unless rows have two axes, and a weight each where there are any."""
        for rows, weights in zip(self.rows, self.weights, strict=True):
            if rows.ndim != 2 or (weights is not None and weights.shape != rows.shape[:1]):
                raise ValueError("rows and weights contradict each other")

    def joined(self, rows: NDArray[Any], weights: NDArray[np.float64] | None) -> PendingRows:
        """These rows and more; copies, since the caller may write over its arrays."""
        kept = None if weights is None else np.array(weights)
        return PendingRows((*self.rows, np.array(rows)), (*self.weights, kept), self.n_rows + len(rows))

    def subsample(self) -> Subsample:
        """All rows as one array."""
        if all(weights is None for weights in self.weights):
            return Subsample(np.concatenate(self.rows), None)
        parts = [
            np.ones(len(rows)) if weights is None else weights
            for rows, weights in zip(self.rows, self.weights, strict=True)
        ]
        return Subsample(np.concatenate(self.rows), np.concatenate(parts))


def begun(
    start: Parameters,
    learning: EMSettings,
    *,
    n_rows: int = 0,
    covered: Expectation | None = None,
    history: History | None = None,
) -> Stream:
    """A stream at a start, which ``n_rows`` rows were learnt for; ``covered`` has all of them where it is given."""
    strategy = strategy_of(learning)
    state: VarianceReducedState | StepwiseState | WindowState
    if isinstance(strategy, Window):
        state = strategy.init(start)
    elif isinstance(strategy, VarianceReduced):
        state = strategy.init(start, n_rows, covered)
    else:
        state = strategy.init(start, float(n_rows) if n_rows else None, covered)
    told = Monitor.of(start, SPAN * degrees_of_freedom(start))
    return Stream(start, start, state, told, n_rows, history=History() if history is None else history)


def strategy_of(learning: EMSettings, seed: int = 0) -> VarianceReduced | Stepwise | Window:
    """What is done with each batch: what all rows have in common is found, unless steps or what to forget are said."""
    if learning.window is not None:
        return Window(learning.window, learning.structure, learning.reg_covar)
    if learning.schedule is None and learning.half_life is None and learning.averaging is not False:
        return VarianceReduced(learning.structure, learning.reg_covar, learning.rows_of_a_batch(None), seed)
    return learning.stepwise(None)


def continued(stream: Stream, learning: EMSettings) -> Stream:
    """The stream itself, or a new one at what it has come to, where it is to learn in another way since."""
    states = {VarianceReduced: VarianceReducedState, Stepwise: StepwiseState, Window: WindowState}
    if isinstance(stream.state, states[type(strategy_of(learning))]):
        return stream
    fresh = begun(stream.reported, learning, n_rows=stream.n_rows, covered=stream.state.covered, history=stream.history)
    return replace(fresh, prequential=stream.prequential)


def learn(
    stream: Stream,
    source: Reading,
    learning: EMSettings,
    seed: int,
    stage: str = "online",
    *,
    scored: bool = True,
    watch: Callable[[Stream], None] = lambda stream: None,
    restart: Restart | None = None,
) -> Stream:
    """Learn all rows of a source, batch by batch, in one reading.

    ``stage`` is what the history calls it. ``scored`` says whether the parameters had not seen the rows, so that their
    likelihood is prequential. ``watch`` sees the stream after each batch, with parameters that were not settled yet.
    ``restart`` finds a start anew, where the rows of the first turn out to be unlike most.
    """
    strategy: Algorithm[Any] = strategy_of(learning, seed)
    size = learning.rows_of_a_batch(None)
    for chunk_group in arriving(source, size) if learning.forgets else batches(source, size, seed, 1):
        at_hand = replace(
            chunk_group, chunks=tuple(loaded(chunk_group.chunks)), last=False
        )  # read once, whoever looks at it
        stream = _after(stream, at_hand, strategy, learning, stage, scored)
        if restart is not None and isinstance(strategy, VarianceReduced):
            stream = _begun_again(stream, strategy, learning, restart)
        watch(stream)
    return settled(stream, learning)


def _begun_again(stream: Stream, strategy: VarianceReduced, learning: EMSettings, restart: Restart) -> Stream:
    """The stream at a start found anew, where it is time for one and it explains the rows so far better."""
    if not isinstance(stream.state, VarianceReducedState) or not strategy.unlike(stream.state):
        return stream
    state, read = strategy.restarted(stream.state, settled(stream, learning).reported, restart)
    if read is None:
        return replace(stream, state=state)
    record = Record("restart", 0, read.likelihood.mean, state.start.weights, 0.0)
    return replace(stream, state=state, parameters=state.anchor, history=stream.history.appended(record))


def settled(stream: Stream, learning: EMSettings) -> Stream:
    """The stream with the parameters to be shown after the last of its batches."""
    strategy: Algorithm[Any] = strategy_of(learning)
    surrogate = strategy.reported(stream.state)
    if surrogate is None:
        return replace(stream, reported=stream.parameters)
    reported, _ = m_step(surrogate, stream.parameters, learning.structure, learning.reg_covar)
    return replace(stream, reported=reported)


def _after(
    stream: Stream, chunk_group: ChunkGroup, strategy: Algorithm[Any], learning: EMSettings, stage: str, scored: bool
) -> Stream:
    """The stream after one more wave."""
    (expectations,) = execution.expect(chunk_group, (stream.parameters,))
    surrogate, state = strategy.update(stream.state, expectations, chunk_group)
    n_rows = stream.n_rows + sum(expectation.likelihood.rows for expectation in expectations)
    if surrogate is None:
        return replace(stream, state=state, n_rows=n_rows)
    latest = Expectation(surrogate.latest or surrogate.statistics, surrogate.likelihood)
    tally = latest.likelihood
    drift = score(latest, stream.parameters)
    record = Record(stage, tally.rows, tally.mean, latest.statistics.counts / tally.weight, drift)
    prequential = stream.prequential
    if scored:
        prequential = tally if prequential is None else prequential + tally
    monitor = stream.monitor.take(latest, stream.parameters, surrogate.effective_rows)
    parameters, _ = m_step(surrogate, stream.parameters, learning.structure, learning.reg_covar)
    return replace(
        stream,
        parameters=parameters,
        state=state,
        monitor=monitor,
        n_rows=n_rows,
        prequential=prequential,
        history=stream.history.appended(record),
    )


@dataclass(frozen=True, slots=True, eq=False)
class RemainingChunks:
    """The chunks that a reading has not come to yet."""

    whole: Source
    remaining: Iterator[Chunk]

    n_rows: int | None = field(default=None, init=False)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.whole.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the rows."""
        return self.whole.dtype

    def chunks(self) -> Iterator[Chunk]:
        """What remains."""
        return self.remaining


def collected(waiting: PendingRows, source: Source, needed: float) -> tuple[PendingRows, RemainingChunks]:
    """Rows until there are ``needed``, and the rest of the source."""
    chunks = source.chunks()
    while waiting.n_rows < needed:
        chunk = next(chunks, None)
        if chunk is None:
            break
        (at_hand,) = loaded([chunk])
        check_finite(at_hand)
        if len(at_hand.rows):
            waiting = waiting.joined(at_hand.rows, at_hand.weights)
    return waiting, RemainingChunks(source, chunks)


@persistent("segments-1")
@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Moments of rows that are stored together, of as many segments as were looked at.

    Attributes
    ----------
    places : ndarray of shape (m, 2)
        Index of the chunk, and its first row (-1 where that is unknown).
    means, variances : ndarray of shape (m, d) or (0, 0)
        Of the sampled rows.
    sizes : ndarray of shape (m,)
        Number of sampled rows.
    """

    places: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    means: Array = field(default_factory=lambda: np.empty((0, 0)))
    variances: Array = field(default_factory=lambda: np.empty((0, 0)))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def joined(self, found: Sequence[tuple[tuple[int, int], Array, Array, int]]) -> Segments:
        """These and more."""
        if not found:
            return self
        parts = [np.array(part) for part in zip(*found, strict=True)]
        if not len(self.sizes):
            return Segments(*parts)
        mine = (self.places, self.means, self.variances, self.sizes)
        return Segments(*(np.concatenate(pair) for pair in zip(mine, parts, strict=True)))


class Order:
    """Looks at groups of chunks as they are read, for rows that are stored beside their like."""

    def __init__(self, segments: Segments | None = None) -> None:
        self.segments = Segments() if segments is None else segments
        self._seen = {(int(index), int(start)) for index, start in self.segments.places}

    def look(self, group: Sequence[Chunk]) -> None:
        """Sample segments of every chunk: up to 16 of 64 rows. A chunk that is read again tells nothing new."""
        found = []
        for chunk in group:
            place = (chunk.index, -1 if chunk.start is None else chunk.start)
            if place in self._seen:
                continue
            self._seen.add(place)
            random = np.random.default_rng(chunk.index)
            for run in np.array_split(np.arange(len(chunk.rows)), max(1, min(16, len(chunk.rows) // 64))):
                rows = np.asarray(chunk.rows[random.permutation(run)[:64] if len(run) > 64 else run], np.float64)
                if len(rows) > 1:
                    found.append((place, rows.mean(axis=0), rows.var(axis=0), len(rows)))
        self.segments = self.segments.joined(found)

    def warn(self) -> None:
        """Warn where rows that lie together are alike."""
        seen = self.segments
        correlation = ordered_storage(list(zip(seen.means, seen.variances, seen.sizes.tolist(), strict=True)))
        if correlation is not None:
            warnings.warn(
                f"Rows that are stored together are alike: {correlation:.0%} of the variance of a feature lies between "
                "places of the storage, as where rows are sorted. The result of stepwise EM depends on their order; "
                "finish with algorithm='auto' or 'batch', or shuffle the rows.",
                OrderWarning,
                stacklevel=5,
            )


def warn_of_drift(monitor: Monitor) -> None:
    """Warn that the stream is not in random order."""
    warnings.warn(
        f"The rows arrive in an order that matters: batches lie {monitor.component_shift:.2g} standard deviations from "
        "what was learnt before, far more than chance explains, as where rows are sorted or drift. Shuffle them, or "
        "set half_life or window to follow the drift.",
        OrderWarning,
        stacklevel=5,
    )
