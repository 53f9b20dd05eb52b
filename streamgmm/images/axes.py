"""Which axis of an array is which: lines, columns and bands. Where it is not certain it has to be said."""

from __future__ import annotations

from streamgmm.errors import InputError

KNOWN = ("YX", "YXC", "CYX", "YCX")
FEW, MANY = 4, 32  # bands at most, and lines and columns at least, of an image whose axes need not be named


def named_axes(shape: tuple[int, ...], axes: str | None) -> str:
    """Names of the axes of an image: Y for lines, X for columns and C for bands.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    axes : str or None
        As given: one letter an axis. Without it an array of two axes is one band; of three, bands are the first or the
        last axis if just one of these has at most 4 places, and both others have at least 32.

    Returns
    -------
    str
        One of `KNOWN`.

    Raises
    ------
    InputError
        There are too few or too many axes, or it is not certain which is which.

    Examples
    --------
    >>> named_axes((427, 640, 3), None), named_axes((3, 427, 640), None), named_axes((12, 427, 640), "CYX")
    ('YXC', 'CYX', 'CYX')
    """
    if axes is not None:
        if axes.upper() not in KNOWN or len(axes) != len(shape):
            raise InputError(
                f"axes={axes!r} does not name the axes of an image of shape {shape}; pass one of "
                f"{', '.join(repr(known) for known in KNOWN if len(known) == len(shape)) or 'two or three axes'}."
            )
        return axes.upper()
    if len(shape) == 2:
        return "YX"
    if len(shape) != 3:
        raise InputError(f"The image has shape {shape}; pass two axes, or three of which one is of bands.")
    first, last = (shape[place] <= FEW and min(others) >= MANY for place, others in ((0, shape[1:]), (2, shape[:2])))
    if first == last:
        raise InputError(
            f"Which axis of an image of shape {shape} is of bands is not certain; pass axes='YXC' or axes='CYX'."
        )
    return "CYX" if first else "YXC"
