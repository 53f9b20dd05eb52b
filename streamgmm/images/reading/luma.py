"""Luma and chroma as red, green and blue. Decoders of JPEG do that themselves; others, such as of JPEG 2000, do not."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.reading.lazy_arrays import LazyArray, Slices

TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)  # ITU-R BT.601, as in JFIF


def from_luma(array: Any, axis: int) -> LazyArray:
    """Red, green and blue, uint8, of an array that has luma, blue and red chroma along an axis.

    Examples
    --------
    >>> from_luma(np.array([[76, 85, 255], [128, 128, 128]], np.uint8), 1)[:]
    array([[254,   0,   0],
           [128, 128, 128]], dtype=uint8)
    """
    return LazyArray.like(array, partial(_read, array=array, axis=axis))


def _read(key: Slices, array: Any, axis: int) -> NDArray[np.uint8]:
    luma, *chroma = np.moveaxis(np.asarray(array[(*key[:axis], slice(None), *key[axis + 1 :])], np.float32), axis, 0)
    bands = [
        luma + sum(weight * (plane - 128) for weight, plane in zip(weights, chroma, strict=True))
        for _, *weights in TO_RGB[key[axis]]
    ]
    found: NDArray[np.uint8] = np.stack(bands, axis).round().clip(0, 255).astype(np.uint8)
    return found
