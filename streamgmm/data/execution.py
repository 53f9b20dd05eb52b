"""Passes over a source: leaves on threads or on any dask scheduler, summed in one fixed order.

It knows how work is spread, not what a step of EM is. Arrays at hand run on the thread pool, leaf by leaf; lazy chunks
run as one dask graph a wave on whatever scheduler is active, a chunk a task, with the parameters as one key of the
graph. Tasks are pure and may run twice. The number of threads or workers and the order of completion change no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamgmm.data import threads
from streamgmm.data.checks import check_one_weight_a_row, non_finite_error
from streamgmm.data.source import LEAF_ROWS, Chunk, Reading, Source
from streamgmm.errors import InputError, NonFiniteError
from streamgmm.kernels.e_step import accumulate, kernels_of, unpacked
from streamgmm.model.em import NO_WEIGHT, Expectation
from streamgmm.model.likelihood import RunningMoments
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import Counter, push, total, tree_sum
from streamgmm.model.statistics import LARGEST
from streamgmm.persistence.codec import persistent

if TYPE_CHECKING:
    from streamgmm.kernels.kernel import Kernel

CHUNKS_PER_GROUP = 64  # chunks executed together; a power of two that does not depend on the number of workers
ROOM = 2**25  # bytes that the accumulators of a chunk's leaves may take before they are summed run by run

Result = TypeVar("Result")
Item = TypeVar("Item")


class RowTap(Protocol):
    """What is drawn from the chunks of a wave while they are read for something else."""

    @property
    def draw(self) -> Callable[[NDArray[Any], Array | None, Chunk, Array], Any]:
        """Draws from the rows, weights, chunk, and distances of a chunk; pure.

        The distance of a row is that from the component that is nearest, of the first mixture where there are several:
        squared, in that component's own standard deviations.
        """

    def take(self, drawn: list[Any]) -> None:
        """Keep what was drawn from the chunks of one wave, in their order."""


@dataclass(frozen=True, slots=True)
class ChunkGroup:
    """A run of chunks that are executed together: one dask graph, or one call of the thread pool.

    Attributes
    ----------
    chunks : tuple of Chunk
        All lazy, or all at hand.
    last : bool
        Whether the pass ends with it.
    complete : bool
        Whether the parameters may change after it.
    entries : tuple of int
        Which piece of the data each chunk is of, for an algorithm that keeps them apart; chunks of one piece are
        neighbours.
    leaf_rows : int
        Rows of a call of the kernel: fewer than a leaf where there are few rows for all threads.
    group : tuple of Chunk
        Chunks that its rows were picked from, where they were, to say where one is that cannot be used.
    look : RowTap or None
        What is drawn from it on the way.
    """

    chunks: tuple[Chunk, ...]
    last: bool
    complete: bool
    entries: tuple[int, ...] = ()
    leaf_rows: int = LEAF_ROWS
    group: tuple[Chunk, ...] = ()
    look: RowTap | None = None


def chunk_groups(source: Reading, taken: int = 0) -> Iterator[ChunkGroup]:
    """One pass over a source, but for the waves ``taken`` before; the next chunk of a stream is read meanwhile."""
    chunks = source.chunks() if source.n_rows is not None else read_ahead(source.chunks())
    for _ in range(taken):
        _take(chunks)
    chunk_group = _take(chunks)
    while chunk_group:
        following = _take(chunks)
        yield ChunkGroup(tuple(chunk_group), last=not following, complete=not following)
        chunk_group = following


def passes(source: Reading) -> Callable[[int, int], Iterator[ChunkGroup]]:
    """Waves of any pass over a source, each the same, but for those taken before."""
    return lambda number, taken: chunk_groups(source, taken)


def _take(chunks: Iterator[Chunk]) -> list[Chunk]:
    """Lazy chunks by the wave; chunks at hand one by one, so that no more than one and the next are held."""
    chunk_group = list(islice(chunks, 1))
    if chunk_group and not isinstance(chunk_group[0].rows, np.ndarray):
        chunk_group.extend(islice(chunks, CHUNKS_PER_GROUP - 1))
    return chunk_group


def ending(chunk_groups: Iterator[ChunkGroup]) -> Iterator[ChunkGroup]:
    """The same waves, of which the last says that the pass ends with it."""
    pending = next(chunk_groups, None)
    for chunk_group in chunk_groups:
        if pending is not None:
            yield pending
        pending = chunk_group
    if pending is not None:
        yield replace(pending, last=True)


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next being made on another thread.

    Whoever stops early, or is interrupted, does not wait for it.
    """
    made: SimpleQueue[Future[list[Item]]] = SimpleQueue()
    wanted: SimpleQueue[bool] = SimpleQueue()

    def make() -> None:
        while wanted.get():
            following: Future[list[Item]] = Future()
            try:
                following.set_result(list(islice(items, 1)))
            except BaseException as error:
                following.set_exception(error)
            made.put(following)

    Thread(target=make, name="streamgmm-reader", daemon=True).start()
    try:
        wanted.put(True)
        while item := made.get().result():
            wanted.put(True)
            yield item[0]
    finally:
        wanted.put(False)


def over_chunks(chunk_group: ChunkGroup, function: Callable[..., Result], *arguments: Any) -> list[Result]:
    """``function(rows, weights, chunk, *arguments)`` of every chunk of a wave, in storage order."""
    chunks = chunk_group.chunks
    if isinstance(chunks[0].rows, np.ndarray):
        return threads.ordered_map(lambda chunk: function(chunk.rows, chunk.weights, chunk, *arguments), chunks)
    from dask.base import compute
    from dask.delayed import delayed

    shared = [delayed(argument, pure=False, traverse=False) for argument in arguments]
    task = delayed(function, pure=False, traverse=False)
    places = [Chunk(chunk.index, None, None, chunk.start, chunk.length) for chunk in chunks]
    tasks = [
        task(chunk.rows, chunk.weights, delayed(place, pure=False, traverse=False), *shared)
        for chunk, place in zip(chunks, places, strict=True)
    ]
    return list(compute(*tasks))


def expect(chunk_group: ChunkGroup, candidates: Sequence[Parameters]) -> list[tuple[Expectation, ...]]:
    """E-step over a wave, for one or more sets of parameters in one reading.

    For each of them the expectation of all rows, or one for each entry of the wave; nothing where it has no rows.
    """
    kernels = kernels_of(candidates)
    spread = isinstance(chunk_group.chunks[0].rows, np.ndarray)
    try:
        if chunk_group.look is None:
            sums = over_chunks(chunk_group, _expect_chunk, kernels, spread, chunk_group.leaf_rows)
        else:
            both = over_chunks(
                chunk_group, _expect_and_draw, kernels, spread, chunk_group.leaf_rows, chunk_group.look.draw
            )
            chunk_group.look.take([drawn for _, drawn in both])
            sums = [one for one, _ in both]
    except NonFiniteError:
        for chunk in chunk_group.group:
            if not np.isfinite(chunk.rows).all() or (np.abs(chunk.rows) > LARGEST).any():
                raise non_finite_error(chunk.rows, chunk) from None
        raise
    found: dict[int, list[_Accumulators]] = {}
    for entry, one in zip(chunk_group.entries or [0] * len(sums), sums, strict=True):
        if one is not None:
            found.setdefault(entry, []).append(one)
    expectations = [unpacked(kernels, tree_sum(parts).parts) for parts in found.values()]
    return [tuple(expectation[place] for expectation in expectations) for place in range(len(candidates))]


@persistent("evaluation-1")
@dataclass(frozen=True, slots=True, eq=False)
class EvaluationState:
    """A pass under frozen parameters, as far as it has come.

    Attributes
    ----------
    taken : int
        Waves.
    counters : tuple of Counter of Expectation
        Their running tree sums, one for each mixture; none before the first wave.
    """

    taken: int = 0
    counters: tuple[Counter[Expectation], ...] = ()


def expect_all(
    source: Source,
    mixtures: Sequence[Parameters],
    since: EvaluationState | None = None,
    watch: Callable[[EvaluationState], None] | None = None,
) -> list[Expectation]:
    """Statistics and exact log-likelihood of all rows under each of some frozen mixtures.

    In one pass for all of them, or the rest of one.
    """
    reading = EvaluationState() if since is None else since
    for chunk_group in chunk_groups(source, reading.taken):
        counters = list(reading.counters or ((),) * len(mixtures))
        for place, parts in enumerate(expect(chunk_group, mixtures)):
            for part in parts:
                counters[place] = push(counters[place], part)
        reading = EvaluationState(reading.taken + 1, tuple(counters))
        if watch is not None:
            watch(reading)
    if not all(reading.counters) or not reading.counters:
        raise InputError("X has no rows; pass at least one.")
    return [total(counter) for counter in reading.counters]


def measure_log_densities(source: Source, parameters: Parameters) -> RunningMoments:
    """Mean log-density of all rows under frozen parameters, and how far rows are from it, in one pass."""
    from streamgmm.kernels.kernel import Kernel

    kernel = Kernel.of(parameters)
    counter: Counter[RunningMoments] = ()
    for chunk_group in chunk_groups(source):
        for part in over_chunks(
            chunk_group, _spread_of_chunk, kernel, isinstance(chunk_group.chunks[0].rows, np.ndarray)
        ):
            counter = push(counter, part)
    whole = total(counter) if counter else None
    if whole is None or not whole.weight:
        raise InputError(NO_WEIGHT if whole else "X has no rows; pass at least one.")
    return whole


@dataclass(frozen=True, slots=True)
class _Accumulators:
    """One accumulator a kernel; they add up."""

    parts: list[Array]

    def __add__(self, other: _Accumulators) -> _Accumulators:
        return _Accumulators([mine + theirs for mine, theirs in zip(self.parts, other.parts, strict=True)])


def _expect_chunk(
    rows: NDArray[Any],
    weights: Array | None,
    chunk: Chunk,
    kernels: tuple[Kernel, ...],
    spread: bool,
    leaf_rows: int,
    distances: Array | None = None,
) -> _Accumulators | None:
    """Tree sum over the leaves of a chunk: on the pool where ``spread``, else on this one thread.

    ``distances``, shape (n,), are filled where they are wanted.
    """
    check_one_weight_a_row(rows, weights, chunk.index)
    if not len(rows):
        return None

    def leaves(run: range) -> _Accumulators:
        """Sum of an aligned power-of-two run of leaves."""
        counter: Any = ()
        for start in run:
            leaf = slice(start, start + leaf_rows)
            part = None if weights is None else weights[leaf]
            wanted = None if distances is None else distances[leaf]
            counter = push(counter, _Accumulators(accumulate(rows[leaf], part, kernels, wanted)))
        whole: _Accumulators = total(counter)
        return whole

    size = 8 * sum(len(kernel.zeros()) for kernel in kernels)
    run_length = leaf_rows * (1 if size * -(-len(rows) // leaf_rows) <= ROOM else 16)
    runs = [range(start, min(start + run_length, len(rows)), leaf_rows) for start in range(0, len(rows), run_length)]
    try:
        sums = threads.ordered_map(leaves, runs) if spread else [leaves(run) for run in runs]
    except NonFiniteError:
        raise non_finite_error(rows, chunk) from None
    return tree_sum(sums)


def _expect_and_draw(
    rows: NDArray[Any],
    weights: Array | None,
    chunk: Chunk,
    kernels: tuple[Kernel, ...],
    spread: bool,
    leaf_rows: int,
    draw: Callable[[NDArray[Any], Array | None, Chunk, Array], Result],
) -> tuple[_Accumulators | None, Result]:
    """`_expect_chunk`, and what is drawn from the same rows."""
    distances = np.empty(len(rows))
    sums = _expect_chunk(rows, weights, chunk, kernels, spread, leaf_rows, distances)
    return sums, draw(rows, weights, chunk, distances)


def _spread_of_chunk(
    rows: NDArray[Any], weights: Array | None, chunk: Chunk, kernel: Kernel, spread: bool
) -> RunningMoments:
    """Sum over the leaves of a chunk, as in `_expect_chunk`."""
    check_one_weight_a_row(rows, weights, chunk.index)

    def leaf(start: int) -> RunningMoments:
        part = slice(start, start + LEAF_ROWS)
        return RunningMoments.of(kernel.log_densities(rows[part]), None if weights is None else weights[part])

    starts = range(0, max(1, len(rows)), LEAF_ROWS)
    try:
        return tree_sum(threads.ordered_map(leaf, starts) if spread else [leaf(start) for start in starts])
    except NonFiniteError:
        raise non_finite_error(rows, chunk) from None
