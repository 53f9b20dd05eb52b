"""Spherical covariances: one variance per component."""

from __future__ import annotations

import numpy as np

from streamgmm.model.covariances.diagonal import Diagonal
from streamgmm.model.parameters import Array
from streamgmm.model.statistics import Statistics


class Spherical(Diagonal):
    """Variances σ²_k = trace of B_k / (n_k·d) about the mean of component k."""

    name = "spherical"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (k, 1)."""
        return (n_components, 1)

    def public_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (k,)."""
        return (n_components,)

    def estimate(self, statistics: Statistics) -> Array:
        """Return the mean variance over the features."""
        step = statistics.sums / statistics.counts[:, None]
        total = statistics.products / statistics.counts[:, None] - (step * step).sum(axis=1, keepdims=True)
        variances: Array = np.maximum(total, 0.0) / statistics.origin.shape[1]
        return variances

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return k."""
        return n_components
