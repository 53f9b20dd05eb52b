"""Batches from an iterator, or from a function that returns a fresh iterator for each pass.

A batch is one chunk, in memory only during its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.checks import apply_to_rows, choose_dtype, convert_dtype, validate_finite_weights
from streamgmm.data.source import Chunk, describe_source
from streamgmm.data.sources.in_memory import convert_to_numbers, get_feature_names
from streamgmm.errors import InputError, SinglePassError

Batch = tuple[NDArray[Any], NDArray[np.float64] | None]

_END = object()


def is_batches(X: Any) -> bool:
    """Return True for an iterator, a function that returns one, or an iterable that is no array-like."""
    if any(hasattr(X, name) for name in ("__array__", "__getitem__", "shape")):
        return False
    return callable(X) or hasattr(X, "__iter__")


class BatchSource:
    """Rows in batches of any lengths, empty ones included.

    Parameters
    ----------
    batches : iterator, or callable that returns a fresh iterable
        Array-likes of shape (n, n_features). An iterator allows one pass.
    sample_weight : the same, optional
        Array-likes of shape (n,), one beside each batch.
    """

    n_rows: int | None = None

    def __init__(self, batches: Any, sample_weight: Any = None) -> None:
        if sample_weight is not None and not is_batches(sample_weight):
            raise InputError(
                "X comes in batches, but sample_weight does not; pass an iterator of the weights of each batch, or a "
                "function that returns a fresh one."
            )
        self._parts = batches, sample_weight
        self._is_started = False
        self.weighted = sample_weight is not None
        self.repeatable = not any(hasattr(part, "__next__") for part in (batches, sample_weight))
        self.feature_names: NDArray[np.object_] | None = None
        self._width: int | None = None
        self._has_rows = False
        # the width and dtype of the first batch are needed before the first pass, which goes on from here
        opened = self._open()
        first = next(opened, None)
        if first is None:
            raise InputError("X yields no batches; the iterator is empty or was used before.")
        self.n_features = int(first[0].shape[1])
        self.dtype = first[0].dtype
        self._opened: Iterator[Batch] | None = chain([first], opened)

    def chunks(self) -> Iterator[Chunk]:
        """Yield every batch that has rows once, in order of arrival."""
        return self._iter_chunks(self._start_pass())

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any, n_columns: int | None) -> Any:
        """Return a generator of row-wise results of ``function``, an array per batch."""
        empty = np.empty((0,) if n_columns is None else (0, n_columns), dtype)
        batches = enumerate(self._start_pass())
        return (
            np.asarray(apply_to_rows(function, rows, index, None), dtype) if len(rows) else empty
            for index, (rows, _) in batches
        )

    def _start_pass(self) -> Iterator[Batch]:
        opened, self._opened = self._opened, None
        return self._open() if opened is None else opened

    def _iter_chunks(self, batches: Iterator[Batch]) -> Iterator[Chunk]:
        index = start = 0
        for rows, weights in batches:
            if len(rows):
                yield Chunk(index, rows, weights, start, len(rows))
                index, start = index + 1, start + len(rows)
        if start == 0 and self._has_rows:
            raise SinglePassError(
                "The function passed as X returned an iterator that was used up; let it return a fresh one each time."
            )
        if start == 0:
            raise InputError(f"Found array with 0 sample(s) (shape=(0, {self.n_features})) in all batches of X.")
        self._has_rows = True

    def _open(self) -> Iterator[Batch]:
        if self._is_started and not self.repeatable:
            raise SinglePassError(
                "A second pass is needed, but X is an iterator, whose batches can be read only once; pass a function "
                "that returns a fresh iterator instead."
            )
        self._is_started = True
        batches, weights = self._parts
        return self._check_batches(_iterate(batches), None if weights is None else _iterate(weights))

    def _check_batches(self, batches: Iterator[Any], weights: Iterator[Any] | None) -> Iterator[Batch]:
        for index, batch in enumerate(batches):
            rows = self._check_rows(batch, index)
            if weights is None:
                yield rows, None
                continue
            weight: Any = next(weights, _END)
            if weight is _END:
                raise InputError(f"sample_weight ends before batch {index} of X; give weights for each batch.")
            array = validate_finite_weights(weight, f" of batch {index}")
            if len(array) != len(rows):
                raise InputError(f"sample_weight of batch {index} has {len(array)} values for {len(rows)} rows of X.")
            yield rows, array
        if weights is not None and next(weights, _END) is not _END:
            raise InputError("sample_weight goes on after the last batch of X; give weights for each batch only.")

    def _check_rows(self, batch: Any, index: int) -> NDArray[Any]:
        try:
            rows = convert_to_numbers(batch, min_rows=0)
        except InputError as error:
            raise type(error)(f"Batch {index} of X: {error}") from None
        names = get_feature_names(batch)
        if self._width is None:
            self._width, self.feature_names = rows.shape[1], names
        if names is not None and self.feature_names is not None and list(names) != list(self.feature_names):
            raise InputError(
                f"Batch {index} of X has the columns {', '.join(names)}, but batch 0 has "
                f"{', '.join(self.feature_names)}; give every batch the same, in the same order."
            )
        if rows.shape[1] != self._width:
            raise InputError(f"Batch {index} of X has {rows.shape[1]} features, but batch 0 has {self._width}.")
        return convert_dtype(rows, choose_dtype(rows.dtype))

    def __repr__(self) -> str:
        return describe_source("batches", self)


def _iterate(batches: Any) -> Iterator[Any]:
    return iter(batches() if callable(batches) and not hasattr(batches, "__next__") else batches)
