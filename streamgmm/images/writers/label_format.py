"""Behaviour that all formats of label files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.image_limits import LIMITS
from streamgmm.images.reading.raster import Georeference

if TYPE_CHECKING:
    from streamgmm.images.writers.label_output import LabelOutput


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """Functions of one file format.

    ``convert`` writes complete labels, their axes in the order TZYX; None for a zarr array, to which labels are written
    directly. ``open`` returns written labels, lazily if possible. ``check`` raises InputError or ImportError before the
    work.
    """

    convert: Callable[[Any, LabelOutput, LabelDescription], None] | None
    open: Callable[[Path], Any]
    check: Callable[[tuple[int, ...], int, Georeference | None], None] = lambda shape, n_segments, georeference: None


@dataclass(frozen=True, slots=True, eq=False)
class LabelDescription:
    """Axes (a letter each), colours (k, 3) of labels 1 to k, and georeference of labels."""

    axes: str
    colours: NDArray[np.uint8]
    georeference: Georeference | None = None

    @property
    def names(self) -> list[str]:
        """Names of labels 0 to k."""
        return ["nodata", *(f"segment {label}" for label in range(1, len(self.colours) + 1))]

    @property
    def class_tags(self) -> dict[str, str]:
        """Names of labels, as tags that GDAL shows."""
        return {f"CLASS_{label}": name for label, name in enumerate(self.names)}

    def make_colour_table(self, n_values: int, highest: int) -> NDArray[np.uint16]:
        """Return colours (n_values, 3), up to ``highest``, of all values of a dtype; black where there is no label."""
        table = np.zeros((n_values, 3), np.uint16)
        table[1 : len(self.colours) + 1] = self.colours.astype(np.uint16) * (highest // 255)
        return table


def label_dtype(n_segments: int) -> np.dtype[Any]:
    """Return the smallest unsigned dtype for 0 (nodata), all labels, and one more value that means "not written".

    Examples
    --------
    >>> label_dtype(254), label_dtype(255)
    (dtype('uint8'), dtype('uint16'))
    """
    return np.min_scalar_type(n_segments + 1)


def palette(means: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.uint8]:
    """Return colours of segments: the means of three bands of 8 bits, else evenly spaced greys.

    Examples
    --------
    >>> palette(np.array([[10.2, 20.0, 30.0]]), np.dtype(np.uint8)), palette(np.zeros((2, 1)), np.dtype(float))[:, 0]
    (array([[10, 20, 30]], dtype=uint8), array([127, 255], dtype=uint8))
    """
    k, n_bands = means.shape
    if n_bands == 3 and dtype == np.uint8:
        return means.round().clip(0, 255).astype(np.uint8)
    return np.repeat((255 * np.arange(1, k + 1) // k).astype(np.uint8)[:, None], 3, axis=1)


def iter_windows(array: Any, n_rows: int, n_columns: int) -> Iterator[tuple[slice, ...]]:
    """Yield disjoint parts of an array whose last axes are rows and columns, in storage order.

    A part has at most ``n_rows`` rows, and all columns, or a multiple of ``n_columns`` where memory would not hold all.
    """
    *leading, height, width = array.shape
    max_columns = LIMITS.write_bytes // (array.dtype.itemsize * n_rows)
    step = width if width <= max_columns else n_columns * max(1, max_columns // n_columns)
    for indices in product(*map(range, leading)):
        page = tuple(slice(index, index + 1) for index in indices)
        for top, left in product(range(0, height, n_rows), range(0, width, step)):
            yield *page, slice(top, min(top + n_rows, height)), slice(left, min(left + step, width))
