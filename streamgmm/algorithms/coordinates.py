"""Unconstrained coordinates of mixtures, relative to one of them, the frame, which is the origin.

Logarithms of weights, means in the frame's standard deviations, and matrix logarithms of covariances in the frame's
units. The part of each component is scaled by the root of its share of the rows. Near the frame, the length of a vector
is √2 times the root of the Kullback-Leibler divergence of the joint density of rows and components, nats a row. An
affine map of the data turns vectors but changes no length. The M-step is the gradient of the mean log-likelihood.
"""

from __future__ import annotations

import numpy as np

from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import make_parameters
from streamgmm.model.parameters import Array, Parameters

LEAST_WEIGHT = 1e-300  # stands for a weight of 0, which has no logarithm
LEAST_SHARE = 1e-12  # of the rows: stands for that of a component without rows


def to_coordinates(frame: Parameters, parameters: Parameters) -> Array:
    """Return the vector from the frame to a mixture: weights, means, covariances; not finite where it is too far."""
    factors = frame.precision_factors
    steps = parameters.means - frame.means
    with np.errstate(all="ignore"):
        weights = np.log(np.maximum(parameters.weights, LEAST_WEIGHT) / np.maximum(frame.weights, LEAST_WEIGHT))
        if factors.ndim == 3:
            means = (steps[:, None, :] @ factors)[:, 0]
            values, axes = np.linalg.eigh(factors.transpose(0, 2, 1) @ parameters.covariances @ factors)
            covariances = (axes * np.log(values)[:, None, :]) @ axes.transpose(0, 2, 1)
        else:
            means = steps * factors
            covariances = np.log(parameters.covariances * factors**2)
    scaled = zip(_scales(frame), (weights, means, covariances), strict=True)
    return np.concatenate([(scale * part).ravel() for scale, part in scaled])


def from_coordinates(frame: Parameters, vector: Array, structure: CovarianceStructure) -> Parameters:
    """Return the mixture at a vector; raise DegenerateError or LinAlgError where it is not finite."""
    factors = frame.precision_factors
    first, second = frame.weights.size, frame.weights.size + frame.means.size
    parts = vector[:first], vector[first:second], vector[second:]
    shapes = frame.weights.shape, frame.means.shape, frame.covariances.shape
    weights, means, covariances = (
        part.reshape(shape) / scale for part, shape, scale in zip(parts, shapes, _scales(frame), strict=True)
    )
    with np.errstate(all="ignore"):
        weights = np.maximum(frame.weights, LEAST_WEIGHT) * np.exp(weights - weights.max())
        if factors.ndim == 3:
            roots = np.linalg.inv(factors)  # rows of standard deviations, from the frame's units
            means = frame.means + (means[:, None, :] @ roots)[:, 0]
            values, axes = np.linalg.eigh(covariances)
            inner = (axes * np.exp(values)[:, None, :]) @ axes.transpose(0, 2, 1)
            covariances = roots.transpose(0, 2, 1) @ inner @ roots
        else:
            means = frame.means + means / factors
            covariances = np.exp(covariances) / factors**2
        return make_parameters(weights / weights.sum(), means, covariances, structure)


def _scales(frame: Parameters) -> tuple[Array, Array, Array]:
    """Return the factors that turn weights, means and covariances into coordinates."""
    shares = np.maximum(frame.weights, LEAST_SHARE)
    shape = frame.covariances.shape
    owned = shares if shape[0] == len(shares) else np.ones(1)
    n_shared = frame.n_features / shape[-1]  # features that share a variance
    covariances = np.sqrt(0.5 * n_shared * owned).reshape(-1, *[1] * (len(shape) - 1))
    return np.sqrt(shares), np.sqrt(shares)[:, None], covariances
