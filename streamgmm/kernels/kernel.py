"""Compiled inner loops of the E-step, chosen by the shapes and the values of the parameters alone.

=========================  =======================================================================
geometry                   chosen when
=========================  =======================================================================
`unrolled`                 matrices (full, tied) and at most 4 features
`tiled`                    matrices and more features; a component further than 1,000 of its own
                           standard deviations from the shared origin is centred row by row
`axes`                     diagonals (diag, spherical)
=========================  =======================================================================

A `Kernel` is made once per set of parameters and may be used from many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.kernels import passes
from streamgmm.kernels.blocks import iter_blocks
from streamgmm.kernels.elementwise import Axes
from streamgmm.kernels.tiled import Tiled
from streamgmm.kernels.unrolled import BY_WIDTH
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics, reduce_products

TALLY = 4  # log-likelihood, log of the largest responsibility, weight, rows
FARTHEST = 1e3  # standard deviations between shared origin and component; the error of `tiled` is eps times this


@cache
def _lower(size: int) -> NDArray[np.bool_]:
    """Which entries of a matrix are on its diagonal or below."""
    return np.tri(size, dtype=bool)


@dataclass(frozen=True, slots=True)
class Kernel:
    """Parameters in the form that the inner loops want."""

    parameters: Parameters
    origin: Array
    width: int
    model: Any

    @classmethod
    def of(cls, parameters: Parameters, origin: Array | None = None) -> Kernel:
        """Choose the geometry and lay the parameters out for it.

        ``origin``, shape (d,), is subtracted while loading; kernels that share loaded rows share it.
        """
        k, d = parameters.means.shape
        if origin is None:
            origin = shared_origin([parameters])
        matrices = parameters.precision_factors.ndim == 3
        width = d if matrices and d in BY_WIDTH else -(-d // 4) * 4
        means = np.zeros((k, width))
        means[:, :d] = parameters.means - origin
        constants = parameters.constants
        if not matrices:
            factors = np.zeros((k, width))
            factors[:, :d] = parameters.precision_factors * np.sqrt(0.5)
            return cls(parameters, origin, width, Axes(constants, means, factors))
        factors = np.zeros((k, width, width))
        factors[:, :d, :d] = parameters.precision_factors.transpose(0, 2, 1) * np.sqrt(0.5)
        if d in BY_WIDTH:
            return cls(parameters, origin, width, BY_WIDTH[d](constants, means, factors))
        near = is_near(parameters, origin)
        offsets = np.where(near[:, None], np.einsum("kij,kj->ki", factors, means), 0.0)
        return cls(parameters, origin, width, Tiled(constants, means, factors, offsets, near))

    def __reduce__(self) -> tuple[Callable[..., Kernel], tuple[Any, ...]]:
        """Made again, in another process, of arrays of its own.

        Those of a message may be read-only, and for such the loops would be compiled anew.
        """
        return _received, (self.parameters, self.origin, self.width, self.model)

    def zeros(self) -> Array:
        """An empty accumulator: tally (4), counts (k), sums (k, width), products, one after the other."""
        return np.zeros(TALLY + self.parameters.n_components * (1 + self.width + self._products_size))

    @property
    def _products_size(self) -> int:
        return self.width if isinstance(self.model, Axes) else self.width**2

    def _split(self, accumulator: Array) -> tuple[Array, Array, Array, Array]:
        k, width = self.parameters.n_components, self.width
        shape = (k, width) if isinstance(self.model, Axes) else (k, width, width)
        sums, products = TALLY + k, TALLY + k + k * width
        return (
            accumulator[:TALLY],
            accumulator[TALLY:sums],
            accumulator[sums:products].reshape(k, width),
            accumulator[products:].reshape(shape),
        )

    def accumulate(self, blocks: Array, weights: Array, accumulator: Array, distances: Array) -> None:
        """Add as many loaded rows as there are weights to the accumulator; ``distances`` of none, or of all of them."""
        passes.accumulate(blocks, len(weights), weights, self.model, *self._split(accumulator), distances)

    def unpack(self, accumulator: Array) -> tuple[Statistics, float, float, float, int]:
        """Statistics about the means; log-likelihood, log of the largest responsibilities, weight, and rows."""
        d, shape = self.parameters.n_features, self.parameters.precision_factors.shape
        tally, counts, sums, products = self._split(accumulator)
        if products.ndim == 3:
            if isinstance(self.model, Tiled):
                # about a near component the loops took the products with x, not with x − m
                near = self.model.near[:, None, None]
                products = products - np.where(near, sums[:, :, None] * self.model.means[:, None, :], 0.0)
            products = products[:, :d, :d]
            products = np.where(_lower(d), products, products.transpose(0, 2, 1))
        else:
            products = products[:, :d]
        statistics = Statistics(
            self.parameters.means, counts.copy(), sums[:, :d].copy(), np.array(reduce_products(products, shape))
        )
        return statistics, float(tally[0]), float(tally[1]), float(tally[2]), int(tally[3])

    def labels(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """Most probable component of each row; the first of equals."""
        out = np.empty(len(rows), np.int64)
        self._posterior(rows, passes.LABELS, out, _NO_VECTOR, _NO_MATRIX)
        return out

    def log_densities(self, rows: NDArray[Any]) -> Array:
        """log f(x) of each row, nats."""
        out = np.empty(len(rows))
        self._posterior(rows, passes.LOG_DENSITIES, _NO_LABELS, out, _NO_MATRIX)
        return out

    def responsibilities(self, rows: NDArray[Any]) -> Array:
        """Posterior probabilities, shape (n, k)."""
        out = np.empty((len(rows), self.parameters.n_components))
        self._posterior(rows, passes.RESPONSIBILITIES, _NO_LABELS, _NO_VECTOR, out)
        return out

    def _posterior(self, rows: NDArray[Any], wanted: int, labels: Any, densities: Any, responsibilities: Any) -> None:
        for part, blocks in iter_blocks(rows, self.width, self.origin):
            n = part.stop - part.start
            passes.posterior(blocks, n, self.model, wanted, labels[part], densities[part], responsibilities[part])


def _received(parameters: Parameters, origin: Array, width: int, model: Any) -> Kernel:
    return Kernel(parameters, origin.copy(), width, type(model)(*(array.copy() for array in model)))


def shared_origin(candidates: Sequence[Parameters]) -> Array:
    """Point that rows are taken about while they are loaded.

    Zero, so that nothing is rounded; but where every component is near the mean of the first mixture and some are far
    from zero that mean, which keeps `tiled` fast.
    """
    first = candidates[0]
    zero = np.zeros(first.n_features)
    mean: Array = first.weights @ first.means / first.weights.sum()
    tiled = first.precision_factors.ndim == 3 and first.n_features not in BY_WIDTH
    if not tiled or all(is_near(parameters, zero).all() for parameters in candidates):
        return zero
    return mean if all(is_near(parameters, mean).all() for parameters in candidates) else zero


def is_near(parameters: Parameters, origin: Array) -> NDArray[np.bool_]:
    """Which components lie within ``FARTHEST`` of their own standard deviations of a point."""
    means, factors = parameters.means - origin, parameters.precision_factors
    if factors.ndim == 3:
        distances = np.einsum("kj,kji->ki", means, np.broadcast_to(factors, (len(means), *factors.shape[1:])))
    else:
        distances = means * factors
    near: NDArray[np.bool_] = np.abs(distances).max(axis=1) <= FARTHEST
    return near


_NO_LABELS, _NO_VECTOR, _NO_MATRIX = np.empty(0, np.int64), np.empty(0), np.empty((0, 0))
