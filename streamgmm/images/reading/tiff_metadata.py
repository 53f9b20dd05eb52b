"""Lengths of pixels and names of channels, as OME-XML, ImageJ and slide scanners write them into a TIFF.

It knows nothing of arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any
from xml.etree import ElementTree

from streamgmm.images.reading.names import unit_of
from streamgmm.images.reading.raster import Georeference

CENTIMETRE, MICROMETRES = 3, 1e4  # what ResolutionUnit says of one, and how many there are


def ome_grid(metadata: str | None) -> Georeference | None:
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
    return Georeference(
        spacing=tuple((axis, length) for axis, length, _ in found), unit=units.pop() if len(units) == 1 else None
    )


def ome_bands(metadata: str | None) -> tuple[str, ...] | None:
    """Names of the channels, if all have one of their own."""
    if not metadata:
        return None
    names = [channel.get("Name", "") for channel in _elements(metadata, "Channel")]
    return tuple(names) if names and all(names) and len(set(names)) == len(names) else None


def aperio_grid(description: str) -> Georeference | None:
    """Micrometres a pixel are one of the items that the description of a slide has after its first line.

    Examples
    --------
    >>> aperio_grid("Aperio Image Library v11 |AppMag = 20|MPP = 0.4990").pixel_size
    (0.249001, 'µm²')
    """
    items = dict(item.partition("=")[::2] for item in description.replace(" ", "").split("|"))
    try:
        length = float(items.get("MPP", ""))
    except ValueError:
        return None
    return Georeference(spacing=(("Y", length), ("X", length)), unit="micrometer") if 0 < length < inf else None


def hamamatsu_grid(tags: Any) -> Georeference | None:
    """Pixels per centimetre are the resolution."""
    lengths = _resolved(tags)
    unit = tags.get("ResolutionUnit")
    if lengths is None or unit is None or unit.value != CENTIMETRE:
        return None
    return Georeference(spacing=tuple((axis, MICROMETRES * length) for axis, length in lengths), unit="micrometer")


def imagej_grid(metadata: Mapping[str, Any], tags: Any) -> Georeference | None:
    """Pixels per unit are the resolution, and the distance of planes is the spacing."""
    unit, lengths = unit_of(metadata.get("unit")), _resolved(tags)
    if lengths is None or unit in (None, "pixel", "inch"):
        return None
    planes = [("Z", float(metadata["spacing"]))] if "spacing" in metadata else []
    return Georeference(spacing=(*planes, *lengths), unit=unit)


def _resolved(tags: Any) -> tuple[tuple[str, float], ...] | None:
    """Height and width of a pixel, in the unit that the resolution is of."""
    values = [(axis, tag.value) for axis in "YX" if (tag := tags.get(f"{axis}Resolution")) is not None]
    if len(values) < 2 or not all(pixels and unit for _, (pixels, unit) in values):
        return None
    return tuple((axis, unit / pixels) for axis, (pixels, unit) in values)


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
