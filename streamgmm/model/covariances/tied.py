"""Tied covariances: one matrix for all components."""

from __future__ import annotations

from streamgmm.model.covariances.full import Full, symmetrize
from streamgmm.model.parameters import Array
from streamgmm.model.statistics import Statistics


class Tied(Full):
    """Matrix Σ = sum_k B_k / N about the means."""

    name = "tied"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (1, d, d)."""
        return (1, n_features, n_features)

    def public_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (d, d)."""
        return (n_features, n_features)

    def estimate(self, statistics: Statistics) -> Array:
        """Return the pooled products about the means, divided by the number of rows."""
        step = statistics.sums / statistics.counts[:, None]
        between = statistics.sums.T @ step
        return symmetrize((statistics.products - between) / statistics.counts.sum())

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return d(d+1)/2."""
        return n_features * (n_features + 1) // 2
