"""What a family of covariances has to say for itself."""

from __future__ import annotations

from typing import Protocol

from streamgmm.model.parameters import Array
from streamgmm.model.statistics import Statistics


class CovarianceStructure(Protocol):
    """One family: which second moments it needs and how covariances come from them.

    Inside the library arrays have the broadcast shape (`streamgmm.model.statistics`); ``public`` and ``internal`` go to and
    from the shape that scikit-learn's users know.
    """

    name: str

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Shape of products, covariances and factors."""

    def public_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Shape of ``covariances_`` and its like in scikit-learn."""

    def estimate(self, statistics: Statistics) -> Array:
        """Maximum-likelihood covariances; counts must be positive."""

    def regularize(self, covariances: Array, amount: float) -> Array:
        """Covariances with ``amount`` (squared units of the data) added to every variance."""

    def factorize(self, covariances: Array) -> Array:
        """Factors of the precisions; raises numpy.linalg.LinAlgError where there are none."""

    def factorize_precisions(self, precisions: Array) -> Array:
        """Factors of given precisions; raises numpy.linalg.LinAlgError where there are none."""

    def invert(self, factors: Array) -> tuple[Array, Array]:
        """Precisions and covariances that belong to factors."""

    def check_precisions(self, precisions: Array) -> None:
        """Raise ValueError, in scikit-learn's words, unless precisions are positive (definite)."""

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Free parameters of the covariances."""
