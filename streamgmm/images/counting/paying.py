"""Which images are counted: those whose table costs less than their pixels do."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from streamgmm.images.counting.richness import RUN, RUNS, expected_values
from streamgmm.images.counting.table import MOST_VALUES, ValueCounts, countable, hashable
from streamgmm.images.image import Image

OFTEN = 4  # pixels of each value, on average, from which a table pays: it is read as often as the pixels would be
MOST_TOGETHER = 2 * MOST_VALUES  # in the tables of several images, 16 bytes each or less
LITTLE = 2 * RUNS * RUN  # pixels, which are counted as soon as looked at


def tables_of(images: Sequence[Image], *, learning: bool) -> list[ValueCounts] | None:
    """The table of each image, where that pays for all of them; else None, and nothing is kept.

    It does always where all values can have a counter. Where they cannot it does for what is learnt from, not for what
    is only labelled, in one reading; and the tables of several images must not be too many values together.
    """
    tables: list[ValueCounts] = []
    for image in images:
        always = countable(image.dtype, image.n_bands)
        if not always and not (learning and hashable(image.dtype, image.n_bands)):
            return None
        table = ValueCounts.of(image.to_rows(counted=False)) if always else _hashed(image)
        if table is None:
            return None
        tables.append(table)
        if not always and sum(len(one.values) for one in tables) > MOST_TOGETHER:
            return None
    return tables


def _hashed(image: Image) -> ValueCounts | None:
    """The table of an image of up to 8 million values, and a fourth as many as it has pixels.

    How many are expected is a lower bound. An image is not begun where there are more for certain, almost, and counting
    stops where there turn out to be more: it has then cost as much as one pass of EM over the pixels, of dozens.
    """
    n_pixels = prod(image.shape)
    most = min(MOST_VALUES, n_pixels // OFTEN)
    if n_pixels > LITTLE and expected_values(image) > most:
        return None
    return ValueCounts.of(image.to_rows(counted=False), most)
