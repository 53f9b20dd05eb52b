"""Parameters of a mixture, immutable.

Covariances and precision factors have the shape of ``Statistics.products`` (`streamgmm.model.statistics`): an axis of
length 1 is shared. Families differ by shape alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from streamgmm.model.statistics import Array, check_moments, expand_covariances
from streamgmm.persistence.codec import persistent

__all__ = ["Array", "Parameters"]


@persistent("parameters-1")
@dataclass(frozen=True, eq=False)
class Parameters:
    """Weights, means, covariances and factors of the precisions.

    Parameters
    ----------
    weights : ndarray of shape (k,)
        Mixing proportions; not negative, sum 1.
    means : ndarray of shape (k, d)
        In the units of the data.
    covariances : ndarray of shape (k, d, d), (1, d, d), (k, d), (k, 1), (1, d) or (1, 1)
        Squared units of the data.
    precision_factors : ndarray of the same shape
        Upper triangular U with U·Uᵀ the precision matrix (scikit-learn's ``precisions_cholesky_``); its diagonal, or
        its common value, for families of variances.
    """

    weights: Array
    means: Array
    covariances: Array
    precision_factors: Array

    def validate(self) -> None:
        """Raise ValueError unless the arrays belong to one mixture and are finite."""
        check_moments(self.means, self.weights, self.means, self.covariances, self.precision_factors)
        if self.covariances.shape != self.precision_factors.shape:
            raise ValueError("covariances and precision factors have different shapes")

    @property
    def n_components(self) -> int:
        """Number of components, k."""
        return int(self.means.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features, d."""
        return int(self.means.shape[1])

    @property
    def version(self) -> int:
        """Hash of the values: equal for equal parameters, in any process."""
        digest = hashlib.blake2b(digest_size=8)
        for array in (self.weights, self.means, self.precision_factors):
            digest.update(np.ascontiguousarray(array).tobytes())
        return int.from_bytes(digest.digest(), "big") >> 1

    @cached_property
    def constants(self) -> Array:
        """Logarithm of weight times density of each component at its mean, shape (k,)."""
        constants: Array = self.log_weights() + self.log_determinants() - 0.5 * self.n_features * np.log(2 * np.pi)
        return constants

    def variances(self) -> Array:
        """Return the variance of each feature in each component, shape (k, d)."""
        covariances = expand_covariances(self.covariances, *self.means.shape)
        return covariances if covariances.ndim == 2 else covariances.diagonal(axis1=1, axis2=2)

    def log_determinants(self) -> Array:
        """Return half the log-determinant of each component's precision matrix, shape (k,)."""
        factors, k, d = self.precision_factors, *self.means.shape
        diagonals = factors.diagonal(axis1=1, axis2=2) if factors.ndim == 3 else factors
        sums = np.log(diagonals).sum(axis=1) * (d // diagonals.shape[1])  # a shared variance counts d times
        return sums if len(sums) == k else np.full(k, sums[0])

    def log_weights(self) -> Array:
        """Return the logarithms of the weights, shape (k,); minus infinity for a weight of 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.weights)
