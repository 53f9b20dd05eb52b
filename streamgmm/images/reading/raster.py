"""An image as it is stored: an array, and what its format says of it. Nothing is read, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, prod
from typing import Any

import numpy as np

from streamgmm.errors import InputError
from streamgmm.images.reading.lazy_arrays import any_of, equals, rescaled

SPATIAL = "ZYX"
SYMBOLS = {
    "metre": "m",
    "micrometer": "µm",
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "kilometer": "km",
}


@dataclass(frozen=True, slots=True)
class Georeference:
    """Where pixels lie.

    Attributes
    ----------
    crs : str or None
        Reference system of coordinates, as ``"EPSG:32633"`` or WKT.
    transform : tuple of 6 floats, or None
        Affine map from (column, line) to (x, y), in the order of rasterio: x = a·column + b·line + c and
        y = d·column + e·line + f.
    spacing : tuple of (str, float)
        Length of a pixel along each axis, by its letter.
    unit : str or None
        Of all lengths: ``"metre"``, ``"micrometer"``, …; ``"degree"`` is one too.

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
        """Area of a pixel, its volume where planes have a distance, with the unit; None where these are not known."""
        lengths = {axis: length for axis, length in self.spacing if axis in SPATIAL}
        if self.unit in (None, "degree") or not {"Y", "X"} <= lengths.keys():
            return None
        area = prod(lengths.values())
        if self.transform is not None:
            a, b, _, d, e, _ = self.transform  # a parallelogram, where it is not upright
            area = abs(a * e - b * d) * lengths.get("Z", 1.0)
        return area, f"{SYMBOLS.get(str(self.unit), self.unit)}{'³' if 'Z' in lengths else '²'}"


def possible_nodata(value: float | None, dtype: Any) -> float | None:
    """A value that says nodata, if there can be one in a dtype; NaN, which says it always, need not be named.

    Examples
    --------
    >>> possible_nodata(-9999.0, np.int16), possible_nodata(-9999.0, np.uint8), possible_nodata(np.nan, np.float32)
    (-9999, None, None)
    """
    if value is None or isnan(value):
        return None
    if np.dtype(dtype).kind not in "iu":
        return float(value)
    limits = np.iinfo(dtype)
    return int(value) if float(value).is_integer() and limits.min <= value <= limits.max else None


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """What is stored, and what its format says of it.

    Attributes
    ----------
    array : ndarray, dask array, zarr array, or anything with shape, dtype, chunks and slices
        The values.
    axes : str or None
        A letter an axis of the array, out of T, Z, Y, X and C; None where the format does not say.
    bands : tuple of str, or None
        Names of the bands.
    nodata : float or None
        A value that says that a pixel has none.
    mask : array-like of bool, or None
        True where a pixel is nodata, lazily, along all axes but C; along C too where it is not the same for all bands.
    scale : tuple of (float, float), or None
        Factor and offset of each band, by which values become quantities; `scaled` applies them.
    georeference : Georeference or None
        Where pixels lie.
    """

    array: Any
    axes: str | None = None
    bands: tuple[str, ...] | None = None
    nodata: float | None = None
    mask: Any = None
    scale: tuple[tuple[float, float], ...] | None = None
    georeference: Georeference | None = None

    def named(self, axes: str | None) -> Raster:
        """The same with axes that somebody gave, who knows better than the format; what belonged to others is lost."""
        if axes is None or axes.upper() == self.axes:
            return self
        axes = axes.upper()
        before, georeference, mask = self.axes or "", self.georeference, self.mask
        if georeference is not None and before:
            kept = tuple(
                (axis, length) for axis, length in georeference.spacing if axes.find(axis) == before.find(axis)
            )
            georeference = replace(georeference, spacing=kept)
        if mask is not None and (len(axes) != len(before) or axes.find("C") != before.find("C")):
            raise InputError(
                f"axes={axes!r} are not those of the file, {self.axes!r}, which says by them where pixels are nodata; "
                "leave axes out, or open the array yourself."
            )
        bands = self.bands if axes.find("C") == before.find("C") else None
        return replace(self, axes=axes, bands=bands, georeference=georeference)

    def scaled(self, nodata: float | None = None) -> Raster:
        """Quantities instead of the numbers that are stored for them, as float32, and NaN where there are none.

        ``nodata`` is the stored value that says so, by default what the format names.
        """
        if self.scale is None:
            raise InputError("scaled=True was asked for, but the image says no factors or offsets; leave it out.")
        shape = [1] * len(self.array.shape)
        if "C" in (self.axes or ""):
            shape[str(self.axes).index("C")] = len(self.scale)
        factors, offsets = (np.reshape(each, shape) for each in zip(*self.scale, strict=True))
        nodata = self.nodata if nodata is None else nodata
        return replace(self, array=rescaled(self.array, factors, offsets, nodata), nodata=None, scale=None)

    def nodata_mask(self, bands: Sequence[int] | None = None, mask: Any = None) -> Any:
        """Where a pixel is nodata in any of some bands, by default all, or by another mask; None where nothing says so.

        By the mask, that is: neither by the value nor by NaN.
        """
        own = self.mask
        if own is not None and "C" in (self.axes or "") and len(own.shape) == len(self.array.shape):
            axis = str(self.axes).index("C")
            chosen = range(own.shape[axis]) if bands is None else bands
            if not all(0 <= band < own.shape[axis] for band in chosen):
                return mask  # what these bands are is refused elsewhere
            own = any_of([equals(own, True, axis, band) for band in chosen])
        return any_of([own, mask])
