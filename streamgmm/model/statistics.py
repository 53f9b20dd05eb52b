"""Sufficient statistics of a Gaussian mixture: a vector space for one set of origins.

They know nothing of data, of models or of covariance families: which second moments are kept is told by the shape of
``products`` alone, in which an axis of length 1 is summed over.

==================  =====================================  =========================
shape of products   what is kept                           families that need it
==================  =====================================  =========================
``(k, d, d)``       every component's matrix               full
``(1, d, d)``       one matrix, summed over components     tied
``(k, d)``          every component's diagonal             diag
``(k, 1)``          every component's trace                spherical
==================  =====================================  =========================
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LARGEST = np.float64(1e150)  # magnitude of a value whose square, summed over any number of rows, is still a float64


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Counts, sums and products of weighted responsibilities, taken about one origin per component.

    Parameters
    ----------
    origin : ndarray of shape (k, d)
        Point about which each component's moments are taken, in the units of the data. Moments about a point near
        the component do not cancel, however far the data lies from zero.
    counts : ndarray of shape (k,)
        Sum of w·r, in rows.
    sums : ndarray of shape (k, d)
        Sum of w·r·(x − origin).
    products : ndarray
        Sum of w·r·(x − origin)(x − origin)ᵀ, or the part of it that the shape names (see the module).

    Examples
    --------
    >>> import numpy as np
    >>> one = Statistics(np.zeros((1, 2)), np.array([3.0]), np.array([[3.0, 6.0]]), np.array([[5.0, 14.0]]))
    >>> (one + one).counts
    array([6.])
    >>> one.recentred(np.array([[1.0, 2.0]])).sums
    array([[0., 0.]])
    """

    origin: Array
    counts: Array
    sums: Array
    products: Array

    def __add__(self, other: Statistics) -> Statistics:
        """Merge: the statistics of all rows of both. Raises ValueError if the origins or shapes differ."""
        return self._combined(other, np.add)

    def __sub__(self, other: Statistics) -> Statistics:
        """Withdraw ``other``. Raises ValueError if the origins or shapes differ."""
        return self._combined(other, np.subtract)

    def __rmul__(self, factor: float) -> Statistics:
        """Count every row ``factor`` times."""
        return replace(self, counts=factor * self.counts, sums=factor * self.sums, products=factor * self.products)

    def recentred(self, origin: Array) -> Statistics:
        """The same rows about other origins; linear in the statistics, exact algebra."""
        shift = origin - self.origin
        moved = self.sums - self.counts[:, None] * shift
        # with y = x − old origin: sum (y − s)(y − s)ᵀ = P − s·sumᵀ − sum·sᵀ + n·s·sᵀ = P − s·aᵀ − a·sᵀ, where a is
        # halfway between sum and moved = sum − n·s: so written, what is symmetric stays so to the bit
        halfway = 0.5 * (self.sums + moved)
        if self.products.ndim == 3:
            change = -(halfway[:, :, None] * shift[:, None, :] + shift[:, :, None] * halfway[:, None, :])
        else:
            change = -2.0 * shift * halfway
        return Statistics(origin, self.counts, moved, self.products + reduced(change, self.products.shape))

    def _combined(self, other: Statistics, combine: np.ufunc) -> Statistics:
        if self.products.shape != other.products.shape or self.origin.shape != other.origin.shape:
            raise ValueError(
                f"statistics of shapes {self.products.shape} and {other.products.shape} do not combine; "
                "they belong to different families or numbers of components"
            )
        if self.origin is not other.origin and not np.array_equal(self.origin, other.origin):
            raise ValueError(
                "statistics about different origins do not combine; bring one to the other with recentred()"
            )
        return Statistics(
            self.origin,
            combine(self.counts, other.counts),
            combine(self.sums, other.sums),
            combine(self.products, other.products),
        )


def reduced(products: Array, shape: tuple[int, ...]) -> Array:
    """Sum second moments (k, d, d) or (k, d) over the axes in which ``shape`` has length 1."""
    if shape[0] == 1:
        products = products.sum(axis=0, keepdims=True)
    if len(shape) == 2 and shape[1] == 1:
        products = products.sum(axis=1, keepdims=True)
    return products
