"""Pixels of small integers as codes: the bits of the bands one after the other, the first band highest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.kernels import hashing


def count_bits(dtype: np.dtype[Any], n_bands: int) -> int:
    """Return the number of bits of a pixel."""
    return 8 * dtype.itemsize * n_bands


def as_unsigned(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the same bits as unsigned integers, contiguous in memory."""
    return np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")


def encode_pixels(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the codes of pixels (n, n_bands) of up to 64 bits.

    Examples
    --------
    >>> encode_pixels(np.array([[1, 2], [0, 255]], np.uint8))
    array([258, 255], dtype=uint64)
    """
    codes = np.empty(len(rows), np.uint64)
    hashing.encode(as_unsigned(rows), 8 * rows.dtype.itemsize, codes)
    return codes


def decode_pixels(codes: NDArray[Any], dtype: np.dtype[Any], n_bands: int) -> NDArray[Any]:
    """Return the pixels (n, n_bands) of codes.

    Examples
    --------
    >>> decode_pixels(np.array([258, 255]), np.dtype(np.uint8), 2)
    array([[  1,   2],
           [  0, 255]], dtype=uint8)
    """
    bits = 8 * dtype.itemsize
    bands = np.empty((len(codes), n_bands), f"u{dtype.itemsize}")
    for band in range(n_bands):
        bands[:, band] = (codes >> codes.dtype.type(bits * (n_bands - 1 - band))).astype(bands.dtype)
    return bands.view(dtype)
