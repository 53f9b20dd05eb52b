"""What became of an image: labels, the mixture that they are of, and a table of the segments."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.attributes import parameters_of
from streamgmm.images.tallying import SegmentStatistics
from streamgmm.model.covariances import STRUCTURES

if TYPE_CHECKING:  # these load dask, or matplotlib
    from matplotlib.figure import Figure

    from streamgmm.images.features import Features
    from streamgmm.images.image import Image
    from streamgmm.images.reading.raster import Georeference
    from streamgmm.selection.selection import Selection


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
        Label i is its component i − 1.
    features : Features
        What the model has learnt of each pixel.
    probabilities : dask.array.Array or zarr.Array, or None
        Where they were asked for, of each segment, with an axis of k places more than the labels, or of the label
        alone; float16, 0 where a pixel is nodata.
    selection : Selection or None
        All mixtures that were tried, where the number of segments was chosen.
    grid : Georeference or None
        Where pixels lie; its ``pixel_size`` is the area of one and the unit of that.
    """

    labels: Any
    model: GaussianMixture
    features: Features = field(repr=False)
    probabilities: Any = None
    selection: Selection | None = None
    grid: Georeference | None = None
    _image: Image | None = field(default=None, repr=False)
    _tally: SegmentStatistics | None = field(default=None, repr=False)  # where it is known without a reading

    @cached_property
    def table(self) -> dict[str, NDArray[Any]]:
        """The segments as columns of a table, a row each.

        ``label``; ``weight``, ``mean`` and ``standard_deviation``, a feature a column, are those of the component;
        ``pixels`` is how many have the label, ``share`` their part of all that are not nodata, ``area`` what they
        cover, in the unit of the grid squared (a volume of planes), where it is known; ``band_mean`` is the mean of
        each band over them, NaN where there are none. Labels and image are read once for these if the pixels were not
        counted.
        """
        parameters = parameters_of(self.model, STRUCTURES[self.model.covariance_type])
        k = parameters.n_components
        tally = self._tally
        if tally is None:
            assert self._image is not None
            tally = SegmentStatistics.read(self.labels, self._image.values, k + 1)
        pixels = tally.counts[1:]
        size = None if self.grid is None else self.grid.pixel_size
        return {
            "label": np.arange(1, k + 1),
            "weight": parameters.weights,
            "pixels": pixels,
            "share": pixels / max(1, pixels.sum()),
            **({} if size is None else {"area": pixels * size[0]}),
            "mean": parameters.means,
            "standard_deviation": np.sqrt(parameters.variances()),
            "band_mean": tally.means[1:],
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a file, by which `segment` labels other images.

        Nothing is fitted then; bands, nodata, labels and colours are the same. `streamgmm.load` reads it as an
        ordinary model.

        Parameters
        ----------
        path : path
            As in `GaussianMixture.save`.

        Raises
        ------
        OSError
            It cannot be written; a file that was there before is then untouched.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> import numpy as np
        >>> from streamgmm import segment
        >>> image = np.array([[10, 11, 200, 201], [12, 10, 0, 202]], np.uint8)
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "levels.safetensors"
        >>> segment(image, 2, nodata=0, random_state=0).save(path)
        >>> segment(image[:, ::-1], model=path).labels
        array([[2, 2, 1, 1],
               [2, 0, 1, 1]], dtype=uint8)
        """
        self.model.save(path)

    def plot(self, *, bands: tuple[int, int] = (0, 1), figure: Figure | None = None) -> Figure:
        """Draw the image, its labels, both over each other, and the components as ellipses in the plane of two bands.

        Where the number of segments was chosen, also what each more of them gains. Of a large image every few pixels
        are drawn, and of a volume or a time series the middle.

        Parameters
        ----------
        bands : pair of int, default=(0, 1)
            Features on the axes of the ellipses, counted from 0 among those that are used.
        figure : matplotlib Figure, optional
            Where to draw; a new one by default, which no window shows.

        Returns
        -------
        matplotlib.figure.Figure
            ``figure.savefig("found.png")`` writes it.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        from streamgmm.images.panels import drawn

        assert self._image is not None
        return drawn(self, self._image, bands, figure)
