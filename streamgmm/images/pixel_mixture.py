"""A mixture of pixels with ordered components: of a given number, or of as many as gain enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.sources import Source
from streamgmm.errors import InputError
from streamgmm.estimator import GaussianMixture
from streamgmm.images.image_limits import LIMITS
from streamgmm.images.preprocessing import ORDERS
from streamgmm.model.covariances import STRUCTURES

if TYPE_CHECKING:
    from streamgmm.selection.selection import Selection

AUTO_SIZES = range(1, 11)

Sizes = int | tuple[int, ...]


def check_sizes(n_segments: Any) -> Sizes:
    """Return the number of segments, or the numbers to choose from, sorted.

    Examples
    --------
    >>> check_sizes(3), check_sizes("auto"), check_sizes(range(2, 5))
    (3, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), (2, 3, 4))
    """
    if isinstance(n_segments, Integral) and int(n_segments) >= 1:
        return int(n_segments)
    candidates: Any = AUTO_SIZES if isinstance(n_segments, str) and n_segments == "auto" else n_segments
    sizes = list(candidates) if isinstance(candidates, Iterable) and not isinstance(candidates, str) else []
    if not sizes or not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise InputError(
            f"n_segments is {n_segments!r}; pass how many segments there shall be, an integer from 1, or numbers to "
            "choose from, such as range(2, 9), or 'auto', which are 1 to 10."
        )
    return tuple(sorted({int(size) for size in sizes}))


def fit_mixture(
    source: Source,
    sizes: Sizes,
    brightness: Callable[[NDArray[Any]], NDArray[np.float64]],
    settings: dict[str, Any],
    verbose: int,
) -> tuple[GaussianMixture, Selection | None]:
    """Fit a mixture of pixels; return it and, of several sizes, the selection.

    ``brightness`` takes means (k, n_features); ``settings`` are arguments of `GaussianMixture`, and ``order``.
    """
    settings = dict(settings)
    order = settings.pop("order", ORDERS[0])

    def in_order(model: GaussianMixture) -> GaussianMixture:
        return reorder_components(model, order_components(model, order, brightness(np.asarray(model.means_))))

    if isinstance(sizes, int):
        return in_order(GaussianMixture(sizes, verbose=verbose, **settings).fit(source)), None
    from streamgmm.selection.selecting import select

    family = settings.pop("covariance_type", "full")
    selection = select(source, sizes, [family], criterion="icl", verbose=verbose, **settings)  # ICL drops no size early
    models = tuple(model and in_order(model) for model in selection.models)
    best = models[_find_first_sufficient(selection)]
    assert best is not None
    return best, replace(selection, best=best, criterion="gain", models=models)


def order_components(model: GaussianMixture, order: str, brightness: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices of components from the darkest to the brightest, or from the largest to the smallest weight.

    Ties are resolved by brightness, then by the means.
    """
    means = np.asarray(model.means_, np.float64)
    primary = brightness if order == "brightness" else -np.asarray(model.weights_, np.float64)
    return np.lexsort((*means.T, brightness, primary))


def reorder_components(model: GaussianMixture, indices: NDArray[np.intp]) -> GaussianMixture:
    """Return a copy of a fitted model with its components in another order.

    Examples
    --------
    >>> model = GaussianMixture(2, random_state=0).fit([[0.0], [1.0], [8.0], [9.0]])
    >>> ascending = np.argsort(model.means_.ravel())
    >>> reorder_components(model, ascending[::-1]).means_.ravel().round(3)
    array([8.5, 0.5])
    """
    other = copy(model)
    other._state = model._state.reordered(indices, STRUCTURES[model.covariance_type])
    return other


def _find_first_sufficient(selection: Selection) -> int:
    """Return the index of the smallest mixture from which the next larger gains too little; else of the largest."""
    fitted = [index for index, model in enumerate(selection.models) if model is not None]
    fitted.sort(key=lambda index: int(selection.table["n_components"][index]))
    for index, following in pairwise(fitted):
        if selection.table["gain"][following] < LIMITS.minimum_gain:
            return index
    return fitted[-1]
