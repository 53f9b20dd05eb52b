"""TIFF and BigTIFF, through tifffile: tiles, strips, pyramids, OME, ImageJ and slides.

A tile or a strip is read when it is asked for. An uncompressed contiguous image is memory-mapped.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.images.reading.lazy_arrays import LazyArray, Slices, mask_equal, select_indices, take_index
from streamgmm.images.reading.raster import (
    Georeference,
    Raster,
    cast_nodata,
    check_decoded_size,
    check_level,
    import_library,
    make_damage_error,
)
from streamgmm.images.reading.tiff_metadata import parse_aperio, parse_hamamatsu, parse_imagej, parse_ome

ALPHA = (1, 2)  # values of ExtraSamples
PALETTE, LUMA = 3, 6  # values of PhotometricInterpretation
JPEG_COMPRESSIONS = (6, 7, 34892, 33007)  # their decoders convert luma to colours
MASK = 4  # bit of NewSubfileType
LUMA_TO_RGB = np.array(
    [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32
)  # ITU-R BT.601, as in JFIF


def is_geotiff(name: str) -> bool:
    """Return True if a TIFF has a georeference."""
    with import_library("tifffile").TiffFile(name) as file:
        return bool(file.pages[0].is_geotiff)


def open_tiff(name: str, level: int | None) -> Raster:
    """Open the image of a TIFF, the largest if there are several, and its alpha or mask page as a mask."""
    with import_library("tifffile").TiffFile(name) as file:
        series, mask_index = _find_image(name, file.series)
        level = check_level(name, level, len(series.levels))
        page, letters = series.levels[level].keyframe, series.levels[level].get_axes(squeeze=True)
        axes = letters.replace("S", "C")  # samples of a pixel are bands
        is_known = set(axes) <= set("TZYXC") and len(set(axes)) == len(axes)
        mask = None if mask_index is None else mask_equal(_make_array(name, file.series, mask_index, level), 0)
        georeference, bands = _read_metadata(file, series, level)
        raster = Raster(
            _make_array(name, file.series, 0, level),
            axes if is_known else None,
            nodata=_read_nodata(page),
            mask=mask,
            georeference=georeference,
        )
        if page.photometric == PALETTE and page.colormap is not None:
            return replace(raster, palette=(page.colormap.T >> 8).astype(np.uint8))
        if page.photometric == LUMA and page.compression not in JPEG_COMPRESSIONS:
            raster = replace(raster, array=_convert_luma(name, raster))
        if "S" in letters and any(kind in ALPHA for kind in page.extrasamples):
            raster = _mask_alpha(raster, letters.index("S"), page.extrasamples)
    if bands and is_known and "C" in axes and len(bands) == raster.array.shape[axes.index("C")]:
        raster = replace(raster, bands=bands)
    return raster


@dataclass(eq=False)
class SegmentReader:
    """Reader of tiles or strips of a TIFF, which each process opens once."""

    name: str
    series: int
    level: int
    _array: Any = field(default=None, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    def __call__(self, key: Slices) -> NDArray[Any]:
        """Return a decoded part."""
        try:
            return np.asarray(self._open()[key])
        except (OSError, ValueError, RuntimeError, LookupError) as error:
            raise make_damage_error(self.name, error) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return SegmentReader, (self.name, self.series, self.level)

    def _open(self) -> Any:
        with self._lock:
            if self._array is None:
                import zarr

                workers = max(2, os.cpu_count() or 1)  # more than one, so that it decodes in threads
                selected = {"series": self.series, "level": self.level}
                store = import_library("tifffile").imread(self.name, aszarr=True, maxworkers=workers, **selected)
                weakref.finalize(self, store.close)
                self._array = zarr.open_array(store, mode="r")
            return self._array


def read_mapped(key: Slices, name: str, offset: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Read a part of an uncompressed contiguous image."""
    try:
        mapped = np.memmap(name, dtype, "r", offset, shape)
    except (OSError, ValueError) as error:
        raise make_damage_error(name, error) from None
    return np.array(mapped[key])


def _find_image(name: str, all_series: Any) -> tuple[Any, int | None]:
    """Return the first series and the index of its mask; any other image, such as a thumbnail, must be smaller."""
    masks = [index for index, series in enumerate(all_series) if index and series.keyframe.subfiletype & MASK]
    sizes = [prod(series.shape) for index, series in enumerate(all_series) if index not in masks]
    if not sizes or not sizes[0]:
        raise InputError(f"{name!r} holds no image.")
    if max(sizes[1:], default=0) >= sizes[0]:
        shapes = ", ".join(str(series.shape) for series in all_series[:4])
        raise InputError(f"{name!r} holds {len(sizes)} images, of shapes {shapes}; save the one you mean by itself.")
    matching = (index for index in masks if len(all_series[index].levels) == len(all_series[0].levels))
    return all_series[0], next(matching, None)


def _make_array(name: str, all_series: Any, index: int, level: int) -> LazyArray:
    """Make a lazy array of a series, without axes of length 1."""
    series = all_series[index].levels[level]
    shape = tuple(int(length) for length in series.get_shape(squeeze=True))
    page, n_bytes = series.keyframe, os.stat(name).st_size
    ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=False))
    if not series.is_multifile and max(ends, default=0) > n_bytes:
        raise InputError(f"{name!r} ends before its image does, at {n_bytes:,} bytes; get it anew.")
    if series.dataoffset is not None and page.is_memmappable and not series.is_multifile:
        dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
        read = partial(read_mapped, name=name, offset=int(series.dataoffset), shape=shape, dtype=dtype.str)
        row_axis = series.get_axes(squeeze=True).index("X")
        return LazyArray(shape, dtype, (1,) * row_axis + shape[row_axis:], read)
    chunks = (1,) * (len(shape) - len(page.chunks)) + tuple(page.chunks)
    part = f"a {'tile' if page.is_tiled else 'strip'} of shape {tuple(page.chunks)}"
    remedy = f"make tiles of it (gdal_translate -co TILED=YES {Path(name).name} tiled.tif), or write it to .zarr"
    check_decoded_size(name, prod(chunks) * series.dtype.itemsize, part, remedy)
    return LazyArray(shape, np.dtype(series.dtype), chunks, SegmentReader(name, index, level))


def _read_metadata(file: Any, series: Any, level: int) -> tuple[Georeference | None, tuple[str, ...] | None]:
    """Return the georeference of a level, and names of the bands, if this kind of TIFF has them."""
    georeference, bands = None, None
    if file.is_ome:
        georeference, bands = parse_ome(file.ome_metadata)
    elif file.is_imagej:
        georeference = parse_imagej(file.imagej_metadata or {}, file.pages[0].tags)
    elif series.kind == "svs":
        georeference = parse_aperio(series.keyframe.description)
    elif series.kind == "ndpi":
        georeference = parse_hamamatsu(series.keyframe.tags)
    if georeference is None or level == 0:
        return georeference, bands
    fine, coarse = (
        dict(zip(part.get_axes(True), part.get_shape(True), strict=True)) for part in (series, series.levels[level])
    )
    spacing = tuple((axis, length * fine.get(axis, 1) / coarse.get(axis, 1)) for axis, length in georeference.spacing)
    return replace(georeference, spacing=spacing), bands


def _read_nodata(page: Any) -> float | None:
    """Return the nodata value that GDAL has written."""
    tag = page.tags.get("GDAL_NODATA")
    try:
        return cast_nodata(float(str(tag.value).strip("\0 ")), page.dtype) if tag else None
    except ValueError:
        return None


def _convert_luma(name: str, raster: Raster) -> LazyArray:
    """Convert luma and chroma to red, green and blue."""
    array, axis = raster.array, (raster.axes or "").find("C")
    if axis < 0 or array.shape[axis] != 3 or array.dtype != np.uint8:
        raise InputError(f"{name!r} has luma and chroma in an unusual form; convert it to RGB.")

    def read(key: Slices) -> NDArray[np.uint8]:
        part = np.asarray(array[(*key[:axis], slice(None), *key[axis + 1 :])], np.float32)
        luma, *chroma = np.moveaxis(part, axis, 0)
        colours = [
            luma + sum(weight * (plane - 128) for weight, plane in zip(weights, chroma, strict=True))
            for _, *weights in LUMA_TO_RGB[key[axis]]
        ]
        return np.stack(colours, axis).round().clip(0, 255).astype(np.uint8)

    return LazyArray.like(array, read)


def _mask_alpha(raster: Raster, axis: int, extra: tuple[int, ...]) -> Raster:
    """Drop alpha from the bands, and mask pixels where it is 0."""
    n = raster.array.shape[axis]
    alphas = [n - len(extra) + index for index, kind in enumerate(extra) if kind in ALPHA]
    bands = select_indices(raster.array, axis, [index for index in range(n) if index not in alphas])
    return replace(raster, array=bands, mask=mask_equal(take_index(raster.array, axis, alphas[0]), 0))
