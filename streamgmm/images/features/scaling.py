"""Standardization of features: mean 0 and deviation 1 over the pixels a model learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.execution import expect_all
from streamgmm.data.shuffling import load_chunks
from streamgmm.data.source import Source
from streamgmm.errors import InputError
from streamgmm.images.image import NO_VALID_PIXEL
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import make_parameters


@dataclass(frozen=True, slots=True)
class Scaling:
    """Mean and standard deviation by which each feature is standardized.

    Attributes
    ----------
    means : tuple of float
        One a feature, in its unit.
    deviations : tuple of float
        Standard deviations; 1 for a constant feature.

    Examples
    --------
    >>> from streamgmm.data.sources import as_source
    >>> scaling = Scaling.from_source(as_source([[1.0, 5.0], [3.0, 5.0]]))
    >>> scaling
    Scaling(means=(2.0, 5.0), deviations=(1.0, 1.0))
    >>> scaling.apply(np.array([1.0, 3.0]), 0)
    array([-1.,  1.])
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def from_source(cls, source: Source) -> Self:
        """Measure the rows of a source in one reading.

        Moments are taken about the mean of the first chunk, so the rounding error is the square of its distance from
        the overall mean, in deviations: at most the number of chunks.
        """
        for chunk in source.chunks():
            (first,) = load_chunks([chunk])
            if len(first.rows):
                break
        else:
            raise InputError(NO_VALID_PIXEL)
        origin = np.asarray(first.rows.mean(axis=0, dtype=np.float64))[None]
        about = make_parameters(np.ones(1), origin, np.ones_like(origin), STRUCTURES["diag"])
        (moments,) = (expectation.statistics for expectation in expect_all(source, (about,)))
        shift = moments.sums[0] / moments.counts[0]
        variances = moments.products[0] / moments.counts[0] - shift**2
        deviations = np.sqrt(np.maximum(variances, 0))
        means = origin[0] + shift
        is_constant = deviations <= 1e-12 * np.maximum(np.abs(means), np.abs(shift))  # rounding
        return cls(tuple(means.tolist()), tuple(np.where(is_constant, 1.0, deviations).tolist()))

    def apply(self, values: NDArray[Any], feature: int) -> NDArray[np.float64]:
        """Standardize values of one feature."""
        return np.asarray((values - self.means[feature]) / self.deviations[feature], np.float64)

    def invert(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return standardized values (n, d) of the first d features to their units."""
        n = values.shape[1]
        return np.asarray(values * np.array(self.deviations[:n]) + np.array(self.means[:n]), np.float64)
