"""Labels as a picture that any viewer opens: a PNG whose values are the labels, with a palette. It has to be small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.images.labelling import label_dtype
from streamgmm.images.reading.raster import import_library
from streamgmm.persistence.atomic import atomic_output

MOST_PIXELS = 2**26


def check_picture(shape: tuple[int, ...], n_segments: int) -> None:
    """Refuse, before the work, labels that cannot be a picture, and pictures where there is no Pillow."""
    import_library("PIL.Image")
    if len(shape) != 2:
        raise InputError(f"A picture has lines and columns only, and the image has shape {shape}; write to .zarr.")
    if shape[0] * shape[1] > MOST_PIXELS or label_dtype(n_segments) != np.uint8:
        raise InputError(
            f"Labels of {shape[1]:,} x {shape[0]:,} pixels, 1 to {n_segments}, cannot be a picture, which has at most "
            f"{MOST_PIXELS:,} pixels and 254 segments; write them to .zarr."
        )


def write_picture(labels: NDArray[np.uint8], colours: NDArray[np.uint8], path: Path, *, overwrite: bool) -> None:
    """Write labels as a PNG; ``colours``, shape (k, 3), are red, green and blue of labels 1 to k; 0 is transparent."""
    picture = import_library("PIL.Image").fromarray(labels)
    picture.putpalette(np.concatenate([np.zeros((1, 3), np.uint8), colours]).tobytes())
    with atomic_output(path, overwrite=overwrite) as partial:
        picture.save(partial, format="PNG", transparency=0)


def palette(means: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.uint8]:
    """Colours of segments: their means, where these are three bands of 8 bits, else greys as far apart as can be.

    Examples
    --------
    >>> palette(np.array([[10.2, 20.0, 30.0]]), np.dtype(np.uint8)), palette(np.zeros((2, 1)), np.dtype(float))[:, 0]
    (array([[10, 20, 30]], dtype=uint8), array([127, 255], dtype=uint8))
    """
    k, n_bands = means.shape
    if n_bands == 3 and dtype == np.uint8:
        return means.round().clip(0, 255).astype(np.uint8)
    return np.repeat((255 * np.arange(1, k + 1) // k).astype(np.uint8)[:, None], 3, axis=1)
