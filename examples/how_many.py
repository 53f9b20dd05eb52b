"""How many components? Of rows that are no mixture of Gaussians, BIC asks for ever more; what else to go by.

First three clusters of lopsided shape: three things to whoever counts things (ICL), more Gaussians to whoever wants the
density (BIC). Then the colours of a photograph, whose pixels are not independent: what tells two mixtures apart is the
same for neighbours, so that 273,280 pixels are worth a few hundred.
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
    found = select(rows, range(1, 11), criterion="icl", random_state=0)
    by_bic = found.table["n_components"][found.table["bic"].argmin()]
    gains = " ".join(f"{gain:6.3f}" for gain in found.table["gain"][1:])
    print(f"{n:6,} {by_bic:4} {found.best.n_components:4}  {gains}")

photograph = load_sample_image("china.jpg")  # (427, 640, 3), uint8
colours = photograph.reshape(-1, 3)
sizes = range(2, 13)
found = select(colours, sizes, reg_covar=1 / 12, random_state=0)  # 1/12: what rounding to integers adds to a variance
print(f"\nphotograph of {len(colours):,} pixels: {found.best.n_components} components by BIC, as many as were allowed")
print("gain of 3, 4, 5 ... components:", " ".join(f"{gain:.3f}" for gain in found.table["gain"][1:]))

# What is summed over pixels to compare two mixtures is the difference of their log-densities. How many independent
# values is it worth? The order of magnitude: other pairs say 50 to 500.
small, large = (found.models[sizes.index(k)].score_samples(colours) for k in (4, 8))
worth = effective_n((large - small).reshape(photograph.shape[:2]))
told = select(colours, sizes, reg_covar=1 / 12, random_state=0, effective_n=worth)
print(f"whose pixels are worth {worth:,.0f} independent ones: {told.best.n_components} components by BIC")
