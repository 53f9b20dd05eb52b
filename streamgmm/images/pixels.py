"""Pixels of a block: which are nodata, which cannot be used, and where in the image they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import NonFiniteError
from streamgmm.images.reading.axis_names import PLACES
from streamgmm.model.statistics import LARGEST


def find_nodata(block: NDArray[Any], mask: NDArray[np.bool_] | None, nodata: float | None) -> NDArray[np.bool_] | None:
    """Which pixels (..., n_bands) are nodata: masked, or with the value or NaN in any band; None where none is."""
    found = np.zeros(block.shape[:-1], np.bool_) if mask is None else mask.reshape(block.shape[:-1]).copy()
    for band in range(block.shape[-1]):
        if nodata is not None:
            found |= block[..., band] == nodata
        if block.dtype.kind == "f":
            found |= np.isnan(block[..., band])
    return found if found.any() else None


def find_infinite(block: NDArray[Any], without: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Which pixels (..., n_bands), ``without`` those that are nodata, have a value that cannot be squared."""
    refused = np.zeros(block.shape[:-1], np.bool_)
    if block.dtype.kind == "f":
        for band in range(block.shape[-1]):
            values = block[..., band]
            refused |= ~np.isfinite(values) if block.dtype.itemsize <= 4 else ~(np.abs(values) <= LARGEST)
    return refused if without is None else refused & ~without


def infinite_pixel_error(where: str) -> NonFiniteError:
    """To be raised for a pixel at a place."""
    return NonFiniteError(
        f"The image holds a value that is infinite or too large to be squared at {where}; make it NaN, which is "
        "nodata, or pass a mask."
    )


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where in an image the pixels of a block lie.

    Attributes
    ----------
    axes : str
        Of the image.
    starts : tuple of ndarray of int
        First pixel of each block along each axis.
    """

    axes: str
    starts: tuple[NDArray[np.intp], ...]

    def of(self, refused: NDArray[np.bool_], block_id: Sequence[int], reach: Sequence[int] | None = None) -> str:
        """Words for the first pixel that is True in a block, which may have been read with what lies around it."""
        firsts = self.first(block_id)
        if reach is not None:
            firsts = [max(0, first - pixels) for first, pixels in zip(firsts, reach, strict=True)]
        pixel = np.argwhere(refused)[0]
        return ", ".join(
            f"{PLACES[name]} {first + step}" for name, first, step in zip(self.axes, firsts, pixel, strict=True)
        )

    def first(self, block_id: Sequence[int]) -> list[int]:
        """First pixel of a block."""
        return [int(along[number]) for along, number in zip(self.starts, block_id, strict=False)]
