"""The value of a pixel of small integers as one number: its bands one after the other, the first the highest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.kernels import hashing

MOST_BITS = 64


def n_bits(dtype: np.dtype[Any], n_bands: int) -> int:
    """Bits of a pixel."""
    return 8 * dtype.itemsize * n_bands


def unsigned(rows: NDArray[Any]) -> NDArray[Any]:
    """The same bits as numbers from 0, end to end in memory."""
    return np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")


def encoded(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """Numbers of pixels (n, n_bands) of up to 64 bits.

    Examples
    --------
    >>> encoded(np.array([[1, 2], [0, 255]], np.uint8))
    array([258, 255], dtype=uint64)
    """
    numbers = np.empty(len(rows), np.uint64)
    hashing.encode(unsigned(rows), 8 * rows.dtype.itemsize, numbers)
    return numbers


def decoded(numbers: NDArray[Any], dtype: np.dtype[Any], n_bands: int) -> NDArray[Any]:
    """Pixels (n, n_bands) of numbers.

    Examples
    --------
    >>> decoded(np.array([258, 255]), np.dtype(np.uint8), 2)
    array([[  1,   2],
           [  0, 255]], dtype=uint8)
    """
    bits = 8 * dtype.itemsize
    bands = np.empty((len(numbers), n_bands), f"u{dtype.itemsize}")
    for band in range(n_bands):
        bands[:, band] = (numbers >> numbers.dtype.type(bits * (n_bands - 1 - band))).astype(bands.dtype)
    return bands.view(dtype)
