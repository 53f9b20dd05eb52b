"""Statistics of partitions as a few large arrays: thousands of small ones would take too long to save.

Of symmetric products only the lower triangles are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from streamgmm.model.em import Expectation
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array
from streamgmm.model.statistics import Statistics, is_products_shape
from streamgmm.persistence.codec import persistent


@persistent("partition-entries-1")
@dataclass(frozen=True, slots=True, eq=False)
class EntryColumns:
    """Statistics and log-likelihoods of partitions, one row each."""

    origins: Array  # (k, d) or (n, k, d): origin of the statistics; one where all entries have the same
    partitions: NDArray[np.int64]  # (n,): partition of each entry
    counts: Array  # (n, k)
    sums: Array  # (n, k, d)
    products: Array  # (n, ...): of symmetric matrices (d, d) the d·(d + 1)/2 numbers of a triangle, row by row
    likelihoods: Array  # (n, 4): log-likelihood, entropy, classification and weight
    rows: NDArray[np.int64]
    versions: NDArray[np.int64]  # (n,): version of the parameters; -1 for None

    @classmethod
    def from_entries(cls, entries: Sequence[tuple[int, Expectation]], origin: Array | None = None) -> EntryColumns:
        """Return the columns of entries, which share ``origin`` if it is given."""
        statistics = [entry.statistics for _, entry in entries]
        likelihoods = [entry.likelihood for _, entry in entries]
        return cls(
            np.array([part.origin for part in statistics]) if origin is None else origin,
            np.array([index for index, _ in entries], np.int64),
            np.array([part.counts for part in statistics]),
            np.array([part.sums for part in statistics]),
            _pack_triangles(np.array([part.products for part in statistics])),
            np.array([(part.total, part.entropy, part.classification, part.weight) for part in likelihoods]),
            np.array([part.rows for part in likelihoods], np.int64),
            np.array([-1 if part.version is None else part.version for part in likelihoods], np.int64),
        )

    def entries(self) -> Iterator[tuple[int, Expectation]]:
        """Yield the entries, each with its partition."""
        numbers = (self.partitions.tolist(), self.likelihoods.tolist(), self.rows.tolist(), self.versions.tolist())
        packed = self.products.ndim == 3 and self.products.shape[2] not in (1, self.sums.shape[2])
        moments = (self.counts, self.sums, _unpack_triangles(self.products) if packed else self.products)
        for row, (index, terms, n, version) in enumerate(zip(*numbers, strict=True)):
            origin = self.origins if self.origins.ndim == 2 else self.origins[row]
            total, entropy, classification, weight = terms
            likelihood = LogLikelihood(total, entropy, classification, weight, n, None if version < 0 else version)
            yield index, Expectation(Statistics(origin, *(part[row] for part in moments)), likelihood)

    def validate(self) -> None:
        """Raise ValueError unless the columns belong to entries of one mixture and are finite."""
        n = len(self.partitions)
        columns = (self.counts, self.sums, self.products, self.likelihoods)
        if not self.partitions.shape == self.rows.shape == self.versions.shape == (n,):
            raise ValueError("columns of entries have different lengths")
        if (self.partitions < 0).any() or (self.rows < 0).any() or (self.versions < -1).any():
            raise ValueError("entries have negative counts")
        if n == 0 and all(column.shape == (0,) for column in columns):
            return
        if self.sums.ndim != 3 or self.likelihoods.shape != (n, 4) or not n == len(self.sums) == len(self.products):
            raise ValueError("columns of entries have different lengths")
        _, k, d = self.sums.shape
        shape, triangle = self.products.shape[1:], (d * (d + 1) // 2,)
        if (
            self.counts.shape != (n, k)
            or not (is_products_shape(shape, k, d) or shape in ((k, *triangle), (1, *triangle)))
            or self.origins.shape not in ((k, d), (n, k, d))
        ):
            raise ValueError("entries are of different numbers of components or features")
        if not all(np.isfinite(column).all() for column in (self.origins, self.counts, self.sums, self.products)):
            raise ValueError("entries are not finite")


def _pack_triangles(products: Array) -> Array:
    """Return products (n, ..., d, d) as (n, ..., d·(d + 1)/2) where all are symmetric to the bit."""
    if products.ndim < 4 or products.shape[-1] == 1:
        return products
    n, k, d, _ = products.shape
    rows, columns = np.tril_indices(d)
    flat = products.reshape(-1, d * d)
    triangles = flat.take(d * rows + columns, axis=1)
    symmetric = np.array_equal(triangles, flat.take(d * columns + rows, axis=1))
    return triangles.reshape(n, k, -1) if symmetric else products


def _unpack_triangles(triangles: Array) -> Array:
    d = (isqrt(8 * triangles.shape[2] + 1) - 1) // 2
    rows, columns = np.tril_indices(d)
    products = np.empty((*triangles.shape[:2], d, d))
    products[:, :, rows, columns] = triangles
    products[:, :, columns, rows] = triangles
    return products
