"""GeoTIFF, VRT, JPEG 2000, ERDAS Imagine, through rasterio: windows are read, in any thread and any process."""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.images.reading.lazy_arrays import LazyArray, Slices, any_of, equals, looked_up, stacked
from streamgmm.images.reading.raster import Georeference, Raster, possible_nodata
from streamgmm.images.reading.whole import check_whole, chosen_level, unreadable

_WARNINGS = threading.Lock()


def import_rasterio() -> Any:
    """The library, or the remedy."""
    try:
        import rasterio
    except ImportError:
        raise ImportError("This format needs rasterio; install it with: pip install 'streamgmm[geo]'") from None
    return rasterio


def open_gdal(name: str, level: int | None, *, colours: bool = True) -> Raster:
    """All bands of a dataset but alpha, which is a mask; ``colours`` says whether a palette is applied."""
    rio = import_rasterio()
    try:
        with _open(name, 0) as dataset:
            level = chosen_level(name, level, 1 + len(dataset.overviews(1)) if dataset.count else 1)
        with _open(name, level) as dataset:
            return _raster(name, level, dataset, colours)
    except rio.errors.RasterioIOError as error:
        said = " ".join(str(error).split())
        raise InputError(f"{name!r} cannot be opened as an image ({said}); check that it was written.") from None


def _open(name: str, level: int, *, placed: bool = False) -> Any:
    """A dataset; overviews are counted from the first that is coarser. That it lies nowhere on earth is no fault."""
    rio = import_rasterio()
    options = {"overview_level": level - 1} if level else {}
    if placed:
        return rio.open(name, **options)
    with _WARNINGS, warnings.catch_warnings():  # which is of all threads: so only where there may be one to catch
        warnings.simplefilter("ignore", rio.errors.NotGeoreferencedWarning)
        return rio.open(name, **options)


@dataclass(eq=False)
class Windows:
    """Reads windows of bands, counted from 1, or of their masks; each thread opens the dataset for itself, once."""

    name: str
    level: int
    bands: tuple[int, ...]
    masks: bool
    placed: bool
    stamp: tuple[int, int]
    _threads: Any = field(default_factory=threading.local, repr=False)

    def __call__(self, key: Slices) -> NDArray[Any]:
        """The part, decoded; GDAL keeps the blocks that it has read last."""
        from rasterio.windows import Window

        lines, columns = key[-2:]
        window = Window(columns.start, lines.start, columns.stop - columns.start, lines.stop - lines.start)
        try:
            dataset = getattr(self._threads, "dataset", None)
            if dataset is None:
                dataset = self._threads.dataset = _open(self.name, self.level, placed=self.placed)
            read = dataset.read_masks if self.masks else dataset.read
            if len(key) == 2:
                return np.asarray(read(self.bands[0], window=window))
            return np.asarray(read(list(self.bands[key[0]]), window=window))
        except import_rasterio().errors.RasterioError as error:
            raise unreadable(self.name, error.__cause__ or error) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Windows, self.__dask_tokenize__()

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return self.name, self.level, self.bands, self.masks, self.placed, self.stamp


def _raster(name: str, level: int, dataset: Any, colours: bool) -> Raster:
    from rasterio.enums import ColorInterp

    alpha = [
        band for band, colour in zip(dataset.indexes, dataset.colorinterp, strict=True) if colour == ColorInterp.alpha
    ]
    bands = tuple(band for band in dataset.indexes if band not in alpha)
    if not bands:
        inside = ", ".join(map(repr, dataset.subdatasets[:4]))
        raise InputError(f"{name!r} holds no bands{f', but {inside}; pass one of these' if inside else ''}.")
    places = [band - 1 for band in bands]
    dtypes = [np.dtype(dataset.dtypes[place]) for place in places]
    lines, columns = dataset.block_shapes[places[0]]
    remedy = f"make tiles of it (gdal_translate -co TILED=YES {Path(name).name} tiled.tif)"
    n_bytes = lines * columns * sum(dtype.itemsize for dtype in dtypes)
    check_whole(name, n_bytes, f"a block of {columns:,} x {lines:,} pixels", remedy)

    status = os.stat(name) if os.path.exists(name) else None
    stamp = (status.st_mtime_ns, status.st_size) if status else (0, 0)
    placed = not dataset.transform.is_identity
    shape, chunks = (dataset.height, dataset.width), (min(lines, dataset.height), min(columns, dataset.width))

    def windows(chosen: tuple[int, ...], dtype: Any, masks: bool = False) -> LazyArray:
        read = Windows(name, level, chosen, masks, placed, stamp)
        if len(chosen) == 1:
            return LazyArray(shape, np.dtype(dtype), chunks, read)
        return LazyArray((len(chosen), *shape), np.dtype(dtype), (len(chosen), *chunks), read)

    values = windows(bands, np.result_type(*dtypes))
    nodata = [possible_nodata(dataset.nodatavals[place], dataset.dtypes[place]) for place in places]
    mask = _mask(dataset, windows, bands, alpha, nodata)
    same = nodata[0] if len(set(nodata)) == 1 else None
    palette = values.dtype in (np.uint8, np.uint16) and dataset.colorinterp[places[0]] == ColorInterp.palette
    if colours and len(bands) == 1 and palette:
        mask = any_of([mask, None if same is None else equals(values, same)])
        return Raster(looked_up(values, _colours(dataset, bands[0])), "YXC", mask=mask, georeference=_grid(dataset))
    names = [dataset.descriptions[place] for place in places]
    scale = tuple((float(dataset.scales[place]), float(dataset.offsets[place])) for place in places)
    return Raster(
        values,
        "YX" if len(bands) == 1 else "CYX",
        tuple(names) if all(names) and len(set(names)) == len(names) else None,
        same,
        mask,
        scale if any(one != (1.0, 0.0) for one in scale) else None,
        _grid(dataset),
    )


def _mask(dataset: Any, windows: Any, bands: tuple[int, ...], alpha: list[int], nodata: list[float | None]) -> Any:
    """Where alpha is 0, or a mask beside the bands says so; band by band where they have not the same nodata value."""
    from rasterio.enums import MaskFlags

    if alpha:
        return equals(windows((alpha[0],), dataset.dtypes[alpha[0] - 1]), 0)
    flags = dataset.mask_flag_enums[bands[0] - 1]
    if MaskFlags.per_dataset in flags and MaskFlags.nodata not in flags:
        return equals(windows((bands[0],), np.uint8, masks=True), 0)
    if len(set(nodata)) > 1:
        return stacked([equals(windows((band,), np.uint8, masks=True), 0) for band in bands], bool)
    return None


def _colours(dataset: Any, band: int) -> NDArray[np.uint8]:
    """Red, green and blue for every number that the palette may be asked for."""
    table = np.zeros((2 ** (8 * np.dtype(dataset.dtypes[band - 1]).itemsize), 3), np.uint8)
    for number, colour in dataset.colormap(band).items():
        table[number] = colour[:3]
    return table


def _grid(dataset: Any) -> Georeference | None:
    crs = dataset.crs
    unit = None
    if crs is not None:
        unit = "degree" if crs.is_geographic else str(crs.linear_units)
    if dataset.transform.is_identity:  # which GDAL says where there is none
        return None if crs is None else Georeference(crs.to_string(), unit=unit)
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    spacing = (("Y", float(np.hypot(b, e))), ("X", float(np.hypot(a, d))))
    return Georeference(crs.to_string() if crs else None, (a, b, c, d, e, f), spacing, unit)
