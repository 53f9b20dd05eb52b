"""Choose the number of components of rows that are no Gaussian mixture, where BIC prefers ever more components.

Three skewed clusters: ICL counts clusters, BIC approximates the density. Then the colours of a photograph, whose pixels
are not independent: the effective number of its 273,280 pixels is a few hundred.
"""

import numpy as np
from sklearn.datasets import load_sample_image

from streamgmm import select
from streamgmm.images import effective_n

CENTRES = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])

print("rows    BIC  ICL  gain of 2, 3, 4 ... components, nats a row")
for n in (300, 3_000, 30_000):
    random = np.random.default_rng(0)
    rows = CENTRES[random.integers(3, size=n)] + (random.gamma(8.0, size=(n, 2)) - 8.0) / np.sqrt(8.0)
    selection = select(rows, range(1, 11), criterion="icl", random_state=0)
    by_bic = selection.table["n_components"][selection.table["bic"].argmin()]
    gains = " ".join(f"{gain:6.3f}" for gain in selection.table["gain"][1:])
    print(f"{n:6,} {by_bic:4} {selection.best.n_components:4}  {gains}")

photograph = load_sample_image("china.jpg")  # (427, 640, 3), uint8
colours = photograph.reshape(-1, 3)
sizes = range(2, 13)
selection = select(colours, sizes, reg_covar=1 / 12, random_state=0)  # 1/12: variance of rounding
print(f"\nphotograph of {len(colours):,} pixels: {selection.best.n_components} components by BIC, the largest size")
print("gain of 3, 4, 5 ... components:", " ".join(f"{gain:.3f}" for gain in selection.table["gain"][1:]))

# Two mixtures are compared by the sum of the differences of their log-densities, which are alike for neighbours.
# The effective number of pixels is an order of magnitude: other pairs of sizes give 50 to 500.
small, large = (selection.models[sizes.index(k)].score_samples(colours) for k in (4, 8))
n_effective = effective_n((large - small).reshape(photograph.shape[:2]))
selection = select(colours, sizes, reg_covar=1 / 12, random_state=0, effective_n=n_effective)
print(f"of {n_effective:,.0f} effective pixels: {selection.best.n_components} components by BIC")
