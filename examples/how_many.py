"""How many components? Of rows that are no mixture of Gaussians, BIC asks for ever more; ICL and the gain do not.

Three clusters of lopsided shape: three things to whoever counts things, more Gaussians to whoever wants the density.
"""

import numpy as np

from streamgmm import select

CENTRES = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])

print("rows    BIC  ICL  gain of 2, 3, 4 ... components, nats a row")
for n in (300, 3_000, 30_000):
    random = np.random.default_rng(0)
    rows = CENTRES[random.integers(3, size=n)] + (random.gamma(8.0, size=(n, 2)) - 8.0) / np.sqrt(8.0)
    found = select(rows, range(1, 11), criterion="icl", random_state=0)
    by_bic = found.table["n_components"][found.table["bic"].argmin()]
    gains = " ".join(f"{gain:6.3f}" for gain in found.table["gain"][1:])
    print(f"{n:6,} {by_bic:4} {found.best.n_components:4}  {gains}")
