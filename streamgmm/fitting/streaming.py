"""Streams: a model that learns as data arrives. A `Stream` is immutable, so a call that fails changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.algorithms.algorithm import Algorithm, StreamState
from streamgmm.algorithms.settings import EMSettings
from streamgmm.algorithms.stepwise import StepwiseState
from streamgmm.algorithms.variance_reduced import Restart, VarianceReduced, VarianceReducedState
from streamgmm.algorithms.window import Window, WindowState
from streamgmm.data.checks import check_finite
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.shuffling import iter_batches_in_order, iter_shuffled_batches, load_chunks
from streamgmm.data.source import Chunk, Reading, Source
from streamgmm.data.subsample import Subsample
from streamgmm.iteration.history import History, Record
from streamgmm.iteration.loop import Event, Position, iterate
from streamgmm.iteration.run import record_update
from streamgmm.model.drift import DriftMonitor, count_degrees_of_freedom
from streamgmm.model.em import Expectation
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent

DRIFT_WINDOW_ROWS = 100  # for each degree of freedom
STREAM_STATES: dict[str, type[StreamState]] = {
    "variance-reduced": VarianceReducedState,
    "stepwise": StepwiseState,
    "window": WindowState,
}


@persistent("stream-1")
@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """State of a stream between two calls."""

    algorithm: str
    state: StreamState
    reported: Parameters  # parameters to be shown
    monitor: DriftMonitor  # watches for the drift that triggers `OrderWarning`
    n_rows: int = 0  # rows learnt, those before the stream began included
    # of every row under parameters that had not seen it, from the first batch after the start
    prequential: LogLikelihood | None = None
    history: History = field(default_factory=History)

    def validate(self) -> None:
        """Raise ValueError where the state belongs to another algorithm or mixture."""
        if STREAM_STATES.get(self.algorithm) is not type(self.state):
            raise ValueError("the state belongs to another algorithm")
        if self.state.parameters.means.shape != self.reported.means.shape:
            raise ValueError("the state and the reported parameters are of different mixtures")


def start_stream(
    start: Parameters,
    settings: EMSettings,
    *,
    n_rows: int = 0,
    accumulated: Expectation | None = None,
    history: History | None = None,
) -> Stream:
    """Return a stream at a start learnt from ``n_rows`` rows, of which ``accumulated`` is the sum if known."""
    name, algorithm = choose_stream_algorithm(settings)
    state = algorithm.init(start, n_rows, accumulated)
    monitor = DriftMonitor.from_parameters(start, DRIFT_WINDOW_ROWS * count_degrees_of_freedom(start))
    return Stream(name, state, start, monitor, n_rows, history=History() if history is None else history)


def choose_stream_algorithm(settings: EMSettings, seed: int = 0) -> tuple[str, Any]:
    """Return the algorithm of `partial_fit` and its name: variance-reduced EM, unless steps or forgetting are set."""
    structure, reg_covar = settings.structure, settings.reg_covar
    if settings.window is not None:
        return "window", Window(settings.window, structure, reg_covar)
    if settings.schedule is None and settings.half_life is None and settings.averaging is not False:
        return "variance-reduced", VarianceReduced(structure, reg_covar, settings.choose_batch_size(None), seed)
    return "stepwise", settings.make_stepwise(None)


def continue_stream(stream: Stream, settings: EMSettings) -> Stream:
    """Return the stream, or a new one at its parameters where another algorithm is to continue it."""
    if stream.algorithm == choose_stream_algorithm(settings)[0]:
        return stream
    fresh = start_stream(
        stream.reported,
        settings,
        n_rows=stream.n_rows,
        accumulated=stream.state.accumulated,
        history=stream.history,
    )
    return replace(fresh, prequential=stream.prequential)


def learn_rows(
    stream: Stream,
    source: Reading,
    settings: EMSettings,
    seed: int,
    stage: str = "online",
    *,
    is_scored: bool = True,
    observe: Callable[[Stream], None] = lambda stream: None,
    search: Restart | None = None,
) -> Stream:
    """Learn all rows of a source, batch by batch, in one reading.

    ``stage`` names the updates in the history. ``is_scored`` tells that the parameters had not seen the rows, so that
    their likelihood is prequential. ``observe`` sees the stream after each batch, before `report_stream`. ``search``
    finds a new start, where the rows of the first turn out to be unlike most.
    """
    _, algorithm = choose_stream_algorithm(settings, seed)
    size = settings.choose_batch_size(None)
    if settings.is_forgetting:
        groups = iter_batches_in_order(source, size)
    else:
        groups = iter_shuffled_batches(source, size, seed, 1)

    def read_once(number: int, taken: int) -> Iterator[ChunkGroup]:
        return (replace(group, chunks=tuple(load_chunks(group.chunks)), ends_pass=False) for group in groups)

    loop = iterate(read_once, Position(1, 0, ((0, stream.state),)), algorithm, n_passes=1)
    event = next(loop, None)
    while event is not None:
        stream = _advance(stream, event, stage, is_scored)
        if search is not None and isinstance(algorithm, VarianceReduced):
            stream = _restart(stream, algorithm, search)
        observe(stream)
        try:
            event = loop.send(Position(1, 0, ((0, stream.state),)))
        except StopIteration:
            event = None
    return report_stream(stream, settings)


def report_stream(stream: Stream, settings: EMSettings) -> Stream:
    """Return the stream with the parameters to be shown after the last of its batches."""
    return replace(stream, reported=_report(stream.state, choose_stream_algorithm(settings)[1]))


def _report(state: Any, algorithm: Algorithm[Any]) -> Parameters:
    reported = algorithm.report(state)
    parameters: Parameters = state.parameters if reported is None else reported[0]
    return parameters


def _advance(stream: Stream, event: Event, stage: str, is_scored: bool) -> Stream:
    """Return the stream after one chunk group."""
    ((_, state),) = event.position.states
    assert isinstance(state, StreamState)
    stream = replace(stream, state=state, n_rows=stream.n_rows + event.rows)
    for update in event.updates:
        latest, prequential = update.info.latest, stream.prequential
        if is_scored:
            prequential = latest.likelihood if prequential is None else prequential + latest.likelihood
        stream = replace(
            stream,
            monitor=stream.monitor.update(latest, update.before, update.info.effective_rows),
            prequential=prequential,
            history=stream.history.append_record(record_update(stage, update)),
        )
    return stream


def _restart(stream: Stream, algorithm: VarianceReduced, search: Restart) -> Stream:
    """Return the stream at a new start, where one is due and explains the subsample better."""
    if not isinstance(stream.state, VarianceReducedState) or not algorithm.is_restart_due(stream.state):
        return stream
    state, read = algorithm.restart(stream.state, _report(stream.state, algorithm), search)
    if read is None:
        return replace(stream, state=state)
    record = Record("restart", 0, read.likelihood.mean, state.start.weights, 0.0)
    return replace(stream, state=state, history=stream.history.append_record(record))


@persistent("pending-rows-1")
@dataclass(frozen=True, slots=True, eq=False)
class PendingRows:
    """Rows that came before there were enough to start from."""

    rows: tuple[NDArray[Any], ...] = ()
    weights: tuple[NDArray[np.float64] | None, ...] = ()
    n_rows: int = 0

    def append(self, rows: NDArray[Any], weights: NDArray[np.float64] | None) -> PendingRows:
        """Return these rows and more; copies, because the caller may write over its arrays."""
        kept = None if weights is None else np.array(weights)
        return PendingRows((*self.rows, np.array(rows)), (*self.weights, kept), self.n_rows + len(rows))

    def to_columns(self) -> PendingRows:
        """Return the same rows in as few arrays as possible: a call for each row would make a file of names."""

        def kind(part: tuple[NDArray[Any], NDArray[Any] | None]) -> tuple[Any, bool]:
            return part[0].dtype, part[1] is None

        rows, weights = [], []
        for (_, is_unweighted), parts in groupby(zip(self.rows, self.weights, strict=True), kind):
            run, run_weights = zip(*parts, strict=True)
            rows.append(np.concatenate(run))
            weights.append(None if is_unweighted else np.concatenate(run_weights))
        return PendingRows(tuple(rows), tuple(weights), self.n_rows)

    def validate(self) -> None:
        """Raise ValueError unless rows have two axes, and a weight each where there are any."""
        for rows, weights in zip(self.rows, self.weights, strict=True):
            if rows.ndim != 2 or (weights is not None and weights.shape != rows.shape[:1]):
                raise ValueError("rows and weights contradict each other")

    def as_subsample(self) -> Subsample:
        """Return all rows as one array."""
        if all(weights is None for weights in self.weights):
            return Subsample(np.concatenate(self.rows), None)
        parts = [
            np.ones(len(rows)) if weights is None else weights
            for rows, weights in zip(self.rows, self.weights, strict=True)
        ]
        return Subsample(np.concatenate(self.rows), np.concatenate(parts))


@dataclass(frozen=True, slots=True, eq=False)
class RemainingChunks:
    """Chunks of a source that were not read yet."""

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
        """Return the remaining chunks."""
        return self.remaining


def collect_rows(pending: PendingRows, source: Source, needed: float) -> tuple[PendingRows, RemainingChunks]:
    """Read rows until there are ``needed``; return them and the remaining chunks."""
    chunks = source.chunks()
    while pending.n_rows < needed:
        chunk = next(chunks, None)
        if chunk is None:
            break
        (chunk,) = load_chunks([chunk])
        check_finite(chunk)
        if len(chunk.rows):
            pending = pending.append(chunk.rows, chunk.weights)
    return pending, RemainingChunks(source, chunks)
