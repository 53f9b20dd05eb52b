"""A slide of any size in segments: ``python whole_slide.py 1000`` makes one of a gigapixel first, 3 GB in a folder."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from sklearn.datasets import load_sample_image

from streamgmm import segment
from streamgmm.cli.memory import peak_memory

TILE = 1024


def write_slide(path, megapixels):
    """Tiles of a photograph, each shifted and with noise of its own; written one by one."""
    side = -(-int((megapixels * 1e6) ** 0.5) // TILE)
    slide = zarr.create_array(path, shape=(side * TILE, side * TILE, 3), chunks=(TILE, TILE, 3), dtype="uint8")
    photograph = np.tile(load_sample_image("flower.jpg"), (4, 3, 1))
    random = np.random.default_rng(0)
    grain = np.rint(random.normal(0, 2, (2 * TILE, 2 * TILE, 3))).astype(np.int16)
    for line in range(side):
        for column in range(side):
            (top, left), (down, across) = random.integers(400, size=2), random.integers(TILE, size=2)
            tile = photograph[top : top + TILE, left : left + TILE] + grain[down : down + TILE, across : across + TILE]
            place = slice(line * TILE, (line + 1) * TILE), slice(column * TILE, (column + 1) * TILE)
            slide[place] = tile.clip(0, 255).astype(np.uint8)
    return slide


with tempfile.TemporaryDirectory() as folder:
    slide = write_slide(Path(folder, "slide.zarr"), float(sys.argv[1]) if len(sys.argv) > 1 else 4)
    begun = time.perf_counter()
    found = segment(Path(folder, "slide.zarr"), 5, output=Path(folder, "labels.zarr"), random_state=0)
    print(f"{found.labels.size:,} pixels, {slide.nbytes / 1e9:.2f} GB: {time.perf_counter() - begun:.1f} s")
    print(f"memory {peak_memory() / 1e9:.2f} GB; converged after {found.model.n_iter_} passes over distinct colours")
    print(f"labels: shards of {found.labels.shards}, chunks of {found.labels.chunks}")
    for label, share, (red, green, blue) in zip(
        *(found.table[name] for name in ("label", "share", "band_mean")), strict=True
    ):
        print(f"segment {label}: {share:6.1%}, red {red:3.0f}, green {green:3.0f}, blue {blue:3.0f}")
