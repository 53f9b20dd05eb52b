"""The order of components, by which segments have their numbers. It knows fitted models, nothing of images."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.attributes import parameters_of
from streamgmm.iteration.history import History
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import Expectation

ORDERS = ("brightness", "weight")


def placed(model: GaussianMixture, order: str, brightness: NDArray[np.float64] | None = None) -> NDArray[np.intp]:
    """Components from the darkest to the brightest, or from the largest to the smallest weight.

    The brightness (k,) is that of their means over the features, where it is not given.
    """
    means = np.asarray(model.means_, np.float64)
    brightness = means.mean(axis=1) if brightness is None else brightness
    first = brightness if order == "brightness" else -np.asarray(model.weights_, np.float64)
    return np.lexsort((*means.T, brightness, first))  # the last key counts most; others where it is equal


def reordered(model: GaussianMixture, places: NDArray[np.intp]) -> GaussianMixture:
    """The same fit with its components in another order, in all that it says of them.

    Examples
    --------
    >>> model = GaussianMixture(2, random_state=0).fit([[0.0], [1.0], [8.0], [9.0]])
    >>> reordered(model, placed(model, "brightness")).means_.ravel().round(3)
    array([0.5, 8.5])
    """
    other = copy(model)
    structure = STRUCTURES[model.covariance_type]
    shared = structure.shape(*np.shape(model.means_))[0] == 1
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        if not (shared and name not in ("weights_", "means_")):
            setattr(other, name, getattr(model, name)[places])
    other.history_ = History(
        tuple(replace(record, occupancy=record.occupancy[places]) for record in model.history_.records)
    )
    covered = model._covered
    if covered is not None:
        moments, version = covered.statistics, parameters_of(other, structure).version
        other._covered = Expectation(
            replace(
                moments,
                origin=moments.origin[places],
                counts=moments.counts[places],
                sums=moments.sums[places],
                products=moments.products if shared else moments.products[places],
            ),
            replace(covered.likelihood, version=version),
        )
    return other
