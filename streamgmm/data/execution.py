"""Passes over a source: leaves on threads or on any dask scheduler, summed in one fixed order.

Arrays in memory run on the thread pool, leaf by leaf. Lazy chunks run as one dask graph per chunk group, a chunk per
task, with the parameters as one key of the graph. Tasks are pure and may run twice. The number of threads or workers
and the order of completion change no bit.
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
from streamgmm.data.checks import check_weight_count, is_usable, make_non_finite_error
from streamgmm.data.source import LEAF_ROWS, Chunk, Reading, Source
from streamgmm.errors import InputError, NonFiniteError
from streamgmm.kernels.e_step import accumulate, make_kernels, unpack_expectations
from streamgmm.model.em import NO_WEIGHT, Expectation
from streamgmm.model.likelihood import RunningMoments
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import Addable, Counter, push, sum_tree, total
from streamgmm.persistence.codec import persistent

if TYPE_CHECKING:
    from streamgmm.kernels.kernel import Kernel

CHUNKS_PER_GROUP = 64  # a power of two that does not depend on the number of workers
ACCUMULATOR_BYTES = 2**25  # accumulators of a chunk's leaves beyond this are summed run by run
NO_ROWS = "X has no rows; pass at least one."

Result = TypeVar("Result")
Item = TypeVar("Item")
Term = TypeVar("Term", bound=Addable)
Draw = Callable[[NDArray[Any], Array | None, Chunk, Array], Any]


class RowTap(Protocol):
    """Sampling of rows during a pass that is read for another purpose."""

    @property
    def draw(self) -> Draw:
        """Pure function of rows, weights, chunk, and smallest squared Mahalanobis distances under the first mixture."""

    def take(self, drawn: list[Any]) -> None:
        """Keep the results of `draw` for the chunks of one group, in their order."""


@dataclass(frozen=True, slots=True)
class ChunkGroup:
    """Chunks that are executed together: one dask graph, or one call of the thread pool."""

    chunks: tuple[Chunk, ...]  # all lazy, or all in memory
    ends_pass: bool
    ends_batch: bool  # the parameters may change after it
    partitions: tuple[int, ...] = ()  # partition of each chunk; chunks of one partition are neighbours
    leaf_rows: int = LEAF_ROWS  # rows of a kernel call: fewer than a leaf if there are few rows for all threads
    shuffle_group: tuple[Chunk, ...] = ()  # chunks that the rows were drawn from, to locate values in error messages
    row_tap: RowTap | None = None

    @property
    def in_memory(self) -> bool:
        """True if the rows are arrays."""
        return isinstance(self.chunks[0].rows, np.ndarray)


def iter_chunk_groups(source: Reading, skip: int = 0) -> Iterator[ChunkGroup]:
    """Yield the chunk groups of a pass in storage order, without the first ``skip``; a stream is read ahead."""
    chunks = source.chunks() if source.n_rows is not None else read_ahead(source.chunks())
    for _ in range(skip):
        _next_group(chunks)
    group = _next_group(chunks)
    while group:
        following = _next_group(chunks)
        yield ChunkGroup(tuple(group), ends_pass=not following, ends_batch=not following)
        group = following


def plan_passes(source: Reading) -> Callable[[int, int], Iterator[ChunkGroup]]:
    """Return a function of the number of a pass and the groups to skip; every pass is in storage order."""
    return lambda number, skip: iter_chunk_groups(source, skip)


def _next_group(chunks: Iterator[Chunk]) -> list[Chunk]:
    """Take lazy chunks by the group; chunks in memory singly, so that only one and the next are held."""
    group = list(islice(chunks, 1))
    if group and not isinstance(group[0].rows, np.ndarray):
        group.extend(islice(chunks, CHUNKS_PER_GROUP - 1))
    return group


def mark_last_group(chunk_groups: Iterator[ChunkGroup]) -> Iterator[ChunkGroup]:
    """Yield the same groups, the last of them with ``ends_pass``."""
    pending = next(chunk_groups, None)
    for chunk_group in chunk_groups:
        if pending is not None:
            yield pending
        pending = chunk_group
    if pending is not None:
        yield replace(pending, ends_pass=True)


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items, making the next one on another thread; stopping early does not wait for it."""
    results: SimpleQueue[Future[list[Item]]] = SimpleQueue()
    requests: SimpleQueue[bool] = SimpleQueue()

    def make() -> None:
        while requests.get():
            following: Future[list[Item]] = Future()
            try:
                following.set_result(list(islice(items, 1)))
            except BaseException as error:
                following.set_exception(error)
            results.put(following)

    Thread(target=make, name="streamgmm-reader", daemon=True).start()
    try:
        requests.put(True)
        while item := results.get().result():
            requests.put(True)
            yield item[0]
    finally:
        requests.put(False)


def map_chunks(chunk_group: ChunkGroup, function: Callable[..., Result], *arguments: Any) -> list[Result]:
    """Return ``function(rows, weights, chunk, *arguments)`` for every chunk of a group, in storage order."""
    chunks = chunk_group.chunks
    if chunk_group.in_memory:
        return threads.map_in_order(lambda chunk: function(chunk.rows, chunk.weights, chunk, *arguments), chunks)
    from dask.base import compute
    from dask.delayed import delayed

    shared = [delayed(argument, pure=False, traverse=False) for argument in arguments]
    task = delayed(function, pure=False, traverse=False)
    labels = [delayed(replace(chunk, rows=None, weights=None), pure=False, traverse=False) for chunk in chunks]
    tasks = [task(chunk.rows, chunk.weights, label, *shared) for chunk, label in zip(chunks, labels, strict=True)]
    return list(compute(*tasks))


def expect(chunk_group: ChunkGroup, candidates: Sequence[Parameters]) -> list[tuple[Expectation, ...]]:
    """Run the E-step over a chunk group, for one or more sets of parameters in one reading.

    Returns for each of them one expectation per partition, or a single one if the group has no partitions; none
    without rows.
    """
    kernels, tap = make_kernels(candidates), chunk_group.row_tap
    arguments = kernels, chunk_group.in_memory, chunk_group.leaf_rows, None if tap is None else tap.draw
    try:
        results = map_chunks(chunk_group, _expect_chunk, *arguments)
    except NonFiniteError:
        for chunk in chunk_group.shuffle_group:
            if not is_usable(chunk.rows):
                raise make_non_finite_error(chunk.rows, chunk) from None
        raise
    if tap is not None:
        tap.take([drawn for _, drawn in results])
    sums: dict[int, list[Array]] = {}
    for partition, (accumulator, _) in zip(chunk_group.partitions or [0] * len(results), results, strict=True):
        if accumulator is not None:
            sums.setdefault(partition, []).append(accumulator)
    expectations = [unpack_expectations(kernels, sum_tree(parts)) for parts in sums.values()]
    return [tuple(expectation[candidate] for expectation in expectations) for candidate in range(len(candidates))]


@persistent("evaluation-1")
@dataclass(frozen=True, slots=True, eq=False)
class EvaluationState:
    """State of a pass under frozen parameters: chunk groups that are done, and a running tree sum per mixture."""

    groups_read: int = 0
    counters: tuple[Counter[Expectation], ...] = ()  # empty before the first group


def expect_all(
    source: Source,
    mixtures: Sequence[Parameters],
    since: EvaluationState | None = None,
    watch: Callable[[EvaluationState], None] | None = None,
) -> list[Expectation]:
    """Return statistics and exact log-likelihood of all rows under each frozen mixture, in one pass.

    ``since`` resumes a pass, and ``watch`` receives the state after each chunk group.
    """
    state = EvaluationState() if since is None else since
    for chunk_group in iter_chunk_groups(source, state.groups_read):
        counters = list(state.counters or ((),) * len(mixtures))
        for index, parts in enumerate(expect(chunk_group, mixtures)):
            for part in parts:
                counters[index] = push(counters[index], part)
        state = EvaluationState(state.groups_read + 1, tuple(counters))
        if watch is not None:
            watch(state)
    if not all(state.counters) or not state.counters:
        raise InputError(NO_ROWS)
    return [total(counter) for counter in state.counters]


def measure_log_densities(source: Source, parameters: Parameters) -> RunningMoments:
    """Return mean and variance of the log-densities of all rows under frozen parameters, in one pass."""
    from streamgmm.kernels.kernel import Kernel

    kernel = Kernel.from_parameters(parameters)
    counter: Counter[RunningMoments] = ()
    for chunk_group in iter_chunk_groups(source):
        for part in map_chunks(chunk_group, _measure_chunk, kernel, chunk_group.in_memory):
            counter = push(counter, part)
    moments = total(counter) if counter else None
    if moments is None or not moments.weight:
        raise InputError(NO_WEIGHT if moments else NO_ROWS)
    return moments


def _expect_chunk(
    rows: NDArray[Any],
    weights: Array | None,
    chunk: Chunk,
    kernels: tuple[Kernel, ...],
    parallel: bool,
    leaf_rows: int,
    draw: Draw | None,
) -> tuple[Array | None, Any]:
    """Return the tree sum over the leaves of a chunk, None without rows, and the rows drawn from it."""
    check_weight_count(rows, weights, chunk.index)
    distances = None if draw is None else np.empty(len(rows))

    def sum_leaves(run: range) -> Array:
        counter: Counter[Any] = ()
        for start in run:
            leaf = slice(start, start + leaf_rows)
            leaf_weights, leaf_distances = (None if part is None else part[leaf] for part in (weights, distances))
            counter = push(counter, accumulate(rows[leaf], leaf_weights, kernels, leaf_distances))
        sums: Array = total(counter)
        return sums

    size = 8 * sum(kernel.size for kernel in kernels)
    # an aligned run of a power of two of leaves is a subtree, so that runs change no sum
    run_rows = leaf_rows * (1 if size * -(-len(rows) // leaf_rows) <= ACCUMULATOR_BYTES else 16)
    runs = [range(start, min(start + run_rows, len(rows)), leaf_rows) for start in range(0, len(rows), run_rows)]
    sums = _sum_parts(sum_leaves, runs, rows, chunk, parallel) if runs else None
    return sums, None if draw is None or distances is None else draw(rows, weights, chunk, distances)


def _measure_chunk(
    rows: NDArray[Any], weights: Array | None, chunk: Chunk, kernel: Kernel, parallel: bool
) -> RunningMoments:
    check_weight_count(rows, weights, chunk.index)

    def measure_leaf(start: int) -> RunningMoments:
        leaf = slice(start, start + LEAF_ROWS)
        return RunningMoments.from_values(kernel.log_densities(rows[leaf]), None if weights is None else weights[leaf])

    return _sum_parts(measure_leaf, range(0, max(1, len(rows)), LEAF_ROWS), rows, chunk, parallel)


def _sum_parts(
    function: Callable[[Item], Term], parts: Sequence[Item], rows: NDArray[Any], chunk: Chunk, parallel: bool
) -> Term:
    """Tree sum over parts of a chunk: on the thread pool if ``parallel``, else on this thread."""
    try:
        return sum_tree(threads.map_in_order(function, parts) if parallel else [function(part) for part in parts])
    except NonFiniteError:
        raise make_non_finite_error(rows, chunk) from None
