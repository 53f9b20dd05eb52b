"""Arrays at a path that are only arrays: .npy, mapped into memory and not read."""

from __future__ import annotations

import numpy as np

from streamgmm.images.reading.raster import Raster
from streamgmm.images.reading.whole import no_levels


def open_npy(name: str, level: int | None) -> Raster:
    """An array, of which nothing else is known."""
    no_levels(name, level)
    return Raster(np.load(name, mmap_mode="r"))
