"""How many different values the pixels of an image have, as a few runs of them say.

Species counted on a few plots ask for the same: how many there are that were not seen. What runs say of that is which
values are in one of them alone, and which in two (Chao2). Runs, since pixels side by side are alike: a run of 65,536 is
what is drawn at random. It is a lower bound: where few values are common and very many are rare there are more, in
photographs with grain twice as many.
"""

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
from streamgmm.images.counting.numbers import encoded
from streamgmm.images.image import Image

RUNS = 16
RUN = 2**16  # pixels
MOST_BLOCKS = 2**12  # into which an image is cut to choose runs among
GOLDEN = (5**0.5 - 1) / 2


def expected_values(pixels: Image) -> float:
    """Number of values that the pixels have, by 16 runs of them spread over the image, of which some may be nodata."""
    n_pixels = prod(pixels.shape)
    small = pixels.rechunk(max(RUN, n_pixels // MOST_BLOCKS), (0,) * len(pixels.axes))
    rows = small.to_rows(counted=False).array
    # by the golden section they are spread evenly, however many blocks there are in a line of the image
    order = np.argsort(np.arange(rows.numblocks[0]) * GOLDEN % 1.0, kind="stable")
    chunks = tuple(from_dask(rows.blocks[np.sort(order[:RUNS])]).chunks())
    n_each = -(-RUNS // len(chunks))
    found = execution.map_chunks(ChunkGroup(chunks, ends_pass=False, ends_batch=False), _runs, n_each)
    runs = [values for block in found for values, _ in block]
    if not runs:
        return 0.0
    n_looked_at = sum(length for block in found for _, length in block)
    return expected_species(runs, n_pixels * len(runs) / n_looked_at)


def expected_species(plots: Sequence[NDArray[Any]], n_plots: float) -> float:
    """Species on so many plots, of which some have been looked at.

    Parameters
    ----------
    plots : sequence of ndarray of shape (n,)
        Species on each that was looked at, each once.
    n_plots : float
        How many there are, those included.

    References
    ----------
    Chao (1987), "Estimating the population size for capture-recapture data with unequal catchability"; Colwell et al.
    (2012), "Models and estimators linking individual-based and sample-based rarefaction, extrapolation and comparison
    of assemblages".

    Examples
    --------
    >>> expected_species([np.array([1, 2, 3]), np.array([1, 2, 4])], 2)
    4.0
    >>> round(expected_species([np.array([1, 2, 3]), np.array([1, 2, 4])], 100), 2)
    4.17
    """
    n = len(plots)
    species, on_plots = np.unique(np.concatenate(plots), return_counts=True)
    once, twice = (int((on_plots == number).sum()) for number in (1, 2))
    unseen = (n - 1) / n * once * (once - 1) / (2 * (twice + 1))
    if not unseen:
        return float(len(species))
    left = (1 - once / (n * unseen + once)) ** max(0.0, n_plots - n)
    return float(len(species) + unseen * (1 - left))


def _runs(rows: NDArray[Any], weights: None, chunk: Chunk, n_runs: int) -> list[tuple[NDArray[np.uint64], int]]:
    """Values of runs of a block, spread evenly over it, and of how many pixels each is; none where all is nodata."""
    length = min(RUN, len(rows) // n_runs)
    starts = [(len(rows) - length) * (2 * number + 1) // (2 * n_runs) for number in range(n_runs)]
    return [(np.unique(encoded(rows[start : start + length])), length) for start in starts if length]
