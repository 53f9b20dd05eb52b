"""What every source of rows is: chunks in storage order, read once each in a pass.

A source knows where rows come from and nothing of models. A chunk's rows are either an array at hand or a
``dask.delayed.Delayed`` that makes one; whoever executes a pass tells the two apart, nobody else needs to.
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
    """A unit of storage.

    Attributes
    ----------
    index : int
        Place in storage order, counted from 0.
    rows : ndarray of shape (n, d), or Delayed that makes one
        float64, float32 or an integer dtype in native byte order, as stored; never widened or copied whole. Strides
        and writeability are as the input has them.
    weights : ndarray of shape (n,), Delayed that makes one, or None
        Sample weights, float64, finite and not negative; None means 1 for every row. Delayed exactly where the rows
        are.
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


class Reading(Protocol):
    """Rows by chunks, as a pass needs them."""

    @property
    def n_features(self) -> int:
        """Number of columns."""

    @property
    def n_rows(self) -> int | None:
        """Number of rows, or None while unknown (batches, dask chunks of unknown length)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the rows as they are stored (of the first batch, where batches differ)."""

    def chunks(self) -> Iterator[Chunk]:
        """One pass: every chunk once, in storage order."""


class Source(Reading, Protocol):
    """What is given to a model: rows with names and weights, which may be read again and have results."""

    @property
    def feature_names(self) -> NDArray[np.object_] | None:
        """Column names where the input has names that are all strings."""

    @property
    def weighted(self) -> bool:
        """Whether the rows carry sample weights."""

    @property
    def repeatable(self) -> bool:
        """Whether a second pass is possible; without it a second ``chunks()`` or ``map()`` raises SinglePassError."""

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any, n_columns: int | None) -> Any:
        """Row-wise results of ``function`` in the kind that was given (section *Prediction* of the README).

        ``function`` maps rows (n, d), n at least 1, to (n,) where ``n_columns`` is None, else to (n, n_columns).
        """


def described(kind: str, source: Source) -> str:
    """One line that says what a source is, such as ``NumPy array of 1,000 rows x 3 features, float32``."""
    n_rows = "an unknown number of" if source.n_rows is None else f"{source.n_rows:,}"
    weighted = ", weighted" if source.weighted else ""
    return f"{kind} of {n_rows} rows x {source.n_features} features, {source.dtype}{weighted}"
