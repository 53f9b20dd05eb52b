"""What a mixture says of rows: labels, responsibilities, log-densities, in the kind that the rows came in."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamgmm.data.source import Source
from streamgmm.model.parameters import Parameters


def labels(source: Source, parameters: Parameters) -> Any:
    """Most probable component of each row, int64; the first of equals."""
    from streamgmm.kernels.kernel import Kernel

    return source.map(Kernel.from_parameters(parameters).labels, np.int64, None)


def log_densities(source: Source, parameters: Parameters) -> Any:
    """log f(x) of each row in nats, in the float dtype of the source."""
    from streamgmm.kernels.kernel import Kernel

    return source.map(Kernel.from_parameters(parameters).log_densities, float_dtype(source.dtype), None)


def responsibilities(source: Source, parameters: Parameters) -> Any:
    """Posterior probability of each component for each row, in the float dtype of the source."""
    from streamgmm.kernels.kernel import Kernel

    return source.map(
        Kernel.from_parameters(parameters).responsibilities, float_dtype(source.dtype), parameters.n_components
    )


def float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float32 for float32, else float64."""
    return np.dtype(np.float32) if dtype == np.float32 else np.dtype(np.float64)
