"""Lengths of pixels and names of channels, as OME-XML and ImageJ write them into a TIFF. It knows nothing of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from streamgmm.images.formats.names import unit_of
from streamgmm.images.raster import Grid


def ome_grid(metadata: str | None) -> Grid | None:
    """``PhysicalSizeX`` and its kin of the first image; they are micrometres unless it is said."""
    pixels = _pixels(metadata)
    found = [
        (axis, float(pixels[f"PhysicalSize{axis}"]), unit_of(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
        for axis in "ZYX"
        if f"PhysicalSize{axis}" in pixels
    ]
    units = {unit for _, _, unit in found}
    if not found:
        return None
    return Grid(
        spacing=tuple((axis, length) for axis, length, _ in found), unit=units.pop() if len(units) == 1 else None
    )


def ome_bands(metadata: str | None) -> tuple[str, ...] | None:
    """Names of the channels, if all have one of their own."""
    if not metadata:
        return None
    names = [channel.get("Name", "") for channel in _elements(metadata, "Channel")]
    return tuple(names) if names and all(names) and len(set(names)) == len(names) else None


def imagej_grid(metadata: Mapping[str, Any], tags: Any) -> Grid | None:
    """Pixels per unit are the resolution, and the distance of planes is the spacing."""
    unit = unit_of(metadata.get("unit"))
    spacing = [("Z", float(metadata["spacing"]))] if "spacing" in metadata else []
    for axis in "YX":
        tag = tags.get(f"{axis}Resolution")
        if tag is None or not tag.value[0] or not tag.value[1]:
            return None
        spacing.append((axis, tag.value[1] / tag.value[0]))
    return Grid(spacing=tuple(spacing), unit=unit) if unit not in (None, "pixel", "inch") else None


def _pixels(metadata: str | None) -> dict[str, str]:
    found = _elements(metadata, "Pixels") if metadata else []
    return dict(found[0].attrib) if found else {}


def _elements(metadata: str, tag: str) -> list[ElementTree.Element]:
    """Elements of the first image, by their name without its namespace."""
    try:
        root = ElementTree.fromstring(metadata)
    except ElementTree.ParseError:
        return []
    image = next((element for element in root if element.tag.endswith("}Image")), root)
    return [element for element in image.iter() if element.tag.rpartition("}")[2] == tag]
