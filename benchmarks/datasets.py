"""Data sets that a start is judged by: for every seed rows to fit, and others of the same kind to judge the fit by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.decomposition import PCA

from benchmarks.workloads import Population

FAITHFUL = Path(__file__).parents[1] / "tests" / "reference" / "faithful.csv"
ROWS, HELD_OUT = 20_000, 500_000  # of what is generated: of heavy tails one row in 50,000 may be 5e-3 nats of the mean

Rows = NDArray[np.float64]
TrainingAndHeldOut = tuple[Rows, Rows]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Rows by seed, and how many components they are fitted with."""

    name: str
    k: int
    drawn: Callable[[int], TrainingAndHeldOut]


def data_sets(n: int = ROWS, held_out: int = HELD_OUT) -> list[DataSet]:
    """All of them: of real rows at most ``n`` to fit, of generated ones ``n`` to fit and ``held_out`` to judge by."""
    found = [
        DataSet("iris", 3, partial(halves, iris, n)),
        DataSet("wine", 3, partial(halves, wine, n)),
        DataSet("breast cancer", 2, partial(halves, breast_cancer, n)),
        DataSet("digits", 10, partial(halves, digits, n)),
        DataSet("faithful", 2, partial(halves, faithful, n)),
        DataSet("china.jpg", 6, partial(pixels, "china.jpg", n)),
        DataSet("flower.jpg", 6, partial(pixels, "flower.jpg", n)),
    ]
    for d, k, separation in ((2, 3, 2.5), (4, 8, 4.0), (8, 8, 4.0), (2, 12, 8.0)):
        population = partial(Population.overlapping, d, k, separation)
        name = f"{'overlapping' if separation < 5.0 else 'many'}, {d}-d"
        found.append(DataSet(name, k, partial(drawn, population, (d, k), n, held_out)))
    found.append(DataSet("unequal", 5, partial(drawn, unequal, (), n, held_out)))
    found.append(DataSet("crossing", 4, partial(drawn, crossing, (), n, held_out)))
    found.append(DataSet("heavy tails", 5, partial(heavy_tails, n, held_out)))
    return found


# ---------------------------------------------------------------------- real


def standardised(rows: Rows) -> Rows:
    """Every feature with mean 0 and variance 1."""
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


@cache
def iris() -> Rows:
    """150 x 4."""
    return standardised(datasets.load_iris().data)


@cache
def wine() -> Rows:
    """178 x 5: principal components of the standardised features."""
    return PCA(5, svd_solver="full").fit_transform(standardised(datasets.load_wine().data))


@cache
def breast_cancer() -> Rows:
    """569 x 5: principal components of the standardised features."""
    return PCA(5, svd_solver="full").fit_transform(standardised(datasets.load_breast_cancer().data))


@cache
def digits() -> Rows:
    """1797 x 10: principal components of the pixels."""
    return PCA(10, svd_solver="full").fit_transform(datasets.load_digits().data)


def eruptions() -> Rows:
    """272 x 2: minutes that Old Faithful erupts, and minutes to wait for it."""
    return np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)


@cache
def faithful() -> Rows:
    """272 x 2."""
    return standardised(eruptions())


def halves(load: Callable[[], Rows], most: int, seed: int) -> TrainingAndHeldOut:
    """A random half, and the other; ``most`` rows of each at most."""
    rows = load()
    order = np.random.default_rng(seed).permutation(len(rows))
    middle = len(rows) // 2
    return rows[order[:middle][:most]], rows[order[middle:][:most]]


@cache
def picture(name: str) -> NDArray[np.uint8]:
    """Pixels, 273,280 x 3."""
    return datasets.load_sample_image(name).reshape(-1, 3)


def pixels(name: str, n: int, seed: int) -> TrainingAndHeldOut:
    """Random pixels of a photograph, each with noise as wide as a level, so that no two are equal."""
    random = np.random.default_rng(seed)
    rows = picture(name)
    some = rows[random.choice(len(rows), 2 * n, replace=False)] + random.uniform(-0.5, 0.5, size=(2 * n, 3))
    return some[:n], some[n:]


# ---------------------------------------------------------------------- generated


def drawn(
    make: Callable[[np.random.Generator], Population], shape: tuple[int, ...], n: int, held_out: int, seed: int
) -> TrainingAndHeldOut:
    """Both from one population, which depends on the seed."""
    random = np.random.default_rng([seed, *shape])
    population = make(random)
    return population.draw(n, random)[0], population.draw(held_out, random)[0]


def unequal(random: np.random.Generator) -> Population:
    """Five clusters of 60 to 1 % of the rows in 3-d, of different shapes."""
    weights = np.array([0.60, 0.25, 0.10, 0.04, 0.01])
    means = 4.0 * random.normal(size=(5, 3))
    return Population(weights, means, random.uniform(0.3, 2.0, size=(5, 1, 3)) * np.eye(3))


def crossing(random: np.random.Generator) -> Population:
    """Four lines in 2-d, 20 times as long as wide, that cross each other."""
    angles = random.uniform(0.0, np.pi, size=4)
    along = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    across = np.stack([-np.sin(angles), np.cos(angles)], axis=1)
    factors = np.stack([4.0 * along, 0.2 * across], axis=2)
    return Population(np.full(4, 0.25), 3.0 * random.normal(size=(4, 2)), factors)


def heavy_tails(n: int, held_out: int, seed: int) -> TrainingAndHeldOut:
    """Four clusters in 3-d whose features are t with three degrees of freedom: no mixture of Gaussians."""
    random = np.random.default_rng(seed)
    means = 4.0 * random.normal(size=(4, 3))
    rows, others = (means[random.integers(4, size=m)] + random.standard_t(3, size=(m, 3)) for m in (n, held_out))
    return rows, others
