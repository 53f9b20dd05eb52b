"""Arrays of which a part is made when it is asked for. It knows nothing of files or of images.

What reads a part is a function of slices that can be sent to another process; it keeps open there what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Slices = tuple[slice, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LazyArray:
    """An array that is stored somewhere, as far as dask needs to know it.

    Attributes
    ----------
    shape, dtype
        As of any array.
    chunks : tuple of int
        Shape of what is read together in any case.
    read : callable
        What gives the part of some slices, one an axis, from 0 up, with step 1.

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
    def like(cls, array: Any, read: Callable[[Slices], NDArray[Any]]) -> Self:
        """What has the shape, dtype and chunks of another array."""
        return cls(tuple(array.shape), np.dtype(array.dtype), chunks_of(array), read)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in keys:
            place = keys.index(Ellipsis)
            keys[place : place + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        keys += [slice(None)] * (self.ndim - len(keys))
        if len(keys) != self.ndim or not all(isinstance(one, slice | int | np.integer) for one in keys):
            raise IndexError(f"{key!r} is not made of at most {self.ndim} slices and integers")
        ranges = [
            range(*one.indices(length)) if isinstance(one, slice) else range(length)[one : one + 1 or None]
            for one, length in zip(keys, self.shape, strict=True)
        ]
        single = [not isinstance(one, slice) for one in keys]
        if any(alone and not len(found) for alone, found in zip(single, ranges, strict=True)):
            raise IndexError(f"{key!r} is not within an array of shape {self.shape}")
        if not all(len(found) for found in ranges):
            return np.empty([len(f) for f, alone in zip(ranges, single, strict=True) if not alone], self.dtype)
        # from the lowest place to the highest; then steps, and back
        part = self.read(tuple(slice(min(found), max(found) + 1) for found in ranges))
        steps: tuple[Any, ...] = tuple(slice(None, None, found.step) for found in ranges)
        return np.asarray(part[steps][tuple(0 if alone else slice(None) for alone in single)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)


def chunks_of(array: Any) -> tuple[int, ...]:
    """Shape of what is read together in any case; a line of an array that has no chunks."""
    stored = getattr(array, "shards", None) or getattr(array, "chunks", None)
    return tuple(stored) if stored else (1,) * (array.ndim - 1) + tuple(array.shape[-1:])


def picked(array: Any, axis: int, places: Sequence[int]) -> LazyArray:
    """Only some places along an axis, in their order.

    Examples
    --------
    >>> picked(np.array([[1, 2, 3], [4, 5, 6]]), 1, [2, 0])[1]
    array([6, 4])
    """
    read = partial(_picked, array=array, axis=axis, places=tuple(places))
    shape, chunks = list(array.shape), list(chunks_of(array))
    shape[axis] = len(places)
    chunks[axis] = min(chunks[axis], len(places))
    return LazyArray(tuple(shape), np.dtype(array.dtype), tuple(chunks), read)


def equals(array: Any, value: float, axis: int | None = None, place: int = 0) -> LazyArray:
    """Where values are equal to one; with an axis, where they are at one place along it, which the result then lacks.

    Examples
    --------
    >>> equals(np.array([[1, 0], [0, 5]]), 0, axis=1, place=1)[:]
    array([ True, False])
    """
    if axis is not None:
        array = without(picked(array, axis, [place]), axis)
    return LazyArray(tuple(array.shape), np.dtype(bool), chunks_of(array), partial(_equals, array=array, value=value))


def stacked(arrays: Sequence[Any], dtype: Any) -> LazyArray:
    """Arrays of one shape along a new first axis."""
    read = partial(_stacked, arrays=tuple(arrays), dtype=np.dtype(dtype))
    first = arrays[0]
    return LazyArray((len(arrays), *first.shape), np.dtype(dtype), (1, *chunks_of(first)), read)


def any_of(masks: Sequence[Any]) -> Any:
    """Where any of some masks of one shape is true; dask where one of them is."""
    given = [mask for mask in masks if mask is not None]
    if len(given) < 2:
        return given[0] if given else None
    lazy = next((mask for mask in given if hasattr(mask, "dask")), None)
    if lazy is None:
        return LazyArray.like(given[0], partial(_any_of, masks=tuple(given)))
    import dask.array as da

    found = lazy
    for mask in given:
        if mask is not lazy:
            found |= mask if hasattr(mask, "dask") else da.from_array(mask, chunks=lazy.chunks, name=False)
    return found


def without(array: Any, axis: int) -> LazyArray:
    """The same without an axis that has one place."""
    rest = [place for place in range(array.ndim) if place != axis]
    read = partial(_squeezed, array=array, axis=axis)
    shape, chunks = (tuple(lengths[place] for place in rest) for lengths in (array.shape, chunks_of(array)))
    return LazyArray(shape, np.dtype(array.dtype), chunks, read)


def rescaled(array: Any, factor: NDArray[Any], offset: NDArray[Any], nodata: float | None) -> Any:
    """Values times a factor plus an offset, which have as many axes, as float32; NaN where they say nodata.

    Examples
    --------
    >>> rescaled(np.array([[1, 9], [3, 4]]), np.array([[2.0]]), np.array([[-1.0]]), 9)[:]
    array([[ 1., nan],
           [ 5.,  7.]], dtype=float32)
    """
    if hasattr(array, "dask"):
        import dask.array as da

        values = array * factor + offset
        return (values if nodata is None else da.where(array == nodata, np.nan, values)).astype(np.float32)
    read = partial(_rescaled, array=array, factor=factor, offset=offset, nodata=nodata)
    return LazyArray(tuple(array.shape), np.dtype(np.float32), chunks_of(array), read)


def nowhere(array: Any) -> LazyArray:
    """False, everywhere in the shape of an array."""
    return LazyArray(tuple(array.shape), np.dtype(bool), chunks_of(array), _nowhere)


def looked_up(array: Any, table: NDArray[Any]) -> LazyArray:
    """Values as numbers of rows of a table, whose columns become a new last axis: the colours of a palette.

    Examples
    --------
    >>> looked_up(np.array([1, 0]), np.array([[0, 0, 9], [5, 6, 7]]))[:]
    array([[5, 6, 7],
           [0, 0, 9]])
    """
    n_columns = table.shape[1]
    read = partial(_looked_up, array=array, table=table)
    return LazyArray((*array.shape, n_columns), table.dtype, (*chunks_of(array), n_columns), read)


def _rescaled(
    key: Slices, array: Any, factor: NDArray[Any], offset: NDArray[Any], nodata: float | None
) -> NDArray[Any]:
    values = np.asarray(array[key])
    along = tuple(one if n > 1 else slice(None) for one, n in zip(key, factor.shape, strict=True))
    found: NDArray[Any] = (values * factor[along] + offset[along]).astype(np.float32)
    if nodata is not None:
        found[values == nodata] = np.nan
    return found


def _nowhere(key: Slices) -> NDArray[Any]:
    return np.zeros([one.stop - one.start for one in key], bool)


def _squeezed(key: Slices, array: Any, axis: int) -> NDArray[Any]:
    return np.asarray(np.squeeze(array[(*key[:axis], slice(0, 1), *key[axis:])], axis))


def _picked(key: Slices, array: Any, axis: int, places: tuple[int, ...]) -> NDArray[Any]:
    wanted = places[key[axis]]
    first = min(wanted)
    part = array[(*key[:axis], slice(first, max(wanted) + 1), *key[axis + 1 :])]
    return np.asarray(np.take(part, [place - first for place in wanted], axis))


def _equals(key: Slices, array: Any, value: float) -> NDArray[Any]:
    return np.asarray(array[key] == value)


def _stacked(key: Slices, arrays: tuple[Any, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.stack([np.asarray(array[key[1:]], dtype) for array in arrays[key[0]]])


def _any_of(key: Slices, masks: tuple[Any, ...]) -> NDArray[Any]:
    return np.asarray(np.any([mask[key] for mask in masks], axis=0))


def _looked_up(key: Slices, array: Any, table: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(table[array[key[:-1]]][..., key[-1]])
