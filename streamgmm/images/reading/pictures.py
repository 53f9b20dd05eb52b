"""PNG and JPEG, through Pillow: decoded whole, which they can only be. What is fully transparent is nodata."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from streamgmm.errors import InputError
from streamgmm.images.reading.raster import Raster
from streamgmm.images.reading.whole import check_whole, no_levels

_MODES = {"L": "L", "I;16": "I;16", "RGB": "RGB", "LA": "LA", "RGBA": "RGBA", "1": "L", "P": "RGB", "PA": "RGBA"}
_TRANSPARENT = {"1": "LA", "L": "LA", "P": "RGBA", "RGB": "RGBA"}  # with one colour that is
_REMEDY = "convert it to a tiled TIFF (vips tiffsave FROM TO --tile), or to .zarr"


def import_pillow() -> Any:
    """PIL.Image, or the remedy."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("Pictures need Pillow; install it with: pip install 'streamgmm[demo]'") from None
    return Image


def open_picture(name: str, level: int | None) -> Raster:
    """A picture of grey levels or colours; palettes become colours."""
    no_levels(name, level)
    Image = import_pillow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its size is looked at here
        try:
            picture = Image.open(name)
        except Image.DecompressionBombError as error:
            raise InputError(f"{name!r} is too large a picture ({error}); {_REMEDY}.") from None
    with picture:
        mode = _TRANSPARENT.get(picture.mode) if "transparency" in picture.info else _MODES.get(picture.mode)
        if mode is None:
            raise InputError(f"{name!r} is a picture of mode {picture.mode}; convert it to RGB or to grey levels.")
        if any("16" in str(tile.args) for tile in picture.tile) and picture.mode != "I;16":
            raise InputError(f"{name!r} has colours of 16 bits, of which Pillow keeps 8; convert it to TIFF.")
        n_bytes = picture.width * picture.height * (2 if mode == "I;16" else len(mode))
        check_whole(name, n_bytes, f"{picture.width:,} x {picture.height:,} pixels", _REMEDY)
        values = np.asarray(picture if mode == picture.mode else picture.convert(mode))
    if not mode.endswith("A"):
        return Raster(values, "YX" if values.ndim == 2 else "YXC")
    mask = values[:, :, -1] == 0
    values = values[:, :, 0] if mode == "LA" else values[:, :, :-1]
    return Raster(values, "YX" if mode == "LA" else "YXC", mask=mask if mask.any() else None)
