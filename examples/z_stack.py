"""Segment a stack of microscope planes as one volume, and choose the number of segments."""

import numpy as np

from streamgmm import segment


def make_stack(planes=12, size=300):
    """Return a 16-bit volume of bright cells in darker tissue on a dark background, and its true labels 1 to 3."""
    random = np.random.default_rng(0)
    depth, row, column = np.mgrid[:planes, :size, :size].astype(float)
    truth = 1 + ((row - size / 2) ** 2 + (column - size / 2) ** 2 < (size / 2.2) ** 2)
    for z, y, x in random.uniform([0, 60, 60], [planes, size - 60, size - 60], (40, 3)):
        truth[(16 * (depth - z) ** 2 + (row - y) ** 2 + (column - x) ** 2) < 15**2] = 3
    return random.poisson(np.array([0.0, 100.0, 150.0, 210.0])[truth]).astype(np.uint16), truth


volume, truth = make_stack()
segmentation = segment(volume, "auto", axes="ZYX", random_state=0)

selection, model = segmentation.selection, segmentation.model
for k, gain in zip(selection.table["n_components"], selection.table["gain"], strict=True):
    print(f"{k:2} segments" + ("" if np.isnan(gain) else f": {gain:7.4f} nats a pixel more than {k - 1}"))
print(f"chosen: {len(model.means_)}, of {', '.join(f'{mean:,.0f}' for mean in model.means_.ravel())} grey levels")
for index, plane in enumerate(segmentation.labels[::4]):
    shares = np.bincount(plane.ravel(), minlength=len(model.means_) + 1)[1:] / plane.size
    print(f"plane {4 * index:2}: " + ", ".join(f"{share:6.2%}" for share in shares))
print(f"pixels with a wrong label: {np.mean(segmentation.labels != truth):.2%}")
