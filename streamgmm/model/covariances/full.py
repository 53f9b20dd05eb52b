"""Full covariances: every component has a matrix of its own."""

from __future__ import annotations

import numpy as np

from streamgmm.model.parameters import Array
from streamgmm.model.statistics import Statistics


class Full:
    """Σ_k = B_k / n_k about the mean of component k."""

    name = "full"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (k, d, d)."""
        return (n_components, n_features, n_features)

    public_shape = shape

    def estimate(self, statistics: Statistics) -> Array:
        """Return B/n − δδᵀ with δ the step from origin to mean; δ is small, so nothing cancels."""
        step = statistics.sums / statistics.counts[:, None]
        return symmetric(statistics.products / statistics.counts[:, None, None] - step[:, :, None] * step[:, None, :])

    def regularize(self, covariances: Array, amount: float) -> Array:
        """Add ``amount`` to the diagonals."""
        return covariances + amount * np.eye(covariances.shape[-1])

    def factorize(self, covariances: Array) -> Array:
        """Upper U with U·Uᵀ = Σ⁻¹: the transposed inverse of the lower Cholesky factor of Σ."""
        lower = np.asarray(np.linalg.cholesky(covariances), np.float64)
        return np.ascontiguousarray(inverse_lower(lower).transpose(0, 2, 1))

    def factorize_precisions(self, precisions: Array) -> Array:
        """Upper U with U·Uᵀ = P: a Cholesky factor taken from the last row upwards."""
        return np.ascontiguousarray(np.linalg.cholesky(precisions[:, ::-1, ::-1])[:, ::-1, ::-1])

    def invert(self, factors: Array) -> tuple[Array, Array]:
        """Precisions U·Uᵀ and covariances U⁻ᵀ·U⁻¹."""
        inverses = inverse_lower(factors.transpose(0, 2, 1))
        return factors @ factors.transpose(0, 2, 1), inverses @ inverses.transpose(0, 2, 1)

    def check_precisions(self, precisions: Array) -> None:
        """Symmetric and positive definite."""
        for matrix in precisions:
            if not (np.allclose(matrix, matrix.T) and np.all(np.linalg.eigvalsh(matrix) > 0.0)):
                raise ValueError(f"'{self.name} precision' should be symmetric, positive-definite")

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return k·d(d+1)/2."""
        return n_components * n_features * (n_features + 1) // 2


def inverse_lower(factors: Array) -> Array:
    """Inverses of lower triangular matrices, (k, d, d), all at once and row by row.

    Not scipy's: its BLAS starts threads that go on spinning on a processor that the next pass needs.
    """
    inverses = np.zeros_like(factors)
    for row in range(factors.shape[-1]):
        inverses[:, row, row] = 1.0
        inverses[:, row, :row] = -np.einsum("kj,kji->ki", factors[:, row, :row], inverses[:, :row, :row])
        inverses[:, row] /= factors[:, row, row, None]
    return inverses


def symmetric(matrices: Array) -> Array:
    """The symmetric part, so that rounding cannot tilt a matrix."""
    return (matrices + matrices.transpose(0, 2, 1)) / 2
