"""Which axis of an array is which: time, planes, lines, columns, bands. Where that is not certain it has to be said."""

from __future__ import annotations

from streamgmm.errors import InputError

PLACES = {"T": "time", "Z": "plane", "Y": "line", "X": "column"}
BANDS = "C"
SPATIAL_AXES = "ZYX"  # along which pixels have neighbours, and coordinates
FEW, MANY = 4, 32  # bands at most, and lines and columns at least, of an image whose axes need not be named


def name_axes(shape: tuple[int, ...], axes: str | None) -> str:
    """Names of the axes of an image: T for time, Z for planes, Y for lines, X for columns and C for bands.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    axes : str or None
        As given: one letter an axis, in any order, Y and X among them. Without it an array of two axes is one band; of
        three, bands are the first or the last axis if just one of these has at most 4 places, and both others have at
        least 32. More axes have to be named.

    Returns
    -------
    str
        A capital for each axis.

    Raises
    ------
    InputError
        There are too few or too many axes, or it is not certain which is which.

    Examples
    --------
    >>> name_axes((427, 640, 3), None), name_axes((3, 427, 640), None), name_axes((12, 427, 640), "CYX")
    ('YXC', 'CYX', 'CYX')
    >>> name_axes((20, 427, 640), "zyx")
    'ZYX'
    """
    if axes is not None:
        return _checked(axes, shape)
    if len(shape) == 2:
        return "YX"
    if len(shape) != 3:
        if not 4 <= len(shape) <= 5:
            raise InputError(f"The image has shape {shape}; pass lines and columns at least, and five axes at most.")
        raise InputError(
            f"Which axis of an image of shape {shape} is which is not certain; name them by axes=, a letter each, such "
            f"as {'TZYX' if len(shape) == 4 else 'TCZYX'!r}: T time, Z planes, Y lines, X columns, C bands."
        )
    first, last = (shape[place] <= FEW and min(others) >= MANY for place, others in ((0, shape[1:]), (2, shape[:2])))
    if first == last:
        raise InputError(
            f"Which axis of an image of shape {shape} is of bands is not certain; pass axes='YXC' or axes='CYX', or "
            "axes='ZYX' for a volume of one band, or axes='TYX' for one band in time."
        )
    return "CYX" if first else "YXC"


def _checked(axes: str, shape: tuple[int, ...]) -> str:
    names = axes.upper() if isinstance(axes, str) else ""
    known = not set(names) - {*PLACES, BANDS} and len(set(names)) == len(names)
    if not known or not {"Y", "X"} <= set(names) or len(names) != len(shape):
        raise InputError(
            f"axes={axes!r} does not name the axes of an image of shape {shape}; pass a letter for each of its "
            f"{len(shape)} axes, Y (lines) and X (columns) and, where there are such, T (time), Z (planes) and C "
            "(bands), each once."
        )
    return names
