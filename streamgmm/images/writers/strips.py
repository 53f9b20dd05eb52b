"""Labels part by part: as many whole lines as fit into some memory, or windows of very long ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from streamgmm.images.reading.lazy_arrays import Slices

MOST_BYTES = 2**25


def windows(array: Any, lines: int, columns: int) -> Iterator[Slices]:
    """Parts of an array whose last axes are lines and columns, in storage order; they do not overlap.

    A part has at most ``lines`` lines, and all columns, or a multiple of ``columns`` where that takes too much memory.
    """
    *leading, height, width = array.shape
    most = MOST_BYTES // (array.dtype.itemsize * lines)
    step = width if width <= most else columns * max(1, most // columns)
    for places in product(*map(range, leading)):
        before = tuple(slice(place, place + 1) for place in places)
        for top, left in product(range(0, height, lines), range(0, width, step)):
            yield *before, slice(top, min(top + lines, height)), slice(left, min(left + step, width))
