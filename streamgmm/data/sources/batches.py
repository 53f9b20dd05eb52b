"""Batches from an iterator, or from a function that returns a fresh iterator for each pass.

A batch is one chunk, at hand only while it is its turn. It knows nothing of what the batches are made from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.checks import as_dtype, finite_weights, located, usable_dtype
from streamgmm.data.source import Chunk, described
from streamgmm.data.sources.arrays import array_names, numeric_array
from streamgmm.errors import InputError, SinglePassError

Batch = tuple[NDArray[Any], NDArray[np.float64] | None]

_END = object()


def is_batches(X: Any) -> bool:
    """Whether ``X`` yields batches: an iterator, a function that returns one, or an iterable that is no array-like."""
    if any(hasattr(X, name) for name in ("__array__", "__getitem__", "shape")):
        return False
    return callable(X) or hasattr(X, "__iter__")


class BatchSource:
    """Rows by batches, of any lengths, empty ones included.

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
        self._opens = [_opener(part) for part in (batches, sample_weight) if part is not None]
        self.weighted = sample_weight is not None
        self.repeatable = not any(hasattr(part, "__next__") for part in (batches, sample_weight))
        self.feature_names: NDArray[np.object_] | None = None
        self._width: int | None = None
        self._any_rows = False
        # The first batch is read now because its width and dtype are asked for before the first pass, which it opens.
        opened = self._open()
        first = next(opened, None)
        if first is None:
            raise InputError("X yields no batches; the iterator is empty or was used before.")
        self.n_features = int(first[0].shape[1])
        self.dtype = first[0].dtype
        self._opened: Iterator[Batch] | None = chain([first], opened)

    def chunks(self) -> Iterator[Chunk]:
        """One pass: every batch that has rows once, in the order they come."""
        return self._chunks(self._pass())

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any, n_columns: int | None) -> Any:
        """Row-wise results of ``function``: a generator with one array a batch, empty for an empty batch."""
        empty = np.empty((0,) if n_columns is None else (0, n_columns), dtype)
        batches = enumerate(self._pass())
        return (
            np.asarray(located(function, rows, index, None), dtype) if len(rows) else empty
            for index, (rows, _) in batches
        )

    def _pass(self) -> Iterator[Batch]:
        opened, self._opened = self._opened, None
        return self._open() if opened is None else opened

    def _chunks(self, batches: Iterator[Batch]) -> Iterator[Chunk]:
        index = start = 0
        for rows, weights in batches:
            if len(rows):
                yield Chunk(index, rows, weights, start, len(rows))
                index, start = index + 1, start + len(rows)
        if start == 0 and self._any_rows:
            raise SinglePassError(
                "The function passed as X returned an iterator that was used up; let it return a fresh one each time."
            )
        if start == 0:
            raise InputError(f"Found array with 0 sample(s) (shape=(0, {self.n_features})) in all batches of X.")
        self._any_rows = True

    def _open(self) -> Iterator[Batch]:
        opened = [open_part() for open_part in self._opens]
        return self._checked(opened[0], opened[1] if self.weighted else None)

    def _checked(self, batches: Iterator[Any], weights: Iterator[Any] | None) -> Iterator[Batch]:
        for index, batch in enumerate(batches):
            rows = self._rows(batch, index)
            if weights is None:
                yield rows, None
                continue
            weight = next(weights, _END)
            if weight is _END:
                raise InputError(f"sample_weight ends before batch {index} of X; give weights for each batch.")
            yield rows, _weights(weight, len(rows), index)
        if weights is not None and next(weights, _END) is not _END:
            raise InputError("sample_weight goes on after the last batch of X; give weights for each batch only.")

    def _rows(self, batch: Any, index: int) -> NDArray[Any]:
        try:
            rows = numeric_array(batch, min_rows=0)
        except InputError as error:
            raise type(error)(f"Batch {index} of X: {error}") from None
        if self._width is None:
            self._width, self.feature_names = rows.shape[1], array_names(batch)
        names = array_names(batch)
        if names is not None and self.feature_names is not None and list(names) != list(self.feature_names):
            raise InputError(
                f"Batch {index} of X has the columns {', '.join(names)}, but batch 0 has "
                f"{', '.join(self.feature_names)}; give every batch the same, in the same order."
            )
        if rows.shape[1] != self._width:
            raise InputError(f"Batch {index} of X has {rows.shape[1]} features, but batch 0 has {self._width}.")
        return as_dtype(rows, usable_dtype(rows.dtype))

    def __repr__(self) -> str:
        return described("batches", self)


def _weights(weights: Any, n_rows: int, index: int) -> NDArray[np.float64]:
    array = finite_weights(weights, f" of batch {index}")
    if len(array) != n_rows:
        raise InputError(f"sample_weight of batch {index} has {len(array)} values for {n_rows} rows of X.")
    return array


def _opener(batches: Any) -> Callable[[], Iterator[Any]]:
    """Give a function that opens a pass, which for an iterator fails the second time."""
    if hasattr(batches, "__next__"):
        return partial(_once, iter([batches]))
    if callable(batches):
        return lambda: iter(batches())
    return partial(iter, batches)


def _once(remaining: Iterator[Iterator[Any]]) -> Iterator[Any]:
    for iterator in remaining:
        return iterator
    raise SinglePassError(
        "A second pass is needed, but X is an iterator, whose batches can be read only once; pass a function that "
        "returns a fresh iterator instead."
    )
