"""Segment a satellite scene of six bands with nodata, and label the next scene by the same model."""

import tempfile
from pathlib import Path

import numpy as np
import zarr

from streamgmm import segment

BANDS = {"blue": 1, "green": 2, "red": 3, "nir": 4}  # indices of the bands to use
SPECTRA = {  # reflectance of the six bands, in ten-thousandths
    "water": (300, 500, 450, 300, 120, 60),
    "forest": (250, 300, 500, 350, 3200, 1500),
    "field": (400, 700, 1100, 1500, 2600, 2900),
    "city": (900, 1300, 1500, 1700, 2100, 2300),
}


def write_scene(path, seed, shape=(600, 900)):
    """Write six bands of 16 bits; pixels outside the swath of the satellite are 0."""
    random = np.random.default_rng(seed)
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    waves = np.sin(rows / 90 + seed) + np.cos(columns / 130) + 0.3 * np.sin((rows + columns) / 40)
    classes = np.digitize(waves, [-0.9, 0.1, 1.0])
    spectra = np.array(list(SPECTRA.values()))[classes] * random.normal(1, 0.08, (*shape, 1))
    scene = (spectra + random.normal(0, 40, (*shape, 6))).clip(1, 10_000).astype(np.uint16)
    scene[columns < 200 - rows / 5] = 0
    stored = zarr.create_array(path, shape=(6, *shape), chunks=(1, 300, 300), dtype="uint16")
    stored[:] = scene.transpose(2, 0, 1)


folder = Path(tempfile.mkdtemp())
for number in range(2):
    write_scene(folder / f"scene{number}.zarr", number)

segmentation = segment(
    folder / "scene0.zarr",
    4,
    axes="CYX",
    bands=list(BANDS.values()),
    nodata=0,
    output=folder / "labels0.zarr",
    random_state=0,
)
for label, share, means in zip(*(segmentation.table[name] for name in ("label", "share", "band_mean")), strict=True):
    values = ", ".join(f"{name} {mean:5,.0f}" for name, mean in zip(BANDS, means, strict=True))
    print(f"segment {label}: {share:6.1%}  {values}")
print(f"nodata: {np.mean(segmentation.labels[:] == 0):.1%} of the scene")

segmentation.save(folder / "land.gmm")  # with the bands, the nodata value and the order of the labels
next_scene = segment(folder / "scene1.zarr", model=folder / "land.gmm", axes="CYX", output=folder / "labels1.zarr")
print("the next scene, by the same model:", ", ".join(f"{share:.1%}" for share in next_scene.table["share"]))
