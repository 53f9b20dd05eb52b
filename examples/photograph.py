"""Segment a photograph, and a sheet of 160 copies of it, which takes no longer to fit."""

import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from sklearn.datasets import load_sample_image

from streamgmm import segment

photograph = load_sample_image("china.jpg")  # (427, 640, 3), uint8: 96,615 distinct colours
folder = Path(tempfile.mkdtemp())

segmentation = segment(photograph, 6, random_state=0)
segmentation.model.save(folder / "china.gmm")
for label, pixels, mean in zip(*(segmentation.table[name] for name in ("label", "pixels", "mean")), strict=True):
    print(f"segment {label}: {pixels:7,} pixels, red {mean[0]:3.0f}, green {mean[1]:3.0f}, blue {mean[2]:3.0f}")

sheet = zarr.create_array(folder / "sheet.zarr", shape=(4270, 10240, 3), chunks=(427, 1280, 3), dtype="uint8")
for row in range(10):
    sheet[427 * row : 427 * (row + 1)] = np.tile(photograph, (1, 16, 1))
start = time.perf_counter()
large = segment(folder / "sheet.zarr", 6, output=folder / "labels.zarr", random_state=0)
print(f"{large.labels.size:,} pixels: {time.perf_counter() - start:.1f} s, in chunks of {large.labels.chunks}")
print("the same labels:", np.array_equal(large.labels[:427, :640], segmentation.labels))

# another picture by the same model: a label has the same meaning
half = segment(photograph[:, 320:], model=folder / "china.gmm")
print("the right half alone:", np.array_equal(half.labels, segmentation.labels[:, 320:]))
