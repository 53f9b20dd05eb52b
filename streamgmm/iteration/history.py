"""The history of a fit: a record for each update, in bounded memory; older records are merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from streamgmm.model.parameters import Array
from streamgmm.persistence.codec import persistent


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """Record of one update, or of a few consecutive ones of the same stage.

    Parameters
    ----------
    stage : str
        Stage of the fit.
    rows : int
        Rows that were read for it.
    log_likelihood : float
        Of these rows under the parameters before the update, nats per row.
    occupancy : ndarray of shape (k,)
        Share of each component in these rows.
    drift : float
        Drift of these rows (`streamgmm.model.drift.score`); the largest of the updates.
    updates : int, default=1
        Number of updates in the record.

    Examples
    --------
    >>> one = Record("sweep", 100, -2.0, np.array([0.5, 0.5]), 1.0)
    >>> both = one.merged(Record("sweep", 300, -1.0, np.array([0.1, 0.9]), 3.0))
    >>> both.rows, both.log_likelihood, both.occupancy, both.drift, both.updates
    (400, -1.25, array([0.2, 0.8]), 3.0, 2)
    """

    stage: str
    rows: int
    log_likelihood: float
    occupancy: Array
    drift: float
    updates: int = 1

    def merged(self, later: Record) -> Record:
        """Return one record for both: rows add up, likelihood and shares are means a row, the larger drift counts."""
        rows = self.rows + later.rows
        share = later.rows / rows if rows else 0.5
        return Record(
            self.stage,
            rows,
            (1 - share) * self.log_likelihood + share * later.log_likelihood,
            (1 - share) * self.occupancy + share * later.occupancy,
            max(self.drift, later.drift),
            self.updates + later.updates,
        )


@dataclass(frozen=True, slots=True, eq=False)
class HistoryColumns:
    """Records of a history, one entry each, as it is saved."""

    stage: tuple[str, ...]
    rows: NDArray[np.int64]
    log_likelihood: Array
    occupancy: Array
    drift: Array
    updates: NDArray[np.int64]


@persistent("history-1")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class History(Sequence[Record]):
    """Records of one fit, oldest first; immutable.

    There are at most ``LIMIT``, or one for each uninterrupted run of a stage where those are more. When another would
    be too many, neighbours of the same stage are merged pairwise, which makes room for half as many: an append costs a
    copy of the references and, where runs are long, one merger on average. The newest record is as it was appended.

    Parameters
    ----------
    records : tuple of Record, default=()
        First records.

    Examples
    --------
    >>> history = History()
    >>> for step in range(2000):
    ...     history = history.append_record(Record("online", 10, -1.0, np.ones(1), 0.5))
    >>> history, history[0].updates, history[-1].updates
    (History(976 records of 2000 updates, 20000 rows), 4, 1)
    """

    LIMIT: ClassVar[int] = 1024

    records: tuple[Record, ...] = ()

    def to_columns(self) -> HistoryColumns:
        """Return the records as a few arrays."""
        columns = self.columns()
        return HistoryColumns(tuple(columns.pop("stage").tolist()), **columns)

    @classmethod
    def from_columns(cls, columns: HistoryColumns) -> History:
        """Return the history that `to_columns` made arrays of; ValueError where they are of different lengths."""
        numbers = (columns.rows, columns.log_likelihood, columns.drift, columns.updates)
        if any(column.shape != (len(columns.stage),) for column in numbers) or columns.occupancy.ndim != 2:
            raise ValueError("columns of the history have different lengths")
        if (columns.rows < 0).any() or (columns.updates < 0).any():
            raise ValueError("the history has negative counts")
        rows, likelihoods, drifts, updates = (column.tolist() for column in numbers)
        parts = zip(columns.stage, rows, likelihoods, columns.occupancy, drifts, updates, strict=True)
        return cls(tuple(Record(*part) for part in parts))

    def append_record(self, record: Record) -> History:
        """Return the history with one more record."""
        if len(self.records) < self.LIMIT:
            return History((*self.records, record))
        records = (*_merge_pairs(self.records), record)
        # nothing could be merged where every stage is a run of one, save perhaps the newest record with the one before
        return History(records if len(records) <= self.LIMIT else tuple(_merge_pairs(records)))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the records as columns, for a table or a plot; one entry (one row) a record."""
        stages = np.empty(len(self.records), dtype=object)
        stages[:] = [record.stage for record in self.records]
        return {
            "stage": stages,
            "rows": np.array([record.rows for record in self.records], dtype=np.int64),
            "log_likelihood": np.array([record.log_likelihood for record in self.records], dtype=np.float64),
            "occupancy": np.array([record.occupancy for record in self.records], dtype=np.float64).reshape(
                len(self.records), len(self.records[0].occupancy) if self.records else 0
            ),
            "drift": np.array([record.drift for record in self.records], dtype=np.float64),
            "updates": np.array([record.updates for record in self.records], dtype=np.int64),
        }

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History) or len(self) != len(other):
            return False
        mine, theirs = self.columns(), other.columns()
        return all(np.array_equal(mine[name], theirs[name]) for name in mine)

    def __hash__(self) -> int:
        return hash(tuple((record.stage, record.rows) for record in self.records))

    def __repr__(self) -> str:
        updates, rows = (sum(getattr(record, name) for record in self.records) for name in ("updates", "rows"))
        return f"History({len(self.records)} records of {updates} updates, {rows} rows)"


def _merge_pairs(records: Iterable[Record]) -> Iterator[Record]:
    """Merge neighbours of the same stage pairwise; the last of an odd run stays."""
    pending: Record | None = None
    for record in records:
        if pending is not None and pending.stage == record.stage:
            yield pending.merged(record)
            pending = None
        else:
            if pending is not None:
                yield pending
            pending = record
    if pending is not None:
        yield pending
