"""An image as rows of a mixture: a pixel a row, a band a column, block by block as it is stored; some are nodata.

It knows arrays and where pixels lie in them, nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isnan, nan, prod
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from streamgmm.data.checks import as_dtype, usable_dtype
from streamgmm.data.sources.dask_arrays import DaskSource, from_dask
from streamgmm.data.sources.storage import TASK_BYTES
from streamgmm.errors import InputError, InputTypeError, NonFiniteError
from streamgmm.images.image_chunks import Blocks, Lengths, starts_of
from streamgmm.images.pixels import Place, find_infinite, find_nodata, infinite_pixel_error
from streamgmm.images.reading.axis_names import BANDS, name_axes


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Pixels in blocks.

    Attributes
    ----------
    values : dask.array.Array of shape (..., n_bands)
        All bands of a block together; before them the axes of the array that was given, in its order.
    axes : str
        These, a letter each: T time, Z planes, Y lines, X columns.
    mask : dask.array.Array of the shape of the image, or None
        True where a pixel is nodata, in the blocks of the values.
    nodata : int, float or None
        Value that says so, in any band. NaN does always.
    in_memory : bool
        Whether the image is in memory, so that results are too.
    stored : tuple of Blocks
        What the values and the mask are read from, if they are to be cut otherwise.
    origin : Image or None
        Pixels that these were made of at a cost, which are nodata where these are, in the same blocks.

    Examples
    --------
    >>> image = Image.from_array(np.arange(6.0).reshape(2, 3), nodata=4)
    >>> image.n_bands, image.to_rows().n_rows
    (1, 5)
    >>> Image.from_array(np.zeros((3, 20, 5, 40)), axes="CZYX").shape
    (20, 5, 40)
    """

    values: Any
    axes: str
    mask: Any
    nodata: float | None
    in_memory: bool
    stored: tuple[Blocks, ...] = ()
    origin: Image | None = None

    @classmethod
    def from_array(
        cls,
        image: Any,
        *,
        axes: str | None = None,
        bands: Sequence[int] | None = None,
        nodata: float | None = None,
        mask: Any = None,
    ) -> Image:
        """Image out of a NumPy, dask or zarr array; the arguments are those of `segment`. Nothing is read."""
        array, in_memory = _array(image, "image")
        dtype = usable_dtype(array.dtype)
        names = name_axes(array.shape, axes)
        if 0 in array.shape:
            raise InputError(f"The image has shape {array.shape}, so that there is no pixel; pass one with some.")
        space = names.replace(BANDS, "")
        order = [names.index(name) for name in space + BANDS * (BANDS in names)]
        n_bands = array.shape[order[-1]] if BANDS in names else 1
        chosen = tuple(range(n_bands)) if bands is None else _checked_bands(bands, n_bands)
        most = TASK_BYTES // (array.dtype.itemsize * len(chosen))
        blocks = Blocks.of(array, order, chosen if BANDS in names else None, most)
        stored = (blocks, *_checked_mask(mask, blocks))
        values, masked = _read(stored)
        return cls(values, space, masked, _checked_nodata(nodata, dtype), in_memory, stored)

    @property
    def shape(self) -> tuple[int, ...]:
        """Along its axes, without bands: that of labels."""
        return tuple(int(length) for length in self.values.shape[:-1])

    @property
    def lengths(self) -> Lengths:
        """Of the blocks along each axis."""
        lengths: Lengths = self.values.chunks[:-1]
        return lengths

    @property
    def n_bands(self) -> int:
        """Number of bands that are used."""
        return int(self.values.shape[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels."""
        dtype: np.dtype[Any] = self.values.dtype
        return dtype

    @property
    def may_have_nodata(self) -> bool:
        """Whether a pixel may be nodata."""
        return self.mask is not None or self.nodata is not None or self.dtype.kind == "f"

    def rechunk(self, most: int, reach: Sequence[int]) -> Image:
        """The same in blocks of about ``most`` pixels, each of which can be had with ``reach`` pixels around it."""
        blocks, *masks = self.stored
        blocks = blocks.rechunk(most, reach)
        stored = (blocks, *(mask.cut_as(blocks.lengths) for mask in masks))
        values, masked = _read(stored)
        return replace(self, values=values, mask=masked, stored=stored)

    def read_with_margin(self, reach: Sequence[int]) -> tuple[Any, Any]:
        """Values and mask whose blocks have ``reach`` pixels more on both sides of each axis, as far as there are."""
        return _read(self.stored, reach)

    def persist(self) -> Image:
        """The same, computed once, where it was made of an image in memory and is not much larger."""
        dear = self.origin is not None and self.in_memory and self.values.nbytes <= HELD_BYTES
        return replace(self, values=self.values.persist()) if dear else self

    def to_weighted_rows(self) -> DaskSource:
        """All pixels, block by block; the weight of one that is masked is 0."""
        weights = None if self.mask is None else _in_rows(~self.mask, len(self.axes)).astype(np.float64)
        return from_dask(_in_rows(self.values, len(self.axes)), weights, kind="image")

    def to_rows(self, *, counted: bool = True) -> DaskSource:
        """The pixels that are not nodata, block by block.

        Parameters
        ----------
        counted : bool, default=True
            Whether it shall be known how many there are in each block, for which all are read if any may be nodata.
        """
        rows, *mask = self._all_rows()
        if self.may_have_nodata:
            n_rows = (self.origin or self)._n_valid() if counted else (nan,) * rows.numblocks[0]
            chunks, meta = (n_rows, (self.n_bands,)), np.empty((0, 0), self.dtype)
            kept = partial(_valid_rows, nodata=self.nodata)
            rows = da.map_blocks(kept, rows, *mask, chunks=chunks, dtype=self.dtype, meta=meta)
        return from_dask(rows, kind="image")

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any) -> Any:
        """Results of ``function``, which takes rows, of every pixel, and 0 for nodata; a lazy array of its shape."""
        arrays = [self.values] if self.mask is None else [self.values, self.mask[..., None]]
        mapped = partial(_mapped, dtype=np.dtype(dtype), nodata=self.nodata, place=self.place())
        return da.map_blocks(
            mapped,
            *arrays,
            function=delayed(function, pure=False, traverse=False),  # one key of the graph: a table may be large
            drop_axis=len(self.axes),
            dtype=dtype,
            meta=np.empty((0,) * len(self.axes), dtype),
        )

    def place(self) -> Place:
        """Where the pixels of its blocks lie."""
        return Place(self.axes, starts_of(self.lengths))

    def _all_rows(self) -> list[Any]:
        """Rows of all pixels, and of the mask where there is one."""
        n_axes = len(self.axes)
        mask = [] if self.mask is None else [_in_rows(self.mask, n_axes)[:, None]]
        return [_in_rows(self.values, n_axes), *mask]

    def _n_valid(self) -> tuple[int, ...]:
        """How many pixels of each block are not nodata, from one reading."""
        rows, *mask = self._all_rows()
        count = partial(_n_rows, nodata=self.nodata)
        chunks, meta = ((1,) * rows.numblocks[0],), np.empty(0, np.int64)
        found = da.map_blocks(count, rows, *mask, drop_axis=1, chunks=chunks, dtype=np.int64, meta=meta).compute()
        if not found.any():
            raise InputError(NO_VALID_PIXEL)
        return tuple(found.tolist())


HELD_BYTES = 2**28  # of what was made of an image in memory
NO_VALID_PIXEL = "Every pixel of the image is nodata; check nodata, mask and bands."


def _read(stored: tuple[Blocks, ...], reach: Sequence[int] | None = None) -> tuple[Any, Any]:
    """Values, with an axis of bands, and mask."""
    blocks, *masks = stored
    values = blocks.lazy(reach)
    if blocks.bands is None:
        values = values[..., None]
    dtype = usable_dtype(values.dtype)
    if values.dtype != dtype:
        values = values.map_blocks(as_dtype, dtype, dtype=dtype)
    return values, next((mask.lazy(reach) for mask in masks), None)


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


def _in_rows(array: Any, n_axes: int) -> Any:
    """Its first axes as one: within each block C order, blocks one after the other."""
    shape = (prod(array.shape[:n_axes]), *array.shape[n_axes:])
    if shape[0] == 1:
        return array[(0,) * (n_axes - 1)]
    # dask gives another shape where an axis of one place is among several
    return da.reshape_blockwise(array[tuple(0 if n == 1 else slice(None) for n in array.shape[:n_axes])], shape)


def _checked_bands(bands: Sequence[int], n_bands: int) -> tuple[int, ...]:
    chosen = tuple(int(band) for band in bands)
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


def _checked_mask(mask: Any, blocks: Blocks) -> list[Blocks]:
    if mask is None:
        return []
    array, _ = _array(mask, "mask")
    if array.dtype != np.bool_ or tuple(array.shape) != blocks.shape:
        raise InputError(
            f"The mask is {array.dtype} of shape {tuple(array.shape)}; pass booleans of shape {blocks.shape}, True "
            "where a pixel is nodata."
        )
    return [Blocks(array, tuple(range(array.ndim)), None, blocks.lengths)]


def _valid_rows(rows: NDArray[Any], mask: NDArray[np.bool_] | None = None, *, nodata: float | None) -> NDArray[Any]:
    without = find_nodata(rows, mask, nodata)
    return rows if without is None else rows[~without]


def _n_rows(rows: NDArray[Any], mask: NDArray[np.bool_] | None = None, *, nodata: float | None) -> NDArray[np.int64]:
    without = find_nodata(rows, mask, nodata)
    return np.array([len(rows) - (0 if without is None else without.sum())], np.int64)


def _mapped(
    block: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    *,
    block_id: tuple[int, ...],
    function: Callable[[NDArray[Any]], NDArray[Any]],
    dtype: np.dtype[Any],
    nodata: float | None,
    place: Place,
) -> NDArray[Any]:
    without = find_nodata(block, mask, nodata)
    rows = block.reshape(-1, block.shape[-1])
    valid = slice(None) if without is None else ~without.reshape(-1)
    out = np.zeros(len(rows), dtype)
    if without is None or not without.all():
        try:
            out[valid] = function(rows[valid])
        except NonFiniteError:
            refused = find_infinite(block, without)
            if not refused.any():
                raise
            raise infinite_pixel_error(place.of(refused, block_id)) from None
    return out.reshape(block.shape[:-1])
