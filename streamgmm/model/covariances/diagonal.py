"""Diagonal covariances: one variance per component and feature."""

from __future__ import annotations

import numpy as np

from streamgmm.model.parameters import Array
from streamgmm.model.statistics import Statistics


class Diagonal:
    """Variances σ²_kj = products_kj / n_k about the mean of component k."""

    name = "diag"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (k, d)."""
        return (n_components, n_features)

    public_shape = shape

    def estimate(self, statistics: Statistics) -> Array:
        """Return products/n − δ² with δ the step from origin to mean."""
        step = statistics.sums / statistics.counts[:, None]
        # rounding may leave −1e-17 if all rows are the same
        return np.maximum(statistics.products / statistics.counts[:, None] - step * step, 0.0)

    def regularize(self, covariances: Array, amount: float) -> Array:
        """Add ``amount`` to every variance."""
        return covariances + amount

    def factorize(self, covariances: Array) -> Array:
        """Return the reciprocals of the standard deviations."""
        if not np.all(covariances > 0.0):
            raise np.linalg.LinAlgError("a variance is not positive")
        return 1.0 / np.sqrt(covariances)

    def factorize_precisions(self, precisions: Array) -> Array:
        """Return the square roots."""
        if not np.all(precisions > 0.0):
            raise np.linalg.LinAlgError("a precision is not positive")
        return np.sqrt(precisions)

    def invert(self, factors: Array) -> tuple[Array, Array]:
        """Return the squares and their reciprocals."""
        return factors**2, 1.0 / factors**2

    def check_precisions(self, precisions: Array) -> None:
        """Raise ValueError unless all are positive."""
        if not np.all(precisions > 0.0):
            raise ValueError(f"'{self.name} precision' should be positive")

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return k·d."""
        return n_components * n_features
