"""Labels as an OME-Zarr label image: a pyramid with colours and names, by itself or within an image.

Version 0.5 is zarr 3, with shards and checksums; 0.4 is zarr 2, which has neither.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamgmm.errors import InputError
from streamgmm.images.reading.zarr_images import read_ome_attributes
from streamgmm.images.writers.label_format import LabelDescription, LabelFormat, iter_windows
from streamgmm.persistence.atomic import atomic_output

if TYPE_CHECKING:
    from streamgmm.images.writers.label_output import LabelOutput

VERSIONS = ("0.5", "0.4")
CHUNK = 512
SHARD = (1024, 4096)  # rows and columns
SMALLEST_LEVEL = 256  # pixels; a level of this size has none below it
OME_UNITS = {"metre": "meter"}


def write_ome_zarr(labels: Any, output: LabelOutput, description: LabelDescription) -> None:
    """Write a pyramid, each level every second row and column of the one before, and list it in its image."""
    import zarr

    version = str(output.ome_version)
    with atomic_output(output.path, overwrite=output.overwrite) as partial:
        group = zarr.open_group(partial, mode="w", zarr_format=3 if version == "0.5" else 2)
        level = _create_level(group, "0", labels.shape, labels.dtype, version, description.axes)
        for key in _iter_shards(level):
            level[key] = np.asarray(labels[key])
        n_levels = 1
        while max(level.shape[-2:]) > SMALLEST_LEVEL:
            *leading, height, width = level.shape
            shape, finer = (*leading, -(-height // 2), -(-width // 2)), level
            level = _create_level(group, str(n_levels), shape, level.dtype, version, description.axes)
            for key in _iter_shards(level):
                doubled = (slice(2 * part.start, 2 * part.stop, 2) for part in key[-2:])
                level[key] = finer[(*key[:-2], *doubled)]
            n_levels += 1
        group.attrs.update(_group_attributes(output, description, n_levels))
    if output.image is not None:
        add_to_list(output.path.parent, output.path.name, version)


def open_ome_zarr(path: Path) -> Any:
    """Open the finest level."""
    import zarr

    return zarr.open_group(path, mode="r")["0"]


OME_ZARR = LabelFormat(write_ome_zarr, open_ome_zarr)


def resolve_version(version: str | None, image: Path | None) -> str:
    """Return the version to write: that of the image, if there is one."""
    if version is not None and version not in VERSIONS:
        raise InputError(f"ome_version={version!r} is not known; pass one of {', '.join(map(repr, VERSIONS))}.")
    if image is None:
        return version or VERSIONS[0]
    import zarr

    try:
        group = zarr.open_group(image, mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"{image} is no zarr group, so that no labels can be put into it ({error}).") from None
    if not read_ome_attributes(group).get("multiscales"):
        raise InputError(f"{image} is no OME-Zarr image, so that no labels can be put into it; choose NAME.ome.zarr.")
    image_version = "0.5" if group.metadata.zarr_format == 3 else "0.4"
    if version not in (None, image_version):
        raise InputError(f"ome_version={version!r} was asked for, but {image} is of {image_version}; leave it out.")
    return image_version


def list_labels(labels: Path) -> list[str]:
    """Return the names that a group ``labels`` of an image lists."""
    import zarr

    if not any((labels / name).is_file() for name in ("zarr.json", ".zgroup")):
        return []
    return list(read_ome_attributes(zarr.open_group(labels, mode="r")).get("labels", []))


def add_to_list(labels: Path, name: str, version: str) -> None:
    """Add a name to the list of a group ``labels`` of an image."""
    import zarr

    group = zarr.open_group(labels, mode="a", zarr_format=3 if version == "0.5" else 2)
    names = [*(other for other in list_labels(labels) if other != name), name]
    if version == "0.5":
        group.attrs["ome"] = {"version": version, **read_ome_attributes(group), "labels": names}
    else:
        group.attrs["labels"] = names
    image = labels.parent
    if (image / ".zmetadata").is_file() or zarr.open_group(image, mode="r").metadata.consolidated_metadata is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr warns that zarr 3 does not specify consolidated metadata
            zarr.consolidate_metadata(image)


def _group_attributes(output: LabelOutput, description: LabelDescription, n_levels: int) -> dict[str, Any]:
    georeference = description.georeference
    lengths = dict(georeference.spacing) if georeference else {}
    unit = georeference.unit if georeference else None
    units = {} if unit in (None, "degree") else {"unit": OME_UNITS.get(str(unit), str(unit))}
    axes = [
        {"name": axis.lower(), "type": "time"} if axis == "T" else {"name": axis.lower(), "type": "space", **units}
        for axis in description.axes
    ]
    datasets = []
    for level in range(n_levels):
        scale = [float(lengths.get(axis, 1.0)) * (2**level if axis in "YX" else 1) for axis in description.axes]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    name = output.path.name.removesuffix(".zarr").removesuffix(".ome")
    multiscales = {"name": name, "type": "nearest", "axes": axes, "datasets": datasets}
    colours, names = enumerate(description.colours.tolist(), start=1), enumerate(description.names[1:], start=1)
    image_label: dict[str, Any] = {
        "colors": [{"label-value": label, "rgba": [*colour, 255]} for label, colour in colours],
        "properties": [{"label-value": label, "name": name} for label, name in names],
    }
    if output.image is not None:
        image_label["source"] = {"image": "../../"}
    if output.ome_version == "0.5":
        return {"ome": {"version": "0.5", "multiscales": [multiscales], "image-label": image_label}}
    version = {"version": output.ome_version}
    return {"multiscales": [{**version, **multiscales}], "image-label": {**version, **image_label}}


def _create_level(group: Any, name: str, shape: tuple[int, ...], dtype: Any, version: str, axes: str) -> Any:
    chunks = (1,) * (len(shape) - 2) + tuple(min(CHUNK, length) for length in shape[-2:])
    options: dict[str, Any] = {"shape": shape, "dtype": dtype, "chunks": chunks, "fill_value": 0}
    if version == "0.5":
        from zarr.codecs import Crc32cCodec, ZstdCodec

        options["compressors"] = [ZstdCodec(level=3), Crc32cCodec()]
        if chunks[-2:] == (CHUNK, CHUNK):
            sides = (min(shard, CHUNK * -(-n // CHUNK)) for shard, n in zip(SHARD, shape[-2:], strict=True))
            options["shards"] = (*chunks[:-2], *sides)
        options["dimension_names"] = list(axes.lower())
    else:
        options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    return group.create_array(name, config={"write_empty_chunks": True}, **options)


def _iter_shards(array: Any) -> Iterator[tuple[slice, ...]]:
    return iter_windows(array, *map(int, (array.shards or array.chunks)[-2:]))
