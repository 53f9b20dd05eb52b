"""Number of pixels and band means of each segment (zonal statistics)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class SegmentStatistics:
    """Pixel counts, and sums of the bands, of labels 0 to k.

    Examples
    --------
    >>> statistics = SegmentStatistics.from_pixels(np.array([0, 2, 2]), np.array([[9.0], [3.0], [5.0]]), 3)
    >>> statistics.counts, statistics.means.ravel()
    (array([1, 0, 2]), array([ 9., nan,  4.]))
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]

    @classmethod
    def from_pixels(
        cls, labels: NDArray[Any], values: NDArray[Any], n_labels: int, weights: NDArray[np.int64] | None = None
    ) -> Self:
        """Measure labels (n,) and values (n, n_bands), each of one pixel or of ``weights`` pixels."""
        counts = np.bincount(labels, weights, n_labels).astype(np.int64)  # weighted: exact up to 2**53 pixels
        weighted = values.T if weights is None else (band * weights.astype(float) for band in values.T)
        return cls(counts, np.stack([np.bincount(labels, band, n_labels) for band in weighted], axis=1))

    @classmethod
    def from_arrays(cls, labels: Any, values: Any, n_labels: int) -> Self:
        """Measure stored labels and lazy values, block by block of the values; both are read once."""
        import dask.array as da

        blocks = values.chunks[:-1]
        lazy = labels.rechunk(blocks) if isinstance(labels, da.Array) else da.from_array(labels, blocks, name=False)
        width = n_labels * (1 + values.shape[-1])
        tables = da.map_blocks(
            partial(_measure_block, n_labels=n_labels),
            lazy[..., None],
            values,
            chunks=(*((1,) * len(along) for along in blocks), (width,)),
            dtype=np.float64,
            meta=np.empty((0,) * values.ndim),
        ).compute()
        total = tables.reshape(-1, n_labels, 1 + values.shape[-1]).sum(axis=0)
        return cls(total[:, 0].astype(np.int64), total[:, 1:])

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean of the bands of each label, shape (n_labels, n_bands); NaN without pixels."""
        return self.sums / np.where(self.counts > 0, self.counts, np.nan)[:, None]


def _measure_block(labels: NDArray[Any], values: NDArray[Any], n_labels: int) -> NDArray[np.float64]:
    """Return the statistics of a block as one element of a lazy array."""
    block = SegmentStatistics.from_pixels(labels.reshape(-1), values.reshape(-1, values.shape[-1]), n_labels)
    table = np.concatenate([block.counts[:, None], block.sums], axis=1)
    return table.reshape((1,) * (values.ndim - 1) + (-1,))
