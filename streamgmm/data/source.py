"""Sources of rows: chunks in storage order, each read once in a pass.

The rows of a chunk are an array in memory or a ``dask.delayed.Delayed`` that makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LEAF_ROWS = 2**14
"""Rows of a leaf: the unit of a kernel call and of the reduction, counted from the start of its chunk."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Unit of storage.

    Attributes
    ----------
    index : int
        Index in storage order, from 0.
    rows : ndarray of shape (n, d), or Delayed that makes one
        float64, float32 or an integer dtype in native byte order, as stored; never widened or copied whole. Strides
        and writeability are those of the input.
    weights : ndarray of shape (n,), Delayed that makes one, or None
        Sample weights, float64, finite and not negative; None means 1 for every row. Delayed exactly if the rows are.
    start : int or None
        Number of rows before this chunk; None while chunk lengths are unknown.
    length : int or None
        Number of rows, possibly 0; None while unknown.
    """

    index: int
    rows: Any
    weights: Any = None
    start: int | None = None
    length: int | None = None

    def cut(self, start: int, stop: int) -> Chunk:
        """Return a run of rows in memory, counted from the first of the chunk, as a chunk of the same index."""
        part = slice(start, min(stop, len(self.rows)))
        weights = None if self.weights is None else self.weights[part]
        first = None if self.start is None else self.start + start
        return Chunk(self.index, self.rows[part], weights, first, part.stop - start)


class Reading(Protocol):
    """Rows by chunks, for one pass or more."""

    @property
    def n_features(self) -> int:
        """Number of columns."""

    @property
    def n_rows(self) -> int | None:
        """Number of rows, or None while unknown (batches, dask chunks of unknown length)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the rows in storage; of the first batch if batches differ."""

    def chunks(self) -> Iterator[Chunk]:
        """Yield every chunk once, in storage order: one pass."""


class Source(Reading, Protocol):
    """Rows with names and weights, which may be read again and mapped to results."""

    @property
    def feature_names(self) -> NDArray[np.object_] | None:
        """Column names, if the input has names that are all strings."""

    @property
    def weighted(self) -> bool:
        """True if the rows carry sample weights."""

    @property
    def repeatable(self) -> bool:
        """True if a second pass is possible; otherwise a second ``chunks()`` or ``map()`` raises SinglePassError."""

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any, n_columns: int | None) -> Any:
        """Return row-wise results of ``function`` in the kind of the input: NumPy for NumPy, lazy for lazy.

        ``function`` maps rows (n, d), n at least 1, to (n,) if ``n_columns`` is None, else to (n, n_columns).
        """


def describe_source(kind: str, source: Source) -> str:
    """Return one line, such as ``array of 1,000 rows x 3 features, float32``."""
    n_rows = "an unknown number of" if source.n_rows is None else f"{source.n_rows:,}"
    weighted = ", weighted" if source.weighted else ""
    return f"{kind} of {n_rows} rows x {source.n_features} features, {source.dtype}{weighted}"
