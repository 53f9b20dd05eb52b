"""zarr, version 2 and 3: an array, or an OME-Zarr image (0.1 to 0.5) with axes, resolutions and units."""

from __future__ import annotations

from typing import Any

from streamgmm.errors import InputError
from streamgmm.images.reading.axis_names import SPATIAL_AXES, normalize_unit, parse_axes
from streamgmm.images.reading.raster import Georeference, Raster, check_level

_AXIS_TYPES = {"time": "t", "channel": "c"}


def open_zarr(name: str, level: int | None) -> Raster:
    """Open an array or an image at a path or a URL."""
    import zarr

    return from_zarr(zarr.open(name, mode="r"), level)


def from_zarr(node: Any, level: int | None) -> Raster:
    """Make a raster of a zarr array, or of a group that is an OME-Zarr image or has just one array."""
    name = str(getattr(node, "store_path", node))
    if not hasattr(node, "arrays"):
        check_level(name, level)
        return Raster(node, _read_dimensions(node))
    attributes = read_ome_attributes(node)
    if attributes.get("multiscales"):
        return _read_ome_image(node, attributes, level, name)
    arrays = dict(node.arrays())
    if len(arrays) == 1:
        check_level(name, level)
        (array,) = arrays.values()
        return Raster(array, _read_dimensions(array))
    names = sorted([*arrays, *(key for key, _ in node.groups())])
    content = f"it holds {', '.join(map(repr, names[:5]))}{' and more' * (len(names) > 5)}" if names else "it is empty"
    raise InputError(
        f"The zarr group {name} is no OME-Zarr image and has not just one array: {content}; pass the path of the one "
        "you mean."
    )


def read_ome_attributes(group: Any) -> dict[str, Any]:
    """Return the OME-Zarr attributes of a group, which version 0.5 nests under ``ome``."""
    attributes = dict(group.attrs)
    nested = attributes.get("ome")
    return nested if isinstance(nested, dict) else attributes


def _read_dimensions(array: Any) -> str | None:
    """Return axes from the dimension names of zarr 3, or those that xarray writes in zarr 2."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return parse_axes(names) if names and len(names) == array.ndim else None


def _read_ome_image(group: Any, attributes: dict[str, Any], level: int | None, name: str) -> Raster:
    try:
        image = attributes["multiscales"][0]
        dataset = image["datasets"][check_level(name, level, len(image["datasets"]))]
        array = group[dataset["path"]]
        axes, units = _parse_ome_axes(image, array.ndim)
        factors = [1.0] * array.ndim
        for step in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
            for axis, factor in enumerate(step.get("scale", ())):
                factors[axis] *= float(factor)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"{name} is an OME-Zarr image whose metadata cannot be used ({type(error).__name__}: {error}); pass the "
            "path of the array itself."
        ) from None
    spacing = tuple((axis, factor) for axis, factor in zip(axes, factors, strict=True) if axis in SPATIAL_AXES)
    known = {unit for axis, unit in zip(axes, units, strict=True) if axis in SPATIAL_AXES}
    georeference = Georeference(spacing=spacing, unit=normalize_unit(known.pop()) if len(known) == 1 else None)
    n_bands = array.shape[axes.index("C")] if "C" in axes else 1
    labels = tuple(str(channel.get("label", "")) for channel in attributes.get("omero", {}).get("channels", []))
    has_names = len(labels) == n_bands and all(labels) and len(set(labels)) == n_bands
    return Raster(array, axes, labels if has_names else None, georeference=georeference)


def _parse_ome_axes(image: dict[str, Any], ndim: int) -> tuple[str, list[str | None]]:
    """Return letters and units of the axes; before version 0.3 they were TCZYX without units."""
    axes: list[dict[str, Any]]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image.get("axes") or "tczyx"]
    names = [_AXIS_TYPES.get(str(axis.get("type")), axis["name"]) for axis in axes]
    letters = parse_axes(names)
    if letters is None or len(letters) != ndim:
        raise KeyError(f"axes {names} of an array with {ndim}")
    return letters, [axis.get("unit") for axis in axes]
