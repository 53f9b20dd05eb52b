"""Labels as an OME-Zarr label image: a pyramid of every second line and column, with colours and names.

Version 0.5 is zarr 3, with shards and checksums; 0.4 is zarr 2, which has neither.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamgmm.errors import InputError
from streamgmm.images.reading.raster import Georeference
from streamgmm.images.reading.zarr_images import read_ome_attributes
from streamgmm.images.writers.legend import Legend
from streamgmm.images.writers.strips import windows
from streamgmm.persistence.atomic import atomic_output

VERSIONS = ("0.5", "0.4")
CHUNK = 512
SHARD = (1024, 4096)  # lines and columns
SMALLEST = 256  # of a level that has none below it
_UNITS = {"metre": "meter"}  # words that OME-Zarr has for those that are used here


@dataclass(frozen=True, slots=True, eq=False)
class Stated:
    """What an OME-Zarr label image says of itself.

    Attributes
    ----------
    axes : str
        A letter an axis, of which the last are YX.
    legend : Legend
        Colours and names of the labels.
    grid : Georeference or None
        Lengths of pixels; 1 without a unit where they are not known.
    version : {'0.5', '0.4'}
        Of OME-Zarr.
    name : str
        Of the labels.
    source : str or None
        Path from the group to the image that they are of, where they are within it.
    """

    axes: str
    legend: Legend
    grid: Georeference | None
    version: str
    name: str
    source: str | None = None

    def written(self, n_levels: int) -> dict[str, Any]:
        """The attributes of the group."""
        multiscales = {"name": self.name, "type": "nearest", "axes": self._axes(), "datasets": self._levels(n_levels)}
        if self.version == "0.5":
            return {"ome": {"version": "0.5", "multiscales": [multiscales], "image-label": self._labels()}}
        return {
            "multiscales": [{"version": self.version, **multiscales}],
            "image-label": {"version": self.version, **self._labels()},
        }

    def _axes(self) -> list[dict[str, str]]:
        unit = _UNITS.get(str(self.grid.unit), self.grid.unit) if self.grid else None
        known = {} if unit in (None, "degree") else {"unit": str(unit)}
        return [
            {"name": axis.lower(), "type": "time"} if axis == "T" else {"name": axis.lower(), "type": "space", **known}
            for axis in self.axes
        ]

    def _levels(self, n_levels: int) -> list[dict[str, Any]]:
        lengths = dict(self.grid.spacing) if self.grid else {}
        found = []
        for level in range(n_levels):
            scale = [float(lengths.get(axis, 1.0)) * (2**level if axis in "YX" else 1) for axis in self.axes]
            found.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        return found

    def _labels(self) -> dict[str, Any]:
        numbered = list(enumerate(zip(self.legend.colours.tolist(), self.legend.names, strict=True), start=1))
        said: dict[str, Any] = {
            "colors": [{"label-value": label, "rgba": [*colour, 255]} for label, (colour, _) in numbered],
            "properties": [{"label-value": label, "name": name} for label, (_, name) in numbered],
        }
        return said if self.source is None else {**said, "source": {"image": self.source}}


def write_ome(labels: Any, path: Path, stated: Stated, *, overwrite: bool = False) -> None:
    """Write labels, which end in lines and columns, as a group, which appears once it is complete."""
    import zarr

    with atomic_output(path, overwrite=overwrite) as partial:
        group = zarr.open_group(partial, mode="w", zarr_format=3 if stated.version == "0.5" else 2)
        level = _level(group, "0", labels.shape, labels.dtype, stated)
        for key in windows(level, *_unit(level)):
            level[key] = np.asarray(labels[key])
        n_levels = 1
        while max(level.shape[-2:]) > SMALLEST:
            *leading, height, width = level.shape
            shape = (*leading, -(-height // 2), -(-width // 2))
            finer, level = level, _level(group, str(n_levels), shape, level.dtype, stated)
            for key in windows(level, *_unit(level)):
                twice = (slice(2 * one.start, 2 * one.stop, 2) for one in key[-2:])
                level[key] = finer[(*key[:-2], *twice)]
            n_levels += 1
        group.attrs.update(stated.written(n_levels))


def image_version(image: Path) -> str:
    """Version of the OME-Zarr image that labels are to be written into."""
    import zarr

    try:
        group = zarr.open_group(image, mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"{image} is no zarr group, so that no labels can be put into it ({error}).") from None
    if not read_ome_attributes(group).get("multiscales"):
        raise InputError(f"{image} is no OME-Zarr image, so that no labels can be put into it; choose NAME.ome.zarr.")
    return "0.5" if group.metadata.zarr_format == 3 else "0.4"


def listed(labels: Path) -> list[str]:
    """Names of the labels that a group ``labels`` of an image says that it has."""
    import zarr

    if not any((labels / name).is_file() for name in ("zarr.json", ".zgroup")):
        return []
    return list(read_ome_attributes(zarr.open_group(labels, mode="r")).get("labels", []))


def enlist(labels: Path, name: str, version: str) -> None:
    """Say of an image that it has labels of a name; the others stay as they are."""
    import zarr

    group = zarr.open_group(labels, mode="a", zarr_format=3 if version == "0.5" else 2)
    names = [*(one for one in listed(labels) if one != name), name]
    if version == "0.5":
        group.attrs["ome"] = {"version": version, **read_ome_attributes(group), "labels": names}
    else:
        group.attrs["labels"] = names
    image = labels.parent
    if (image / ".zmetadata").is_file() or zarr.open_group(image, mode="r").metadata.consolidated_metadata is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this is no part of zarr 3 is known
            zarr.consolidate_metadata(image)  # a second copy of what all groups say, where there is one


def _level(group: Any, name: str, shape: tuple[int, ...], dtype: Any, stated: Stated) -> Any:
    """An empty array of a pyramid."""
    chunks = (1,) * (len(shape) - 2) + tuple(min(CHUNK, length) for length in shape[-2:])
    options: dict[str, Any] = {"shape": shape, "dtype": dtype, "chunks": chunks, "fill_value": 0}
    if stated.version == "0.5":
        from zarr.codecs import Crc32cCodec, ZstdCodec

        options["compressors"] = [ZstdCodec(level=3), Crc32cCodec()]
        if chunks[-2:] == (CHUNK, CHUNK):
            sides = (min(shard, CHUNK * -(-n // CHUNK)) for shard, n in zip(SHARD, shape[-2:], strict=True))
            options["shards"] = (*chunks[:-2], *sides)
        options["dimension_names"] = list(stated.axes.lower())
    else:
        options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    return group.create_array(name, config={"write_empty_chunks": True}, **options)


def _unit(array: Any) -> tuple[int, int]:
    """Lines and columns of what is written at once."""
    lines, columns = (array.shards or array.chunks)[-2:]
    return int(lines), int(columns)
