"""A stack of planes under a microscope: a volume, in which a label means the same in each plane."""

import numpy as np

from streamgmm import segment


def stack(planes=12, size=300):
    """Cells, bright, in a tissue that is less so, in the dark; 16 bits. And what is what, from 1 to 3."""
    random = np.random.default_rng(0)
    depth, line, column = np.mgrid[:planes, :size, :size].astype(float)
    kinds = 1 + ((line - size / 2) ** 2 + (column - size / 2) ** 2 < (size / 2.2) ** 2)
    for z, y, x in random.uniform([0, 60, 60], [planes, size - 60, size - 60], (40, 3)):
        kinds[(16 * (depth - z) ** 2 + (line - y) ** 2 + (column - x) ** 2) < 15**2] = 3
    return random.poisson(np.array([0.0, 100.0, 150.0, 210.0])[kinds]).astype(np.uint16), kinds


volume, kinds = stack()
found = segment(volume, "auto", axes="ZYX", random_state=0)

chosen, model = found.selection, found.model
for k, gain in zip(chosen.table["n_components"], chosen.table["gain"], strict=True):
    print(f"{k:2} segments" + ("" if np.isnan(gain) else f": {gain:7.4f} nats a pixel more than {k - 1}"))
print(f"chosen: {len(model.means_)}, of {', '.join(f'{mean:,.0f}' for mean in model.means_.ravel())} grey levels")
for number, plane in enumerate(found.labels[::4]):
    shares = np.bincount(plane.ravel(), minlength=len(model.means_) + 1)[1:] / plane.size
    print(f"plane {4 * number:2}: " + ", ".join(f"{share:6.2%}" for share in shares))
print(f"pixels with a wrong label: {np.mean(found.labels != kinds):.2%}")
