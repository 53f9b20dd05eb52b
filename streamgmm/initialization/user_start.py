"""Starting parameters that the user gives, checked in scikit-learn's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamgmm.errors import InputError
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.parameters import Array, Parameters


@dataclass(frozen=True, slots=True)
class UserStart:
    """What is given; None where it is left to the initialization. Shapes are the internal ones."""

    structure: CovarianceStructure
    weights: Array | None
    means: Array | None
    factors: Array | None

    @classmethod
    def checked(
        cls, weights: Any, means: Any, precisions: Any, structure: CovarianceStructure, k: int, d: int
    ) -> UserStart:
        """Check the three arguments; raises InputError."""
        weights = None if weights is None else _weights(weights, k)
        means = None if means is None else _shaped(means, (k, d), "means")
        if precisions is None:
            return cls(structure, weights, means, None)
        precisions = _shaped(precisions, structure.public_shape(k, d), f"{structure.name} precision")
        precisions = precisions.reshape(structure.shape(k, d))
        try:
            structure.check_precisions(precisions)
        except ValueError as error:
            raise InputError(str(error)) from None
        return cls(structure, weights, means, structure.factorize_precisions(precisions))

    @property
    def complete(self) -> bool:
        """Whether nothing is left to find."""
        return self.weights is not None and self.means is not None and self.factors is not None

    @property
    def empty(self) -> bool:
        """Whether all is left to find."""
        return self.weights is None and self.means is None and self.factors is None

    def parameters(self) -> Parameters:
        """The parameters that were given; only where they are complete."""
        if self.weights is None or self.means is None or self.factors is None:
            raise ValueError("not all of weights, means and precisions are given")
        return Parameters(self.weights, self.means, self.structure.invert(self.factors)[1], self.factors)

    def replacing(self, found: Parameters) -> Parameters:
        """Found parameters, with what was given in their place."""
        covariances, factors = found.covariances, found.precision_factors
        if self.factors is not None:
            covariances, factors = self.structure.invert(self.factors)[1], self.factors
        return Parameters(
            found.weights if self.weights is None else self.weights,
            found.means if self.means is None else self.means,
            covariances,
            factors,
        )


def _shaped(value: Any, shape: tuple[int, ...], name: str) -> Array:
    array = np.asarray(value, np.float64)
    if array.shape != shape:
        raise InputError(f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"The parameter '{name}' contains NaN or infinity.")
    return array


def _weights(value: Any, k: int) -> Array:
    weights = _shaped(value, (k,), "weights")
    if np.any(weights < 0.0) or np.any(weights > 1.0):
        # the smaller value first: scikit-learn's own message, which its users' tests may match
        raise InputError(
            "The parameter 'weights' should be in the range [0, 1], but got max value "
            f"{np.min(weights):.5f}, min value {np.max(weights):.5f}"
        )
    single = getattr(value, "dtype", None) == np.float32
    if abs(1.0 - weights.sum()) > (1e-6 if single else 1e-8):
        raise InputError(f"The parameter 'weights' should be normalized, but got sum(weights) = {weights.sum():.5f}")
    return weights
