"""What a fitted mixture says of rows: labels, counted from 1, so that 0 is free for nodata; and how certain they are.

It knows nothing of images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.sources import LEAF_ROWS
from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.attributes import parameters_of
from streamgmm.kernels.kernel import Kernel
from streamgmm.model.covariances import STRUCTURES


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
        return cls(Kernel.from_parameters(parameters_of(model, STRUCTURES[model.covariance_type])), dtype)

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Label of each row, 1 more than its most probable component."""
        return (self.kernel.labels(rows) + 1).astype(self.dtype)


PROBABILITY = np.dtype(np.float16)  # to 0.0005, in half the room; memory and disk are what there is too little of


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilityLayer:
    """A function of rows: probabilities of the segments, or that of the label alone.

    Attributes
    ----------
    kernel : Kernel
        The mixture.
    largest : bool
        Whether it is of the label alone.
    """

    kernel: Kernel
    largest: bool

    @classmethod
    def by(cls, model: GaussianMixture, *, largest: bool) -> Self:
        """That of a fitted model."""
        return cls(Kernel.from_parameters(parameters_of(model, STRUCTURES[model.covariance_type])), largest)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is said of a row: a number, or a record of one ``probability`` a segment."""
        k = self.kernel.parameters.n_components
        return PROBABILITY if self.largest else np.dtype([("probability", PROBABILITY, (k,))])

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Of each row, shape (n,)."""
        said = np.empty(len(rows), self.dtype)
        for start in range(0, len(rows), LEAF_ROWS):  # lest there are probabilities of eight bytes of a whole block
            part = slice(start, start + LEAF_ROWS)
            found = self.kernel.responsibilities(rows[part])
            if self.largest:
                said[part] = found.max(axis=1)
            else:
                said["probability"][part] = found
        return said
