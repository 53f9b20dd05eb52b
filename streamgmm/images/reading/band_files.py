"""Bands stored in a file each: one image, if they share one georeference. Nothing is resampled silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path

import numpy as np

from streamgmm.errors import InputError
from streamgmm.images.reading.lazy_arrays import combine_masks, mask_equal, stack_arrays, take_index
from streamgmm.images.reading.raster import Georeference, Raster

TOLERANCE = 1e-3  # difference of transforms, in pixels


def stack_bands(names: Sequence[str | PathLike[str]], rasters: Sequence[Raster]) -> Raster:
    """Stack rasters of one band each; the bands have the names of their files."""
    paths = [fspath(name) for name in names]
    bands = [_drop_band_axis(path, raster) for path, raster in zip(paths, rasters, strict=True)]
    first = bands[0]
    for path, band in zip(paths[1:], bands[1:], strict=True):
        if difference := _describe_difference(first, band):
            raise InputError(
                f"{path!r} and {paths[0]!r} do not lie on one grid: {difference}; resample it first, such as by "
                f"{_resampling_command(first, path)}, or rasterio.warp.reproject."
            )
    array = stack_arrays([band.array for band in bands], np.result_type(*[band.array.dtype for band in bands]))
    nodata, mask = first.nodata, None
    if any(band.nodata != nodata or band.mask is not None for band in bands):
        by_value = (None if band.nodata is None else mask_equal(band.array, band.nodata) for band in bands)
        masks = [combine_masks(band.mask, other) for band, other in zip(bands, by_value, strict=True)]
        nodata, mask = None, stack_arrays(masks, bool)
    stems = tuple(Path(path).stem for path in paths)
    band_names = stems if len(set(stems)) == len(stems) else tuple(paths)
    scale = None
    if any(band.scale is not None for band in bands):
        scale = tuple((1.0, 0.0) if band.scale is None else band.scale[0] for band in bands)
    return Raster(array, f"C{first.axes}", band_names, nodata, mask, scale, first.georeference)


def has_one_band(raster: Raster) -> bool:
    """Return True if there is one value a pixel, as far as the format states it."""
    if raster.axes is None:
        return len(raster.array.shape) == 2
    return "C" not in raster.axes or bool(raster.array.shape[raster.axes.index("C")] == 1)


def _drop_band_axis(path: str, raster: Raster) -> Raster:
    if not has_one_band(raster):
        raise InputError(
            f"{path!r} is one of several files, which are bands of one image, but it has shape {raster.array.shape} "
            f"with axes {raster.axes or 'that are not known'}; pass files of one band each."
        )
    axes = raster.axes or "YX"
    if "C" not in axes:
        return replace(raster, axes=axes)
    return replace(raster, array=take_index(raster.array, axes.index("C"), 0), axes=axes.replace("C", ""), bands=None)


def _describe_difference(first: Raster, second: Raster) -> str:
    """Return how the position or the size of pixels differs; an empty string if it does not."""
    if first.axes != second.axes or tuple(first.array.shape) != tuple(second.array.shape):
        return f"it has shape {tuple(second.array.shape)}, not {tuple(first.array.shape)}"
    ours, theirs = first.georeference or Georeference(), second.georeference or Georeference()
    if ours.crs != theirs.crs:
        return f"its CRS is {theirs.crs or 'not known'}, not {ours.crs or 'known of the other'}"
    if (ours.transform is None) != (theirs.transform is None):
        return "only one of them has a transform"
    if ours.transform is not None and theirs.transform is not None:
        a, b, _, d, e, _ = ours.transform
        tolerance = TOLERANCE * float(min(np.hypot(a, d), np.hypot(b, e)))
        if not np.allclose(ours.transform, theirs.transform, rtol=0, atol=tolerance):
            return f"its transform is {theirs.transform}, not {ours.transform}"
    elif dict(ours.spacing) != dict(theirs.spacing):
        return f"its pixels are {dict(theirs.spacing)}, not {dict(ours.spacing)}"
    return ""


def _resampling_command(target: Raster, path: str) -> str:
    """Return the command that resamples a file to the pixels of another."""
    height, width = target.array.shape[-2:]
    size, georeference = f"-ts {width} {height}", target.georeference
    if georeference is None or georeference.transform is None:
        return f"gdalwarp {size} {path} resampled.tif"
    a, _, c, _, e, f = georeference.transform
    (left, right), (bottom, top) = sorted((c, c + a * width)), sorted((f, f + e * height))
    extent = " ".join(f"{value:.12g}" for value in (left, bottom, right, top))
    crs = f"-t_srs {georeference.crs} " if georeference.crs and ":" in georeference.crs[:6] else ""
    return f"gdalwarp {crs}-te {extent} {size} -r bilinear {path} resampled.tif"
