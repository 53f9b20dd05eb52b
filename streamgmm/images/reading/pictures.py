"""PNG and JPEG, through Pillow, which decodes them whole. Fully transparent pixels are nodata."""

from __future__ import annotations

import warnings

import numpy as np

from streamgmm.errors import InputError
from streamgmm.images.reading.raster import Raster, check_decoded_size, check_level, import_library

_MODES = {"L": "L", "I;16": "I;16", "RGB": "RGB", "LA": "LA", "RGBA": "RGBA", "1": "L", "P": "RGB", "PA": "RGBA"}
_TRANSPARENT_MODES = {"1": "LA", "L": "LA", "P": "RGBA", "RGB": "RGBA"}  # of pictures with one transparent colour
_REMEDY = "convert it to a tiled TIFF (vips tiffsave FROM TO --tile), or to .zarr"


def open_picture(name: str, level: int | None) -> Raster:
    """Decode a picture of grey levels or colours; a palette becomes colours."""
    check_level(name, level)
    Image = import_library("PIL.Image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked below
        try:
            picture = Image.open(name)
        except Image.DecompressionBombError as error:
            raise InputError(f"{name!r} is too large a picture ({error}); {_REMEDY}.") from None
    with picture:
        modes = _TRANSPARENT_MODES if "transparency" in picture.info else _MODES
        mode = modes.get(picture.mode)
        if mode is None:
            raise InputError(f"{name!r} is a picture of mode {picture.mode}; convert it to RGB or to grey levels.")
        if any("16" in str(tile.args) for tile in picture.tile) and picture.mode != "I;16":
            raise InputError(f"{name!r} has colours of 16 bits, of which Pillow keeps 8; convert it to TIFF.")
        n_bytes = picture.width * picture.height * (2 if mode == "I;16" else len(mode))
        check_decoded_size(name, n_bytes, f"{picture.width:,} x {picture.height:,} pixels", _REMEDY)
        values = np.asarray(picture if mode == picture.mode else picture.convert(mode))
    axes = "YXC" if mode.startswith("RGB") else "YX"
    if not mode.endswith("A"):
        return Raster(values, axes)
    mask = values[:, :, -1] == 0
    return Raster(values[:, :, 0] if axes == "YX" else values[:, :, :-1], axes, mask=mask if mask.any() else None)
