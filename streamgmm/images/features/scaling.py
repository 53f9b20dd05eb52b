"""Features on one scale: mean 0 and deviation 1 over the pixels that a model learns from, and the same for others."""

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
    """What is taken off each feature, and what it is then divided by.

    Attributes
    ----------
    means : tuple of float
        A feature each, in its unit.
    deviations : tuple of float
        Standard deviations; 1 for a feature that is the same everywhere.

    Examples
    --------
    >>> from streamgmm.data.sources import as_source
    >>> scaling = Scaling.of(as_source([[1.0, 5.0], [3.0, 5.0]]))
    >>> scaling
    Scaling(means=(2.0, 5.0), deviations=(1.0, 1.0))
    >>> scaling.scaled(np.array([1.0, 3.0]), 0)
    array([-1.,  1.])
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def of(cls, source: Source) -> Self:
        """Scaling of the rows of a source, from one reading.

        Moments are taken about the mean of the first chunk and added in the order of the leaves. What is lost to
        rounding is the square of its distance from the mean of all, in deviations: no more than there are chunks.
        """
        for chunk in source.chunks():
            (first,) = load_chunks([chunk])
            if len(first.rows):
                break
        else:
            raise InputError(NO_VALID_PIXEL)
        origin = np.asarray(first.rows.mean(axis=0, dtype=np.float64))[None]
        about = make_parameters(np.ones(1), origin, np.ones_like(origin), STRUCTURES["diag"])
        (moments,) = (found.statistics for found in expect_all(source, (about,)))
        shift = moments.sums[0] / moments.counts[0]
        variances = moments.products[0] / moments.counts[0] - shift**2
        deviations = np.sqrt(np.maximum(variances, 0))
        means = origin[0] + shift
        level = deviations <= 1e-12 * np.maximum(np.abs(means), np.abs(shift))  # rounding
        return cls(tuple(means.tolist()), tuple(np.where(level, 1.0, deviations).tolist()))

    def scaled(self, values: NDArray[Any], feature: int) -> NDArray[np.float64]:
        """Values of one feature on the scale."""
        return np.asarray((values - self.means[feature]) / self.deviations[feature], np.float64)

    def unscaled(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values (n, d) of the first d features in their units again."""
        n = values.shape[1]
        return np.asarray(values * np.array(self.deviations[:n]) + np.array(self.means[:n]), np.float64)
