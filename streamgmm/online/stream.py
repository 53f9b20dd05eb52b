"""A model that learns as data arrives: what is kept between two calls of partial_fit, and how a call changes it.

A `Stream` is never changed; learning makes another. So a call that fails leaves everything as it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.drift import OVERWHELMING, Monitor, degrees_of_freedom, ordered_storage, score
from streamgmm.em import Expectation
from streamgmm.em import update as m_step
from streamgmm.errors import OrderWarning
from streamgmm.history import History, Record
from streamgmm.initialization import Reservoir
from streamgmm.likelihood import LogLikelihood
from streamgmm.parameters import Array, Parameters
from streamgmm.planning import Learning
from streamgmm.reading import execution
from streamgmm.reading.execution import Wave
from streamgmm.reading.shuffling import arriving, batches, loaded
from streamgmm.sources.checks import check_finite
from streamgmm.sources.source import Chunk, Reading, Source
from streamgmm.strategies import Learnt, Ring, Stepwise, Strategy, Window

SPAN = 100  # rows, for each degree of freedom, of a window of the drift monitor
UNEVEN_SPAN, UNEVEN_BATCHES = 10, 4  # the same where batches differ more than chance explains; batches at least
STORM_SPAN, STORM_BATCHES = 30, 16  # and where components are carried away: what comes back sooner is remembered
KEPT = 6  # windows of it for which the start is evaluated beside what is learnt


@dataclass(frozen=True, slots=True, eq=False)
class Fallback:
    """The start and what it says of all rows so far.

    That rows come in an order that matters is noticed late, and what parameters said that had followed it would stay
    in the sum of all batches for good.
    """

    start: Parameters
    covered: Expectation | None

    def joined(self, new: Expectation) -> Fallback:
        """With more rows."""
        if self.covered is None:
            return Fallback(self.start, new)
        earlier = Expectation(self.covered.statistics.recentred(new.statistics.origin), self.covered.likelihood)
        return Fallback(self.start, earlier + new)


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """What a stream has come to.

    Attributes
    ----------
    parameters : Parameters
        Under which the next batch is read.
    reported : Parameters
        To be shown.
    state : Learnt or Ring
        Of the strategy.
    monitor : Monitor
        Of drift, to be told.
    uneven : Monitor
        Of batches that differ, be it little.
    storm : Monitor
        Of drift that carries components away.
    fallback : Fallback or None
        What such a drift is met with.
    n_rows : int
        Rows learnt, those before the stream began included.
    prequential : LogLikelihood or None
        Of every row under parameters that had not seen it, from the first batch after the start.
    history : History
        One record an update.
    """

    parameters: Parameters
    reported: Parameters
    state: Learnt | Ring
    monitor: Monitor
    uneven: Monitor
    storm: Monitor
    fallback: Fallback | None = None
    n_rows: int = 0
    prequential: LogLikelihood | None = None
    history: History = field(default_factory=History)


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """Rows that came before there were enough to start from."""

    rows: tuple[NDArray[Any], ...] = ()
    weights: tuple[NDArray[np.float64] | None, ...] = ()
    n_rows: int = 0

    def joined(self, rows: NDArray[Any], weights: NDArray[np.float64] | None) -> Waiting:
        """These rows and more; copies, since the caller may write over its arrays."""
        kept = None if weights is None else np.array(weights)
        return Waiting((*self.rows, np.array(rows)), (*self.weights, kept), self.n_rows + len(rows))

    def reservoir(self) -> Reservoir:
        """All rows as one array."""
        if all(weights is None for weights in self.weights):
            return Reservoir(np.concatenate(self.rows), None)
        parts = [
            np.ones(len(rows)) if weights is None else weights
            for rows, weights in zip(self.rows, self.weights, strict=True)
        ]
        return Reservoir(np.concatenate(self.rows), np.concatenate(parts))


def begun(
    start: Parameters,
    learning: Learning,
    *,
    n_rows: int = 0,
    covered: Expectation | None = None,
    history: History | None = None,
) -> Stream:
    """A stream at a start, which ``n_rows`` rows were learnt for; ``covered`` has all of them where it is given."""
    strategy = learning.online()
    state: Learnt | Ring
    if isinstance(strategy, Window):
        state = strategy.init(start)
    else:
        state = strategy.init(start, float(n_rows) if n_rows else None, covered)
    dof, size = degrees_of_freedom(start), learning.rows_of_a_batch(None)
    # what moving statistics rest on is few rows: twice what they expect is no matter of chance
    uneven = Monitor.of(start, max(UNEVEN_SPAN * dof, UNEVEN_BATCHES * size), large=0.0, far=2.0)
    storm = Monitor.of(start, max(STORM_SPAN * dof, STORM_BATCHES * size), large=OVERWHELMING, far=2.0)
    fallback = Fallback(start, covered) if isinstance(strategy, Stepwise) and strategy.settles else None
    told = Monitor.of(start, SPAN * dof)
    past = History() if history is None else history
    return Stream(start, start, state, told, uneven, storm, fallback, n_rows, history=past)


def continued(stream: Stream, learning: Learning) -> Stream:
    """The stream itself, or a new one at what it has come to, where a window was set or taken away since."""
    if isinstance(stream.state, Ring) == isinstance(learning.online(), Window):
        return stream
    fresh = begun(stream.reported, learning, n_rows=stream.n_rows, covered=stream.state.covered, history=stream.history)
    return replace(fresh, prequential=stream.prequential)


def learn(
    stream: Stream,
    source: Reading,
    learning: Learning,
    seed: int,
    stage: str = "online",
    *,
    scored: bool = True,
    watch: Callable[[Stream], None] = lambda stream: None,
) -> Stream:
    """Learn all rows of a source, batch by batch, in one reading.

    ``stage`` is what the history calls it. ``scored`` says whether the parameters had not seen the rows, so that their
    likelihood is prequential. ``watch`` sees the stream after each batch, with parameters that were not settled yet.
    """
    strategy: Strategy[Any] = learning.online()
    size = learning.rows_of_a_batch(None)
    for wave in arriving(source, size) if learning.forgets else batches(source, size, seed, 1):
        stream = _after(stream, replace(wave, last=False), strategy, learning, stage, scored)
        watch(stream)
    return settled(stream, learning)


def settled(stream: Stream, learning: Learning) -> Stream:
    """The stream with the parameters to be shown after the last of its batches."""
    strategy: Strategy[Any] = learning.online()
    surrogate = strategy.reported(stream.state)
    if surrogate is None:
        return replace(stream, reported=stream.parameters)
    reported, _ = m_step(surrogate, stream.parameters, learning.structure, learning.reg_covar)
    return replace(stream, reported=reported)


def _after(stream: Stream, wave: Wave, strategy: Strategy[Any], learning: Learning, stage: str, scored: bool) -> Stream:
    """The stream after one more wave."""
    fallback = stream.fallback
    beside = () if fallback is None else (fallback.start,)
    expectations, *others = execution.expect(wave, (stream.parameters, *beside))
    if fallback is not None and others[0]:
        fallback = fallback.joined(*others[0])
    surrogate, state = strategy.update(stream.state, expectations, wave)
    n_rows = stream.n_rows + sum(expectation.likelihood.rows for expectation in expectations)
    if surrogate is None:
        return replace(stream, state=state, fallback=fallback, n_rows=n_rows)
    latest = Expectation(surrogate.latest or surrogate.statistics, surrogate.likelihood)
    tally = latest.likelihood
    drift = score(latest, stream.parameters)
    record = Record(stage, tally.rows, tally.mean, latest.statistics.counts / tally.weight, drift)
    prequential = stream.prequential
    if scored:
        prequential = tally if prequential is None else prequential + tally
    monitor, uneven, storm = (
        one.take(latest, stream.parameters, surrogate.effective_rows)
        for one in (stream.monitor, stream.uneven, stream.storm)
    )
    parameters, _ = m_step(surrogate, stream.parameters, learning.structure, learning.reg_covar)
    steady = strategy.covered(state) if fallback is None else fallback.covered
    if isinstance(strategy, Stepwise) and strategy.settles and steady is not None:
        if storm.drifted:
            state, fallback = strategy.alike(state, steady), None
        elif uneven.drifted:
            state = strategy.slower(state, steady)
    if n_rows > (KEPT if uneven.drifted else 2) * storm.span:
        fallback = None
    return replace(
        stream,
        parameters=parameters,
        state=state,
        monitor=monitor,
        uneven=uneven,
        storm=storm,
        fallback=fallback,
        n_rows=n_rows,
        prequential=prequential,
        history=stream.history.appended(record),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
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


def collected(waiting: Waiting, source: Source, needed: float) -> tuple[Waiting, Rest]:
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
    return waiting, Rest(source, chunks)


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
