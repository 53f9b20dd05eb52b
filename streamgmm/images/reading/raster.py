"""Image as it is stored: an array and the metadata of its format. Nothing is read, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from math import isnan, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.images.reading.axis_names import SPATIAL_AXES, UNIT_SYMBOLS
from streamgmm.images.reading.lazy_arrays import combine_masks, mask_equal, rescale, take_entries, take_index

MAX_DECODED_BYTES = 2**28  # of a picture, tile or strip that can only be decoded whole

LIBRARIES = {"rasterio": ("rasterio", "geo"), "tifffile": ("tifffile", "tiff"), "PIL.Image": ("Pillow", "demo")}


@dataclass(frozen=True, slots=True)
class Georeference:
    """Position and size of pixels.

    Attributes
    ----------
    crs : str or None
        Coordinate reference system, as ``"EPSG:32633"`` or WKT.
    transform : tuple of 6 floats, or None
        Affine map from (column, row) to (x, y), in the order of rasterio: x = a·column + b·row + c and
        y = d·column + e·row + f.
    spacing : tuple of (str, float)
        Length of a pixel along each axis, by its letter.
    unit : str or None
        Unit of all lengths: ``"metre"``, ``"micrometer"``, …, or ``"degree"``.

    Examples
    --------
    >>> Georeference("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), (("Y", 10.0), ("X", 10.0)), "metre").pixel_size
    (100.0, 'm²')
    """

    crs: str | None = None
    transform: tuple[float, ...] | None = None
    spacing: tuple[tuple[str, float], ...] = ()
    unit: str | None = None

    @property
    def pixel_size(self) -> tuple[float, str] | None:
        """Area of a pixel, or its volume if planes have a distance, with the unit; None if unknown."""
        lengths = {axis: length for axis, length in self.spacing if axis in SPATIAL_AXES}
        if self.unit is None or self.unit == "degree" or not {"Y", "X"} <= lengths.keys():
            return None
        size = prod(lengths.values())
        if self.transform is not None:
            a, b, _, d, e, _ = self.transform  # a rotated pixel is a parallelogram
            size = abs(a * e - b * d) * lengths.get("Z", 1.0)
        return size, f"{UNIT_SYMBOLS.get(self.unit, self.unit)}{'³' if 'Z' in lengths else '²'}"


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Stored array with the metadata of its format."""

    array: Any  # any array with shape, dtype and slices
    axes: str | None = None  # a letter, T, Z, Y, X or C, for each axis of the array
    bands: tuple[str, ...] | None = None  # their names
    nodata: float | None = None
    mask: Any = None  # True where a pixel is nodata, along all axes but C; along C too if bands have their own masks
    scale: tuple[tuple[float, float], ...] | None = None  # factor and offset of each band, not yet applied
    georeference: Georeference | None = None
    palette: NDArray[np.uint8] | None = None  # colour (n, 3) of each value

    def with_axes(self, axes: str | None) -> Raster:
        """Replace the axes by those of the user, and drop metadata that belong to other axes."""
        if axes is None or axes.upper() == self.axes:
            return self
        axes, old, georeference = axes.upper(), self.axes or "", self.georeference
        if georeference is not None and old:
            spacing = tuple(
                (axis, length) for axis, length in georeference.spacing if axes.find(axis) == old.find(axis)
            )
            georeference = replace(georeference, spacing=spacing)
        keeps_bands = axes.find("C") == old.find("C")
        if self.mask is not None and (len(axes) != len(old) or not keeps_bands):
            raise InputError(
                f"axes={axes!r} are not those of the file, {self.axes!r}, to which its nodata mask belongs; leave axes "
                "out, or open the array yourself."
            )
        return replace(self, axes=axes, bands=self.bands if keeps_bands else None, georeference=georeference)

    def expand_palette(self) -> Raster:
        """Replace values by red, green and blue if there is a palette."""
        if self.palette is None:
            return self
        if self.axes is None or "C" in self.axes:
            raise InputError("The image has a palette and several samples or unknown axes; convert it to RGB.")
        mask = combine_masks(self.mask, None if self.nodata is None else mask_equal(self.array, self.nodata))
        array = take_entries(self.array, self.palette)
        return Raster(array, self.axes + "C", mask=mask, georeference=self.georeference)

    def apply_scale(self, nodata: float | None = None) -> Raster:
        """Convert stored numbers to quantities, in float32, and ``nodata``, by default that of the format, to NaN."""
        if self.scale is None:
            raise InputError("scaled=True was asked for, but the image has no factors or offsets; leave it out.")
        shape = [1] * len(self.array.shape)
        if "C" in (self.axes or ""):
            shape[str(self.axes).index("C")] = len(self.scale)
        factor, offset = (np.reshape(values, shape) for values in zip(*self.scale, strict=True))
        nodata = self.nodata if nodata is None else nodata
        return replace(self, array=rescale(self.array, factor, offset, nodata), nodata=None, scale=None)

    def make_nodata_mask(self, bands: Sequence[int] | None = None, mask: Any = None) -> Any:
        """Combine the mask of the format in any of ``bands``, by default all, with another; ignore nodata values."""
        own = self.mask
        if own is not None and "C" in (self.axes or "") and len(own.shape) == len(self.array.shape):
            axis = str(self.axes).index("C")
            used = [band for band in bands or range(own.shape[axis]) if 0 <= band < own.shape[axis]]
            own = combine_masks(*(take_index(own, axis, band) for band in used))
        return combine_masks(own, mask)


def cast_nodata(value: float | None, dtype: Any) -> float | None:
    """Return a nodata value if the dtype can hold it; None for NaN, which always is nodata.

    Examples
    --------
    >>> cast_nodata(-9999.0, np.int16), cast_nodata(-9999.0, np.uint8), cast_nodata(np.nan, np.float32)
    (-9999, None, None)
    """
    if value is None or isnan(value):
        return None
    if np.dtype(dtype).kind not in "iu":
        return float(value)
    limits = np.iinfo(dtype)
    return int(value) if float(value).is_integer() and limits.min <= value <= limits.max else None


def import_library(module: str) -> Any:
    """Import an optional library, or say how to install it."""
    try:
        return import_module(module)
    except ImportError:
        name, extra = LIBRARIES[module]
        raise ImportError(f"This format needs {name}; install it with: pip install 'streamgmm[{extra}]'") from None


def check_level(name: str, level: int | None, n_levels: int = 1) -> int:
    """Return a level that exists, by default the finest, 0; raise for any other."""
    level = level or 0
    if n_levels == 1 and level:
        raise InputError(f"level={level} was asked for, but {name!r} holds no other resolutions; leave it out.")
    if not 0 <= level < n_levels:
        raise InputError(
            f"level={level} was asked for, but {name!r} has {n_levels} levels, counted from 0, the finest; pass one of "
            "these."
        )
    return level


def check_decoded_size(name: str, n_bytes: int, part: str, remedy: str) -> None:
    """Raise if a part that has to be decoded whole is larger than `MAX_DECODED_BYTES`."""
    if n_bytes > MAX_DECODED_BYTES:
        raise InputError(
            f"{name!r} has {part}, which would have to be decoded whole and takes {n_bytes / 2**20:,.0f} MiB, more "
            f"than {MAX_DECODED_BYTES / 2**20:,.0f}; {remedy}."
        )


def make_damage_error(name: str, error: Exception) -> InputError:
    """Return the error for a part of an open file that cannot be read."""
    reason = " ".join(str(error).split())
    return InputError(f"A part of {name!r} cannot be read ({reason}); it is damaged or incomplete, get it anew.")
