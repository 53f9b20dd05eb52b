"""xarray: dims are axes by their names, coordinates say where pixels lie, and dask behind it stays lazy."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from streamgmm.errors import InputError, InputTypeError
from streamgmm.images.reading.names import letters, unit_of
from streamgmm.images.reading.raster import Georeference, Raster, possible_nodata


def from_xarray(image: Any, axes: str | None) -> Raster:
    """A DataArray whose dims are known by name, or as ``axes`` says."""
    if not hasattr(image, "dims") or not hasattr(image, "variable"):
        raise InputTypeError(
            f"The image is an xarray {type(image).__name__}; pass one of its variables, or "
            ".to_dataarray(dim='band') if they are its bands."
        )
    found = letters(image.dims)
    if found is None and axes is None:
        raise InputError(
            f"The image is a DataArray with dims {tuple(map(str, image.dims))}, of which not all are known by name; "
            "pass axes= with a letter for each, out of T, Z, Y, X and C."
        )
    if image.chunks is None and not image._in_memory:
        image = image.chunk()  # a file that was opened without chunks would be read whole
    grid = None if found is None else _grid(image, found)
    return Raster(
        image.data, found, _bands(image, found), _nodata(image), scale=_scale(image, found), georeference=grid
    )


def _bands(image: Any, axes: str | None) -> tuple[str, ...] | None:
    """Coordinates along the bands, or the ``long_name`` that rioxarray makes of descriptions."""
    if axes is None or "C" not in axes:
        return None
    dim = image.dims[axes.index("C")]
    stated = image.attrs.get("long_name")
    if isinstance(stated, tuple | list) and len(stated) == image.sizes[dim]:
        return tuple(map(str, stated))
    return tuple(map(str, image.coords[dim].values.tolist())) if dim in image.coords else None


def _nodata(image: Any) -> float | None:
    """A value that the file has, or had; floats came as NaN where it was."""
    for said in (image.attrs, image.encoding if image.dtype.kind in "iu" else {}):
        for name in ("_FillValue", "nodata", "missing_value"):
            if said.get(name) is not None:
                return possible_nodata(float(np.ravel(said[name])[0]), image.dtype)
    return None


def _scale(image: Any, axes: str | None) -> tuple[tuple[float, float], ...] | None:
    """What the file says of values that xarray was told not to decode."""
    said = float(image.attrs.get("scale_factor", 1.0)), float(image.attrs.get("add_offset", 0.0))
    n_bands = 1 if axes is None or "C" not in axes else image.shape[axes.index("C")]
    return None if said == (1.0, 0.0) else (said,) * n_bands


def _grid(image: Any, axes: str) -> Georeference | None:
    dims = dict(zip(axes, image.dims, strict=True))
    steps = {axis: step for axis, dim in dims.items() if axis in "ZYX" and (step := _step(image, dim))}
    mapping = image.coords.get(image.attrs.get("grid_mapping", image.encoding.get("grid_mapping", "spatial_ref")))
    said = {} if mapping is None else mapping.attrs
    crs = said.get("crs_wkt") or said.get("spatial_ref")
    transform = None
    with suppress(KeyError, ValueError):
        c, a, b, f, d, e = map(float, str(said["GeoTransform"]).split())
        transform = (a, b, c, d, e, f)
    if transform is None and crs is not None and {"X", "Y"} <= steps.keys():
        x, y = (float(image.coords[dims[axis]][0]) - steps[axis] / 2 for axis in "XY")
        transform = (steps["X"], 0.0, x, 0.0, steps["Y"], y)
    if not steps and transform is None and crs is None:
        return None
    units = {image.coords[dims[axis]].attrs.get("units") for axis in steps}
    unit = unit_of(units.pop()) if len(units) == 1 else None
    return Georeference(crs, transform, tuple((axis, abs(step)) for axis, step in steps.items()), unit)


def _step(image: Any, dim: Any) -> float | None:
    """Distance of neighbours along a dim, where it is the same everywhere."""
    if dim not in image.coords or image.sizes[dim] < 2 or image.coords[dim].dtype.kind not in "iuf":
        return None
    places = np.asarray(image.coords[dim].values, np.float64)
    step = (places[-1] - places[0]) / (len(places) - 1)
    return float(step) if step and np.allclose(np.diff(places), step, rtol=1e-3) else None
