"""The mean and the deviation of the pixels around each: of those that are there, and not nodata.

A window is a square over lines and columns, or a cube where there are planes; time is not around a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.reading.axis_names import SPATIAL_AXES
from streamgmm.kernels.local_moments import local_moments

ORDER = "T" + SPATIAL_AXES  # in which windows are summed, whatever that of the axes is


def reach_of(axes: str, window: int | None) -> tuple[int, ...]:
    """Pixels that a window reaches to either side along each axis.

    Examples
    --------
    >>> reach_of("TZYX", 5), reach_of("YX", None)
    ((0, 2, 2, 2), (0, 0))
    """
    return tuple(0 if window is None or name not in SPATIAL_AXES else window // 2 for name in axes)


def surroundings(
    values: NDArray[Any], valid: NDArray[np.bool_], axes: str, window: int, inner: Sequence[slice]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Local mean and local standard deviation of one band after the other.

    Parameters
    ----------
    values : ndarray of shape (..., n_bands)
        Pixels with those around them, as far as there are.
    valid : ndarray of bool, shape (...)
        False where a pixel is nodata.
    axes : str
        A letter for each of these axes.
    window : int
        Odd, side of the window in pixels.
    inner : sequence of slice
        Pixels that are asked for.

    Yields
    ------
    mean, deviation : ndarray
        Of the shape of what is asked for; the same arrays for each band.
    """
    valid = _ordered(valid, axes)
    shape, full, known = [], [], []  # of what is asked for; with all that may lie around; where that is known
    for name, length in zip(ORDER, valid.shape, strict=True):
        part = inner[axes.index(name)] if name in axes else slice(0, 1)
        pixels = window // 2 if name in axes and name in SPATIAL_AXES else 0
        shape.append(part.stop - part.start)
        full.append(shape[-1] + 2 * pixels)
        known.append(slice(pixels - part.start, pixels - part.start + length))
    inside = tuple(known)
    there = np.zeros(full, np.uint8)
    there[inside] = valid
    around, mean, deviation = np.zeros(full), np.empty(shape), np.empty(shape)
    for band in range(values.shape[-1]):
        np.copyto(around[inside], _ordered(values[..., band], axes), where=valid)
        for time in range(len(around)):
            local_moments(around[time], there[time], mean[time], deviation[time])
        yield _given(mean, axes), _given(deviation, axes)


def _ordered(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """Array with all four axes in their order; one that it does not have has one place."""
    turned = array.transpose([axes.index(name) for name in ORDER if name in axes])
    return np.expand_dims(turned, [place for place, name in enumerate(ORDER) if name not in axes])


def _given(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """What `_ordered` made, as it was."""
    there = [name for name in ORDER if name in axes]
    squeezed = array.squeeze(tuple(place for place, name in enumerate(ORDER) if name not in axes))
    return squeezed.transpose([there.index(name) for name in axes])
