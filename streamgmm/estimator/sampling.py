"""Rows drawn from a mixture, draw by draw as scikit-learn draws them."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import expand_covariances


def draw(parameters: Parameters, n_rows: int, random: RandomState) -> tuple[Array, NDArray[np.int64]]:
    """Rows, component by component, and the component of each."""
    counts = random.multinomial(n_rows, parameters.weights / parameters.weights.sum())
    covariances = expand_covariances(parameters.covariances, *parameters.means.shape)
    rows = []
    for mean, covariance, count in zip(parameters.means, covariances, counts, strict=True):
        if covariance.ndim == 2:
            rows.append(random.multivariate_normal(mean, covariance, int(count)))
        else:
            rows.append(mean + random.standard_normal(size=(int(count), len(mean))) * np.sqrt(covariance))
    return np.vstack(rows), np.repeat(np.arange(len(counts)), counts)
