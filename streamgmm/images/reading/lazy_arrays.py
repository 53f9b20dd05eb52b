"""Arrays that read only the part that is asked for, and operations on them.

A function that reads a part must survive cloudpickle, so that dask can send it to another process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

Slices = tuple[slice, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LazyArray:
    """Stored array, as far as dask needs to know it.

    ``chunks`` is the shape of the smallest part that storage can read. ``read`` returns the part of a tuple of slices,
    one an axis, with nonnegative bounds and step 1.

    Examples
    --------
    >>> squares = LazyArray((6,), np.dtype(int), (2,), lambda key: np.arange(key[0].start, key[0].stop) ** 2)
    >>> squares[2:4], squares[::-2]
    (array([4, 9]), array([25,  9,  1]))
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    read: Callable[[Slices], NDArray[Any]]

    @classmethod
    def like(cls, array: Any, read: Callable[[Slices], Any], dtype: Any = None) -> LazyArray:
        """Make an array with the shape, the chunks and, by default, the dtype of another."""
        return cls(tuple(array.shape), np.dtype(array.dtype if dtype is None else dtype), get_chunks(array), read)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = key if isinstance(key, tuple) else (key,)
        at = keys.index(Ellipsis) if Ellipsis in keys else len(keys)
        keys = (*keys[:at], *[slice(None)] * (self.ndim - len(keys) + (at < len(keys))), *keys[at + 1 :])
        indices = [range(n)[k] for k, n in zip(keys, self.shape, strict=True)]
        ranges = [range(i, i + 1) if isinstance(i, int) else i for i in indices]
        without_axis = tuple(0 if isinstance(i, int) else slice(None) for i in indices)
        if not all(ranges):
            return np.empty([len(r) for r in ranges], self.dtype)[without_axis]
        part = self.read(tuple(slice(min(r), max(r) + 1) for r in ranges))  # from the lowest index to the highest
        steps = tuple(slice(None, None, r.step) for r in ranges)
        return np.asarray(part[steps][without_axis])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)


def get_chunks(array: Any) -> tuple[int, ...]:
    """Return the shape of a shard or a storage chunk; of an array without chunks, a row."""
    stored = getattr(array, "shards", None) or getattr(array, "chunks", None)
    return tuple(stored) if stored else (1,) * (array.ndim - 1) + tuple(array.shape[-1:])


def select_indices(array: Any, axis: int, indices: Sequence[int]) -> LazyArray:
    """Select indices along an axis, in the given order."""

    def read(key: Slices) -> Any:
        selected = indices[key[axis]]
        first = min(selected)
        part = array[(*key[:axis], slice(first, max(selected) + 1), *key[axis + 1 :])]
        return np.take(part, [index - first for index in selected], axis)

    shape, chunks = list(array.shape), list(get_chunks(array))
    shape[axis], chunks[axis] = len(indices), min(chunks[axis], len(indices))
    return LazyArray(tuple(shape), np.dtype(array.dtype), tuple(chunks), read)


def take_index(array: Any, axis: int, index: int) -> LazyArray:
    """Take one index along an axis, which the result does not have."""
    shape, chunks = (tuple(n for i, n in enumerate(sides) if i != axis) for sides in (array.shape, get_chunks(array)))

    def read(key: Slices) -> Any:
        return np.squeeze(array[(*key[:axis], slice(index, index + 1), *key[axis:])], axis)

    return LazyArray(shape, np.dtype(array.dtype), chunks, read)


def stack_arrays(arrays: Sequence[Any], dtype: Any) -> LazyArray:
    """Stack arrays of one shape along a new first axis; None stands for zeros."""
    first = next(array for array in arrays if array is not None)

    def read(key: Slices) -> Any:
        shape = [along.stop - along.start for along in key[1:]]
        parts = (np.zeros(shape, dtype) if array is None else array[key[1:]] for array in arrays[key[0]])
        return np.stack([np.asarray(part, dtype) for part in parts])

    return LazyArray((len(arrays), *first.shape), np.dtype(dtype), (1, *get_chunks(first)), read)


def mask_equal(array: Any, value: float) -> LazyArray:
    """Return True where values equal ``value``."""
    return LazyArray.like(array, lambda key: np.asarray(array[key] == value), bool)


def combine_masks(*masks: Any) -> Any:
    """Return True where any mask is True; None if all masks are None, a dask array if one is."""
    present = [mask for mask in masks if mask is not None]
    if len(present) < 2:
        return present[0] if present else None
    lazy = next((mask for mask in present if hasattr(mask, "dask")), None)
    if lazy is None:
        return LazyArray.like(present[0], lambda key: np.any([mask[key] for mask in present], axis=0))
    import dask.array as da

    return reduce(or_, (m if hasattr(m, "dask") else da.from_array(m, chunks=lazy.chunks, name=False) for m in present))


def rescale(array: Any, factor: NDArray[Any], offset: NDArray[Any], nodata: float | None) -> Any:
    """Multiply by a factor and add an offset, which have as many axes, as float32; ``nodata`` becomes NaN."""
    if hasattr(array, "dask"):
        import dask.array as da

        values = array * factor + offset
        return (values if nodata is None else da.where(array == nodata, np.nan, values)).astype(np.float32)

    def read(key: Slices) -> Any:
        along = tuple(k if n > 1 else slice(None) for k, n in zip(key, factor.shape, strict=True))
        values = np.asarray(array[key])
        rescaled = (values * factor[along] + offset[along]).astype(np.float32)
        if nodata is not None:
            rescaled[values == nodata] = np.nan
        return rescaled

    return LazyArray.like(array, read, np.float32)


def take_entries(array: Any, table: NDArray[Any]) -> LazyArray:
    """Replace values by rows of a table, whose columns become a new last axis: the colours of a palette."""
    n = table.shape[1]
    shape, chunks = (*array.shape, n), (*get_chunks(array), n)
    return LazyArray(shape, table.dtype, chunks, lambda key: table[np.asarray(array[key[:-1]])][..., key[-1]])
