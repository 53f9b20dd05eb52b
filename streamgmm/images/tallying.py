"""How many pixels have each label, and what their bands are on average. It knows nothing of models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class SegmentStatistics:
    """Pixels of each label from 0, and the sums of their bands.

    Attributes
    ----------
    counts : ndarray of shape (n_labels,)
        Pixels, int64.
    sums : ndarray of shape (n_labels, n_bands)
        Of their values, float64.

    Examples
    --------
    >>> tally = SegmentStatistics.of(np.array([0, 2, 2]), np.array([[9.0], [3.0], [5.0]]), 3)
    >>> tally.counts, tally.means.ravel()
    (array([1, 0, 2]), array([ 9., nan,  4.]))
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]

    @classmethod
    def of(
        cls, labels: NDArray[Any], values: NDArray[Any], n_labels: int, weights: NDArray[np.int64] | None = None
    ) -> Self:
        """Tally of labels, shape (n,), and bands, shape (n, n_bands), each of one pixel or of ``weights`` pixels."""
        bands = [
            np.bincount(
                labels, values[:, band] if weights is None else values[:, band] * weights.astype(float), n_labels
            )
            for band in range(values.shape[1])
        ]
        counts = np.bincount(labels, weights, n_labels).astype(np.int64)  # of weights exact up to 2**53 pixels
        return cls(counts, np.stack(bands, axis=1))

    @classmethod
    def read(cls, labels: Any, values: Any, n_labels: int) -> Self:
        """Tally of an array of labels, and of a lazy one of values, block by block of these; one reading of both."""
        import dask.array as da

        blocks = values.chunks[:-1]
        lazy = labels.rechunk(blocks) if isinstance(labels, da.Array) else da.from_array(labels, blocks, name=False)
        width = n_labels * (1 + values.shape[-1])
        found = da.map_blocks(
            partial(_tallied, n_labels=n_labels),
            lazy[..., None],
            values,
            chunks=(*((1,) * len(along) for along in blocks), (width,)),
            dtype=np.float64,
            meta=np.empty((0,) * values.ndim),
        ).compute()
        total = found.reshape(-1, n_labels, 1 + values.shape[-1]).sum(axis=0)
        return cls(total[:, 0].astype(np.int64), total[:, 1:])

    @property
    def means(self) -> NDArray[np.float64]:
        """Of the bands of each label, shape (n_labels, n_bands); NaN where no pixel has it."""
        none = np.where(self.counts > 0, self.counts, np.nan)
        return self.sums / none[:, None]


def _tallied(labels: NDArray[Any], values: NDArray[Any], n_labels: int) -> NDArray[np.float64]:
    """Tally of a block, as one place of a lazy array."""
    tally = SegmentStatistics.of(labels.reshape(-1), values.reshape(-1, values.shape[-1]), n_labels)
    table = np.concatenate([tally.counts[:, None], tally.sums], axis=1)
    return table.reshape((1,) * (values.ndim - 1) + (-1,))
