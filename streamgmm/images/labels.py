"""Labels, counted from 1 since 0 is nodata, and posterior probabilities of rows under a fitted mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.sources import LEAF_ROWS
from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.kernels.kernel import Kernel

PROBABILITY = np.dtype(np.float16)  # within 0.0005, in half the memory of float32

RowFunction = Callable[[NDArray[Any]], NDArray[Any]]


def make_labeller(model: GaussianMixture, dtype: np.dtype[Any]) -> RowFunction:
    """Return a function of rows: labels, 1 more than the most probable component."""
    return partial(_label, kernel=Kernel.from_parameters(get_parameters(model)), dtype=dtype)


def make_probability_function(model: GaussianMixture, *, largest: bool) -> tuple[RowFunction, np.dtype[Any]]:
    """Return a function of rows, and its dtype: posterior probabilities of all segments, or the largest alone.

    Those of all segments are one record a row, with a field ``probability`` of shape (k,).
    """
    record = np.dtype([("probability", PROBABILITY, (len(model.means_),))])
    dtype = PROBABILITY if largest else record
    return partial(_compute_probabilities, kernel=Kernel.from_parameters(get_parameters(model)), dtype=dtype), dtype


def _label(rows: NDArray[Any], kernel: Kernel, dtype: np.dtype[Any]) -> NDArray[Any]:
    return (kernel.labels(rows) + 1).astype(dtype)


def _compute_probabilities(rows: NDArray[Any], kernel: Kernel, dtype: np.dtype[Any]) -> NDArray[Any]:
    out = np.empty(len(rows), dtype)
    for start in range(0, len(rows), LEAF_ROWS):  # float64 probabilities of a whole block would take too much memory
        part = slice(start, start + LEAF_ROWS)
        responsibilities = kernel.responsibilities(rows[part])
        if dtype.names:
            out["probability"][part] = responsibilities
        else:
            out[part] = responsibilities.max(axis=1)
    return out
