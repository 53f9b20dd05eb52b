"""A stack of planes under a microscope: one mixture for all of them, so that a label means the same in each."""

import numpy as np

from streamgmm import segment


def stack(planes=12, size=300):
    """Cells, bright, in a tissue that is less so, in the dark; 16 bits."""
    random = np.random.default_rng(0)
    depth, line, column = np.mgrid[:planes, :size, :size].astype(float)
    tissue = (line - size / 2) ** 2 + (column - size / 2) ** 2 < (size / 2.2) ** 2
    values = 400 + 1500.0 * tissue
    for z, y, x in random.uniform([0, 60, 60], [planes, size - 60, size - 60], (40, 3)):
        values[(16 * (depth - z) ** 2 + (line - y) ** 2 + (column - x) ** 2) < 15**2] = 6000
    return random.poisson(values).astype(np.uint16)


planes = list(stack())
found = segment(planes, "auto", random_state=0)

chosen, model = found[0].selection, found[0].model
for k, gain in zip(chosen.table["n_components"], chosen.table["gain"], strict=True):
    print(f"{k:2} segments" + ("" if np.isnan(gain) else f": {gain:7.4f} nats a pixel more than {k - 1}"))
print(f"chosen: {len(model.means_)}, of {', '.join(f'{mean:,.0f}' for mean in model.means_.ravel())} grey levels")
for number, one in enumerate(found[::4]):
    print(f"plane {4 * number:2}: " + ", ".join(f"{share:6.2%}" for share in one.table["share"]))
