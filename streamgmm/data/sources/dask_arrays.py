"""Dask arrays and DataFrames: a chunk is a block of rows that dask will make when it is asked to.

Every stored format ends here, as a dask array. It knows dask and nothing of files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from streamgmm.data.checks import (
    as_dtype,
    check_shape,
    checked_weights,
    column_names,
    finite_weights,
    located,
    usable_dtype,
)
from streamgmm.data.source import Chunk, described
from streamgmm.data.sources.arrays import numeric_dtype
from streamgmm.errors import InputError, InputTypeError

GROUP_BLOCKS = 64


@dataclass(frozen=True, eq=False)
class DaskSource:
    """Rows of a 2-d dask array whose features are in one block.

    Attributes
    ----------
    array : dask.array.Array of shape (n_rows, n_features)
        The rows; the lengths of their blocks may be unknown.
    weights : ndarray or dask.array.Array of shape (n_rows,), or None
        Checked sample weights; those of a dask array have the blocks of the rows and are checked when made.
    feature_names : ndarray of str, or None
        Column names.
    present : callable or None
        Makes what `map` returns out of the dask array of results.
    kind : str
        What the rows are kept in, for a reader.
    """

    array: Any
    weights: Any = None
    feature_names: NDArray[np.object_] | None = None
    present: Callable[[Any], Any] | None = None
    kind: str = "dask array"
    repeatable: bool = field(default=True, init=False)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.array.shape[1])

    @property
    def n_rows(self) -> int | None:
        """Number of rows, or None while the length of a block is unknown."""
        return _known(self.array.shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the rows."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def weighted(self) -> bool:
        """Whether the rows carry sample weights."""
        return self.weights is not None

    def chunks(self) -> Iterator[Chunk]:
        """One pass: every block once, in storage order."""
        lengths = [_known(length) for length in self.array.chunks[0]]
        start: int | None = 0
        for index, (rows, weights) in enumerate(self._delayed(len(lengths))):
            length = lengths[index]
            yield Chunk(index, rows, weights, start, length)
            start = None if start is None or length is None else start + length

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any, n_columns: int | None) -> Any:
        """Row-wise results of ``function`` as a lazy dask array with the blocks of the rows."""
        made = partial(_map_block, function=function, dtype=np.dtype(dtype), n_columns=n_columns)
        if n_columns is None:
            result = self.array.map_blocks(made, drop_axis=1, meta=np.empty(0, dtype))
        else:
            chunks = (self.array.chunks[0], (n_columns,))
            result = self.array.map_blocks(made, chunks=chunks, meta=np.empty((0, 0), dtype))
        return result if self.present is None else self.present(result)

    def _delayed(self, n_blocks: int) -> Iterator[tuple[Any, Any]]:
        # Cutting a group of blocks out of a graph costs a look at all its keys, and making one Delayed of a block costs
        # a graph of its own: groups of the root of the number of blocks keep both well below quadratic.
        size = max(GROUP_BLOCKS, math.isqrt(n_blocks))
        starts = None
        if isinstance(self.weights, np.ndarray):
            starts = np.concatenate(([0], np.cumsum(self.array.chunks[0]))).astype(np.intp)
        for first in range(0, n_blocks, size):
            group = slice(first, min(first + size, n_blocks))
            rows = self.array.blocks[group].to_delayed()[:, 0]
            if self.weights is None:
                yield from ((block, None) for block in rows)
            elif starts is None:
                yield from zip(rows, self.weights.blocks[group].to_delayed(), strict=True)
            else:
                part = self.weights[starts[group.start] : starts[group.stop]]
                weights = da.from_array(part, chunks=(self.array.chunks[0][group],))
                yield from zip(rows, weights.to_delayed(), strict=True)

    def __repr__(self) -> str:
        return f"{described(self.kind, self)}, {self.array.numblocks[0]} chunks"


def from_dask(
    array: Any,
    sample_weight: Any = None,
    *,
    feature_names: NDArray[np.object_] | None = None,
    present: Callable[[Any], Any] | None = None,
    kind: str = "dask array",
) -> DaskSource:
    """Source of a 2-d dask array; blocks along the features are read together."""
    check_shape(array.shape, kind)
    if math.isnan(array.shape[1]):
        raise InputError(f"X is a {kind} whose number of features is unknown; call X.compute_chunk_sizes() first.")
    if not isinstance(array._meta, np.ndarray) or isinstance(array._meta, np.ma.MaskedArray):
        raise InputTypeError(
            f"X is a {kind} whose blocks are of type {type(array._meta).__name__}; convert them to dense NumPy arrays "
            "with X.map_blocks."
        )
    dtype = usable_dtype(array.dtype)
    if array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    if array.dtype != dtype:
        array = array.map_blocks(as_dtype, dtype, meta=np.empty((0, 0), dtype))
    weights = None if sample_weight is None else _aligned_weights(sample_weight, array)
    return DaskSource(array, weights, feature_names, present, kind)


def from_dask_frame(frame: Any, sample_weight: Any = None) -> DaskSource:
    """Source of a dask DataFrame: columns are features; the lengths of partitions are unknown."""
    found = {name: numeric_dtype(dtype) for name, dtype in frame.dtypes.items()}
    if not found:
        check_shape((math.nan, 0), "dask DataFrame")
    refused = [repr(name) for name, dtype in found.items() if dtype is None]
    if refused:
        raise InputTypeError(
            f"Columns {', '.join(refused)} of the dask DataFrame do not hold numbers; select the others, or convert "
            "these to numeric values."
        )
    dtype = np.result_type(*[dtype for dtype in found.values() if dtype is not None])
    if any(stored != dtype for stored in frame.dtypes):
        frame = frame.astype(dtype)
    names = column_names(frame.columns)
    return from_dask(frame.to_dask_array(), sample_weight, feature_names=names, kind="dask DataFrame")


def _aligned_weights(weights: Any, rows: Any) -> Any:
    """Weights at hand as a checked array, lazy ones with the blocks of the rows."""
    if hasattr(weights, "to_dask_array"):  # a dask Series
        weights = weights.to_dask_array()
    n_rows = _known(rows.shape[0])
    if not isinstance(weights, da.Array):
        if n_rows is None:
            raise InputError(
                "sample_weight is an array, but X has chunks of unknown length; pass the weights as a dask array with "
                "the same chunks, or call X.compute_chunk_sizes() first."
            )
        return checked_weights(weights, n_rows)
    if weights.ndim != 1:
        raise InputError(f"sample_weight has {weights.ndim} dimensions; pass a 1-d dask array with one weight a row.")
    n_weights = _known(weights.shape[0])
    if n_rows is None or n_weights is None:
        if weights.numblocks[0] != rows.numblocks[0]:
            raise InputError(
                f"sample_weight has {weights.numblocks[0]} chunks for {rows.numblocks[0]} chunks of X, and lengths are "
                "unknown; give both the same chunks, or call compute_chunk_sizes() on both first."
            )
    elif n_weights != n_rows:
        raise InputError(f"sample_weight has {n_weights} values for {n_rows} rows of X; pass one weight for each row.")
    else:
        weights = weights.rechunk((rows.chunks[0],))
    return weights.map_blocks(_finite_block, meta=np.empty(0, np.float64))


def _finite_block(weights: NDArray[Any], block_id: tuple[int, ...]) -> NDArray[np.float64]:
    return finite_weights(weights, f" in chunk {block_id[0]}")


def _map_block(
    rows: NDArray[Any],
    block_id: tuple[int, ...],
    function: Callable[[NDArray[Any]], NDArray[Any]],
    dtype: np.dtype[Any],
    n_columns: int | None,
) -> NDArray[Any]:
    if len(rows) == 0:
        return np.empty((0,) if n_columns is None else (0, n_columns), dtype)
    return np.asarray(located(function, rows, block_id[0], None), dtype)


def _known(length: float) -> int | None:
    return None if math.isnan(length) else int(length)
