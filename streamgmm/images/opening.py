"""A path is the image that is stored there; the suffix says how. Nothing is read whole that need not be."""

from __future__ import annotations

import warnings
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from streamgmm.errors import InputError
from streamgmm.sources.storage import only

MOST_PIXELS = 2**26  # of a picture that is decoded whole


def opened(image: Any, axes: str | None = None) -> tuple[Any, str | None]:
    """Array of what is stored at a path, and its axes where the format or the caller says so.

    Anything else is as it is, but for a zarr group, which is its one array.
    """
    if isinstance(image, str | PathLike):
        name = fspath(image)
        opener = _OPENERS.get(Path(name).suffix.lower())
        if opener is None:
            raise InputError(f"{name!r} ends in none of {', '.join(_OPENERS)}; open the image yourself, as an array.")
        if "://" not in name and not Path(name).exists():
            raise InputError(f"The image is the path {name!r}, but there is nothing; check it.")
        try:
            image = opener(name)
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise InputError(f"{name!r} cannot be opened as an image ({error}); check that it was written.") from None
        if opener is _picture and axes is None:
            axes = "YX" if image.ndim == 2 else "YXC"
    return (only("zarr group", dict(image.arrays())) if hasattr(image, "arrays") else image), axes


def place(image: Any) -> Path | None:
    """Where an image is on disk, which nothing may be written to; None where it is not known to be."""
    if isinstance(image, str | PathLike):
        return Path(fspath(image))
    root = getattr(getattr(image, "store", None), "root", None)
    return None if root is None else Path(root, image.path)


def pillow() -> Any:
    """PIL.Image, or the remedy."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("Pictures need Pillow; install it with: pip install 'streamgmm[demo]'") from None
    return Image


def _zarr(name: str) -> Any:
    import zarr

    return zarr.open(name, mode="r")


def _npy(name: str) -> Any:
    return np.load(name, mmap_mode="r")


def _picture(name: str) -> Any:
    """A picture, decoded whole, which it can only be: so it must not be large."""
    Image = pillow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its size is looked at here
        try:
            picture = Image.open(name)
        except Image.DecompressionBombError as error:
            raise InputError(_too_large(name, str(error))) from None
    with picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise InputError(_too_large(name, f"it has {picture.width:,} x {picture.height:,} pixels"))
        if picture.mode not in ("L", "RGB", "I;16"):
            raise InputError(
                f"{name!r} is a picture of mode {picture.mode}; convert it to RGB or to grey levels, and pass what is "
                "transparent as a mask."
            )
        return np.asarray(picture)


def _too_large(name: str, why: str) -> str:
    return (
        f"{name!r} would have to be decoded whole ({why}), and {MOST_PIXELS:,} pixels are the most for that; convert "
        "it to .zarr."
    )


_OPENERS = {".zarr": _zarr, ".npy": _npy, ".png": _picture, ".jpg": _picture, ".jpeg": _picture}
