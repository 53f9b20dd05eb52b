"""Sufficient statistics of a Gaussian mixture: a vector space for one set of origins.

Neither data, models nor covariance families are known here. The shape of ``products`` alone says which second moments
are kept: an axis of length 1 is summed over. Covariances have the same shape, and share their values along that axis.

==================  ==============================  ====================
shape of products   second moments                  family
==================  ==============================  ====================
``(k, d, d)``       a matrix per component          full
``(1, d, d)``       their sum over components       tied
``(k, d)``          a diagonal per component        diag
``(k, 1)``          a trace per component           spherical
``(1, d)``          sum of the diagonals            none in the package
``(1, 1)``          sum of the traces               none in the package
==================  ==============================  ====================
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamgmm.persistence.codec import persistent

Array = NDArray[np.float64]

MAX_MAGNITUDE = np.float64(1e150)  # squares of values up to this, summed over any number of rows, are finite


@persistent("statistics-1")
@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Counts, sums and products of weighted responsibilities, about one origin per component.

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
        Sum of w·r·(x − origin)(x − origin)ᵀ, or the part of it that the shape says (see the module).

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

    def validate(self) -> None:
        """Raise ValueError unless the arrays belong to one mixture and are finite."""
        check_moments(self.origin, self.counts, self.sums, self.products)

    def __add__(self, other: Statistics) -> Statistics:
        """Return the statistics of the rows of both; raises ValueError if the origins or shapes differ."""
        return self._combine(other, np.add)

    def __sub__(self, other: Statistics) -> Statistics:
        """Remove the rows of ``other``; raises ValueError if the origins or shapes differ."""
        return self._combine(other, np.subtract)

    def __rmul__(self, factor: float) -> Statistics:
        """Count every row ``factor`` times."""
        return replace(self, counts=factor * self.counts, sums=factor * self.sums, products=factor * self.products)

    def recentred(self, origin: Array) -> Statistics:
        """Return the statistics of the same rows about other origins; linear and exact."""
        shift = origin - self.origin
        moved = self.sums - self.counts[:, None] * shift
        # with y = x − old origin: sum (y − s)(y − s)ᵀ = P − s·sumᵀ − sum·sᵀ + n·s·sᵀ = P − s·aᵀ − a·sᵀ, where a is
        # halfway between sum and moved = sum − n·s: in this form symmetric products stay symmetric to the bit
        halfway = 0.5 * (self.sums + moved)
        if self.products.ndim == 3:
            change = -(halfway[:, :, None] * shift[:, None, :] + shift[:, :, None] * halfway[:, None, :])
        else:
            change = -2.0 * shift * halfway
        return Statistics(origin, self.counts, moved, self.products + reduce_products(change, self.products.shape))

    def _combine(self, other: Statistics, combine: np.ufunc) -> Statistics:
        if self.products.shape != other.products.shape or self.origin.shape != other.origin.shape:
            raise ValueError(
                f"statistics of shapes {self.products.shape} and {other.products.shape} do not combine; "
                "they belong to different families or numbers of components"
            )
        if self.origin is not other.origin and not np.array_equal(self.origin, other.origin):
            raise ValueError(
                "statistics about different origins do not combine; bring one to the other with recentred()"
            )
        pairs = ((self.counts, other.counts), (self.sums, other.sums), (self.products, other.products))
        return Statistics(self.origin, *(combine(*pair) for pair in pairs))


def check_moments(means: Array, counts: Array, sums: Array, *products: Array) -> None:
    """Raise ValueError unless arrays are finite and of one mixture: (k, d), (k,), (k, d), and shapes of products."""
    if means.ndim != 2 or counts.shape != means.shape[:1] or sums.shape != means.shape:
        raise ValueError("moments are of different numbers of components or features")
    k, d = means.shape
    if not all(is_products_shape(part.shape, k, d) for part in products):
        raise ValueError(f"second moments are of no shape that {k} components in {d} dimensions have")
    if not all(np.isfinite(array).all() for array in (means, counts, sums, *products)):
        raise ValueError("moments are not finite")


def reduce_products(products: Array, shape: tuple[int, ...]) -> Array:
    """Sum second moments (k, d, d) or (k, d) over the axes in which ``shape`` has length 1."""
    if shape[0] == 1:
        products = products.sum(axis=0, keepdims=True)
    if len(shape) == 2 and shape[1] == 1:
        products = products.sum(axis=1, keepdims=True)
    return products


def expand_covariances(covariances: Array, n_components: int, n_features: int) -> Array:
    """Return a read-only view with one matrix (k, d, d), or one diagonal (k, d), per component."""
    return np.broadcast_to(covariances, (n_components, *[n_features] * (covariances.ndim - 1)))


def is_products_shape(shape: tuple[int, ...], n_components: int, n_features: int) -> bool:
    """Return True if products of k components in d features may have this shape; see the table in the module."""
    inner = ((n_features, n_features), (n_features,), (1,))
    return shape[:1] in ((n_components,), (1,)) and shape[1:] in inner
