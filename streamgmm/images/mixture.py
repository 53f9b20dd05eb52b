"""A mixture of pixels, its components in the order of the segments: of a given number of them, or of as many as pay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.sources import Source
from streamgmm.errors import InputError
from streamgmm.estimator import GaussianMixture
from streamgmm.images.ordering import ORDERS, placed, reordered

if TYPE_CHECKING:
    from streamgmm.selection.selection import Selection

AUTO = range(1, 11)
ENOUGH = 0.01  # nats a pixel: a component more that gains less is not worth it

Sizes = int | tuple[int, ...]


def checked_sizes(n_segments: Any) -> Sizes:
    """Number of segments, or the numbers to try, in order.

    Examples
    --------
    >>> checked_sizes(3), checked_sizes("auto"), checked_sizes(range(2, 5))
    (3, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), (2, 3, 4))
    """
    if isinstance(n_segments, Integral) and int(n_segments) >= 1:
        return int(n_segments)
    given: Any = AUTO if isinstance(n_segments, str) and n_segments == "auto" else n_segments
    sizes = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else []
    if not sizes or not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise InputError(
            f"n_segments is {n_segments!r}; pass how many segments there shall be, an integer from 1, or numbers to "
            "choose from, such as range(2, 9), or 'auto', which are 1 to 10."
        )
    return tuple(sorted({int(size) for size in sizes}))


def fitted(
    source: Source,
    sizes: Sizes,
    floor: float | None,
    brightness: Callable[[NDArray[Any]], NDArray[np.float64]],
    chosen: dict[str, Any],
    verbose: int,
) -> tuple[GaussianMixture, Selection | None]:
    """A mixture of pixels, and of several sizes what they have come to.

    What is added to variances by default is ``floor``; means, shape (k, n_features), have a ``brightness``.
    """
    settings: dict[str, Any] = {} if floor is None else {"reg_covar": floor}
    settings |= {name: value for name, value in chosen.items() if name != "order"}
    order = chosen.get("order", ORDERS[0])

    def in_order(model: GaussianMixture) -> GaussianMixture:
        return reordered(model, placed(model, order, brightness(np.asarray(model.means_))))

    if isinstance(sizes, int):
        return in_order(GaussianMixture(sizes, verbose=verbose, **settings).fit(source)), None
    from streamgmm.selection.selecting import select

    family = settings.pop("covariance_type", "full")
    found = select(source, sizes, [family], criterion="icl", verbose=verbose, **settings)  # which drops none
    models = tuple(model and in_order(model) for model in found.models)
    best = models[_first_enough(found)]
    assert best is not None
    return best, replace(found, best=best, criterion="gain", models=models)


def _first_enough(found: Selection) -> int:
    """Place of the smallest mixture from which the next larger gains too little; else of the largest."""
    sound = [place for place, model in enumerate(found.models) if model is not None]
    sound.sort(key=lambda place: int(found.table["n_components"][place]))
    for place, following in pairwise(sound):
        if found.table["gain"][following] < ENOUGH:
            return place
    return sound[-1]
