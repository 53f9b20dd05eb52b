"""Records as strict JSON and named arrays, and back. Only the types of one table are ever made from a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.checkpoint.container import Arrays
from streamgmm.checkpoint.keeper import Checkpoint
from streamgmm.course import Ending, Moment, Task
from streamgmm.drift import Monitor
from streamgmm.em import Expectation, MStepInfo
from streamgmm.execution import Evaluation
from streamgmm.fingerprint import Fingerprint
from streamgmm.fitting import Run, Trajectory
from streamgmm.history import History, Record
from streamgmm.initialization import Drawn, Sampling
from streamgmm.iteration import Position
from streamgmm.ledger import Ledger
from streamgmm.likelihood import LogLikelihood
from streamgmm.online import Fallback, Segments, Stream, Waiting
from streamgmm.parameters import Parameters
from streamgmm.pieces import Pieces
from streamgmm.ranges import Ranges
from streamgmm.schedules import Constant, HalfLife, PowerDecay, Reciprocal
from streamgmm.search import Finishing, Restarts
from streamgmm.statistics import Statistics
from streamgmm.strategies import Entries, Learnt, Ring, Striding
from streamgmm.strategies.incremental import leaves, placed
from streamgmm.tokens import Tokens

TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Checkpoint,
        Constant,
        Drawn,
        Ending,
        Evaluation,
        Expectation,
        Fallback,
        Fingerprint,
        Finishing,
        HalfLife,
        Learnt,
        Ledger,
        LogLikelihood,
        MStepInfo,
        Moment,
        Monitor,
        Parameters,
        Pieces,
        Position,
        PowerDecay,
        Ranges,
        Reciprocal,
        Restarts,
        Ring,
        Run,
        Sampling,
        Segments,
        Statistics,
        Stream,
        Striding,
        Task,
        Tokens,
        Trajectory,
        Waiting,
    )
}


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
    if isinstance(value, tuple | list):
        return {"list": [packed(part, f"{name}.{place}", arrays) for place, part in enumerate(value)]}
    if isinstance(value, History):
        columns = value.columns()
        stages = columns.pop("stage").tolist()
        return {
            "history": stages,
            "columns": {key: packed(part, f"{name}.{key}", arrays) for key, part in columns.items()},
        }
    if isinstance(value, Entries):
        kept = _columns(leaves(value))
        visited = _columns(value.visited, origins=True)
        return {"entries": packed([value.origin, kept, value.moving, visited], name, arrays)}
    if isinstance(value, Tokens):
        return {"tokens": packed([value.numbers, sorted(frozenset().union(*value.digests))], name, arrays)}
    if is_dataclass(value) and type(value).__name__ in TYPES:
        parts = {part.name: packed(getattr(value, part.name), f"{name}.{part.name}", arrays) for part in fields(value)}
        return {"type": type(value).__name__, "fields": parts}
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be saved ({name})")


def unpacked(value: Any, arrays: Arrays) -> Any:
    """What `packed` made JSON of; KeyError, TypeError or ValueError where it is something else."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "float" in value:
        return float.fromhex(value["float"])
    if "bytes" in value:
        return bytes.fromhex(value["bytes"])
    if "list" in value:
        return tuple(unpacked(part, arrays) for part in value["list"])
    if "tokens" in value:
        numbers, digests = unpacked(value["tokens"], arrays)
        return Tokens(numbers, (frozenset(digests),) if digests else ())
    if "entries" in value:
        origin, kept, moving, visited = unpacked(value["entries"], arrays)
        return placed(Entries(origin, moving=moving, visited=_entries(*visited)), dict(_entries(*kept, origin=origin)))
    if "history" in value:
        columns = {key: unpacked(part, arrays) for key, part in value["columns"].items()}
        names = ("rows", "log_likelihood", "occupancy", "drift", "updates")
        rows = zip(value["history"], *(columns[name] for name in names), strict=True)
        return History(
            tuple(
                Record(stage, int(n), float(mean), occupancy, float(drift), int(updates))
                for stage, n, mean, occupancy, drift, updates in rows
            )
        )
    return TYPES[value["type"]](**{name: unpacked(part, arrays) for name, part in value["fields"].items()})


def _columns(entries: Sequence[tuple[int, Expectation]], *, origins: bool = False) -> list[NDArray[Any]]:
    """Entries as arrays, one row an entry: thousands of small arrays would take longer."""
    statistics = [entry.statistics for _, entry in entries]
    tallies = [entry.likelihood for _, entry in entries]
    columns = [
        np.array([place for place, _ in entries], np.int64),
        np.array([part.counts for part in statistics]),
        np.array([part.sums for part in statistics]),
        np.array([part.products for part in statistics]),
        np.array([(tally.total, tally.entropy, tally.classification, tally.weight) for tally in tallies]),
        np.array([(tally.rows, -1 if tally.version is None else tally.version) for tally in tallies], np.int64),
    ]
    return [*columns, np.array([part.origin for part in statistics])] if origins else columns


def _entries(
    places: Any,
    counts: Any,
    sums: Any,
    products: Any,
    tallies: Any,
    numbers: Any,
    origins: Any = None,
    *,
    origin: Any = None,
) -> tuple[tuple[int, Expectation], ...]:
    """What `_columns` made arrays of."""
    found = []
    for turn, place in enumerate(places):
        total, entropy, classification, weight = (float(part) for part in tallies[turn])
        rows, version = (int(part) for part in numbers[turn])
        likelihood = LogLikelihood(total, entropy, classification, weight, rows, None if version < 0 else version)
        about = origin if origins is None else origins[turn]
        statistics = Statistics(about, counts[turn], sums[turn], products[turn])
        found.append((int(place), Expectation(statistics, likelihood)))
    return tuple(found)
