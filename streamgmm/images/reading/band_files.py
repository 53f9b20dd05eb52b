"""Bands that are files of their own: one image, if they lie on one grid. Nothing is resampled silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from streamgmm.errors import InputError
from streamgmm.images.reading.lazy_arrays import any_of, equals, nowhere, stacked, without
from streamgmm.images.reading.raster import Georeference, Raster

NEAR = 1e-3  # of a pixel, by which grids may differ


def together(names: Sequence[str | PathLike[str]], parts: Sequence[Raster]) -> Raster:
    """One raster of single bands, which files are called by."""
    paths = [fspath(name) for name in names]
    parts = [_one_band(path, part) for path, part in zip(paths, parts, strict=True)]
    first = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        if why := _difference(first, part):
            raise InputError(
                f"{path!r} and {paths[0]!r} do not lie on one grid: {why}; resample it first, such as by "
                f"{_remedy(first, path)}, or rasterio.warp.reproject."
            )
    array = stacked([part.array for part in parts], np.result_type(*[part.array.dtype for part in parts]))
    nodata: set[float | None] = {part.nodata for part in parts}
    mask = None
    if len(nodata) > 1 or any(part.mask is not None for part in parts):
        mask = stacked([_lacking(part) for part in parts], bool)
    value = nodata.pop() if mask is None else None
    stems = tuple(Path(path).stem for path in paths)
    names_ = stems if len(set(stems)) == len(stems) else tuple(paths)
    scale = tuple((1.0, 0.0) if part.scale is None else part.scale[0] for part in parts)
    told = scale if any(part.scale is not None for part in parts) else None
    return Raster(array, f"C{first.axes}", names_, value, mask, told, first.georeference)


def is_one_band(raster: Raster) -> bool:
    """Whether there is one value a pixel, as far as the format says it."""
    if raster.axes is None:
        return len(raster.array.shape) == 2
    return "C" not in raster.axes or bool(raster.array.shape[raster.axes.index("C")] == 1)


def _one_band(path: str, raster: Raster) -> Raster:
    if raster.axes is None and raster.array.ndim == 2:
        return replace(raster, axes="YX")
    if raster.axes is not None and is_one_band(raster) and "C" in raster.axes:
        axis = raster.axes.index("C")
        return replace(raster, array=without(raster.array, axis), axes=raster.axes.replace("C", ""), bands=None)
    if raster.axes is None or "C" in raster.axes:
        raise InputError(
            f"{path!r} is one of several files, which are bands of one image, but it has shape {raster.array.shape} "
            f"with axes {raster.axes or 'that are not known'}; pass files of one band each."
        )
    return raster


def _lacking(part: Raster) -> Any:
    """Where one band is nodata, by its own value or mask."""
    by_value = None if part.nodata is None else equals(part.array, part.nodata)
    found = any_of([part.mask, by_value])
    return nowhere(part.array) if found is None else found


def _difference(one: Raster, other: Raster) -> str:
    """What is different about where two bands lie, in words; empty where nothing is."""
    if one.axes != other.axes or tuple(one.array.shape) != tuple(other.array.shape):
        return f"it has shape {tuple(other.array.shape)}, not {tuple(one.array.shape)}"
    ours, theirs = one.georeference or Georeference(), other.georeference or Georeference()
    if ours.crs != theirs.crs:
        return f"its CRS is {theirs.crs or 'not known'}, not {ours.crs or 'known of the other'}"
    if (ours.transform is None) != (theirs.transform is None):
        return "only one of them has a transform"
    if ours.transform is not None and theirs.transform is not None:
        if not np.allclose(ours.transform, theirs.transform, rtol=0, atol=NEAR * _pixel(ours.transform)):
            return f"its transform is {theirs.transform}, not {ours.transform}"
    elif dict(ours.spacing) != dict(theirs.spacing):
        return f"its pixels are {dict(theirs.spacing)}, not {dict(ours.spacing)}"
    return ""


def _pixel(transform: tuple[float, ...]) -> float:
    a, b, _, d, e, _ = transform
    return float(min(np.hypot(a, d), np.hypot(b, e)))


def _remedy(to: Raster, path: str) -> str:
    """The command that puts a file onto a grid."""
    height, width = to.array.shape[-2:]
    size = f"-ts {width} {height}"
    if to.georeference is None or to.georeference.transform is None:
        return f"gdalwarp {size} {path} resampled.tif"
    a, _, c, _, e, f = to.georeference.transform
    corners = sorted((c, c + a * width)), sorted((f, f + e * height))
    extent = " ".join(f"{value:.12g}" for value in (corners[0][0], corners[1][0], corners[0][1], corners[1][1]))
    crs = f"-t_srs {to.georeference.crs} " if to.georeference.crs and ":" in to.georeference.crs[:6] else ""
    return f"gdalwarp {crs}-te {extent} {size} -r bilinear {path} resampled.tif"
