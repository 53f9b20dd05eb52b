"""Starting parameters that the user gives, checked with scikit-learn's messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamgmm.errors import InputError
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.parameters import Array, Parameters


@dataclass(frozen=True, slots=True)
class UserStart:
    """Starting parameters that the user gives, in internal shapes; None for those to be searched."""

    structure: CovarianceStructure
    weights: Array | None = None
    means: Array | None = None
    factors: Array | None = None

    @classmethod
    def from_arguments(
        cls, weights: Any, means: Any, precisions: Any, structure: CovarianceStructure, k: int, d: int
    ) -> UserStart:
        """Check ``weights_init``, ``means_init`` and ``precisions_init``; raise InputError if they cannot be used."""
        weights = None if weights is None else _check_weights(weights, k)
        means = None if means is None else _check_array(means, (k, d), "means")
        if precisions is None:
            return cls(structure, weights, means)
        precisions = _check_array(precisions, structure.public_shape(k, d), f"{structure.name} precision")
        precisions = precisions.reshape(structure.shape(k, d))
        try:
            structure.check_precisions(precisions)
        except ValueError as error:
            raise InputError(str(error)) from None
        return cls(structure, weights, means, structure.factorize_precisions(precisions))

    @property
    def is_complete(self) -> bool:
        """True if nothing is left to find."""
        return self.weights is not None and self.means is not None and self.factors is not None

    @property
    def is_empty(self) -> bool:
        """True if nothing is given."""
        return self.weights is None and self.means is None and self.factors is None

    def to_parameters(self) -> Parameters:
        """Return the parameters of a complete start."""
        if self.weights is None or self.means is None or self.factors is None:
            raise ValueError("not all of weights, means and precisions are given")
        return Parameters(self.weights, self.means, self.structure.invert(self.factors)[1], self.factors)

    def override(self, parameters: Parameters) -> Parameters:
        """Return parameters in which those of the user replace the others."""
        covariances, factors = parameters.covariances, parameters.precision_factors
        if self.factors is not None:
            covariances, factors = self.structure.invert(self.factors)[1], self.factors
        return Parameters(
            parameters.weights if self.weights is None else self.weights,
            parameters.means if self.means is None else self.means,
            covariances,
            factors,
        )


def _check_array(value: Any, shape: tuple[int, ...], name: str) -> Array:
    array = np.asarray(value, np.float64)
    if array.shape != shape:
        raise InputError(f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"The parameter '{name}' contains NaN or infinity.")
    return array


def _check_weights(value: Any, k: int) -> Array:
    weights = _check_array(value, (k,), "weights")
    if np.any(weights < 0.0) or np.any(weights > 1.0):
        # min and max are swapped in scikit-learn's own message, which its users' tests may match
        raise InputError(
            "The parameter 'weights' should be in the range [0, 1], but got max value "
            f"{np.min(weights):.5f}, min value {np.max(weights):.5f}"
        )
    is_single = getattr(value, "dtype", None) == np.float32
    if abs(1.0 - weights.sum()) > (1e-6 if is_single else 1e-8):
        raise InputError(f"The parameter 'weights' should be normalized, but got sum(weights) = {weights.sum():.5f}")
    return weights
