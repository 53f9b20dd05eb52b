"""Pixel sizes and channel names that OME-XML, ImageJ and slide scanners write into a TIFF."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any
from xml.etree import ElementTree

from streamgmm.images.reading.axis_names import SPATIAL_AXES, normalize_unit
from streamgmm.images.reading.raster import Georeference

CENTIMETRE = 3  # value of ResolutionUnit
MICROMETRES_PER_CENTIMETRE = 1e4


def parse_ome(metadata: str | None) -> tuple[Georeference | None, tuple[str, ...] | None]:
    """Return pixel sizes (``PhysicalSizeX`` and others) and distinct channel names of the first image in OME-XML."""
    try:
        root = ElementTree.fromstring(metadata or "")
    except ElementTree.ParseError:
        return None, None
    image = root.find("{*}Image")
    image = root if image is None else image
    pixels = image.find(".//{*}Pixels")
    sizes = {} if pixels is None else {a: pixels.get(f"PhysicalSize{a}") for a in SPATIAL_AXES}
    spacing = tuple((axis, float(size)) for axis, size in sizes.items() if size is not None)
    georeference = None
    if pixels is not None and spacing:
        units = {normalize_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis, _ in spacing}
        georeference = Georeference(spacing=spacing, unit=units.pop() if len(units) == 1 else None)
    names = tuple(channel.get("Name", "") for channel in image.iterfind(".//{*}Channel"))
    return georeference, names if names and all(names) and len(set(names)) == len(names) else None


def parse_aperio(description: str) -> Georeference | None:
    """Return micrometres per pixel, the item MPP in the description of an Aperio slide.

    Examples
    --------
    >>> parse_aperio("Aperio Image Library v11 |AppMag = 20|MPP = 0.4990").pixel_size
    (0.249001, 'µm²')
    """
    items = dict(item.partition("=")[::2] for item in description.replace(" ", "").split("|"))
    try:
        length = float(items.get("MPP", ""))
    except ValueError:
        return None
    return Georeference(spacing=(("Y", length), ("X", length)), unit="micrometer") if 0 < length < inf else None


def parse_hamamatsu(tags: Any) -> Georeference | None:
    """Return pixel sizes from the resolution of a Hamamatsu slide, in pixels per centimetre."""
    lengths, unit = _parse_resolution(tags), tags.get("ResolutionUnit")
    if lengths is None or unit is None or unit.value != CENTIMETRE:
        return None
    spacing = tuple((axis, MICROMETRES_PER_CENTIMETRE * length) for axis, length in lengths)
    return Georeference(spacing=spacing, unit="micrometer")


def parse_imagej(metadata: Mapping[str, Any], tags: Any) -> Georeference | None:
    """Return pixel sizes from the resolution, in pixels per unit, and the distance of planes."""
    lengths, unit = _parse_resolution(tags), normalize_unit(metadata.get("unit"))
    if lengths is None or unit in (None, "pixel", "inch"):
        return None
    planes = [("Z", float(metadata["spacing"]))] if "spacing" in metadata else []
    return Georeference(spacing=(*planes, *lengths), unit=unit)


def _parse_resolution(tags: Any) -> tuple[tuple[str, float], ...] | None:
    """Return height and width of a pixel, in the unit of the resolution."""
    values = [(axis, tag.value) for axis in "YX" if (tag := tags.get(f"{axis}Resolution")) is not None]
    if len(values) < 2 or not all(pixels and unit for _, (pixels, unit) in values):
        return None
    return tuple((axis, unit / pixels) for axis, (pixels, unit) in values)
