"""Full covariances: one matrix per component."""

from __future__ import annotations

import numpy as np

from streamgmm.model.parameters import Array
from streamgmm.model.statistics import Statistics


class Full:
    """Matrices Σ_k = B_k / n_k about the mean of component k."""

    name = "full"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (k, d, d)."""
        return (n_components, n_features, n_features)

    public_shape = shape

    def estimate(self, statistics: Statistics) -> Array:
        """Return B/n − δδᵀ with δ the step from origin to mean; δ is small, so nothing cancels."""
        step = statistics.sums / statistics.counts[:, None]
        return symmetrize(statistics.products / statistics.counts[:, None, None] - step[:, :, None] * step[:, None, :])

    def regularize(self, covariances: Array, amount: float) -> Array:
        """Add ``amount`` to the diagonals."""
        return covariances + amount * np.eye(covariances.shape[-1])

    def factorize(self, covariances: Array) -> Array:
        """Return upper U with U·Uᵀ = Σ⁻¹: the transposed inverse of the lower Cholesky factor of Σ."""
        lower = np.asarray(np.linalg.cholesky(covariances), np.float64)
        return np.ascontiguousarray(invert_lower(lower).transpose(0, 2, 1))

    def factorize_precisions(self, precisions: Array) -> Array:
        """Return upper U with U·Uᵀ = P: a Cholesky factor from the last row upwards."""
        return np.ascontiguousarray(np.linalg.cholesky(precisions[:, ::-1, ::-1])[:, ::-1, ::-1])

    def invert(self, factors: Array) -> tuple[Array, Array]:
        """Return precisions U·Uᵀ and covariances U⁻ᵀ·U⁻¹."""
        inverses = invert_lower(factors.transpose(0, 2, 1))
        return factors @ factors.transpose(0, 2, 1), inverses @ inverses.transpose(0, 2, 1)

    def check_precisions(self, precisions: Array) -> None:
        """Raise ValueError unless all are symmetric and positive definite."""
        for matrix in precisions:
            if not (np.allclose(matrix, matrix.T) and np.all(np.linalg.eigvalsh(matrix) > 0.0)):
                raise ValueError(f"'{self.name} precision' should be symmetric, positive-definite")

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return k·d(d+1)/2."""
        return n_components * n_features * (n_features + 1) // 2


def invert_lower(factors: Array) -> Array:
    """Return inverses of lower triangular matrices (k, d, d), row by row.

    The BLAS of scipy starts threads that spin on processors that the next pass needs.
    """
    inverses = np.zeros_like(factors)
    for row in range(factors.shape[-1]):
        inverses[:, row, row] = 1.0
        inverses[:, row, :row] = -np.einsum("kj,kji->ki", factors[:, row, :row], inverses[:, :row, :row])
        inverses[:, row] /= factors[:, row, row, None]
    return inverses


def symmetrize(matrices: Array) -> Array:
    """Return the symmetric part, without what rounding has added."""
    return (matrices + matrices.transpose(0, 2, 1)) / 2
