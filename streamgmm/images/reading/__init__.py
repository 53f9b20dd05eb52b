"""Reading of images: an array, a path whose suffix names its format, or paths of files of one band each.

A format is one file with a function from a path and a level to a `Raster`, and one row of `FORMATS`. Pixels are read
only when they are needed, unless the format can only be decoded whole.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from streamgmm.errors import InputError
from streamgmm.images.reading.band_files import has_one_band, stack_bands
from streamgmm.images.reading.gdal import open_gdal
from streamgmm.images.reading.lazy_arrays import LazyArray
from streamgmm.images.reading.pictures import open_picture
from streamgmm.images.reading.raster import Raster, check_level
from streamgmm.images.reading.tiff_reader import is_geotiff, open_tiff
from streamgmm.images.reading.xarray_images import from_xarray
from streamgmm.images.reading.zarr_images import from_zarr, open_zarr

__all__ = ["FORMATS", "find_path", "is_band_list", "open_image", "open_palette_indices"]


def open_image(image: Any, axes: str | None = None, level: int | None = None) -> Raster:
    """Open an image and its metadata.

    Parameters
    ----------
    image : path, sequence of paths, array, zarr group or xarray DataArray
        Several paths are files of one band each.
    axes : str, optional
        A letter for each axis, which replaces those of the format.
    level : int, optional
        Resolution of an image that is stored in several; 0, the default, is the finest.

    Returns
    -------
    Raster
        Stored array with its metadata.

    Raises
    ------
    InputError
        The image cannot be opened, it has no such level, or the bands differ in their georeference.
    ImportError
        The library for the format is not installed.
    """
    if _is_path_list(image):
        return stack_bands(image, [_open_path(fspath(path), level) for path in image]).with_axes(axes)
    if isinstance(image, str | PathLike):
        return _open_path(fspath(image), level).with_axes(axes)
    package = type(image).__module__.partition(".")[0]
    if package == "zarr":
        return from_zarr(image, level).with_axes(axes)
    check_level(f"a {type(image).__name__}", level)
    if package == "xarray":
        return from_xarray(image, axes).with_axes(axes)
    return (image if isinstance(image, Raster) else Raster(image)).with_axes(axes)


def is_band_list(image: Any) -> bool:
    """Return True if a list of paths is one image, with a band in each file; raise if only some have one band."""
    if not _is_path_list(image):
        return False
    single = [has_one_band(_open_path(fspath(path), None)) for path in image]
    if any(single) and not all(single):
        first, second = (fspath(image[single.index(kind)]) for kind in (True, False))
        raise InputError(
            f"{first!r} has one band, and {second!r} has several; pass files of one band each, which are the bands of "
            "one image, or files that are whole images."
        )
    return all(single)


def open_palette_indices(path: Path) -> LazyArray:
    """Open the stored values of a TIFF with a palette."""
    array: LazyArray = _open_tiff(str(path), None).array
    return array


def find_path(image: Any) -> Path | None:
    """Return the path of an image, so that nothing is written there; None if it is unknown."""
    if isinstance(image, str | PathLike):
        return Path(fspath(image))
    root = getattr(getattr(image, "store", None), "root", None)
    return None if root is None else Path(root, image.path)


def _is_path_list(image: Any) -> TypeGuard[list[str | PathLike[str]]]:
    return isinstance(image, list | tuple) and bool(image) and all(isinstance(path, str | PathLike) for path in image)


def _open_path(name: str, level: int | None) -> Raster:
    open_format = FORMATS.get(Path(name).suffix.lower())
    if open_format is None and any(parent.suffix.lower() == ".zarr" for parent in Path(name).parents):
        open_format = open_zarr  # an array or an image within a store
    if open_format is None:
        raise InputError(f"{name!r} ends in none of {', '.join(FORMATS)}; open the image yourself, as an array.")
    if "://" not in name and not name.startswith("/vsi") and not Path(name).exists():
        raise InputError(f"The image is the path {name!r}, but there is nothing; check it.")
    try:
        return open_format(name, level).expand_palette()
    except InputError:
        raise
    except (OSError, ValueError, LookupError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name!r} cannot be opened as an image ({reason}); check that it was written.") from None


def _open_npy(name: str, level: int | None) -> Raster:
    check_level(name, level)
    return Raster(np.load(name, mmap_mode="r"))


def _open_tiff(name: str, level: int | None) -> Raster:
    """Open by rasterio if there is a georeference, or tifffile is not installed."""
    if find_spec("rasterio") and (not find_spec("tifffile") or is_geotiff(name)):
        return open_gdal(name, level)
    return open_tiff(name, level)


FORMATS: dict[str, Callable[[str, int | None], Raster]] = {
    ".zarr": open_zarr,
    ".npy": _open_npy,
    ".tif": _open_tiff,
    ".tiff": _open_tiff,
    ".btf": _open_tiff,
    ".svs": open_tiff,
    ".ndpi": open_tiff,
    ".vrt": open_gdal,
    ".jp2": open_gdal,
    ".img": open_gdal,
    ".png": open_picture,
    ".jpg": open_picture,
    ".jpeg": open_picture,
}
