"""Families that the package does not have: an axis of length 1 shares their variances among components."""

import numpy as np

from streamgmm.model.covariances import Diagonal


class SharedDiagonal(Diagonal):
    """One variance per feature for all components: a family that the package does not have."""

    name = "shared_diag"

    def shape(self, n_components, n_features):
        return (1, n_features)

    def public_shape(self, n_components, n_features):
        return (n_features,)

    def estimate(self, statistics):
        between = np.sum(statistics.sums**2 / statistics.counts[:, None], axis=0, keepdims=True)
        return np.maximum(statistics.products - between, 0.0) / statistics.counts.sum()

    def n_parameters(self, n_components, n_features):
        return n_features


class SharedSpherical(SharedDiagonal):
    """One variance for all components and features: a family that the package does not have."""

    name = "shared_spherical"

    def shape(self, n_components, n_features):
        return (1, 1)

    def public_shape(self, n_components, n_features):
        return (1,)

    def estimate(self, statistics):
        between = np.sum(statistics.sums**2 / statistics.counts[:, None], keepdims=True)
        return np.maximum(statistics.products - between, 0.0) / (statistics.counts.sum() * statistics.origin.shape[1])

    def n_parameters(self, n_components, n_features):
        return 1
