"""Interface of a covariance family."""

from __future__ import annotations

from typing import Protocol

from streamgmm.model.parameters import Array
from streamgmm.model.statistics import Statistics


class CovarianceStructure(Protocol):
    """Covariance family: its shape, its M-step, and its factors of the precisions.

    Covariances, precisions, factors and products of a family have the same shape. An axis of length 1 is shared among
    components or features; the table in `streamgmm.model.statistics` has all shapes. Everything else is derived from
    the shape.

    Attributes
    ----------
    name : str
        Value of ``covariance_type``.
    """

    name: str

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of products, covariances and factors."""

    def public_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of ``covariances_``, ``precisions_`` and ``precisions_cholesky_``; of the same size."""

    def estimate(self, statistics: Statistics) -> Array:
        """Return the maximum-likelihood covariances; all counts are positive."""

    def regularize(self, covariances: Array, amount: float) -> Array:
        """Return covariances with ``amount``, in squared units of the data, added to every variance."""

    def factorize(self, covariances: Array) -> Array:
        """Return factors U of the precisions U·Uᵀ; raises numpy.linalg.LinAlgError if there are none."""

    def factorize_precisions(self, precisions: Array) -> Array:
        """Return factors U of precisions U·Uᵀ; raises numpy.linalg.LinAlgError if there are none."""

    def invert(self, factors: Array) -> tuple[Array, Array]:
        """Return the precisions and the covariances that belong to factors."""

    def check_precisions(self, precisions: Array) -> None:
        """Raise ValueError, in scikit-learn's words, unless precisions are positive (definite)."""

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of the covariances."""
