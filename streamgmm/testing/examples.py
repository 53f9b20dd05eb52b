"""Mixtures and rows for property tests, as hypothesis strategies.

Sizes, offsets and a seed are drawn; values come from the seed, so that every example is well conditioned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import make_parameters
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics, reduce_products

# a law runs in many classes, which hypothesis calls differing executors; compiled code is slow the first time
law = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.differing_executors])


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Rows, their weights, and a mixture of overlapping components for them."""

    rows: Array  # (n, d) of unit scale about an offset
    weights: Array  # (n,), multiples of ½, some of them 0
    parameters: Parameters
    random: np.random.Generator  # for anything else that a law needs


@st.composite
def examples(
    draw: Callable[..., Any],
    structure: CovarianceStructure,
    *,
    rows: tuple[int, int] = (2, 40),
    features: tuple[int, int] = (1, 6),
    components: tuple[int, int] = (1, 4),
) -> Example:
    """Draw an example for one family; ranges are inclusive."""
    n, d, k = (draw(st.integers(*limits)) for limits in (rows, features, components))
    offset = draw(st.sampled_from([0.0, -1e3, 1e6]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = random.integers(0, 5, n) / 2
    weights[0] = 1.0  # never all 0
    parameters = mixture(structure, k, d, random, offset)
    return Example(random.normal(size=(n, d)) + offset, weights, parameters, random)


def mixture(
    structure: CovarianceStructure, k: int, d: int, random: np.random.Generator, offset: float = 0.0
) -> Parameters:
    """Return parameters of unit scale about an offset, for any family."""
    shape = structure.shape(k, d)
    if len(shape) == 3:
        roots = random.normal(size=shape)
        covariances = roots @ roots.transpose(0, 2, 1) / d + 0.2 * np.eye(d)
    else:
        covariances = random.uniform(0.2, 2.0, size=shape)
    means = offset + random.normal(size=(k, d))
    return make_parameters(random.dirichlet(np.full(k, 5.0)), means, covariances, structure)


def gather_statistics(rows: Array, responsibilities: Array, origin: Array, shape: tuple[int, ...]) -> Statistics:
    """Return statistics of rows with weighted responsibilities (n, k) about any origin (k, d), in plain NumPy."""
    centred = rows[:, None, :] - origin
    moments = "nk,nkd,nke->kde" if len(shape) == 3 else "nk,nkd,nkd->kd"
    return Statistics(
        origin,
        responsibilities.sum(axis=0),
        np.einsum("nk,nkd->kd", responsibilities, centred),
        reduce_products(np.einsum(moments, responsibilities, centred, centred), shape),
    )


def assert_same_statistics(one: Statistics, other: Statistics, tolerance: float = 1e-11) -> None:
    """Raise AssertionError unless statistics of rows of unit scale agree to rounding of their largest number."""
    np.testing.assert_array_equal(one.origin, other.origin)
    size = max(1.0, *(float(np.abs(array).max()) for array in (one.counts, one.sums, one.products)))
    for name in ("counts", "sums", "products"):
        mine, theirs = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * size, err_msg=name)


def assert_same_parameters(one: Parameters, other: Parameters, tolerance: float = 1e-9) -> None:
    """Raise AssertionError unless parameters of unit scale agree."""
    np.testing.assert_allclose(one.weights, other.weights, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(one.means, other.means, rtol=1e-15, atol=tolerance)
    np.testing.assert_allclose(one.covariances, other.covariances, rtol=tolerance, atol=tolerance)
