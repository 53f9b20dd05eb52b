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
from streamgmm.images.reading.lazy_arrays import LazyArray, Slices, mask_equal, stack_arrays
from streamgmm.images.reading.raster import (
    Georeference,
    Raster,
    cast_nodata,
    check_decoded_size,
    check_level,
    import_library,
    make_damage_error,
)

_WARNINGS = threading.Lock()


def open_gdal(name: str, level: int | None) -> Raster:
    """Open all bands of a dataset, and its alpha band as a mask."""
    with _open_dataset(name, 0) as dataset:
        level = check_level(name, level, 1 + len(dataset.overviews(1)) if dataset.count else 1)
    with _open_dataset(name, level) as dataset:
        return _make_raster(name, level, dataset)


def _open_dataset(name: str, level: int, *, is_georeferenced: bool = False) -> Any:
    rio = import_library("rasterio")
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
        window = tuple((along.start, along.stop) for along in key[-2:])
        bands = self.bands[0] if len(key) == 2 else list(self.bands[key[0]])
        try:
            if not hasattr(self._threads, "dataset"):
                self._threads.dataset = _open_dataset(self.name, self.level, is_georeferenced=self.is_georeferenced)
            dataset = self._threads.dataset
            return np.asarray((dataset.read_masks if self.reads_masks else dataset.read)(bands, window=window))
        except import_library("rasterio").errors.RasterioError as error:
            raise make_damage_error(self.name, error.__cause__ or error) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return WindowReader, (self.name, self.level, self.bands, self.reads_masks, self.is_georeferenced)


def _make_raster(name: str, level: int, dataset: Any) -> Raster:
    alpha = [band for band, colour in zip(dataset.indexes, dataset.colorinterp, strict=True) if colour.name == "alpha"]
    bands = tuple(band for band in dataset.indexes if band not in alpha)
    if not bands:
        parts = ", ".join(map(repr, dataset.subdatasets[:4]))
        raise InputError(f"{name!r} holds no bands{f', but {parts}; pass one of these' if parts else ''}.")
    first, indices = bands[0] - 1, [band - 1 for band in bands]
    dtypes = [np.dtype(dataset.dtypes[index]) for index in indices]
    height, width = dataset.block_shapes[first]
    remedy = f"make tiles of it (gdal_translate -co TILED=YES {Path(name).name} tiled.tif)"
    n_bytes = height * width * sum(dtype.itemsize for dtype in dtypes)
    check_decoded_size(name, n_bytes, f"a block of {width:,} x {height:,} pixels", remedy)
    shape, chunks = (dataset.height, dataset.width), (min(height, dataset.height), min(width, dataset.width))

    def make_array(bands: tuple[int, ...], dtype: Any, reads_masks: bool = False) -> LazyArray:
        read = WindowReader(name, level, bands, reads_masks, not dataset.transform.is_identity)
        n = () if len(bands) == 1 else (len(bands),)
        return LazyArray((*n, *shape), np.dtype(dtype), (*n, *chunks), read)

    values = make_array(bands, np.result_type(*dtypes))
    all_nodata = [cast_nodata(dataset.nodatavals[index], dataset.dtypes[index]) for index in indices]
    nodata = all_nodata[0] if len(set(all_nodata)) == 1 else None
    flags, mask = {flag.name for flag in dataset.mask_flag_enums[first]}, None
    if alpha:
        mask = mask_equal(make_array((alpha[0],), dataset.dtypes[alpha[0] - 1]), 0)
    elif "per_dataset" in flags and "nodata" not in flags:
        mask = mask_equal(make_array((bands[0],), np.uint8, reads_masks=True), 0)
    elif len(set(all_nodata)) > 1:
        mask = stack_arrays([mask_equal(make_array((band,), np.uint8, True), 0) for band in bands], bool)
    has_palette = values.dtype in (np.uint8, np.uint16) and dataset.colorinterp[first].name == "palette"
    names = tuple(dataset.descriptions[index] for index in indices)
    scale = tuple((float(dataset.scales[index]), float(dataset.offsets[index])) for index in indices)
    return Raster(
        values,
        "YX" if len(bands) == 1 else "CYX",
        names if all(names) and len(set(names)) == len(names) else None,
        nodata,
        mask,
        scale if any(pair != (1.0, 0.0) for pair in scale) else None,
        _make_georeference(dataset),
        _read_palette(dataset, bands[0]) if len(bands) == 1 and has_palette else None,
    )


def _read_palette(dataset: Any, band: int) -> NDArray[np.uint8]:
    """Return red, green and blue of every possible value."""
    table = np.zeros((np.iinfo(dataset.dtypes[band - 1]).max + 1, 3), np.uint8)
    for value, colour in dataset.colormap(band).items():
        table[value] = colour[:3]
    return table


def _make_georeference(dataset: Any) -> Georeference | None:
    crs, unit = dataset.crs, None
    if crs is not None:
        unit = "degree" if crs.is_geographic else str(crs.linear_units)
    if dataset.transform.is_identity:  # GDAL's default for none
        return None if crs is None else Georeference(crs.to_string(), unit=unit)
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    spacing = (("Y", float(np.hypot(b, e))), ("X", float(np.hypot(a, d))))
    return Georeference(crs.to_string() if crs else None, (a, b, c, d, e, f), spacing, unit)
