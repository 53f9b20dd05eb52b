"""Names that formats give to axes and to units, as the letters and the words that are used here."""

from __future__ import annotations

from collections.abc import Iterable

_LETTERS = {
    "T": ("t", "time"),
    "Z": ("z", "depth", "plane"),
    "Y": ("y", "lat", "latitude", "row", "rows", "line", "lines", "northing"),
    "X": ("x", "lon", "longitude", "column", "columns", "col", "cols", "easting"),
    "C": ("c", "band", "bands", "channel", "channels", "wavelength"),
}
_LETTER = {name: letter for letter, names in _LETTERS.items() for name in names}

_UNITS = {
    "metre": ("m", "meter", "metres", "meters"),
    "kilometer": ("km",),
    "centimeter": ("cm",),
    "millimeter": ("mm",),
    "micrometer": ("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometre"),
    "nanometer": ("nm",),
    "degree": ("deg", "degrees", "degrees_north", "degrees_east"),
}
_UNIT = {name: unit for unit, names in _UNITS.items() for name in (unit, *names)}


def letters(names: Iterable[object]) -> str | None:
    """A letter for each axis by its name; None where one is not known, or two are the same.

    Examples
    --------
    >>> letters(["band", "lat", "lon"]), letters(["y", "x", "polarization"])
    ('CYX', None)
    """
    found = [_LETTER.get(str(name).lower()) for name in names]
    known = [letter for letter in found if letter]
    return "".join(known) if len(known) == len(found) == len(set(known)) else None


def unit_of(name: object) -> str | None:
    """The word for a unit of length; one that is not known stays as it is.

    Examples
    --------
    >>> unit_of("µm"), unit_of("meter"), unit_of("parsec"), unit_of(None)
    ('micrometer', 'metre', 'parsec', None)
    """
    return None if name is None or name == "" else _UNIT.get(str(name).lower(), str(name))
