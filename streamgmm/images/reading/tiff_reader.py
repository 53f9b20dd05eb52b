"""TIFF and BigTIFF, through tifffile: tiled, in strips, planar or interleaved, with pyramids; OME, ImageJ and slides.

A tile or a strip is read when it is asked for. What is one uncompressed piece is mapped into memory.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.images.reading.lazy_arrays import LazyArray, Slices, equals, looked_up, picked
from streamgmm.images.reading.luma import from_luma
from streamgmm.images.reading.raster import Georeference, Raster, possible_nodata
from streamgmm.images.reading.tiff_metadata import aperio_grid, hamamatsu_grid, imagej_grid, ome_bands, ome_grid
from streamgmm.images.reading.whole import check_whole, chosen_level, unreadable

ALPHA = (1, 2)  # what ExtraSamples says of one
PALETTE, LUMA = 3, 6  # what PhotometricInterpretation says
JPEGS = (6, 7, 34892, 33007)  # compressions whose decoders make colours of luma
MASK = 4  # bit of NewSubfileType


def import_tifffile() -> Any:
    """The library, or the remedy."""
    try:
        import tifffile
    except ImportError:
        raise ImportError("TIFF needs tifffile; install it with: pip install 'streamgmm[tiff]'") from None
    return tifffile


def is_geotiff(name: str) -> bool:
    """Whether a TIFF says where on the earth it lies."""
    with import_tifffile().TiffFile(name) as file:
        return bool(file.pages[0].is_geotiff)


def open_tiff(name: str, level: int | None, *, colours: bool = True) -> Raster:
    """The image of a TIFF, the largest if there are several; ``colours`` says whether a palette is applied."""
    with import_tifffile().TiffFile(name) as file:
        series, mask = _chosen(name, file.series)
        level = chosen_level(name, level, len(series.levels))
        chosen = series.levels[level]
        letters = chosen.get_axes(squeeze=True)
        page = chosen.keyframe
        lacking = None if mask is None else equals(_lazy(name, file.series, mask, level), 0)
        array = _lazy(name, file.series, 0, level)
        raster = Raster(
            array, _axes(letters), nodata=_nodata(page), mask=lacking, georeference=_grid(file, series, chosen)
        )
        palette = page.colormap if colours and page.photometric == PALETTE else None
        luma = page.photometric == LUMA and page.compression not in JPEGS
        extra = page.extrasamples
        bands = ome_bands(file.ome_metadata)
    if palette is not None:
        return _painted(raster, palette)
    if luma:
        raster = _coloured(name, raster)
    if "S" in letters and any(kind in ALPHA for kind in extra):
        raster = _without_alpha(raster, letters.index("S"), extra)
    if bands and raster.axes and "C" in raster.axes and len(bands) == raster.array.shape[raster.axes.index("C")]:
        raster = replace(raster, bands=bands)
    return raster


@dataclass(eq=False)
class Segments:
    """Reads tiles or strips of a TIFF, which each process opens for itself, once."""

    name: str
    series: int
    level: int
    stamp: tuple[int, int]  # of the file, so that dask takes no other one for the same
    _array: Any = field(default=None, repr=False)
    _opening: Any = field(default_factory=Lock, repr=False)

    def __call__(self, key: Slices) -> NDArray[Any]:
        """The part, decoded."""
        try:
            return np.asarray(self._opened()[key])
        except (OSError, ValueError, RuntimeError, LookupError) as error:
            raise unreadable(self.name, error) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Segments, self.__dask_tokenize__()

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return self.name, self.series, self.level, self.stamp

    def _opened(self) -> Any:
        with self._opening:
            if self._array is None:
                import zarr

                # more than one, so that it decodes in threads
                workers = max(2, os.cpu_count() or 1)
                which = {"series": self.series, "level": self.level}
                store = import_tifffile().imread(self.name, aszarr=True, maxworkers=workers, **which)
                weakref.finalize(self, store.close)
                self._array = zarr.open_array(store, mode="r")
            return self._array


@dataclass(frozen=True, slots=True)
class Mapped:
    """Reads what is one uncompressed piece of a file."""

    name: str
    offset: int
    shape: tuple[int, ...]
    dtype: str
    stamp: tuple[int, int]

    def __call__(self, key: Slices) -> NDArray[Any]:
        """The part, as it is in the file."""
        try:
            mapped = np.memmap(self.name, self.dtype, "r", self.offset, self.shape)
        except (OSError, ValueError) as error:
            raise unreadable(self.name, error) from None
        return np.array(mapped[key])


def _chosen(name: str, found: Any) -> tuple[Any, int | None]:
    """The image, and the number of its mask, if it has one; any other in the file is smaller, such as a thumbnail."""
    masks = [number for number, series in enumerate(found) if number and series.keyframe.subfiletype & MASK]
    sizes = [prod(series.shape) for number, series in enumerate(found) if number not in masks]
    if not sizes or not sizes[0]:
        raise InputError(f"{name!r} holds no image.")
    if max(sizes[1:], default=0) >= sizes[0]:
        shapes = ", ".join(str(series.shape) for series in found[:4])
        raise InputError(f"{name!r} holds {len(sizes)} images, of shapes {shapes}; save the one you mean by itself.")
    fitting = (number for number in masks if len(found[number].levels) == len(found[0].levels))
    return found[0], next(fitting, None)


def _lazy(name: str, found: Any, number: int, level: int) -> LazyArray:
    """The values of a series, with the axes of length 1 left out."""
    series = found[number].levels[level]
    status = os.stat(name)
    stamp = (status.st_mtime_ns, status.st_size)
    shape = tuple(int(length) for length in series.get_shape(squeeze=True))
    page = series.keyframe
    ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=False))
    if not series.is_multifile and max(ends, default=0) > status.st_size:
        raise InputError(f"{name!r} ends before its image does, at {status.st_size:,} bytes; get it anew.")
    if series.dataoffset is not None and page.is_memmappable and not series.is_multifile:
        dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
        read: Any = Mapped(name, int(series.dataoffset), shape, dtype.str, stamp)
        line = series.get_axes(squeeze=True).index("X")
        return LazyArray(shape, dtype, (1,) * line + shape[line:], read)
    chunks = (1,) * (len(shape) - len(page.chunks)) + tuple(page.chunks)
    piece = "tile" if page.is_tiled else "strip"
    remedy = f"make tiles of it (gdal_translate -co TILED=YES {Path(name).name} tiled.tif), or write it to .zarr"
    check_whole(name, prod(chunks) * series.dtype.itemsize, f"a {piece} of shape {tuple(page.chunks)}", remedy)
    return LazyArray(shape, np.dtype(series.dtype), chunks, Segments(name, number, level, stamp))


def _axes(letters: str) -> str | None:
    """tifffile's letters, where they mean the same here; samples of a pixel are bands."""
    axes = letters.replace("S", "C")
    return axes if set(axes) <= set("TZYXC") and len(set(axes)) == len(axes) else None


def _nodata(page: Any) -> float | None:
    """What GDAL has written, if it is a value that there can be."""
    tag = page.tags.get("GDAL_NODATA")
    try:
        value = float(str(tag.value).strip("\0 ")) if tag else None
    except ValueError:
        return None
    return possible_nodata(value, page.dtype)


def _grid(file: Any, series: Any, chosen: Any) -> Georeference | None:
    """Lengths of pixels, where the kind of TIFF has them; of a coarser level, they are longer."""
    grid = None
    if file.is_ome:
        grid = ome_grid(file.ome_metadata)
    elif file.is_imagej:
        grid = imagej_grid(file.imagej_metadata or {}, file.pages[0].tags)
    elif series.kind == "svs":
        grid = aperio_grid(series.keyframe.description)
    elif series.kind == "ndpi":
        grid = hamamatsu_grid(series.keyframe.tags)
    if grid is None or chosen is series:
        return grid
    fine, coarse = (dict(zip(one.get_axes(True), one.get_shape(True), strict=True)) for one in (series, chosen))
    spacing = tuple((axis, length * fine.get(axis, 1) / coarse.get(axis, 1)) for axis, length in grid.spacing)
    return Georeference(spacing=spacing, unit=grid.unit)


def _coloured(name: str, raster: Raster) -> Raster:
    """Colours instead of luma and chroma."""
    axis = (raster.axes or "").find("C")
    if axis < 0 or raster.array.shape[axis] != 3 or raster.array.dtype != np.uint8:
        raise InputError(f"{name!r} has luma and chroma in an unusual form; convert it to RGB.")
    return replace(raster, array=from_luma(raster.array, axis))


def _painted(raster: Raster, colours: NDArray[np.uint16]) -> Raster:
    """Colours instead of the numbers that a palette has for them."""
    if raster.axes is None or "C" in raster.axes:
        raise InputError("A palette was found in a TIFF that has several samples or unknown axes; convert it to RGB.")
    mask = None if raster.nodata is None else equals(raster.array, raster.nodata)
    table = (np.asarray(colours).T >> 8).astype(np.uint8)
    return Raster(looked_up(raster.array, table), raster.axes + "C", mask=mask, georeference=raster.georeference)


def _without_alpha(raster: Raster, axis: int, extra: tuple[int, ...]) -> Raster:
    """The other samples; a pixel is nodata where alpha is 0."""
    n = raster.array.shape[axis]
    alphas = [n - len(extra) + place for place, kind in enumerate(extra) if kind in ALPHA]
    others = [place for place in range(n) if place not in alphas]
    mask = equals(raster.array, 0, axis, alphas[0])
    return replace(raster, array=picked(raster.array, axis, others), mask=mask)
