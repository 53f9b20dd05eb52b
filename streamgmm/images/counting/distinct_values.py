"""Decide which images are counted, by an estimate of how many distinct values they have."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.source import Chunk
from streamgmm.data.sources.dask_arrays import from_dask
from streamgmm.images.counting.pixel_codes import encode_pixels
from streamgmm.images.counting.value_counts import ValueCounts, is_countable, is_hashable
from streamgmm.images.image import Image
from streamgmm.images.image_limits import LIMITS

GOLDEN_RATIO = (5**0.5 - 1) / 2


def count_images(images: Sequence[Image], *, learning: bool) -> list[ValueCounts] | None:
    """Count the values of every image, or return None where that is not worthwhile for all of them.

    Values that cannot all have a counter are hashed only for ``learning``: labelling alone reads an image once anyway.
    """
    tables: list[ValueCounts] = []
    for image in images:
        n_pixels, max_values = prod(image.shape), LIMITS.distinct_values
        if not is_countable(image.dtype, image.n_bands):
            max_values = min(max_values, n_pixels // LIMITS.pixels_per_value)
            if not learning or not is_hashable(image.dtype, image.n_bands):
                return None
            is_small = n_pixels <= 2 * LIMITS.sample_runs * LIMITS.sample_run_pixels  # counted as fast as sampled
            if not is_small and estimate_distinct_values(image) > max_values:
                return None
        table = ValueCounts.from_source(image.to_rows(counted=False), max_values)
        if table is None:
            return None
        tables.append(table)
        if not is_countable(image.dtype, image.n_bands):
            if sum(len(table.values) for table in tables) > LIMITS.joint_distinct_values:
                return None
    return tables


def estimate_distinct_values(image: Image) -> float:
    """Estimate a lower bound of the number of distinct values from runs of pixels spread over an image.

    Runs, since neighbours are alike: one run of 65,536 pixels is one sampling unit.
    """
    n_pixels = prod(image.shape)
    blocks = image.rechunk(max(LIMITS.sample_run_pixels, n_pixels // LIMITS.sample_blocks), (0,) * len(image.axes))
    rows = blocks.to_rows(counted=False).array
    # the golden section spreads the runs evenly, however many blocks a row of the image has
    order = np.argsort(np.arange(rows.numblocks[0]) * GOLDEN_RATIO % 1.0, kind="stable")
    chunks = tuple(from_dask(rows.blocks[np.sort(order[: LIMITS.sample_runs])]).chunks())
    n_runs = -(-LIMITS.sample_runs // len(chunks))
    samples = execution.map_chunks(ChunkGroup(chunks, ends_pass=False, ends_batch=False), _sample_runs, n_runs)
    runs = [run for sample in samples for run in sample]
    if not runs:
        return 0.0
    return estimate_species([values for values, _ in runs], n_pixels * len(runs) / sum(n for _, n in runs))


def estimate_species(units: Sequence[NDArray[Any]], n_units: float) -> float:
    """Estimate the number of species on ``n_units`` sampling units, given the distinct species of some of them.

    Chao2, extrapolated to a finite number of units: Chao (1987), "Estimating the population size for capture-recapture
    data with unequal catchability"; Colwell et al. (2012), "Models and estimators linking individual-based and
    sample-based rarefaction, extrapolation and comparison of assemblages".

    Examples
    --------
    >>> units = [np.array([1, 2, 3]), np.array([1, 2, 4])]
    >>> estimate_species(units, 2), round(estimate_species(units, 100), 2)
    (4.0, 4.17)
    """
    n = len(units)
    species, incidences = np.unique(np.concatenate(units), return_counts=True)
    once, twice = int((incidences == 1).sum()), int((incidences == 2).sum())
    unseen = (n - 1) / n * once * (once - 1) / (2 * (twice + 1))
    if not unseen:
        return float(len(species))
    still_unseen = (1 - once / (n * unseen + once)) ** max(0.0, n_units - n)
    return float(len(species) + unseen * (1 - still_unseen))


def _sample_runs(rows: NDArray[Any], weights: None, chunk: Chunk, n_runs: int) -> list[tuple[NDArray[np.uint64], int]]:
    """Return the distinct codes and the length of runs spread evenly over a block; none where all is nodata."""
    length = min(LIMITS.sample_run_pixels, len(rows) // n_runs)
    starts = [(len(rows) - length) * (2 * index + 1) // (2 * n_runs) for index in range(n_runs)]
    return [(np.unique(encode_pixels(rows[start : start + length])), length) for start in starts if length]
