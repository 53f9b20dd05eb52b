"""The E-step in plain NumPy, to read and to test the compiled loops against. Slow, with n × k arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics


def log_densities(rows: NDArray[Any], parameters: Parameters) -> Array:
    """Return log π_k + log N(x | μ_k, Σ_k), shape (n, k), in nats."""
    centred = rows[:, None, :].astype(np.float64) - parameters.means
    factors = parameters.precision_factors
    whitened = (
        np.einsum("nkd,kde->nke", centred, np.broadcast_to(factors, (parameters.n_components, *factors.shape[1:])))
        if factors.ndim == 3
        else centred * factors
    )
    half_distances = 0.5 * (whitened**2).sum(axis=2)
    return np.asarray(parameters.constants - half_distances)


def expectation(rows: NDArray[Any], weights: Array, parameters: Parameters) -> tuple[Statistics, dict[str, float]]:
    """Return statistics about the means, with products (k, d, d), and the terms of the log-likelihood."""
    joint = log_densities(rows, parameters)
    row_likelihood = logsumexp(joint, axis=1)
    log_responsibilities = joint - row_likelihood[:, None]
    responsibilities = np.exp(log_responsibilities)
    weighted = weights[:, None] * responsibilities
    centred = rows[:, None, :].astype(np.float64) - parameters.means
    statistics = Statistics(
        parameters.means,
        weighted.sum(axis=0),
        np.einsum("nk,nkd->kd", weighted, centred),
        np.einsum("nk,nkd,nke->kde", weighted, centred, centred),
    )
    with np.errstate(invalid="ignore"):
        terms = np.where(responsibilities > 0, responsibilities * log_responsibilities, 0.0)
    return statistics, {
        "total": float(weights @ row_likelihood),
        "entropy": float(-(weights @ terms.sum(axis=1))),
        "classification": float(weights @ log_responsibilities.max(axis=1)),
        "weight": float(weights.sum()),
    }
