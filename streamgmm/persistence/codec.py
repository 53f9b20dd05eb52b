"""Records as strict JSON and named arrays, and back.

Only the types of one table are ever made from a file, and only of fields that are what their annotations say.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, is_dataclass
from itertools import chain, groupby, pairwise
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from streamgmm.algorithms.accelerated import AcceleratedState
from streamgmm.algorithms.drift import Monitor
from streamgmm.algorithms.incremental import IncrementalState
from streamgmm.algorithms.partition_columns import EntryColumns, TreeColumns
from streamgmm.algorithms.schedules import Constant, HalfLife, PowerDecay, Reciprocal
from streamgmm.algorithms.stepwise import StepwiseState
from streamgmm.algorithms.variance_reduced import VarianceReducedState
from streamgmm.algorithms.window import WindowState
from streamgmm.data.execution import EvaluationState
from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.partitions import Partitions
from streamgmm.data.ranges import Ranges
from streamgmm.data.subsample import KeyedRows, SubsampleState
from streamgmm.fitting.driver import FinalPassState, FitState, FitTask
from streamgmm.fitting.partition_statistics import PartitionStatistics
from streamgmm.fitting.refinement import RefinementState
from streamgmm.fitting.streaming import PendingRows, Segments, Stream
from streamgmm.fitting.tokens import Tokens
from streamgmm.initialization.multistart import Restarts
from streamgmm.initialization.starts_per_size import StartsOfSize
from streamgmm.iteration.history import History, Record
from streamgmm.iteration.loop import Position
from streamgmm.iteration.run import Run, Trajectory
from streamgmm.model.criteria import Criterion, HeldOut, Prequential
from streamgmm.model.em import Expectation, MStepInfo
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import Counter
from streamgmm.model.statistics import Statistics, is_products_shape
from streamgmm.persistence.container import Arrays
from streamgmm.persistence.writer import Checkpoint
from streamgmm.selection.procedure import SelectionState
from streamgmm.selection.racing import RaceState

TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        VarianceReducedState,
        Checkpoint,
        SelectionState,
        Constant,
        RaceState,
        Criterion,
        KeyedRows,
        FinalPassState,
        EvaluationState,
        Expectation,
        Fingerprint,
        RefinementState,
        HalfLife,
        HeldOut,
        StepwiseState,
        PartitionStatistics,
        LogLikelihood,
        MStepInfo,
        FitState,
        Monitor,
        Parameters,
        Partitions,
        Position,
        PowerDecay,
        Prequential,
        Reciprocal,
        Restarts,
        WindowState,
        Run,
        StartsOfSize,
        SubsampleState,
        Segments,
        Statistics,
        Stream,
        AcceleratedState,
        FitTask,
        Trajectory,
        PendingRows,
    )
}


# Fields that files of earlier versions lack, which are then their defaults; and those of theirs that say nothing now.
LATER: dict[type[Any], set[str]] = {FitState: {"second"}, AcceleratedState: {"step", "own", "pairs"}}
DROPPED: dict[type[Any], set[str]] = {
    StepwiseState: {"start", "start_rows", "slower", "alike"},
    Stream: {"uneven", "storm", "fallback"},
    AcceleratedState: {"begin"},
}

LONGEST = 2**16  # words that are written as repeated: a history has fewer records

STATE = Counter[Expectation] | IncrementalState | StepwiseState | AcceleratedState  # of the strategies of a fit


def packed(value: Any, name: str, arrays: Arrays) -> Any:
    """Value as strict JSON; its arrays are put under names that begin with ``name``.

    Floats are hexadecimal strings, which come back to the bit.
    """
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return {"float": float(value).hex()}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, tuple) and len(value) > 1 and all(type(part) is float for part in value):
        return {"floats": packed(np.array(value), name, arrays)}  # thousands of strings would take longer
    if isinstance(value, tuple) and len(value) > 1 and all(type(part) is str for part in value):
        return {"repeated": [[word, len(list(run))] for word, run in groupby(value)]}
    if isinstance(value, tuple | list):
        return {"list": [packed(part, f"{name}.{place}", arrays) for place, part in enumerate(value)]}
    if isinstance(value, History):
        columns = value.columns()
        stages = tuple(columns.pop("stage").tolist())
        return {"history": packed(_RecordColumns(stages, **columns), name, arrays)["fields"]}
    if isinstance(value, IncrementalState):
        return {"entries": packed(TreeColumns.of(value), name, arrays)["fields"]}
    if isinstance(value, Ranges):  # last integers, not the ones behind them, which may have 65 bits
        spans = [(first, stop - 1) for first, stop in value.spans]
        return {"ranges": packed(np.array(spans, np.int64).reshape(-1, 2), name, arrays)}
    if isinstance(value, Tokens):
        digests = b"".join(sorted(frozenset().union(*value.digests)))
        tokens = _TokenColumns(value.numbers, np.frombuffer(digests, np.uint8).reshape(-1, _DIGEST))
        return {"tokens": packed(tokens, name, arrays)["fields"]}
    if isinstance(value, PendingRows):
        value = _gathered(value)
    if is_dataclass(value) and type(value) in _KNOWN:
        parts = {part.name: packed(getattr(value, part.name), f"{name}.{part.name}", arrays) for part in fields(value)}
        return {"type": type(value).__name__, "fields": parts}
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be saved ({name})")


def unpacked(value: Any, arrays: Arrays, kind: Any = Any) -> Any:
    """What `packed` made JSON of, of the kind that an annotation says.

    LookupError, TypeError, ValueError, ArithmeticError or RecursionError where it is something else.
    """
    made = _unpacked(value, arrays)
    if not _is(made, kind):
        raise TypeError(f"{type(made).__name__} where {kind} is expected")
    return made


def _unpacked(value: Any, arrays: Arrays) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() == {"type", "fields"}:
        return _made(_NAMED[value["type"]], value["fields"], arrays)
    ((form, inner),) = value.items()
    match form, inner:
        case "array", str():
            return arrays[inner]
        case "float", str():
            return float.fromhex(inner)
        case "bytes", str():
            return bytes.fromhex(inner)
        case "list", list():
            return tuple(_unpacked(part, arrays) for part in inner)
        case "floats", _:
            return tuple(unpacked(inner, arrays, NDArray[np.float64]).ravel().tolist())
        case "repeated", list():
            return _repeated(inner)
        case "ranges", _:
            return _ranges(unpacked(inner, arrays, NDArray[np.int64]))
        case "tokens", dict():
            return _tokens(_made(_TokenColumns, inner, arrays))
        case "entries", dict():
            return _made(TreeColumns, inner, arrays).entries()
        case "history", dict():
            return _history(_made(_RecordColumns, inner, arrays))
    raise ValueError(f"{form} is of no form that is known")


def _made(kind: type[Any], parts: dict[str, Any], arrays: Arrays) -> Any:
    hints, dropped = _HINTS[kind], DROPPED.get(kind, set())
    parts = {name: part for name, part in parts.items() if name not in dropped}
    if not hints.keys() - LATER.get(kind, set()) <= parts.keys() <= hints.keys():
        raise KeyError(f"{kind.__name__} has other fields")
    made = kind(**{name: unpacked(part, arrays, hints[name]) for name, part in parts.items()})
    if not _agrees(made):
        raise ValueError(f"arrays of {kind.__name__} contradict each other or are not finite")
    return made


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is what an annotation says."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_is(value, part) for part in parts)
    if origin is tuple and parts[-1] is Ellipsis:
        return type(value) is tuple and all(_is(part, parts[0]) for part in value)
    if origin is tuple:
        return type(value) is tuple and len(value) == len(parts) and all(map(_is, value, parts))
    if origin is np.ndarray:
        (dtype,) = get_args(parts[1])
        return type(value) is np.ndarray and (dtype is Any or value.dtype == dtype)
    if kind is int:  # all of them are counts
        return type(value) is int and 0 <= value < 2**63
    if kind is float:
        return type(value) in (float, int)
    return kind is Any or type(value) is kind


def _agrees(value: Any) -> bool:
    """Whether the arrays of a record are of one number of components and features, or of entries, and finite."""
    match value:
        case Parameters(weights, means, covariances, factors):
            return covariances.shape == factors.shape and _are_moments(means, weights, means, covariances, factors)
        case Statistics(origin, counts, sums, products):
            return _are_moments(origin, counts, sums, products)
        case Monitor(shift=shift, excess=excess):
            return shift.ndim == 2 and excess.shape == shift.shape[:1]
        case Partitions(rows, chunks, lengths):
            return rows > 0 and chunks > 0 and lengths.ndim == 1 and _are_counts(lengths)
        case KeyedRows(keys, rows, weights):
            one_each = keys.shape == rows.shape[:1] and (weights is None or weights.shape == keys.shape)
            return rows.ndim == 2 and one_each and rows.dtype.kind in "biuf" and not np.isnan(keys).any()
        case VarianceReducedState(start, _, anchor, fixed, _, covered, moved, ahead, sample, fresh, storm=storm):
            origins = [one.origin for one in (fixed, moved, ahead) if one is not None]
            origins += [] if covered is None else [covered.statistics.origin]
            shapes = {anchor.means.shape, storm.shift.shape, *(origin.shape for origin in origins)}
            widths = {start.n_features, *(one.rows.shape[1] for one in (sample, fresh) if one is not None)}
            return shapes == {start.means.shape} and len(widths) == 1
        case PendingRows(rows, weights):
            parts = list(zip(rows, weights, strict=True))
            return all(part.ndim == 2 and (given is None or given.shape == part.shape[:1]) for part, given in parts)
        case Trajectory(state=state):
            return _is(state, STATE | None)
        case Position(number, candidates=candidates):
            return number >= 1 and all(_is(state, STATE) for *_, state in candidates)
        case Run(trajectories, bounds=bounds, updates=updates, position=position):
            if position is None:
                return True
            places = {place for place, *_ in position.candidates}
            return len(bounds) == len(updates) == len(trajectories) > max(places, default=0)
        case RaceState(places, run, ended, dropped, degenerate):
            known = {*places, *(place for place, _ in ended)}
            return len(places) == len(run.trajectories) and known >= {*dropped, *degenerate}
        case AcceleratedState(current, step=step, own=own, pairs=pairs):
            size = current.weights.size + current.means.size + current.covariances.size
            vectors = [one for one in (step, own, *chain(*pairs)) if one is not None]
            return all(one.shape == (size,) and np.isfinite(one).all() for one in vectors)
        case SelectionState(starts_by_size=starts_by_size, judged=judged):
            return judged.shape == (len(starts_by_size), 2)
        case FitTask(random=random):
            arrays = [part for part in random if isinstance(part, np.ndarray)]
            if any(array.dtype != np.uint32 for array in arrays):
                return False
            np.random.RandomState().set_state(random)  # ValueError where it is none
            return True
        case Restarts(ways, scores):
            return len(ways) == len(scores) > 0
        case _RecordColumns(stage, rows, likelihoods, occupancy, drifts, updates):
            columns = (rows, likelihoods, drifts, updates)
            of_one_length = all(column.shape == (len(stage),) for column in columns)
            return of_one_length and occupancy.ndim == 2 and _are_counts(rows, updates)
        case EntryColumns():
            return value.agree()
        case TreeColumns(origin):
            return origin.ndim == 2 and bool(np.isfinite(origin).all())
    return True


def _are_moments(centres: Array, counts: Array, sums: Array, *products: Array) -> bool:
    if centres.ndim != 2:
        return False
    k, d = centres.shape
    shapes_agree = counts.shape == (k,) and sums.shape == (k, d)
    shapes_agree = shapes_agree and all(is_products_shape(part.shape, k, d) for part in products)
    return shapes_agree and all(np.isfinite(array).all() for array in (centres, counts, sums, *products))


def _are_counts(*columns: NDArray[np.int64]) -> bool:
    return all((column >= 0).all() for column in columns)


@dataclass(frozen=True, slots=True, eq=False)
class _RecordColumns:
    """A history, one entry a record."""

    stage: tuple[str, ...]
    rows: NDArray[np.int64]
    log_likelihood: Array
    occupancy: Array
    drift: Array
    updates: NDArray[np.int64]


def _history(columns: _RecordColumns) -> History:
    rows, likelihoods, drifts, updates = (
        array.tolist() for array in (columns.rows, columns.log_likelihood, columns.drift, columns.updates)
    )
    parts = zip(columns.stage, rows, likelihoods, columns.occupancy, drifts, updates, strict=True)
    return History(tuple(Record(*part) for part in parts))


@dataclass(frozen=True, slots=True, eq=False)
class _TokenColumns:
    """Tokens, one row a digest."""

    numbers: Ranges
    digests: NDArray[np.uint8]


_DIGEST = 16


def _tokens(columns: _TokenColumns) -> Tokens:
    digests = frozenset(row.tobytes() for row in columns.digests.reshape(-1, _DIGEST))
    return Tokens(columns.numbers, (digests,) if digests else ())


def _repeated(runs: list[Any]) -> tuple[str, ...]:
    proper = all(type(word) is str and type(number) is int and number > 0 for word, number in runs)
    if not proper or sum(number for _, number in runs) > LONGEST:
        raise ValueError("words that are repeated otherwise")
    return tuple(word for word, number in runs for _ in range(number))


def _ranges(spans: NDArray[np.int64]) -> Ranges:
    ranges = Ranges(tuple((first, last + 1) for first, last in spans.reshape(-1, 2).tolist()))
    ends = [end for span in ranges.spans for end in span]
    if any(end >= after for end, after in pairwise(ends)):
        raise ValueError("ranges that overlap")
    return ranges


def _gathered(waiting: PendingRows) -> PendingRows:
    """The same rows in as few arrays as there can be: a call for each row would make a file of names."""

    def alike(part: tuple[NDArray[Any], NDArray[Any] | None]) -> tuple[Any, bool]:
        return part[0].dtype, part[1] is None

    rows, weights = [], []
    for (_, unweighted), parts in groupby(zip(waiting.rows, waiting.weights, strict=True), alike):
        run, given = zip(*parts, strict=True)
        rows.append(np.concatenate(run))
        weights.append(None if unweighted else np.concatenate(given))
    return PendingRows(tuple(rows), tuple(weights), waiting.n_rows)


_KNOWN = {*TYPES.values(), TreeColumns, EntryColumns, _RecordColumns, _TokenColumns}
_NAMED = {**TYPES, EntryColumns.__name__: EntryColumns}
_HINTS = {kind: {part.name: get_type_hints(kind)[part.name] for part in fields(kind)} for kind in _KNOWN}
