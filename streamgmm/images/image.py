"""An image as rows of a mixture: a pixel a row, a band a column, block by block as it is stored; some are nodata.

It knows arrays and where pixels lie in them, nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan, nan
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError, InputTypeError, NonFiniteError
from streamgmm.images.axes import named_axes
from streamgmm.sources.blocks import DaskSource, from_dask
from streamgmm.sources.checks import as_dtype, usable_dtype
from streamgmm.sources.storage import TASK_BYTES
from streamgmm.statistics import LARGEST


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Pixels in blocks.

    Attributes
    ----------
    values : dask.array.Array of shape (height, width, n_bands)
        All bands of a block together.
    mask : dask.array.Array of shape (height, width), or None
        True where a pixel is nodata, in the blocks of the values.
    nodata : int, float or None
        Value that says so, in any band. NaN does always.
    at_hand : bool
        Whether the image is in memory, so that results are too.

    Examples
    --------
    >>> image = Image.of(np.arange(6.0).reshape(2, 3), nodata=4)
    >>> image.n_bands, image.rows().n_rows
    (1, 5)
    """

    values: Any
    mask: Any
    nodata: float | None
    at_hand: bool

    @classmethod
    def of(
        cls,
        image: Any,
        *,
        axes: str | None = None,
        bands: Sequence[int] | None = None,
        nodata: float | None = None,
        mask: Any = None,
    ) -> Image:
        """Image out of a NumPy, dask or zarr array; the arguments are those of `segment`. Nothing is read."""
        array, at_hand = _array(image, "image")
        dtype = usable_dtype(array.dtype)
        names = named_axes(array.shape, axes)
        if 0 in array.shape:
            raise InputError(f"The image has shape {array.shape}, so that there is no pixel; pass one with some.")
        values = _blocks(array, tuple(names.find(name) for name in "YXC"))
        if values.dtype != dtype:
            values = values.map_blocks(as_dtype, dtype, dtype=dtype)
        if bands is not None:
            chosen = _checked_bands(bands, values.shape[2])
            chunks = (*values.chunks[:2], (len(chosen),))
            values = values.map_blocks(_some_bands, chosen, chunks=chunks, dtype=dtype)
        return cls(values, _checked_mask(mask, values), _checked_nodata(nodata, dtype), at_hand)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.values.shape[:2]
        return int(height), int(width)

    @property
    def n_bands(self) -> int:
        """Number of bands that are used."""
        return int(self.values.shape[2])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels."""
        dtype: np.dtype[Any] = self.values.dtype
        return dtype

    @property
    def may_lack(self) -> bool:
        """Whether a pixel may be nodata."""
        return self.mask is not None or self.nodata is not None or self.dtype.kind == "f"

    def pixels(self) -> DaskSource:
        """All pixels, block by block; the weight of one that is masked is 0."""
        weights = None if self.mask is None else _in_rows(~self.mask).astype(np.float64)
        return from_dask(_in_rows(self.values), weights, kind="image")

    def rows(self, *, counted: bool = True) -> DaskSource:
        """The pixels that are not nodata, block by block.

        Parameters
        ----------
        counted : bool, default=True
            Whether it shall be known how many there are in each block, for which all are read if any may be nodata.
        """
        rows = _in_rows(self.values)
        if self.may_lack:
            arrays = [rows] if self.mask is None else [rows, _in_rows(self.mask)[:, None]]
            chunks = ((nan,) * rows.numblocks[0], (self.n_bands,))
            kept = partial(_valid_rows, nodata=self.nodata)
            rows = da.map_blocks(kept, *arrays, chunks=chunks, dtype=self.dtype, meta=np.empty((0, 0), self.dtype))
            if counted:
                rows = rows.compute_chunk_sizes()
                if rows.shape[0] == 0:
                    raise InputError(NO_PIXEL)
        return from_dask(rows, kind="image")

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any) -> Any:
        """Results of ``function``, which takes rows, of every pixel, and 0 for nodata; a lazy array (height, width)."""
        arrays = [self.values] if self.mask is None else [self.values, self.mask[:, :, None]]
        starts = tuple(np.concatenate(([0], np.cumsum(lengths)))[:-1] for lengths in self.values.chunks[:2])
        mapped = partial(_mapped, function=function, dtype=np.dtype(dtype), nodata=self.nodata, starts=starts)
        return da.map_blocks(mapped, *arrays, drop_axis=2, dtype=dtype, meta=np.empty((0, 0), dtype))


NO_PIXEL = "Every pixel of the image is nodata; check nodata, mask and bands."


def _array(given: Any, what: str) -> tuple[Any, bool]:
    """What can be cut into blocks, and whether it is in memory."""
    if isinstance(given, da.Array):
        if any(isnan(length) for length in given.shape):
            raise InputError(f"The {what} is a dask array of unknown shape; call compute_chunk_sizes() first.")
        return given, False
    if isinstance(given, np.ma.MaskedArray):
        raise InputTypeError(f"The {what} is a masked array; pass its .data, and what is masked as mask=.")
    if type(given).__module__.partition(".")[0] == "xarray":
        raise InputTypeError(f"The {what} is a {type(given).__name__}; pass its .data, and axes= for its dims.")
    if all(hasattr(given, name) for name in ("shape", "dtype", "chunks")):
        return given, False
    return np.asarray(given), True


def _blocks(array: Any, places: tuple[int, ...]) -> Any:
    """Array (height, width, bands) in blocks of whole storage chunks; ``places`` says where these axes are, or −1.

    Large blocks, since each counts from counters of its own, which are all to be made anew.
    """
    lines, columns, bands = places
    if not isinstance(array, da.Array):
        stored = getattr(array, "shards", None) or getattr(array, "chunks", None) or (1,) * array.ndim
        lengths = list(array.shape)
        most = TASK_BYTES // (array.dtype.itemsize * (1 if bands < 0 else array.shape[bands]))
        # whole lines of storage chunks where they are not too many pixels, else a part of one
        lengths[columns] = min(_whole(stored[columns], most // stored[lines]), array.shape[columns])
        lengths[lines] = min(_whole(stored[lines], most // lengths[columns]), array.shape[lines])
        name = {"name": False} if isinstance(array, np.ndarray) else {}  # a name would be a digest of all values
        array = da.from_array(array, chunks=tuple(lengths), meta=np.empty((0,) * array.ndim, array.dtype), **name)
    if bands < 0:
        return array[:, :, None]
    return array.transpose(lines, columns, bands).rechunk({2: -1})


def _whole(unit: int, most: int) -> int:
    """As many whole units as are not more than ``most``, at least one."""
    return unit * max(1, most // unit)


def _in_rows(array: Any) -> Any:
    """Array (height, width, …) as (height·width, …): within each block C order, blocks one after the other."""
    return da.reshape_blockwise(array, (array.shape[0] * array.shape[1], *array.shape[2:]))


def _checked_bands(bands: Sequence[int], n_bands: int) -> list[int]:
    chosen = [int(band) for band in bands]
    if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= band < n_bands for band in chosen):
        raise InputError(
            f"bands={list(bands)} cannot be taken of an image with {n_bands} bands; pass different numbers from 0 to "
            f"{n_bands - 1}."
        )
    return chosen


def _checked_nodata(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    if nodata is None or (isnan(nodata) and dtype.kind == "f"):
        return None  # NaN is nodata always
    if dtype.kind == "f":
        return float(nodata)
    limits = np.iinfo(dtype)
    if nodata != nodata // 1 or not limits.min <= nodata <= limits.max:
        raise InputError(f"nodata={nodata} is no value of an image of {dtype}; leave it out, or pass one that is.")
    return int(nodata)


def _checked_mask(mask: Any, values: Any) -> Any:
    if mask is None:
        return None
    array, _ = _array(mask, "mask")
    if array.dtype != np.bool_ or tuple(array.shape) != values.shape[:2]:
        raise InputError(
            f"The mask is {array.dtype} of shape {tuple(array.shape)}; pass booleans of shape {values.shape[:2]}, True "
            "where a pixel is nodata."
        )
    if isinstance(array, da.Array):
        return array.rechunk(values.chunks[:2])
    return da.from_array(array, chunks=values.chunks[:2], meta=np.empty((0, 0), bool))


def _some_bands(block: NDArray[Any], bands: list[int]) -> NDArray[Any]:
    return block[:, :, bands]


def _lacking(rows: NDArray[Any], mask: NDArray[np.bool_] | None, nodata: float | None) -> NDArray[np.bool_] | None:
    """Which rows are nodata: masked, or with the value or NaN in any band; None where none is."""
    found = np.zeros(len(rows), np.bool_) if mask is None else mask.reshape(-1).copy()
    for band in range(rows.shape[1]):
        if nodata is not None:
            found |= rows[:, band] == nodata
        if rows.dtype.kind == "f":
            found |= np.isnan(rows[:, band])
    return found if found.any() else None


def _valid_rows(rows: NDArray[Any], mask: NDArray[np.bool_] | None = None, *, nodata: float | None) -> NDArray[Any]:
    lacking = _lacking(rows, mask, nodata)
    return rows if lacking is None else rows[~lacking]


def _mapped(
    block: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    *,
    block_id: tuple[int, ...],
    function: Callable[[NDArray[Any]], NDArray[Any]],
    dtype: np.dtype[Any],
    nodata: float | None,
    starts: tuple[NDArray[np.intp], ...],
) -> NDArray[Any]:
    rows = block.reshape(-1, block.shape[2])
    lacking = _lacking(rows, mask, nodata)
    valid = slice(None) if lacking is None else ~lacking
    out = np.zeros(len(rows), dtype)
    if lacking is None or not lacking.all():
        try:
            out[valid] = function(rows[valid])
        except NonFiniteError:
            refused = (~(np.abs(block) <= LARGEST)).any(axis=2)
            refused &= True if lacking is None else ~lacking.reshape(refused.shape)
            line, column = (
                first[number] + place
                for first, number, place in zip(starts, block_id, np.argwhere(refused)[0], strict=False)
            )
            raise NonFiniteError(
                f"The image holds a value that is infinite or too large to be squared at line {line}, column {column}; "
                "make it NaN, which is nodata, or pass a mask."
            ) from None
    return out.reshape(block.shape[:2])
