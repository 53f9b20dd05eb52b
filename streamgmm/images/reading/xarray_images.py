"""xarray: dims name the axes, coordinates give the georeference, and dask arrays stay lazy."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from streamgmm.errors import InputError, InputTypeError
from streamgmm.images.reading.axis_names import SPATIAL_AXES, normalize_unit, parse_axes
from streamgmm.images.reading.raster import Georeference, Raster, cast_nodata


def from_xarray(image: Any, axes: str | None) -> Raster:
    """Make a raster of a DataArray with known dims, or with the axes of the user."""
    if not hasattr(image, "dims") or not hasattr(image, "variable"):
        raise InputTypeError(
            f"The image is an xarray {type(image).__name__}; pass one of its variables, or "
            ".to_dataarray(dim='band') if they are its bands."
        )
    known = parse_axes(image.dims)
    if known is None and axes is None:
        raise InputError(
            f"The image is a DataArray with dims {tuple(map(str, image.dims))}, of which not all are known by name; "
            "pass axes= with a letter for each, out of T, Z, Y, X and C."
        )
    if image.chunks is None and not image._in_memory:
        image = image.chunk()  # a file opened without chunks would be read whole
    georeference = None if known is None else _make_georeference(image, known)
    pair = float(image.attrs.get("scale_factor", 1.0)), float(image.attrs.get("add_offset", 0.0))  # not decoded
    n_bands = image.shape[known.index("C")] if known and "C" in known else 1
    scale = None if pair == (1.0, 0.0) else (pair,) * n_bands
    return Raster(image.data, known, _get_bands(image, known or ""), _get_nodata(image), None, scale, georeference)


def _get_bands(image: Any, axes: str) -> tuple[str, ...] | None:
    """Return the coordinates along the bands, or the ``long_name`` that rioxarray makes of descriptions."""
    if "C" not in axes:
        return None
    dim = image.dims[axes.index("C")]
    names = image.attrs.get("long_name")
    if isinstance(names, tuple | list) and len(names) == image.sizes[dim]:
        return tuple(map(str, names))
    return tuple(map(str, image.coords[dim].values.tolist())) if dim in image.coords else None


def _get_nodata(image: Any) -> float | None:
    """Return the nodata value of the attributes, or of the file; decoded floats are NaN already."""
    for attributes in (image.attrs, image.encoding if image.dtype.kind in "iu" else {}):
        for name in ("_FillValue", "nodata", "missing_value"):
            if attributes.get(name) is not None:
                return cast_nodata(float(np.ravel(attributes[name])[0]), image.dtype)
    return None


def _make_georeference(image: Any, axes: str) -> Georeference | None:
    dims = dict(zip(axes, image.dims, strict=True))
    steps = {axis: step for axis, dim in dims.items() if axis in SPATIAL_AXES and (step := _get_step(image, dim))}
    mapping = image.coords.get(image.attrs.get("grid_mapping", image.encoding.get("grid_mapping", "spatial_ref")))
    attributes = {} if mapping is None else mapping.attrs
    crs = attributes.get("crs_wkt") or attributes.get("spatial_ref")
    transform = None
    with suppress(KeyError, ValueError):
        c, a, b, f, d, e = map(float, str(attributes["GeoTransform"]).split())
        transform = (a, b, c, d, e, f)
    if transform is None and crs is not None and {"X", "Y"} <= steps.keys():
        x, y = (float(image.coords[dims[axis]][0]) - steps[axis] / 2 for axis in "XY")  # from centre to corner
        transform = (steps["X"], 0.0, x, 0.0, steps["Y"], y)
    if not steps and transform is None and crs is None:
        return None
    units = {image.coords[dims[axis]].attrs.get("units") for axis in steps}
    unit = normalize_unit(units.pop()) if len(units) == 1 else None
    return Georeference(crs, transform, tuple((axis, abs(step)) for axis, step in steps.items()), unit)


def _get_step(image: Any, dim: Any) -> float | None:
    """Return the distance of neighbours along a dim if it is the same everywhere."""
    if dim not in image.coords or image.sizes[dim] < 2 or image.coords[dim].dtype.kind not in "iuf":
        return None
    positions = np.asarray(image.coords[dim].values, np.float64)
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    return float(step) if step and np.allclose(np.diff(positions), step, rtol=1e-3) else None
