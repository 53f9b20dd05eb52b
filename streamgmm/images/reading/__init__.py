"""What an image may be given as: an array, a path whose suffix says how it is stored, or paths of its bands.

A format is a function from a path and a level to a `Raster`, and a row of the table. Nothing is read whole that need
not be.
"""

from __future__ import annotations

from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeGuard

from streamgmm.errors import InputError
from streamgmm.images.reading.arrays import open_npy
from streamgmm.images.reading.band_files import is_one_band, together
from streamgmm.images.reading.gdal import open_gdal
from streamgmm.images.reading.lazy_arrays import LazyArray
from streamgmm.images.reading.pictures import open_picture
from streamgmm.images.reading.raster import Raster
from streamgmm.images.reading.tiff_reader import is_geotiff, open_tiff
from streamgmm.images.reading.whole import no_levels
from streamgmm.images.reading.xarray_images import from_xarray
from streamgmm.images.reading.zarr_images import from_zarr, open_zarr

__all__ = ["find_path", "is_band_list", "open_image", "open_palette_indices"]


def open_image(image: Any, axes: str | None = None, level: int | None = None) -> Raster:
    """What an image is, and what is known of it; nothing is read that need not be.

    Parameters
    ----------
    image : path, sequence of paths, array, zarr group or xarray DataArray
        Several paths are bands, a file each.
    axes : str, optional
        A letter an axis, for one who knows better than the format, or where that does not say.
    level : int, optional
        Of an image that is stored in several resolutions: 0, the default, is the finest.

    Returns
    -------
    Raster
        As it is stored.

    Raises
    ------
    InputError
        It cannot be opened, or there is no such level, or the bands do not lie on one grid.
    ImportError
        What opens the format is not installed.
    """
    if _are_paths(image):
        parts = [_at(fspath(path), level) for path in image]
        return together(image, parts).named(axes)
    if isinstance(image, str | PathLike):
        return _at(fspath(image), level).named(axes)
    if type(image).__module__.partition(".")[0] == "xarray":
        raster = from_xarray(image, axes)
    elif hasattr(image, "arrays") or type(image).__module__.partition(".")[0] == "zarr":
        return from_zarr(image, level).named(axes)
    else:
        raster = image if isinstance(image, Raster) else Raster(image)
    no_levels(f"a {type(image).__name__}", level)
    return raster.named(axes)


def is_band_list(image: Any) -> bool:
    """Whether a list of paths is the bands of one image, a file each; else these are several images."""
    if not _are_paths(image):
        return False
    single = [is_one_band(_at(fspath(path), None)) for path in image]
    if any(single) and not all(single):
        one, other = (fspath(image[single.index(kind)]) for kind in (True, False))
        raise InputError(
            f"{one!r} has one band, and {other!r} has several; pass files of one band each, which are the bands of one "
            "image, or files that are whole images."
        )
    return all(single)


def open_palette_indices(path: Path) -> LazyArray:
    """Values of a TIFF as they are stored, where a palette would make them colours."""
    array: LazyArray = _tiff(str(path), None, colours=False).array
    return array


def find_path(image: Any) -> Path | None:
    """Where an image is on disk, which nothing may be written to; None where it is not known to be."""
    if isinstance(image, str | PathLike):
        return Path(fspath(image))
    root = getattr(getattr(image, "store", None), "root", None)
    return None if root is None else Path(root, image.path)


def _at(name: str, level: int | None) -> Raster:
    """What is stored at a path."""
    opener = _OPENERS.get(Path(name).suffix.lower())
    if opener is None and any(parent.suffix.lower() == ".zarr" for parent in Path(name).parents):
        opener = open_zarr  # an array or an image within
    if opener is None:
        raise InputError(f"{name!r} ends in none of {', '.join(_OPENERS)}; open the image yourself, as an array.")
    if "://" not in name and not name.startswith("/vsi") and not Path(name).exists():
        raise InputError(f"The image is the path {name!r}, but there is nothing; check it.")
    try:
        return opener(name, level)
    except InputError:
        raise
    except (OSError, ValueError, LookupError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{name!r} cannot be opened as an image ({said}); check that it was written.") from None


def _tiff(name: str, level: int | None, *, colours: bool = True) -> Raster:
    """By tifffile, unless it lies somewhere on earth, or GDAL is all that there is."""
    if find_spec("rasterio") and (not find_spec("tifffile") or is_geotiff(name)):
        return open_gdal(name, level, colours=colours)
    return open_tiff(name, level, colours=colours)


def _are_paths(image: Any) -> TypeGuard[list[str | PathLike[str]]]:
    return isinstance(image, list | tuple) and bool(image) and all(isinstance(one, str | PathLike) for one in image)


_OPENERS = {
    ".zarr": open_zarr,
    ".npy": open_npy,
    ".tif": _tiff,
    ".tiff": _tiff,
    ".btf": _tiff,
    ".svs": open_tiff,
    ".ndpi": open_tiff,
    ".vrt": open_gdal,
    ".jp2": open_gdal,
    ".img": open_gdal,
    ".png": open_picture,
    ".jpg": open_picture,
    ".jpeg": open_picture,
}
