"""Labels as a tiled BigTIFF with a palette, through tifffile, or as a GeoTIFF, through rasterio; 0 is nodata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.images.reading import open_palette_indices
from streamgmm.images.reading.raster import Georeference, import_library
from streamgmm.images.writers.label_format import LabelDescription, LabelFormat, iter_windows
from streamgmm.persistence.atomic import atomic_output

if TYPE_CHECKING:
    from streamgmm.images.writers.label_output import LabelOutput

TILE = 512
GDAL_METADATA, GDAL_NODATA = 42112, 42113
CENTIMETRES = {"metre": 1e2, "centimeter": 1.0, "millimeter": 1e-1, "micrometer": 1e-4, "nanometer": 1e-7}


def check_tiff(shape: tuple[int, ...], n_segments: int, georeference: Georeference | None) -> None:
    """Raise InputError for a georeferenced stack, and ImportError without the library that writes the file."""
    if not _is_on_earth(georeference):
        import_library("tifffile")
        return
    import_library("rasterio")
    if len(shape) != 2:
        raise InputError(
            f"Labels of shape {shape} lie somewhere on earth, which a TIFF of several pages cannot say; write "
            "them to .zarr."
        )


def write_tiff(labels: Any, output: LabelOutput, description: LabelDescription) -> None:
    """Write labels page by page, or as a GeoTIFF where they have a coordinate reference system."""
    georeference = description.georeference
    if _is_on_earth(georeference):
        _write_geotiff(labels, output, description)
        return
    options: dict[str, Any] = {"photometric": "minisblack"}
    if labels.dtype == np.uint8:
        options = {"photometric": "palette", "colormap": description.make_colour_table(256, 65535).T}
    lengths = dict(georeference.spacing) if georeference else {}
    unit = CENTIMETRES.get(str(georeference.unit)) if georeference else None
    if unit and {"X", "Y"} <= lengths.keys():
        resolution = (1 / (lengths["X"] * unit), 1 / (lengths["Y"] * unit))
        options |= {"resolution": resolution, "resolutionunit": "centimeter"}
    options |= {"shape": labels.shape, "dtype": labels.dtype, "tile": (TILE, TILE), "compression": "zlib"}
    items = "".join(f'<Item name="{tag}" sample="0">{name}</Item>' for tag, name in description.class_tags.items())
    names = f"<GDALMetadata>{items}</GDALMetadata>"
    tags = [(GDAL_METADATA, "s", 0, names, True), (GDAL_NODATA, "s", 0, "0", True)]
    with atomic_output(output.path, overwrite=output.overwrite) as partial:
        with import_library("tifffile").TiffWriter(partial, bigtiff=True) as file:
            file.write(_iter_tiles(labels), metadata={"axes": description.axes}, extratags=tags, **options)


def open_tiff_labels(path: Path) -> Any:
    """Open labels as a lazy array."""
    import dask.array as da

    return da.from_array(open_palette_indices(path), name=False)


def _is_on_earth(georeference: Georeference | None) -> bool:
    """Return True if pixels have a coordinate reference system or a transform."""
    return georeference is not None and (georeference.crs is not None or georeference.transform is not None)


def _iter_tiles(labels: Any) -> Iterator[NDArray[Any]]:
    """Yield tiles from left to right, row by row; those at the edges are padded with 0."""
    for key in iter_windows(labels, TILE, TILE):
        part: NDArray[Any] = np.asarray(labels[key])
        part = part.reshape(part.shape[-2], part.shape[-1])
        for left in range(0, part.shape[1], TILE):
            tile = part[:, left : left + TILE]
            missing = TILE - tile.shape[0], TILE - tile.shape[1]
            yield np.pad(tile, [(0, n) for n in missing]) if any(missing) else tile


def _write_geotiff(labels: Any, output: LabelOutput, description: LabelDescription) -> None:
    """Write labels (height, width) with CRS, transform, palette and names.

    GDAL takes class names from a file ``.aux.xml`` beside the image alone; they are in the tags of the band too.
    """
    rasterio = import_library("rasterio")
    from rasterio.transform import Affine
    from rasterio.windows import Window

    height, width = labels.shape
    georeference = description.georeference or Georeference()
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": labels.dtype.name,
        "nodata": 0,
        "crs": georeference.crs,
        "transform": None if georeference.transform is None else Affine(*georeference.transform),
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }
    if min(height, width) >= 16:  # the sides of a tile are multiples of 16
        profile |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE}
    n_values = np.iinfo(labels.dtype).max + 1
    with atomic_output(output.path, overwrite=output.overwrite) as partial:
        with rasterio.open(partial, "w", **profile) as file:
            if n_values <= 2**16:
                colours = description.make_colour_table(n_values, 255)[: len(description.names)].tolist()
                file.write_colormap(1, {label: (*colour, 255 * (label > 0)) for label, colour in enumerate(colours)})
            file.set_band_description(1, "segments")
            file.update_tags(1, **description.class_tags)
            for rows, columns in iter_windows(labels, TILE, TILE):
                window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
                file.write(np.asarray(labels[rows, columns]), 1, window=window)
        dataset = Element("PAMDataset")
        categories = SubElement(SubElement(dataset, "PAMRasterBand", band="1"), "CategoryNames")
        for name in description.names:
            SubElement(categories, "Category").text = name
        with atomic_output(output.path.with_name(f"{output.path.name}.aux.xml"), overwrite=True) as partial:
            partial.write_bytes(tostring(dataset, encoding="utf-8"))


TIFF = LabelFormat(write_tiff, open_tiff_labels, check_tiff)
