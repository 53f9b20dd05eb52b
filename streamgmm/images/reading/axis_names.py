"""Names of axes and units: the letters T, Z, Y, X and C, and what formats call them.

An array whose axes are uncertain is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable

from streamgmm.errors import InputError

AXIS_NAMES = {"T": "time", "Z": "plane", "Y": "row", "X": "column"}
BAND_AXIS = "C"
SPATIAL_AXES = "ZYX"  # along which pixels have neighbours and coordinates
MAX_BANDS, MIN_SIDE = 4, 32  # of an image whose axes need no names

_ALIASES = {
    "T": ("t", "time"),
    "Z": ("z", "depth", "plane"),
    "Y": ("y", "lat", "latitude", "row", "rows", "line", "lines", "northing"),
    "X": ("x", "lon", "longitude", "column", "columns", "col", "cols", "easting"),
    "C": ("c", "band", "bands", "channel", "channels", "wavelength"),
}
_UNIT_ALIASES = {  # the first is the symbol
    "metre": ("m", "meter", "metres", "meters"),
    "kilometer": ("km",),
    "centimeter": ("cm",),
    "millimeter": ("mm",),
    "micrometer": ("µm", "um", "μm", "\\u00b5m", "micron", "microns", "micrometre"),
    "nanometer": ("nm",),
    "degree": ("deg", "degrees", "degrees_north", "degrees_east"),
}
_LETTERS = {alias: letter for letter, aliases in _ALIASES.items() for alias in aliases}
UNIT_SYMBOLS = {unit: aliases[0] for unit, aliases in _UNIT_ALIASES.items()}
_UNITS = {alias: unit for unit, aliases in _UNIT_ALIASES.items() for alias in (unit, *aliases)}


def name_axes(shape: tuple[int, ...], axes: str | None) -> str:
    """Return a capital letter for each axis of an image: T time, Z plane, Y row, X column, C band.

    Letters of the user or the format are checked. Without them, two axes are one band. Of three axes, the first or the
    last is that of bands if exactly one of them has at most 4 entries and both other axes have at least 32.

    Examples
    --------
    >>> name_axes((427, 640, 3), None), name_axes((3, 427, 640), None), name_axes((12, 427, 640), "cyx")
    ('YXC', 'CYX', 'CYX')
    """
    if axes is not None:
        return _check_axes(axes, shape)
    if len(shape) == 2:
        return "YX"
    if not 2 <= len(shape) <= 5:
        raise InputError(f"The image has shape {shape}; pass rows and columns at least, and five axes at most.")
    if len(shape) > 3:
        raise InputError(
            f"Which axis of an image of shape {shape} is which is not certain; name them by axes=, a letter each, such "
            f"as {'TZYX' if len(shape) == 4 else 'TCZYX'!r}: T time, Z planes, Y rows, X columns, C bands."
        )
    is_first, is_last = (
        shape[axis] <= MAX_BANDS and min(others) >= MIN_SIDE for axis, others in ((0, shape[1:]), (2, shape[:2]))
    )
    if is_first == is_last:
        raise InputError(
            f"Which axis of an image of shape {shape} is of bands is not certain; pass axes='YXC' or axes='CYX', or "
            "axes='ZYX' for a volume of one band, or axes='TYX' for one band in time."
        )
    return "CYX" if is_first else "YXC"


def parse_axes(names: Iterable[object]) -> str | None:
    """Return the letters of named axes; None if a name is unknown or two mean the same.

    Examples
    --------
    >>> parse_axes(["band", "lat", "lon"]), parse_axes(["y", "x", "polarization"])
    ('CYX', None)
    """
    letters = [_LETTERS.get(str(name).lower(), "") for name in names]
    return "".join(letters) if all(letters) and len(set(letters)) == len(letters) else None


def normalize_unit(name: object) -> str | None:
    """Return the usual name of a unit of length; an unknown one stays as it is.

    Examples
    --------
    >>> normalize_unit("µm"), normalize_unit("meter"), normalize_unit("parsec"), normalize_unit(None)
    ('micrometer', 'metre', 'parsec', None)
    """
    return _UNITS.get(str(name).lower(), str(name)) if name else None


def _check_axes(axes: str, shape: tuple[int, ...]) -> str:
    letters = axes.upper() if isinstance(axes, str) else ""
    is_known = set(letters) <= {*AXIS_NAMES, BAND_AXIS} and len(set(letters)) == len(letters)
    if not is_known or not {"Y", "X"} <= set(letters) or len(letters) != len(shape):
        raise InputError(
            f"axes={axes!r} does not name the axes of an image of shape {shape}; pass a letter for each of its "
            f"{len(shape)} axes, Y (rows) and X (columns) and, where there are such, T (time), Z (planes) and C "
            "(bands), each once."
        )
    return letters
