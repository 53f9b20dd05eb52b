"""Local mean and standard deviation of the valid pixels in a window.

A window is a square over rows and columns, or a cube where there are planes; it does not extend over time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.reading.axis_names import SPATIAL_AXES
from streamgmm.kernels.local_moments import local_moments

ORDER = "T" + SPATIAL_AXES  # windows are summed in this order, so that the order of the axes changes no bit


def compute_window_reach(axes: str, window: int | None) -> tuple[int, ...]:
    """Return how many pixels a window extends to either side along each axis.

    Examples
    --------
    >>> compute_window_reach("TZYX", 5), compute_window_reach("YX", None)
    ((0, 2, 2, 2), (0, 0))
    """
    return tuple(0 if window is None or name not in SPATIAL_AXES else window // 2 for name in axes)


def iter_local_moments(
    values: NDArray[Any], valid: NDArray[np.bool_], axes: str, window: int, inner: Sequence[slice]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield local mean and local standard deviation of one band after the other, in the same two arrays.

    ``values`` (..., n_bands) and ``valid`` (...) are pixels with their surroundings, as far as the image extends;
    ``inner`` selects those without, the shape of the results.
    """
    valid = _to_four_axes(valid, axes)
    shape, padded_shape, known = [], [], []
    for name, length in zip(ORDER, valid.shape, strict=True):
        part = inner[axes.index(name)] if name in axes else slice(0, 1)
        reach = window // 2 if name in axes and name in SPATIAL_AXES else 0
        shape.append(part.stop - part.start)
        padded_shape.append(shape[-1] + 2 * reach)
        known.append(slice(reach - part.start, reach - part.start + length))
    inside = tuple(known)
    padded_valid = np.zeros(padded_shape, np.uint8)
    padded_valid[inside] = valid
    padded, mean, deviation = np.zeros(padded_shape), np.empty(shape), np.empty(shape)
    for band in range(values.shape[-1]):
        np.copyto(padded[inside], _to_four_axes(values[..., band], axes), where=valid)
        for time in range(len(padded)):
            local_moments(padded[time], padded_valid[time], mean[time], deviation[time])
        yield _from_four_axes(mean, axes), _from_four_axes(deviation, axes)


def _to_four_axes(array: NDArray[Any], axes: str) -> NDArray[Any]:
    transposed = array.transpose([axes.index(name) for name in ORDER if name in axes])
    return np.expand_dims(transposed, [axis for axis, name in enumerate(ORDER) if name not in axes])


def _from_four_axes(array: NDArray[Any], axes: str) -> NDArray[Any]:
    present = [name for name in ORDER if name in axes]
    squeezed = array.squeeze(tuple(axis for axis, name in enumerate(ORDER) if name not in axes))
    return squeezed.transpose([present.index(name) for name in axes])
