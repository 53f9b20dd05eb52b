"""Labels as a BigTIFF of tiles, through tifffile, with a palette; 0 is noted as nodata, the way GDAL does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.reading.raster import Georeference, import_library
from streamgmm.images.writers.legend import Legend
from streamgmm.images.writers.strips import windows
from streamgmm.persistence.atomic import atomic_output

TILE = 512
GDAL_METADATA, GDAL_NODATA = 42112, 42113
CENTIMETRES = {"metre": 1e2, "centimeter": 1.0, "millimeter": 1e-1, "micrometer": 1e-4, "nanometer": 1e-7}


def write_tiff(
    labels: Any, path: Path, axes: str, legend: Legend, grid: Georeference | None, *, overwrite: bool = False
) -> None:
    """Write labels, which end in lines and columns, page by page; the file appears once it is complete."""
    options: dict[str, Any] = {"photometric": "minisblack"}
    if labels.dtype == np.uint8:
        options = {"photometric": "palette", "colormap": legend.table(256, 65535).T}
    lengths = dict(grid.spacing) if grid else {}
    unit = CENTIMETRES.get(str(grid.unit)) if grid else None
    if unit and {"X", "Y"} <= lengths.keys():
        resolution = (1 / (lengths["X"] * unit), 1 / (lengths["Y"] * unit))
        options |= {"resolution": resolution, "resolutionunit": "centimeter"}
    options |= {"shape": labels.shape, "dtype": labels.dtype, "tile": (TILE, TILE), "compression": "zlib"}
    noted = [(GDAL_METADATA, "s", 0, _names(legend), True), (GDAL_NODATA, "s", 0, "0", True)]
    with atomic_output(path, overwrite=overwrite) as partial:
        with import_library("tifffile").TiffWriter(partial, bigtiff=True) as file:
            file.write(_tiles(labels), metadata={"axes": axes}, extratags=noted, **options)


def class_tags(legend: Legend) -> dict[str, str]:
    """Names of labels, as tags that GDAL shows."""
    return {f"CLASS_{label}": name for label, name in enumerate(("nodata", *legend.names))}


def _names(legend: Legend) -> str:
    items = "".join(f'<Item name="{name}" sample="0">{value}</Item>' for name, value in class_tags(legend).items())
    return f"<GDALMetadata>{items}</GDALMetadata>"


def _tiles(labels: Any) -> Iterator[NDArray[Any]]:
    """Tiles from left to right, line by line; those at the edges are filled up with 0."""
    for key in windows(labels, TILE, TILE):
        part: NDArray[Any] = np.asarray(labels[key])
        part = part.reshape(part.shape[-2], part.shape[-1])
        for left in range(0, part.shape[1], TILE):
            tile = part[:, left : left + TILE]
            missing = TILE - tile.shape[0], TILE - tile.shape[1]
            yield np.pad(tile, [(0, n) for n in missing]) if any(missing) else tile
