"""Labels of rows by a fitted mixture, counted from 1, so that 0 is free for nodata. It knows nothing of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamgmm.attributes import parameters_of
from streamgmm.covariances import STRUCTURES
from streamgmm.estimator import GaussianMixture
from streamgmm.kernels import Kernel


def label_dtype(n_segments: int) -> np.dtype[Any]:
    """Smallest unsigned integers that hold 0 for nodata, all labels, and one more, which means "not written".

    Examples
    --------
    >>> label_dtype(254), label_dtype(255)
    (dtype('uint8'), dtype('uint16'))
    """
    return np.min_scalar_type(n_segments + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Labelling:
    """A function of rows.

    Attributes
    ----------
    kernel : Kernel
        The mixture.
    dtype : dtype
        Of the labels.
    """

    kernel: Kernel
    dtype: np.dtype[Any]

    @classmethod
    def by(cls, model: GaussianMixture, dtype: np.dtype[Any]) -> Self:
        """Labelling by a fitted model."""
        return cls(Kernel.of(parameters_of(model, STRUCTURES[model.covariance_type])), dtype)

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Label of each row, 1 more than its most probable component."""
        return (self.kernel.labels(rows) + 1).astype(self.dtype)
