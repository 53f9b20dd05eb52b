"""Records as strict JSON and named arrays, and back. Only the types of one table are ever made from a file."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.drift import Monitor
from streamgmm.em import Expectation
from streamgmm.history import History, Record
from streamgmm.ledger import Ledger
from streamgmm.likelihood import LogLikelihood
from streamgmm.online import Fallback, Stream, Waiting
from streamgmm.parameters import Parameters
from streamgmm.pieces import Pieces
from streamgmm.ranges import Ranges
from streamgmm.schedules import Constant, HalfLife, PowerDecay, Reciprocal
from streamgmm.search import Restarts
from streamgmm.statistics import Statistics
from streamgmm.strategies import Entries, Learnt, Ring
from streamgmm.strategies.incremental import leaves, placed
from streamgmm.tokens import Tokens

Arrays = dict[str, NDArray[Any]]

TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Constant,
        Expectation,
        Fallback,
        HalfLife,
        Learnt,
        Ledger,
        LogLikelihood,
        Monitor,
        Parameters,
        Pieces,
        PowerDecay,
        Ranges,
        Reciprocal,
        Restarts,
        Ring,
        Statistics,
        Stream,
        Tokens,
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
        return {"entries": {key: packed(part, f"{name}.{key}", arrays) for key, part in _columns(value).items()}}
    if isinstance(value, Tokens):
        return {"tokens": packed([value.numbers, sorted(frozenset().union(*value.digests))], name, arrays)}
    if is_dataclass(value) and type(value).__name__ in TYPES:
        parts = {part.name: packed(getattr(value, part.name), f"{name}.{part.name}", arrays) for part in fields(value)}
        return {"type": type(value).__name__, "fields": parts}
    if value is None or isinstance(value, str):
        return value
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
        return _entries(**{key: unpacked(part, arrays) for key, part in value["entries"].items()})
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


def _columns(entries: Entries) -> dict[str, Any]:
    """Entries between two passes as arrays, one row an entry: thousands of small arrays would take longer."""
    kept = leaves(entries)
    statistics = [entry.statistics for _, entry in kept]
    tallies = [entry.likelihood for _, entry in kept]
    return {
        "origin": entries.origin,
        "places": np.array([place for place, _ in kept], np.int64),
        "counts": np.array([part.counts for part in statistics]),
        "sums": np.array([part.sums for part in statistics]),
        "products": np.array([part.products for part in statistics]),
        "tallies": np.array([(tally.total, tally.entropy, tally.classification, tally.weight) for tally in tallies]),
        "rows": np.array([tally.rows for tally in tallies], np.int64),
    }


def _entries(origin: Any, places: Any, counts: Any, sums: Any, products: Any, tallies: Any, rows: Any) -> Entries:
    """What `_columns` made arrays of; which parameters each entry was made under is no longer known."""
    made = {}
    for place, *moments, tally, n in zip(places, counts, sums, products, tallies, rows, strict=True):
        total, entropy, classification, weight = (float(part) for part in tally)
        likelihood = LogLikelihood(total, entropy, classification, weight, int(n), version=None)
        made[int(place)] = Expectation(Statistics(origin, *moments), likelihood)
    return placed(Entries(origin), made)
