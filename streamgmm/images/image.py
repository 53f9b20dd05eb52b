"""Image as rows of a mixture: a pixel a row, a band a column, chunk by chunk, some of them nodata.

It knows arrays and positions of pixels, nothing of models.
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

from streamgmm.data.checks import choose_dtype, convert_dtype
from streamgmm.data.sources.dask_arrays import DaskSource, from_dask
from streamgmm.data.sources.storage import TASK_BYTES
from streamgmm.errors import InputError, InputTypeError, NonFiniteError
from streamgmm.images.image_chunks import ChunkedArray, Chunks, chunk_start
from streamgmm.images.reading.axis_names import AXIS_NAMES, BAND_AXIS, name_axes
from streamgmm.images.reading.raster import cast_nodata
from streamgmm.model.statistics import MAX_MAGNITUDE

MAX_PERSISTED_BYTES = 2**28  # of features of an image in memory
NO_VALID_PIXEL = "Every pixel of the image is nodata; check nodata, mask and bands."


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Pixels in chunks.

    Examples
    --------
    >>> image = Image.from_array(np.arange(6.0).reshape(2, 3), nodata=4)
    >>> image.n_bands, image.to_rows().n_rows
    (1, 5)
    >>> Image.from_array(np.zeros((3, 20, 5, 40)), axes="CZYX").shape
    (20, 5, 40)
    """

    values: Any  # dask array (..., n_bands), all bands in one chunk
    axes: str  # a letter, T, Z, Y or X, for each axis of the values but the last
    mask: Any  # dask array (...) in the chunks of the values, True for nodata; or None
    nodata: float | None  # marks a pixel as nodata in any band; NaN always does
    in_memory: bool  # results are then computed, otherwise lazy
    stored: tuple[ChunkedArray, ...] = ()  # of values and mask, from which other chunks can be read
    origin: Image | None = None  # pixels of these features, in the same chunks

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
        """Make an image of a NumPy, dask or zarr array, reading nothing; the arguments are those of `segment`."""
        array, in_memory = _check_array(image, "image")
        dtype = choose_dtype(array.dtype)
        axes = name_axes(array.shape, axes)
        if 0 in array.shape:
            raise InputError(f"The image has shape {array.shape}, so that there is no pixel; pass one with some.")
        has_bands, pixel_axes = BAND_AXIS in axes, axes.replace(BAND_AXIS, "")
        order = [axes.index(axis) for axis in pixel_axes + BAND_AXIS * has_bands]
        n_bands = array.shape[order[-1]] if has_bands else 1
        used = tuple(range(n_bands)) if bands is None else _check_bands(bands, n_bands)
        max_pixels = TASK_BYTES // (array.dtype.itemsize * len(used))
        chunked = ChunkedArray.from_array(array, order, used if has_bands else None, max_pixels)
        stored = (chunked,) if mask is None else (chunked, _check_mask(mask, chunked))
        values, masked = _to_dask(stored)
        return cls(values, pixel_axes, masked, _check_nodata(nodata, dtype), in_memory, stored)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels: that of the image without bands."""
        return tuple(int(length) for length in self.values.shape[:-1])

    @property
    def chunks(self) -> Chunks:
        """Lengths of the chunks along each axis."""
        chunks: Chunks = self.values.chunks[:-1]
        return chunks

    @property
    def n_bands(self) -> int:
        """Number of used bands."""
        return int(self.values.shape[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels."""
        dtype: np.dtype[Any] = self.values.dtype
        return dtype

    @property
    def may_have_nodata(self) -> bool:
        """True if a pixel can be nodata."""
        return self.mask is not None or self.nodata is not None or self.dtype.kind == "f"

    def rechunk(self, max_pixels: int, margin: Sequence[int]) -> Image:
        """Divide into chunks of about ``max_pixels`` that suit reading with ``margin`` pixels around each."""
        chunked, *masks = self.stored
        chunked = chunked.rechunk(max_pixels, margin)
        stored = (chunked, *(replace(mask, chunks=chunked.chunks) for mask in masks))
        values, masked = _to_dask(stored)
        return replace(self, values=values, mask=masked, stored=stored)

    def read_with_margin(self, margin: Sequence[int]) -> tuple[Any, Any]:
        """Return values and mask whose chunks have up to ``margin`` pixels more on both sides of each axis."""
        return _to_dask(self.stored, margin)

    def persist(self) -> Image:
        """Compute features of an image in memory once, unless they are large."""
        worthwhile = self.origin is not None and self.in_memory and self.values.nbytes <= MAX_PERSISTED_BYTES
        return replace(self, values=self.values.persist()) if worthwhile else self

    def to_weighted_rows(self) -> DaskSource:
        """Return all pixels as rows, chunk by chunk; the weight of a masked pixel is 0."""
        n_axes = len(self.axes)
        weights = None if self.mask is None else _flatten_pixels(~self.mask, n_axes).astype(np.float64)
        return from_dask(_flatten_pixels(self.values, n_axes), weights, kind="image")

    def to_rows(self, *, counted: bool = True) -> DaskSource:
        """Return the pixels that are not nodata as rows, chunk by chunk.

        Parameters
        ----------
        counted : bool, default=True
            Count the rows of each chunk, which reads the image once if it may have nodata.
        """
        rows, *mask = self._flatten()
        if self.may_have_nodata:
            n_rows = (self.origin or self)._count_valid() if counted else (nan,) * rows.numblocks[0]
            chunks, meta = (n_rows, (self.n_bands,)), np.empty((0, 0), self.dtype)
            select = partial(_select_valid, nodata=self.nodata)
            rows = da.map_blocks(select, rows, *mask, chunks=chunks, dtype=self.dtype, meta=meta)
        return from_dask(rows, kind="image")

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any) -> Any:
        """Return a lazy array of ``function``, which takes rows, of every pixel; nodata gives 0."""
        arrays = [self.values] if self.mask is None else [self.values, self.mask[..., None]]
        mapped = partial(_map_valid, dtype=np.dtype(dtype), nodata=self.nodata, axes=self.axes, chunks=self.chunks)
        return da.map_blocks(
            mapped,
            *arrays,
            function=delayed(function, pure=False, traverse=False),  # one key of the graph: a table may be large
            drop_axis=len(self.axes),
            dtype=dtype,
            meta=np.empty((0,) * len(self.axes), dtype),
        )

    def _flatten(self) -> list[Any]:
        n_axes = len(self.axes)
        mask = [] if self.mask is None else [_flatten_pixels(self.mask, n_axes)[:, None]]
        return [_flatten_pixels(self.values, n_axes), *mask]

    def _count_valid(self) -> tuple[int, ...]:
        rows, *mask = self._flatten()
        count = partial(_count_rows, nodata=self.nodata)
        chunks, meta = ((1,) * rows.numblocks[0],), np.empty(0, np.int64)
        counts = da.map_blocks(count, rows, *mask, drop_axis=1, chunks=chunks, dtype=np.int64, meta=meta).compute()
        if not counts.any():
            raise InputError(NO_VALID_PIXEL)
        return tuple(counts.tolist())


def find_nodata(block: NDArray[Any], mask: NDArray[np.bool_] | None, nodata: float | None) -> NDArray[np.bool_] | None:
    """Return True for masked pixels (..., n_bands) and those with NaN or ``nodata`` in any band; None without any."""
    is_nodata = np.zeros(block.shape[:-1], np.bool_) if mask is None else mask.reshape(block.shape[:-1]).copy()
    for band in range(block.shape[-1]):
        if nodata is not None:
            is_nodata |= block[..., band] == nodata
        if block.dtype.kind == "f":
            is_nodata |= np.isnan(block[..., band])
    return is_nodata if is_nodata.any() else None


def check_finite(block: NDArray[Any], is_nodata: NDArray[np.bool_] | None, axes: str, start: Sequence[int]) -> None:
    """Raise if a pixel (..., n_bands) of a region, other than nodata, has a value that cannot be squared."""
    if block.dtype.kind != "f":
        return
    is_infinite = np.zeros(block.shape[:-1], np.bool_)
    for band in range(block.shape[-1]):
        values = block[..., band]
        is_infinite |= ~np.isfinite(values) if block.dtype.itemsize <= 4 else ~(np.abs(values) <= MAX_MAGNITUDE)
    if is_nodata is not None:
        is_infinite &= ~is_nodata
    if is_infinite.any():
        raise NonFiniteError(
            "The image holds a value that is infinite or too large to be squared at "
            f"{describe_pixel(axes, start, is_infinite)}; make it NaN, which is nodata, or pass a mask."
        ) from None


def describe_pixel(axes: str, start: Sequence[int], selected: NDArray[np.bool_]) -> str:
    """Return the position, in words, of the first selected pixel of a region that starts at ``start``."""
    offsets = np.argwhere(selected)[0]
    return ", ".join(
        f"{AXIS_NAMES[axis]} {first + offset}" for axis, first, offset in zip(axes, start, offsets, strict=True)
    )


def _to_dask(stored: tuple[ChunkedArray, ...], margin: Sequence[int] | None = None) -> tuple[Any, Any]:
    """Return values, with an axis of bands, and mask."""
    chunked, *masks = stored
    values = chunked.to_dask(margin)
    if chunked.bands is None:
        values = values[..., None]
    dtype = choose_dtype(values.dtype)
    if values.dtype != dtype:
        values = values.map_blocks(convert_dtype, dtype, dtype=dtype)
    return values, masks[0].to_dask(margin) if masks else None


def _flatten_pixels(array: Any, n_axes: int) -> Any:
    """Join the first axes: C order within each chunk, one chunk after the other."""
    shape = (prod(array.shape[:n_axes]), *array.shape[n_axes:])
    if shape[0] == 1:
        return array[(0,) * (n_axes - 1)]
    # dask returns another shape where one of several axes has length 1
    return da.reshape_blockwise(array[tuple(0 if n == 1 else slice(None) for n in array.shape[:n_axes])], shape)


def _check_array(array: Any, name: str) -> tuple[Any, bool]:
    """Return an array that can be divided into chunks, and True if it is in memory."""
    if isinstance(array, da.Array):
        if any(isnan(length) for length in array.shape):
            raise InputError(f"The {name} is a dask array of unknown shape; call compute_chunk_sizes() first.")
        return array, False
    if isinstance(array, np.ma.MaskedArray):
        raise InputTypeError(f"The {name} is a masked array; pass its .data, and what is masked as mask=.")
    if type(array).__module__.partition(".")[0] == "xarray":
        raise InputTypeError(f"The {name} is a {type(array).__name__}; pass its .data, and axes= for its dims.")
    if all(hasattr(array, attribute) for attribute in ("shape", "dtype", "chunks")):
        return array, False
    return np.asarray(array), True


def _check_bands(bands: Sequence[int], n_bands: int) -> tuple[int, ...]:
    used = tuple(int(band) for band in bands)
    if not used or len(set(used)) < len(used) or not all(0 <= band < n_bands for band in used):
        raise InputError(
            f"bands={list(bands)} cannot be taken of an image with {n_bands} bands; pass different numbers from 0 to "
            f"{n_bands - 1}."
        )
    return used


def _check_nodata(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    value = cast_nodata(nodata, dtype)
    if nodata is not None and value is None and dtype.kind != "f":
        raise InputError(f"nodata={nodata} is no value of an image of {dtype}; leave it out, or pass one that is.")
    return value


def _check_mask(mask: Any, chunked: ChunkedArray) -> ChunkedArray:
    array, _ = _check_array(mask, "mask")
    if array.dtype != np.bool_ or tuple(array.shape) != chunked.shape:
        raise InputError(
            f"The mask is {array.dtype} of shape {tuple(array.shape)}; pass booleans of shape {chunked.shape}, True "
            "where a pixel is nodata."
        )
    return ChunkedArray(array, tuple(range(array.ndim)), None, chunked.chunks)


def _select_valid(rows: NDArray[Any], mask: NDArray[np.bool_] | None = None, *, nodata: float | None) -> NDArray[Any]:
    is_nodata = find_nodata(rows, mask, nodata)
    return rows if is_nodata is None else rows[~is_nodata]


def _count_rows(
    rows: NDArray[Any], mask: NDArray[np.bool_] | None = None, *, nodata: float | None
) -> NDArray[np.int64]:
    is_nodata = find_nodata(rows, mask, nodata)
    return np.array([len(rows) - (0 if is_nodata is None else is_nodata.sum())], np.int64)


def _map_valid(
    block: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    *,
    block_id: tuple[int, ...],
    function: Callable[[NDArray[Any]], NDArray[Any]],
    dtype: np.dtype[Any],
    nodata: float | None,
    axes: str,
    chunks: Chunks,
) -> NDArray[Any]:
    is_nodata = find_nodata(block, mask, nodata)
    rows = block.reshape(-1, block.shape[-1])
    valid = slice(None) if is_nodata is None else ~is_nodata.reshape(-1)
    results = np.zeros(len(rows), dtype)
    if is_nodata is None or not is_nodata.all():
        try:
            results[valid] = function(rows[valid])
        except NonFiniteError:
            check_finite(block, is_nodata, axes, chunk_start(chunks, block_id))
            raise
    return results.reshape(block.shape[:-1])
