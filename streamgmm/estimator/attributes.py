"""What scikit-learn knows of a model: parameters as fitted attributes and back, and the columns it was fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamgmm.data.source import Source
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.parameters import Array, Parameters


def attributes_of(
    parameters: Parameters, structure: CovarianceStructure, dtype: np.dtype[Any]
) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays by name; in float64 where ``dtype`` could not hold them all."""
    shape = structure.public_shape(*parameters.means.shape)
    fitted = {
        "weights_": parameters.weights,
        "means_": parameters.means,
        "covariances_": parameters.covariances.reshape(shape),
        "precisions_": structure.invert(parameters.precision_factors)[0].reshape(shape),
        "precisions_cholesky_": parameters.precision_factors.reshape(shape),
    }
    if not all(_fits(array, dtype) for array in fitted.values()):
        dtype = np.dtype(np.float64)
    return {name: array.astype(dtype) for name, array in fitted.items()}


def parameters_of(model: Any, structure: CovarianceStructure) -> Parameters:
    """Parameters as the attributes of a fitted model say them, also where a user has set them."""
    means = np.array(model.means_, np.float64, ndmin=2)
    factors = np.array(model.precisions_cholesky_, np.float64).reshape(structure.shape(*means.shape))
    return Parameters(np.array(model.weights_, np.float64), means, structure.invert(factors)[1], factors)


def columns_of(source: Source) -> Any:
    """Table without rows that has the columns of a source, for scikit-learn's checks of their names and number."""
    if source.feature_names is None:
        return np.empty((0, source.n_features))
    import pandas

    return pandas.DataFrame(columns=source.feature_names)


def _fits(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether values survive in a dtype: neither overflow nor vanish."""
    sizes = np.abs(array[array != 0])
    limits = np.finfo(dtype)
    return bool(np.all(sizes <= limits.max) and np.all(sizes >= limits.tiny))
