"""Compiled E-step kernels, chosen by the shapes and the values of the parameters alone.

==========================  ===========================================================================
loops                       chosen for
==========================  ===========================================================================
`unrolled`                  matrices (full, tied) and at most 4 features
`tiled`                     matrices and more features; a component further than 1,000 of its own
                            standard deviations from the shared origin is centred row by row
`elementwise`               variances (diag, spherical)
==========================  ===========================================================================

A `Kernel` is made once per set of parameters and may be used from many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.kernels import passes
from streamgmm.kernels.elementwise import Elementwise
from streamgmm.kernels.row_loader import iter_blocks
from streamgmm.kernels.tiled import Tiled
from streamgmm.kernels.unrolled import BY_WIDTH
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics, reduce_products

N_TOTALS = 4  # log-likelihood, log of the largest responsibility, weight, rows
MAX_DISTANCE = 1e3  # standard deviations from shared origin to component; the error of `tiled` is eps times this
NO_LABELS, NO_VECTOR, NO_MATRIX = np.empty(0, np.int64), np.empty(0), np.empty((0, 0))


@dataclass(frozen=True, slots=True)
class Kernel:
    """Parameters laid out for the inner loops."""

    parameters: Parameters
    origin: Array
    width: int
    model: Any
    size: int = field(init=False)  # of an accumulator: totals (4), counts (k), sums (k, width) and products

    def __post_init__(self) -> None:
        n_values = N_TOTALS + len(self.model.means) + self.model.means.size + self.model.factors.size
        object.__setattr__(self, "size", int(n_values))

    @classmethod
    def from_parameters(cls, parameters: Parameters, origin: Array | None = None) -> Kernel:
        """Choose the loops and lay the parameters out for them.

        ``origin``, shape (d,), is subtracted while loading; kernels that share loaded rows share it.
        """
        k, d = parameters.means.shape
        if origin is None:
            origin = choose_origin([parameters])
        matrices = parameters.precision_factors.ndim == 3
        width = d if matrices and d in BY_WIDTH else -(-d // 4) * 4
        means = np.zeros((k, width))
        means[:, :d] = parameters.means - origin
        constants = parameters.constants
        if not matrices:
            factors = np.zeros((k, width))
            factors[:, :d] = parameters.precision_factors * np.sqrt(0.5)
            return cls(parameters, origin, width, Elementwise(constants, means, factors))
        factors = np.zeros((k, width, width))
        factors[:, :d, :d] = parameters.precision_factors.transpose(0, 2, 1) * np.sqrt(0.5)
        if d in BY_WIDTH:
            return cls(parameters, origin, width, BY_WIDTH[d](constants, means, factors))
        near = is_near(parameters, origin)
        offsets = np.where(near[:, None], np.einsum("kij,kj->ki", factors, means), 0.0)
        return cls(parameters, origin, width, Tiled(constants, means, factors, offsets, near))

    def __reduce__(self) -> tuple[Callable[..., Kernel], tuple[Any, ...]]:
        """Return a recipe that copies the arrays: read-only ones of a message would compile the loops anew."""
        return _receive, (self.parameters, self.origin, self.width, self.model)

    def _split(self, accumulator: Array) -> tuple[Array, Array, Array, Array]:
        k, width = self.model.means.shape
        sums, products = N_TOTALS + k, N_TOTALS + k + k * width
        return (
            accumulator[:N_TOTALS],
            accumulator[N_TOTALS:sums],
            accumulator[sums:products].reshape(k, width),
            accumulator[products:].reshape(self.model.factors.shape),
        )

    def accumulate(self, blocks: Array, weights: Array, accumulator: Array, distances: Array) -> None:
        """Add loaded rows, one per weight, to the accumulator; ``distances`` is empty or one per row."""
        passes.accumulate(blocks, len(weights), weights, self.model, *self._split(accumulator), distances)

    def unpack(self, accumulator: Array) -> tuple[Statistics, float, float, float, int]:
        """Return statistics about the means; log-likelihood, log of the largest responsibilities, weight, and rows."""
        d, shape = self.parameters.n_features, self.parameters.precision_factors.shape
        totals, counts, sums, products = self._split(accumulator)
        if products.ndim == 3:
            if isinstance(self.model, Tiled):
                # the loops took the products of near components with x, not with x − m
                near = self.model.near[:, None, None]
                products = products - np.where(near, sums[:, :, None] * self.model.means[:, None, :], 0.0)
            products = products[:, :d, :d]
            products = np.where(_lower_triangle(d), products, products.transpose(0, 2, 1))
        else:
            products = products[:, :d]
        statistics = Statistics(
            self.parameters.means, counts.copy(), sums[:, :d].copy(), np.array(reduce_products(products, shape))
        )
        return statistics, float(totals[0]), float(totals[1]), float(totals[2]), int(totals[3])

    def labels(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """Return the most probable component of each row; the first of equals."""
        out = np.empty(len(rows), np.int64)
        self._fill_posterior(rows, passes.LABELS, out, NO_VECTOR, NO_MATRIX)
        return out

    def log_densities(self, rows: NDArray[Any]) -> Array:
        """Return log f(x) of each row, in nats."""
        out = np.empty(len(rows))
        self._fill_posterior(rows, passes.LOG_DENSITIES, NO_LABELS, out, NO_MATRIX)
        return out

    def responsibilities(self, rows: NDArray[Any]) -> Array:
        """Return posterior probabilities, shape (n, k)."""
        out = np.empty((len(rows), self.parameters.n_components))
        self._fill_posterior(rows, passes.RESPONSIBILITIES, NO_LABELS, NO_VECTOR, out)
        return out

    def _fill_posterior(self, rows: NDArray[Any], result: int, labels: Any, densities: Any, posteriors: Any) -> None:
        for part, blocks in iter_blocks(rows, self.width, self.origin):
            n = part.stop - part.start
            passes.posterior(blocks, n, self.model, result, labels[part], densities[part], posteriors[part])


def _receive(parameters: Parameters, origin: Array, width: int, model: Any) -> Kernel:
    return Kernel(parameters, origin.copy(), width, type(model)(*(array.copy() for array in model)))


@cache
def _lower_triangle(size: int) -> NDArray[np.bool_]:
    return np.tri(size, dtype=bool)


def choose_origin(candidates: Sequence[Parameters]) -> Array:
    """Return the point that is subtracted from rows while they are loaded.

    It is zero, so that nothing is rounded. `tiled` is fast only near the origin: if components are far from zero but
    all near the mean of the first mixture, it is that mean.
    """
    first = candidates[0]
    zero = np.zeros(first.n_features)
    mean: Array = first.weights @ first.means / first.weights.sum()
    tiled = first.precision_factors.ndim == 3 and first.n_features not in BY_WIDTH
    if not tiled or all(is_near(parameters, zero).all() for parameters in candidates):
        return zero
    return mean if all(is_near(parameters, mean).all() for parameters in candidates) else zero


def is_near(parameters: Parameters, origin: Array) -> NDArray[np.bool_]:
    """Return which components lie within ``MAX_DISTANCE`` of their own standard deviations of a point."""
    means, factors = parameters.means - origin, parameters.precision_factors
    if factors.ndim == 3:
        distances = np.einsum("kj,kji->ki", means, np.broadcast_to(factors, (len(means), *factors.shape[1:])))
    else:
        distances = means * factors
    near: NDArray[np.bool_] = np.abs(distances).max(axis=1) <= MAX_DISTANCE
    return near
