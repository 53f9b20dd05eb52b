"""GeoTIFF, VRT, JPEG 2000 and ERDAS Imagine, through rasterio. Windows are read in any thread and any process."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.images.reading.lazy_arrays import LazyArray, Slices, combine_masks, look_up, mask_equal, stack_arrays
from streamgmm.images.reading.raster import (
    Georeference,
    Raster,
    cast_nodata,
    check_decoded_size,
    check_level,
    damaged_part_error,
)

_WARNINGS = threading.Lock()


def import_rasterio() -> Any:
    """Import rasterio, or say how to install it."""
    try:
        import rasterio
    except ImportError:
        raise ImportError("This format needs rasterio; install it with: pip install 'streamgmm[geo]'") from None
    return rasterio


def open_gdal(name: str, level: int | None, *, apply_palette: bool = True) -> Raster:
    """Open all bands of a dataset, and its alpha band as a mask."""
    with _open_dataset(name, 0) as dataset:
        level = check_level(name, level, 1 + len(dataset.overviews(1)) if dataset.count else 1)
    with _open_dataset(name, level) as dataset:
        return _make_raster(name, level, dataset, apply_palette)


def _open_dataset(name: str, level: int, *, is_georeferenced: bool = False) -> Any:
    rio = import_rasterio()
    options = {"overview_level": level - 1} if level else {}
    if is_georeferenced:
        return rio.open(name, **options)
    with _WARNINGS, warnings.catch_warnings():  # warning filters are shared by threads, so only where needed
        warnings.simplefilter("ignore", rio.errors.NotGeoreferencedWarning)
        return rio.open(name, **options)


@dataclass(eq=False)
class WindowReader:
    """Reader of windows of bands, counted from 1, or of their masks. Each thread opens the dataset once."""

    name: str
    level: int
    bands: tuple[int, ...]
    reads_masks: bool
    is_georeferenced: bool
    _threads: Any = field(default_factory=threading.local, repr=False)

    def __call__(self, key: Slices) -> NDArray[Any]:
        """Return a window of one band, or of several."""
        from rasterio.windows import Window

        rows, columns = key[-2:]
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        bands = self.bands[0] if len(key) == 2 else list(self.bands[key[0]])
        try:
            if not hasattr(self._threads, "dataset"):
                self._threads.dataset = _open_dataset(self.name, self.level, is_georeferenced=self.is_georeferenced)
            dataset = self._threads.dataset
            return np.asarray((dataset.read_masks if self.reads_masks else dataset.read)(bands, window=window))
        except import_rasterio().errors.RasterioError as error:
            raise damaged_part_error(self.name, error.__cause__ or error) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return WindowReader, (self.name, self.level, self.bands, self.reads_masks, self.is_georeferenced)


def _make_raster(name: str, level: int, dataset: Any, apply_palette: bool) -> Raster:
    from rasterio.enums import ColorInterp, MaskFlags

    colours = dict(zip(dataset.indexes, dataset.colorinterp, strict=True))
    bands = tuple(band for band in dataset.indexes if colours[band] != ColorInterp.alpha)
    if not bands:
        parts = ", ".join(map(repr, dataset.subdatasets[:4]))
        raise InputError(f"{name!r} holds no bands{f', but {parts}; pass one of these' if parts else ''}.")

    def select(values: Any) -> list[Any]:
        return [values[band - 1] for band in bands]

    dtypes = [np.dtype(dtype) for dtype in select(dataset.dtypes)]
    height, width = dataset.block_shapes[bands[0] - 1]
    remedy = f"make tiles of it (gdal_translate -co TILED=YES {Path(name).name} tiled.tif)"
    n_bytes = height * width * sum(dtype.itemsize for dtype in dtypes)
    check_decoded_size(name, n_bytes, f"a block of {width:,} x {height:,} pixels", remedy)
    shape, chunks = (dataset.height, dataset.width), (min(height, dataset.height), min(width, dataset.width))

    def make_array(bands: tuple[int, ...], dtype: Any, reads_masks: bool = False) -> LazyArray:
        read = WindowReader(name, level, bands, reads_masks, not dataset.transform.is_identity)
        n = () if len(bands) == 1 else (len(bands),)
        return LazyArray((*n, *shape), np.dtype(dtype), (*n, *chunks), read)

    def mask_of(band: int) -> LazyArray:
        return mask_equal(make_array((band,), np.uint8, reads_masks=True), 0)

    values = make_array(bands, np.result_type(*dtypes))
    nodata = [cast_nodata(*pair) for pair in zip(select(dataset.nodatavals), dtypes, strict=True)]
    alpha = next((band for band in dataset.indexes if band not in bands), None)
    flags = dataset.mask_flag_enums[bands[0] - 1]
    mask: Any = None
    if alpha is not None:
        mask = mask_equal(make_array((alpha,), dataset.dtypes[alpha - 1]), 0)
    elif MaskFlags.per_dataset in flags and MaskFlags.nodata not in flags:
        mask = mask_of(bands[0])
    elif len(set(nodata)) > 1:
        mask = stack_arrays([mask_of(band) for band in bands], bool)
    common_nodata = nodata[0] if len(set(nodata)) == 1 else None
    georeference = _make_georeference(dataset)
    has_palette = values.dtype in (np.uint8, np.uint16) and colours[bands[0]] == ColorInterp.palette
    if apply_palette and len(bands) == 1 and has_palette:
        mask = combine_masks(mask, None if common_nodata is None else mask_equal(values, common_nodata))
        table = np.zeros((2 ** (8 * values.dtype.itemsize), 3), np.uint8)
        for number, colour in dataset.colormap(bands[0]).items():
            table[number] = colour[:3]
        return Raster(look_up(values, table), "YXC", mask=mask, georeference=georeference)
    names = tuple(select(dataset.descriptions))
    scale = tuple(zip(map(float, select(dataset.scales)), map(float, select(dataset.offsets)), strict=True))
    return Raster(
        values,
        "YX" if len(bands) == 1 else "CYX",
        names if all(names) and len(set(names)) == len(names) else None,
        common_nodata,
        mask,
        scale if set(scale) != {(1.0, 0.0)} else None,
        georeference,
    )


def _make_georeference(dataset: Any) -> Georeference | None:
    crs, unit = dataset.crs, None
    if crs is not None:
        unit = "degree" if crs.is_geographic else str(crs.linear_units)
    if dataset.transform.is_identity:  # GDAL's default for none
        return None if crs is None else Georeference(crs.to_string(), unit=unit)
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    spacing = (("Y", float(np.hypot(b, e))), ("X", float(np.hypot(a, d))))
    return Georeference(crs.to_string() if crs else None, (a, b, c, d, e, f), spacing, unit)
