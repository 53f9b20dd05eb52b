"""Labels as a GeoTIFF, through rasterio, on the grid of the image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from streamgmm.images.reading.raster import import_library
from streamgmm.images.writers.label_format import LabelDescription, iter_windows
from streamgmm.persistence.atomic import atomic_output

if TYPE_CHECKING:
    from streamgmm.images.writers.label_output import LabelOutput

TILE = 512


def write_geotiff(labels: Any, output: LabelOutput, description: LabelDescription) -> None:
    """Write labels (height, width) with CRS, transform, palette and names.

    GDAL takes class names from a file ``.aux.xml`` beside the image alone; they are in the tags of the band too.
    """
    rasterio = import_library("rasterio")
    from rasterio.transform import Affine
    from rasterio.windows import Window

    height, width = labels.shape
    georeference = description.georeference
    transform = georeference.transform if georeference else None
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": labels.dtype.name,
        "nodata": 0,
        "crs": georeference.crs if georeference else None,
        "transform": None if transform is None else Affine(*transform),
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }
    if min(height, width) >= 16:  # the sides of a tile are multiples of 16
        profile |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE}
    n_values = np.iinfo(labels.dtype).max + 1
    with atomic_output(output.path, overwrite=output.overwrite) as partial:
        with rasterio.open(partial, "w", **profile) as file:
            if n_values <= 2**16:
                colours = description.colour_table(n_values, 255)[: len(description.names)].tolist()
                file.write_colormap(1, {label: (*colour, 255 * (label > 0)) for label, colour in enumerate(colours)})
            file.set_band_description(1, "segments")
            file.update_tags(1, **description.class_tags)
            for rows, columns in iter_windows(labels, TILE, TILE):
                window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
                file.write(np.asarray(labels[rows, columns]), 1, window=window)
        _write_class_names(output.path, description.names)


def _write_class_names(path: Path, names: list[str]) -> None:
    dataset = Element("PAMDataset")
    categories = SubElement(SubElement(dataset, "PAMRasterBand", band="1"), "CategoryNames")
    for name in names:
        SubElement(categories, "Category").text = name
    with atomic_output(path.with_name(f"{path.name}.aux.xml"), overwrite=True) as partial:
        partial.write_bytes(tostring(dataset, encoding="utf-8"))
