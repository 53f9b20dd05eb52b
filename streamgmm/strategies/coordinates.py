"""Parameters as points of a space without borders, in which a line between two of them can be drawn on and on.

Seen from one mixture, the frame: log weights, means in the frame's standard deviations, and the matrix logarithm of
covariances that are 1 where they equal the frame's. An affine map of the data turns coordinates but changes no length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamgmm.covariances import CovarianceStructure
from streamgmm.em import make_parameters
from streamgmm.parameters import Array, Parameters

LEAST_WEIGHT = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """A mixture as it is seen from another; a vector space.

    Attributes
    ----------
    weights : ndarray of shape (k,)
        Logarithms.
    means : ndarray of shape (k, d)
        From the frame's, in its standard deviations.
    covariances : ndarray
        Matrix logarithms, or logarithms of variances, in the frame's units; in the family's shape.
    """

    weights: Array
    means: Array
    covariances: Array

    def __add__(self, other: Coordinates) -> Coordinates:
        """Sum."""
        return Coordinates(self.weights + other.weights, self.means + other.means, self.covariances + other.covariances)

    def __sub__(self, other: Coordinates) -> Coordinates:
        """Difference."""
        return self + (-1.0) * other

    def __rmul__(self, factor: float) -> Coordinates:
        """Multiple."""
        return Coordinates(factor * self.weights, factor * self.means, factor * self.covariances)

    def length(self, frame: Parameters) -> float:
        """Length, each component's part weighed by its rows: near the frame, about √2 times the root of the divergence.

        Kullback & Leibler's, of the joint density of rows and components, a row.
        """
        shares = frame.weights
        covariances = np.sum(self.covariances**2, axis=tuple(range(1, self.covariances.ndim)))
        own = shares if len(covariances) == len(shares) else np.ones(1)
        squares = shares @ self.weights**2 + shares @ np.sum(self.means**2, axis=1) + 0.5 * own @ covariances
        return float(np.sqrt(squares))


def seen_from(frame: Parameters, parameters: Parameters) -> Coordinates:
    """Coordinates of a mixture."""
    factors = frame.precision_factors
    steps = parameters.means - frame.means
    if factors.ndim == 3:
        means = (steps[:, None, :] @ factors)[:, 0]
        values, axes = np.linalg.eigh(factors.transpose(0, 2, 1) @ parameters.covariances @ factors)
        covariances = (axes * np.log(values)[:, None, :]) @ axes.transpose(0, 2, 1)
    else:
        means = steps * factors
        covariances = np.log(parameters.covariances * factors**2)
    return Coordinates(np.log(np.maximum(parameters.weights, LEAST_WEIGHT)), means, covariances)


def at(frame: Parameters, place: Coordinates, structure: CovarianceStructure) -> Parameters:
    """The mixture that has these coordinates; raises DegenerateError where it is not finite."""
    factors = frame.precision_factors
    weights = np.exp(place.weights - place.weights.max())
    if factors.ndim == 3:
        roots = np.linalg.inv(factors)  # rows of standard deviations, from the frame's units
        means = frame.means + (place.means[:, None, :] @ roots)[:, 0]
        values, axes = np.linalg.eigh(place.covariances)
        inner = (axes * np.exp(values)[:, None, :]) @ axes.transpose(0, 2, 1)
        covariances = roots.transpose(0, 2, 1) @ inner @ roots
    else:
        means = frame.means + place.means / factors
        covariances = np.exp(place.covariances) / factors**2
    return make_parameters(weights / weights.sum(), means, covariances, structure)
