"""Segment an OME-Zarr slide of any size; ``python whole_slide.py 1000`` writes one of a gigapixel first, 3 GB."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from sklearn.datasets import load_sample_image

from demo.process_memory import peak_memory
from streamgmm import segment

TILE = 1024
PIXEL_SIZE = 0.5  # micrometers


def write_slide(path, megapixels):
    """Write tiles of a photograph one by one, each shifted and with noise of its own."""
    side = -(-int((megapixels * 1e6) ** 0.5) // TILE)
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = {"type": "scale", "scale": [1.0, PIXEL_SIZE, PIXEL_SIZE]}
    level = {"path": "0", "coordinateTransformations": [scale]}
    multiscales = [{"axes": axes, "datasets": [level], "name": "slide"}]
    group = zarr.create_group(path, attributes={"ome": {"version": "0.5", "multiscales": multiscales}})
    slide = group.create_array(
        "0", shape=(3, side * TILE, side * TILE), chunks=(3, TILE, TILE), dtype="uint8", dimension_names=("c", "y", "x")
    )
    photograph = np.tile(load_sample_image("flower.jpg"), (4, 3, 1))
    random = np.random.default_rng(0)
    grain = np.rint(random.normal(0, 2, (2 * TILE, 2 * TILE, 3))).astype(np.int16)
    for row in range(side):
        for column in range(side):
            (top, left), (down, across) = random.integers(400, size=2), random.integers(TILE, size=2)
            tile = photograph[top : top + TILE, left : left + TILE] + grain[down : down + TILE, across : across + TILE]
            region = slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE)
            slide[:, *region] = tile.clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
    return slide


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "slide.zarr")
    slide = write_slide(path, float(sys.argv[1]) if len(sys.argv) > 1 else 4)
    start = time.perf_counter()
    segmentation = segment(path, 5, output=path / "labels" / "tissue", random_state=0)
    print(f"{segmentation.labels.size:,} pixels, {slide.nbytes / 1e9:.2f} GB: {time.perf_counter() - start:.1f} s")
    print(f"memory {peak_memory() / 1e9:.2f} GB; {segmentation.model.n_iter_} passes over distinct colours")
    labels = zarr.open_group(path / "labels" / "tissue", mode="r")
    print("labels in the slide:", ", ".join(f"level {level} {labels[level].shape}" for level in sorted(labels)))
    for label, area, (red, green, blue) in zip(
        *(segmentation.table[name] for name in ("label", "area", "band_mean")), strict=True
    ):
        print(f"segment {label}: {area / 1e6:7.3f} mm², red {red:3.0f}, green {green:3.0f}, blue {blue:3.0f}")
