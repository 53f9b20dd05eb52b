"""Labels as a GeoTIFF, through rasterio: where they lie is where the image does."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from streamgmm.images.reading.raster import Georeference, import_library
from streamgmm.images.writers.legend import Legend
from streamgmm.images.writers.strips import windows
from streamgmm.images.writers.tiff import TILE, class_tags
from streamgmm.persistence.atomic import atomic_output


def write_geotiff(labels: Any, path: Path, legend: Legend, grid: Georeference, *, overwrite: bool = False) -> None:
    """Write labels (height, width) with CRS, transform and palette; the file appears once it is complete.

    Names are in the tags of the band, and, since GDAL takes those of classes from there alone, in a file beside it that
    ends in .aux.xml.
    """
    rio = import_library("rasterio")
    from rasterio.transform import Affine
    from rasterio.windows import Window

    height, width = labels.shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": labels.dtype.name,
        "nodata": 0,
        "crs": grid.crs,
        "transform": None if grid.transform is None else Affine(*grid.transform),
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }
    if min(height, width) >= 16:  # a tile has whole multiples of 16
        profile |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE}
    n_values = np.iinfo(labels.dtype).max + 1
    with atomic_output(path, overwrite=overwrite) as partial:
        with rio.open(partial, "w", **profile) as file:
            if n_values <= 2**16:
                colours = enumerate(legend.table(n_values, 255)[: len(legend.names) + 1].tolist())
                file.write_colormap(1, {label: (*colour, 255 * (label > 0)) for label, colour in colours})
            file.set_band_description(1, "segments")
            file.update_tags(1, **class_tags(legend))
            for lines, columns in windows(labels, TILE, TILE):
                window = Window(columns.start, lines.start, columns.stop - columns.start, lines.stop - lines.start)
                file.write(np.asarray(labels[lines, columns]), 1, window=window)
        _write_names(path, legend)


def _write_names(path: Path, legend: Legend) -> None:
    """Names of the classes from 0 on, as GDAL keeps what a format has no place for."""
    dataset = Element("PAMDataset")
    names = SubElement(SubElement(dataset, "PAMRasterBand", band="1"), "CategoryNames")
    for name in ("nodata", *legend.names):
        SubElement(names, "Category").text = name
    with atomic_output(path.with_name(f"{path.name}.aux.xml"), overwrite=True) as partial:
        partial.write_bytes(tostring(dataset, encoding="utf-8"))
