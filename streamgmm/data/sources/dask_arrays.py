"""Dask arrays and DataFrames: a chunk is a lazy block of rows. Stored formats become dask arrays too."""

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
    apply_to_rows,
    check_feature_names,
    check_shape,
    choose_dtype,
    convert_dtype,
    validate_finite_weights,
    validate_weights,
)
from streamgmm.data.source import Chunk, describe_source
from streamgmm.data.sources.in_memory import find_numeric_dtype
from streamgmm.errors import InputError, InputTypeError

MIN_BLOCKS = 64  # selected from a graph together


@dataclass(frozen=True, eq=False)
class DaskSource:
    """Rows of a 2-d dask array with all features in one block."""

    array: Any  # (n_rows, n_features); the lengths of its blocks may be unknown
    weights: Any = None  # checked; lazy ones have the blocks of the rows and are checked when computed
    feature_names: NDArray[np.object_] | None = None
    wrap: Callable[[Any], Any] | None = None  # converts the dask array of results of `map`
    kind: str = "dask array"  # for messages
    repeatable: bool = field(default=True, init=False)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.array.shape[1])

    @property
    def n_rows(self) -> int | None:
        """Number of rows, or None while the length of a block is unknown."""
        return _known_length(self.array.shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the rows."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def weighted(self) -> bool:
        """True if the rows carry sample weights."""
        return self.weights is not None

    def chunks(self) -> Iterator[Chunk]:
        """Yield every block once, in storage order."""
        lengths = [_known_length(length) for length in self.array.chunks[0]]
        start: int | None = 0
        for index, (rows, weights) in enumerate(self._delayed(len(lengths))):
            length = lengths[index]
            yield Chunk(index, rows, weights, start, length)
            start = None if start is None or length is None else start + length

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any, n_columns: int | None) -> Any:
        """Return row-wise results of ``function`` as a lazy dask array with the blocks of the rows."""
        map_block = partial(_map_block, function=function, dtype=np.dtype(dtype), n_columns=n_columns)
        if n_columns is None:
            result = self.array.map_blocks(map_block, drop_axis=1, meta=np.empty(0, dtype))
        else:
            chunks = (self.array.chunks[0], (n_columns,))
            result = self.array.map_blocks(map_block, chunks=chunks, meta=np.empty((0, 0), dtype))
        return result if self.wrap is None else self.wrap(result)

    def _delayed(self, n_blocks: int) -> Iterator[tuple[Any, Any]]:
        # selecting blocks visits all keys of a graph, and each Delayed has its own graph: groups of sqrt(n) blocks
        # keep both costs below quadratic
        size = max(MIN_BLOCKS, math.isqrt(n_blocks))
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
        return f"{describe_source(self.kind, self)}, {self.array.numblocks[0]} chunks"


def from_dask(
    array: Any,
    sample_weight: Any = None,
    *,
    feature_names: NDArray[np.object_] | None = None,
    wrap: Callable[[Any], Any] | None = None,
    kind: str = "dask array",
) -> DaskSource:
    """Return a source of a 2-d dask array; blocks along the features are read together."""
    check_shape(array.shape, kind)
    if math.isnan(array.shape[1]):
        raise InputError(f"X is a {kind} whose number of features is unknown; call X.compute_chunk_sizes() first.")
    if not isinstance(array._meta, np.ndarray) or isinstance(array._meta, np.ma.MaskedArray):
        raise InputTypeError(
            f"X is a {kind} whose blocks are of type {type(array._meta).__name__}; convert them to dense NumPy arrays "
            "with X.map_blocks."
        )
    dtype = choose_dtype(array.dtype)
    if array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    if array.dtype != dtype:
        array = array.map_blocks(convert_dtype, dtype, meta=np.empty((0, 0), dtype))
    weights = None if sample_weight is None else _align_weights(sample_weight, array)
    return DaskSource(array, weights, feature_names, wrap, kind)


def from_dask_frame(frame: Any, sample_weight: Any = None) -> DaskSource:
    """Return a source of a dask DataFrame: columns are features; the lengths of its partitions are unknown."""
    dtypes = {name: find_numeric_dtype(dtype) for name, dtype in frame.dtypes.items()}
    if not dtypes:
        check_shape((math.nan, 0), "dask DataFrame")
    refused = [repr(name) for name, dtype in dtypes.items() if dtype is None]
    if refused:
        raise InputTypeError(
            f"Columns {', '.join(refused)} of the dask DataFrame do not hold numbers; select the others, or convert "
            "these to numeric values."
        )
    dtype = np.result_type(*[dtype for dtype in dtypes.values() if dtype is not None])
    if any(stored != dtype for stored in frame.dtypes):
        frame = frame.astype(dtype)
    names = check_feature_names(frame.columns)
    return from_dask(frame.to_dask_array(), sample_weight, feature_names=names, kind="dask DataFrame")


def _align_weights(weights: Any, rows: Any) -> Any:
    """Return weights in memory as a checked array, lazy ones with the blocks of the rows."""
    if hasattr(weights, "to_dask_array"):  # a dask Series
        weights = weights.to_dask_array()
    n_rows = _known_length(rows.shape[0])
    if not isinstance(weights, da.Array):
        if n_rows is None:
            raise InputError(
                "sample_weight is an array, but X has chunks of unknown length; pass the weights as a dask array with "
                "the same chunks, or call X.compute_chunk_sizes() first."
            )
        return validate_weights(weights, n_rows)
    if weights.ndim != 1:
        raise InputError(f"sample_weight has {weights.ndim} dimensions; pass a 1-d dask array with one weight a row.")
    n_weights = _known_length(weights.shape[0])
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
    return weights.map_blocks(_check_block_weights, meta=np.empty(0, np.float64))


def _check_block_weights(weights: NDArray[Any], block_id: tuple[int, ...]) -> NDArray[np.float64]:
    return validate_finite_weights(weights, f" in chunk {block_id[0]}")


def _map_block(
    rows: NDArray[Any],
    block_id: tuple[int, ...],
    function: Callable[[NDArray[Any]], NDArray[Any]],
    dtype: np.dtype[Any],
    n_columns: int | None,
) -> NDArray[Any]:
    if len(rows) == 0:
        return np.empty((0,) if n_columns is None else (0, n_columns), dtype)
    return np.asarray(apply_to_rows(function, rows, block_id[0], None), dtype)


def _known_length(length: float) -> int | None:
    return None if math.isnan(length) else int(length)
