"""The plan of a fit: the stages that an algorithm name stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod

from streamgmm.algorithms import ALGORITHMS
from streamgmm.algorithms.incremental import Incremental
from streamgmm.algorithms.schedules import Reciprocal
from streamgmm.algorithms.settings import EMSettings
from streamgmm.algorithms.stopping import AitkenStop, MaxPasses, Tolerance
from streamgmm.data import execution, partitions, shuffling
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.partitions import Partitions
from streamgmm.data.source import Chunk, Source
from streamgmm.errors import InputError
from streamgmm.initialization.find_starts import is_small_problem
from streamgmm.iteration.run import Stage
from streamgmm.model.criteria import n_parameters

LARGE = 2**20  # rows from which 'auto' is staged: below, a pass takes less than a second
PARTITIONS_PER_BATCH = 16  # of incremental EM, from as many positions of the storage
STAGED = "staged"


def choose_algorithm(
    algorithm: str, source: Source, settings: EMSettings, n_components: int, is_warm_start: bool
) -> str:
    """Return the algorithm that 'auto' stands for; any other name is returned as it is.

    A warm start may be one pass of many fits, so it is not accelerated.
    """
    if algorithm != "auto":
        return algorithm
    if not source.repeatable:
        return "stepwise"
    if source.n_rows is not None and source.n_rows >= LARGE:
        return STAGED
    if is_warm_start or source.n_rows is None or settings.tol is not None:
        return "batch"
    little = is_small_problem(source.n_rows, source.n_features, n_components, settings.structure)
    return "batch" if little else "accelerated"


def begins_with_whole_passes(algorithm: str) -> bool:
    """Return True where the first update of this algorithm sees all rows."""
    return algorithm != STAGED and ALGORITHMS[algorithm].reading == "pass"


def ends_with_whole_passes(algorithm: str) -> bool:
    """Return True where the last updates of this algorithm see all rows alike."""
    return algorithm == STAGED or ALGORITHMS[algorithm].reading == "pass"


def plan_stages(
    algorithm: str,
    source: Source,
    settings: EMSettings,
    n_components: int,
    n_starts: int,
    seed: int,
    *,
    tap: Callable[[Sequence[Chunk]], None] | None = None,
    before_moves: bool = False,
) -> list[Stage]:
    """Return the stages of a fit by an algorithm of `ALGORITHMS`, or of a staged fit.

    'staged' begins with a stepwise pass, because a step early in a fit is worth more than a precise one. One or two
    incremental passes take out its noise. Batch EM ends it, accelerated unless a tolerance was set.

    ``tap`` sees the chunks that the first pass of a stepwise stage reads. With ``before_moves`` a plateau is an end,
    because split and merge moves follow.
    """
    plan = partial(_plan_stage, source, settings, n_components, n_starts, seed, before_moves)
    if algorithm != STAGED:
        return [plan(algorithm, tap=tap)]
    gain = compute_negligible_gain(source, settings, n_components)
    opening = replace(plan("stepwise"), max_passes=1, stop=MaxPasses())
    stop = AitkenStop(gain) if settings.tol is None else Tolerance(settings.tol)
    refining = replace(_plan_refining(source, settings, n_components, n_starts, seed), stop=stop)
    return [opening, refining, plan("batch" if settings.tol is not None else "accelerated")]


def compute_negligible_gain(source: Source, settings: EMSettings, n_components: int) -> float:
    """Return the nats a row that are not worth another pass: a fiftieth of the ν/2 nats that parameters vary by.

    An unknown number of rows is taken for large.
    """
    n_rows = LARGE if source.n_rows is None else source.n_rows
    return max(0.1, n_parameters(settings.structure, n_components, source.n_features) / 100) / n_rows


def count_entry_bytes(settings: EMSettings, n_components: int, n_features: int) -> int:
    """Return the bytes of a partition's entry in incremental EM, the sums of the tree included."""
    return 2 * 8 * (n_components * (1 + n_features) + prod(settings.structure.shape(n_components, n_features)))


def _plan_stage(
    source: Source,
    settings: EMSettings,
    n_components: int,
    n_starts: int,
    seed: int,
    before_moves: bool,
    name: str,
    tap: Callable[[Sequence[Chunk]], None] | None = None,
) -> Stage:
    entry = ALGORITHMS[name]
    stop = entry.stop(settings, compute_negligible_gain(source, settings, n_components), before_moves)
    n_rows = _check_known(source) if entry.reading == "partitions" else source.n_rows
    algorithm = entry.make(settings, n_rows)
    if entry.reading == "pass":
        return Stage(name, algorithm, execution.plan_passes(source), stop)
    if entry.reading == "batches":
        return Stage(name, algorithm, _make_batches(source, settings, seed, tap), stop)
    # small partitions from the start, so that a batch has rows from many positions
    batch_size = replace(settings, half_life=None).choose_batch_size(n_rows)
    cut = _cut_source(source, settings, n_components, n_starts, max(1, batch_size // PARTITIONS_PER_BATCH))
    return Stage(name, algorithm, partial(cut.iter_chunk_groups, source, batch_size, seed), stop, partitions=cut)


def _make_batches(
    source: Source, settings: EMSettings, seed: int, tap: Callable[[Sequence[Chunk]], None] | None
) -> Callable[[int, int], Iterator[ChunkGroup]]:
    size = settings.choose_batch_size(source.n_rows)

    def passes(number: int, taken: int) -> Iterator[ChunkGroup]:
        if settings.half_life is not None:
            return shuffling.iter_batches_in_order(source, size, taken)
        return shuffling.iter_shuffled_batches(source, size, seed, number, tap if number == 1 else None, taken)

    return passes


def _plan_refining(source: Source, settings: EMSettings, n_components: int, n_starts: int, seed: int) -> Stage:
    """Return two incremental passes after another algorithm, whose result counts as much as all rows."""
    n_rows = _check_known(source)
    first = replace(settings, schedule=Reciprocal(), half_life=None).make_stepwise(n_rows)
    batch_size = int(first.batch_size)
    cut = _cut_source(source, settings, n_components, n_starts, batch_size)
    passes = partial(cut.iter_chunk_groups, source, batch_size, seed)
    return Stage("incremental", Incremental(first, start_rows=n_rows), passes, MaxPasses(), max_passes=2)


def _cut_source(source: Source, settings: EMSettings, n_components: int, n_starts: int, rows: int) -> Partitions:
    bytes_each = n_starts * count_entry_bytes(settings, n_components, source.n_features)
    return Partitions.from_source(source, rows, partitions.max_partitions(bytes_each))


def _check_known(source: Source) -> int:
    if source.n_rows is None:
        raise InputError(partitions.UNKNOWN)
    return source.n_rows
