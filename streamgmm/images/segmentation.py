"""What became of an image: labels, the mixture that they are of, and a table of the segments."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.attributes import parameters_of
from streamgmm.covariances import STRUCTURES
from streamgmm.estimator import GaussianMixture

if TYPE_CHECKING:  # it loads dask
    from streamgmm.images.features import Features


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segments of an image.

    Attributes
    ----------
    labels : ndarray, dask.array.Array or zarr.Array of the shape of the image
        Its axes without that of bands, in its order.
        1 to k, and 0 where a pixel is nodata, in the smallest unsigned integers that hold one more, which means "not
        written". An array in memory for an image in memory, a lazy one for any other, what was written where an output
        was given.
    model : GaussianMixture
        Label i is its component i − 1. `GaussianMixture.save` keeps it, and `segment` takes it for other images.
    features : Features
        What the model has learnt of each pixel.
    """

    labels: Any
    model: GaussianMixture
    features: Features = field(repr=False)
    _pixels: NDArray[np.int64] | None = field(default=None, repr=False)  # of each label from 0, where they are known

    @cached_property
    def table(self) -> dict[str, NDArray[Any]]:
        """The segments as columns of a table, a row each.

        ``label``; ``weight``, ``mean`` and ``standard_deviation``, a feature a column, are those of the component;
        ``pixels`` is how many have the label, for which the labels are read once if the pixels were not counted.
        """
        parameters = parameters_of(self.model, STRUCTURES[self.model.covariance_type])
        k, d = parameters.means.shape
        variances = parameters.covariances
        if variances.ndim == 3:
            variances = variances.diagonal(axis1=1, axis2=2)
        pixels = _pixels_of(self.labels, k) if self._pixels is None else self._pixels
        return {
            "label": np.arange(1, k + 1),
            "weight": parameters.weights,
            "pixels": pixels[1:],
            "mean": parameters.means,
            "standard_deviation": np.sqrt(np.broadcast_to(variances, (k, d))),
        }


def _pixels_of(labels: Any, n_segments: int) -> NDArray[np.int64]:
    """Pixels of each label from 0, from one reading."""
    import dask.array as da

    lazy = labels if isinstance(labels, da.Array) else da.from_array(labels)
    counts = da.bincount(da.reshape_blockwise(lazy, (lazy.size,)), minlength=n_segments + 1)
    return np.asarray(counts.compute(), np.int64)
