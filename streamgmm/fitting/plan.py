"""Which stages a fit goes through: what the names of the algorithms mean. It knows sizes, nothing of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, prod

from streamgmm.algorithms.accelerated import Accelerated
from streamgmm.algorithms.batch import Batch
from streamgmm.algorithms.incremental import Incremental
from streamgmm.algorithms.schedules import HalfLife, PowerDecay, Reciprocal, Schedule
from streamgmm.algorithms.stepwise import Stepwise
from streamgmm.algorithms.window import PARTS
from streamgmm.data import execution, shuffling
from streamgmm.data import partitions as pieces
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.partitions import Partitions
from streamgmm.data.source import Chunk, Source
from streamgmm.errors import InputError
from streamgmm.initialization.choose_starts import is_little
from streamgmm.iteration.run import Stage
from streamgmm.iteration.stopping import AcceleratedStop, AitkenStop, MaxPasses, StoppingRule, Tolerance
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters

LARGE = 2**20  # rows from which 'auto' learns in stages: below, a pass takes less than a second
UPDATES = 300  # of a pass, so that the steps reach far and each still sees enough rows
LEAST_BATCH, MOST_BATCH = 1_000, 100_000
LIVES = 16  # batches of a half-life
PLACES = 16  # pieces of a batch of incremental EM, from as many places of the storage


@dataclass(frozen=True, slots=True)
class EMSettings:
    """How a model learns, as its settings say it.

    Attributes
    ----------
    structure : CovarianceStructure
        The family of covariances.
    reg_covar : float
        As the M-step adds it.
    batch_size : int or None
        Rows of an update; None to choose by the number of rows.
    schedule : Schedule or None
        Step sizes; None for the default.
    averaging : bool or None
        Whether the sum over all batches is reported; None where the schedule's steps shrink.
    half_life : float or None
        Rows after which half is forgotten.
    window : int or None
        Rows of a sliding window.
    tol : float or None
        Gain, nats a row, below which a fit has converged; None for the default of the algorithm.
    """

    structure: CovarianceStructure
    reg_covar: float
    batch_size: int | None = None
    schedule: Schedule | None = None
    averaging: bool | None = None
    half_life: float | None = None
    window: int | None = None
    tol: float | None = None

    def rows_of_a_batch(self, n_rows: int | None) -> int:
        """Rows of an update, where ``n_rows`` are known to come."""
        if self.batch_size is not None:
            size = self.batch_size
        else:
            size = LEAST_BATCH if n_rows is None else min(max(n_rows // UPDATES, LEAST_BATCH), MOST_BATCH)
        # what is to be forgotten leaves in small parts
        if self.window is not None:
            size = min(size, ceil(self.window / PARTS))
        if self.half_life is not None:
            size = min(size, ceil(self.half_life / LIVES))
        return size

    @property
    def forgets(self) -> bool:
        """Whether the latest rows are to count more, so that their order must be kept."""
        constant = self.schedule is not None and not self.schedule.averages
        return self.window is not None or self.half_life is not None or constant

    def stepwise(self, n_rows: int | None) -> Stepwise:
        """Stepwise EM with these steps."""
        forgetting = None if self.half_life is None else HalfLife(self.half_life)
        schedule = forgetting or self.schedule or PowerDecay()
        averaging = schedule.averages if self.averaging is None else self.averaging
        batch_size = self.rows_of_a_batch(n_rows)
        return Stepwise(schedule, batch_size, self.structure, self.reg_covar, averaging, forgetting)


def chosen(algorithm: str, source: Source, learning: EMSettings, n_components: int, resumed: bool) -> str:
    """What 'auto' stands for; a fit that is gone on with may be of single passes, which say little of strides."""
    if algorithm != "auto":
        return algorithm
    if not source.repeatable:
        return "stepwise"
    if source.n_rows is not None and source.n_rows >= LARGE:
        return "staged"
    if resumed or source.n_rows is None or learning.tol is not None:
        return "batch"
    little = is_little(source.n_rows, source.n_features, n_components, learning.structure)
    return "batch" if little else "accelerated"


def stages(
    algorithm: str,
    source: Source,
    learning: EMSettings,
    n_components: int,
    n_starts: int,
    seed: int,
    look: Callable[[Sequence[Chunk]], None] | None = None,
    moved: bool = False,
) -> list[Stage]:
    """Stages of an algorithm: 'batch', 'accelerated', 'stepwise', 'incremental', or 'staged', which is all of them.

    A step early in a fit is worth more than a precise one, so that a stepwise pass comes first, one or two of
    incremental EM take out its noise, and batch EM ends it, accelerated unless a tolerance was set. ``look`` is shown
    what the first pass of stepwise EM reads. Where the end is ``moved`` by splits and mergers, a plateau is one.
    """
    plain: StoppingRule = Tolerance(1e-3 if learning.tol is None else learning.tol)
    if algorithm == "batch":
        return [_batch(source, plain)]
    if algorithm == "accelerated":
        gain = worth_a_pass(source, learning, n_components)
        return [_accelerated(source, learning, AcceleratedStop(gain, patient=not moved))]
    if algorithm == "stepwise":
        return [_stepwise(source, learning, seed, None, plain, look)]
    if algorithm == "incremental":
        return [_incremental(source, learning, n_components, n_starts, seed, None, plain)]
    opening = _stepwise(source, learning, seed, 1, MaxPasses())
    if learning.tol is not None:
        return [opening, _refining(source, learning, n_components, n_starts, seed, 2, plain), _batch(source, plain)]
    gain = worth_a_pass(source, learning, n_components)
    return [
        opening,
        _refining(source, learning, n_components, n_starts, seed, 2, AitkenStop(gain)),
        _accelerated(source, learning, AcceleratedStop(gain, patient=not moved)),
    ]


def worth_a_pass(source: Source, learning: EMSettings, n_components: int) -> float:
    """Nats a row that are not worth another pass: of what the parameters are uncertain by, ν/2 nats, a fiftieth.

    Where the number of rows is unknown it is taken for large.
    """
    n_rows = LARGE if source.n_rows is None else source.n_rows
    return max(0.1, n_parameters(learning.structure, n_components, source.n_features) / 100) / n_rows


def _batch(source: Source, stop: StoppingRule) -> Stage:
    return Stage("batch", Batch(), execution.passes(source), None, stop)


def _accelerated(source: Source, learning: EMSettings, stop: StoppingRule) -> Stage:
    strategy = Accelerated(learning.structure, learning.reg_covar)
    return Stage("accelerated", strategy, execution.passes(source), None, stop)


def _stepwise(
    source: Source,
    learning: EMSettings,
    seed: int,
    most: int | None,
    stop: StoppingRule,
    look: Callable[[Sequence[Chunk]], None] | None = None,
) -> Stage:
    strategy = learning.stepwise(source.n_rows)

    def passes(number: int, taken: int) -> Iterator[ChunkGroup]:
        size = int(strategy.batch_size)
        if learning.half_life is not None:
            return shuffling.arriving(source, size, taken)
        return shuffling.batches(source, size, seed, number, look if number == 1 else None, taken)

    return Stage("stepwise", strategy, passes, most, stop)


def _incremental(
    source: Source,
    learning: EMSettings,
    n_components: int,
    n_starts: int,
    seed: int,
    most: int | None,
    stop: StoppingRule,
) -> Stage:
    """From the start: small pieces, so that a batch has rows from many places."""
    n_rows = _known(source)
    first = replace(learning, half_life=None).stepwise(n_rows)
    most_pieces = pieces.most_entries(n_starts * entry_bytes(learning, n_components, source.n_features))
    cut = Partitions.of(source, max(1, int(first.batch_size) // PLACES), most_pieces)
    passes = partial(cut.chunk_groups, source, int(first.batch_size), seed)
    return Stage("incremental", Incremental(first), passes, most, stop, cut)


def _refining(
    source: Source, learning: EMSettings, n_components: int, n_starts: int, seed: int, most: int, stop: StoppingRule
) -> Stage:
    """After a pass of another algorithm: steps that take its result for as much as all rows, and a batch a piece."""
    n_rows = _known(source)
    steady = replace(learning, schedule=Reciprocal(), half_life=None).stepwise(n_rows)
    most_pieces = pieces.most_entries(n_starts * entry_bytes(learning, n_components, source.n_features))
    cut = Partitions.of(source, int(steady.batch_size), most_pieces)
    passes = partial(cut.chunk_groups, source, int(steady.batch_size), seed)
    return Stage("incremental", Incremental(steady, start_rows=n_rows), passes, most, stop)


def entry_bytes(learning: EMSettings, n_components: int, n_features: int) -> int:
    """What an entry of incremental EM takes; the sums of the tree are as many again."""
    return 2 * 8 * (n_components * (1 + n_features) + prod(learning.structure.shape(n_components, n_features)))


def _known(source: Source) -> int:
    if source.n_rows is None:
        raise InputError(pieces.UNKNOWN)
    return source.n_rows
