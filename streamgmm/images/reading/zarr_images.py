"""zarr, version 2 and 3: an array, or an OME-Zarr image (0.1 to 0.5), whose axes, resolutions and units it states."""

from __future__ import annotations

from typing import Any

from streamgmm.errors import InputError
from streamgmm.images.reading.names import letters, unit_of
from streamgmm.images.reading.raster import SPATIAL, Georeference, Raster
from streamgmm.images.reading.whole import chosen_level, no_levels


def open_zarr(name: str, level: int | None) -> Raster:
    """What is stored at a path or a URL."""
    import zarr

    return from_zarr(zarr.open(name, mode="r"), level)


def from_zarr(found: Any, level: int | None) -> Raster:
    """A zarr array, or a group that is an OME-Zarr image or has just one array."""
    name = str(getattr(found, "store_path", found))
    if not hasattr(found, "arrays"):
        no_levels(name, level)
        return Raster(found, _dimensions(found))
    attributes = read_ome_attributes(found)
    if attributes.get("multiscales"):
        return _ome_image(found, attributes, level, name)
    arrays = dict(found.arrays())
    if len(arrays) == 1:
        no_levels(name, level)
        (array,) = arrays.values()
        return Raster(array, _dimensions(array))
    inside = sorted([*arrays, *(key for key, _ in found.groups())])
    some = f"it holds {', '.join(map(repr, inside[:5]))}{' and more' * (len(inside) > 5)}" if inside else "it is empty"
    raise InputError(
        f"The zarr group {name} is no OME-Zarr image and has not just one array: {some}; pass the path of the one you "
        "mean."
    )


def read_ome_attributes(group: Any) -> dict[str, Any]:
    """What a group says of itself as OME-Zarr, wherever its version has that."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return inner if isinstance(inner, dict) else attributes


def _dimensions(array: Any) -> str | None:
    """Axes by their names: those of zarr 3, or what xarray writes in zarr 2."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return letters(names) if names and len(names) == array.ndim else None


def _ome_image(group: Any, attributes: dict[str, Any], level: int | None, name: str) -> Raster:
    try:
        image = attributes["multiscales"][0]
        datasets = image["datasets"]
        chosen = datasets[chosen_level(name, level, len(datasets))]
        array = group[chosen["path"]]
        axes, units = _axes(image, array.ndim)
        factors = [1.0] * array.ndim
        for step in (*chosen.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
            for axis, factor in enumerate(step.get("scale", ())):
                factors[axis] *= float(factor)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"{name} says that it is an OME-Zarr image, but what it says cannot be used ({type(error).__name__}: "
            f"{error}); pass the path of the array itself."
        ) from None
    spacing = tuple((axis, factor) for axis, factor in zip(axes, factors, strict=True) if axis in SPATIAL)
    known = {unit for axis, unit in zip(axes, units, strict=True) if axis in SPATIAL}
    n_bands = array.shape[axes.index("C")] if "C" in axes else 1
    grid = Georeference(spacing=spacing, unit=unit_of(known.pop()) if len(known) == 1 else None)
    return Raster(array, axes, _channels(attributes, n_bands), georeference=grid)


def _axes(image: dict[str, Any], ndim: int) -> tuple[str, list[str | None]]:
    """Letters and units of the axes; before version 0.3 they were these five, and had no units."""
    stated = image.get("axes") or list("tczyx")
    kinds = {"time": "t", "channel": "c"}
    if isinstance(stated[0], dict):
        names = [kinds.get(axis.get("type"), axis["name"]) for axis in stated]
        units = [axis.get("unit") for axis in stated]
    else:
        names, units = list(stated), [None] * len(stated)
    axes = letters(names)
    if axes is None or len(axes) != ndim:
        raise KeyError(f"axes {names} of an array with {ndim}")
    return axes, units


def _channels(attributes: dict[str, Any], n_bands: int) -> tuple[str, ...] | None:
    """Labels of the channels, which viewers show, where each has its own."""
    stated = attributes.get("omero", {}).get("channels", [])
    names = tuple(str(channel.get("label", "")) for channel in stated)
    return names if len(names) == n_bands and all(names) and len(set(names)) == n_bands else None
