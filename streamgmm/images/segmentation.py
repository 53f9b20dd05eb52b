"""The result of `segment`: labels, the mixture, and a table of the segments."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.images.segment_statistics import SegmentStatistics

if TYPE_CHECKING:  # these load dask, or matplotlib
    from matplotlib.figure import Figure

    from streamgmm.images.features import Features
    from streamgmm.images.image import Image
    from streamgmm.images.reading.raster import Georeference
    from streamgmm.selection.selection import Selection


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segments of an image, as `streamgmm.segment` returns them.

    Attributes
    ----------
    labels : ndarray, dask.array.Array or zarr.Array of unsigned int, the shape of the image without its bands
        1 to k, and 0 for nodata. In memory for an image in memory, as it is stored where there was an output, else
        lazy. The dtype is the smallest that holds k + 1, which means "not written".
    model : GaussianMixture
        The fitted mixture; label i is its component i − 1.
    features : Features
        Features of a pixel that the model has learnt.
    probabilities : dask.array.Array or zarr.Array of float16, or None
        Posterior probabilities, if they were asked for: of each segment, along an additional last axis of length k, or
        of the label alone. 0 for nodata.
    selection : Selection or None
        All mixtures that were tried, if the number of segments was chosen.
    georeference : Georeference or None
        Position of the pixels; its ``pixel_size`` is the area of a pixel with its unit.

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import segment
    >>> segmentation = segment(np.array([[10, 11, 200, 201], [12, 10, 0, 202]], np.uint8), 2, nodata=0, random_state=0)
    >>> segmentation.table["label"], segmentation.table["share"].round(2), segmentation.table["band_mean"].ravel()
    (array([1, 2]), array([0.57, 0.43]), array([ 10.75, 201.  ]))
    """

    labels: Any
    model: GaussianMixture
    features: Features = field(repr=False)
    probabilities: Any = None
    selection: Selection | None = None
    georeference: Georeference | None = None
    _image: Image | None = field(default=None, repr=False)
    _statistics: SegmentStatistics | None = field(default=None, repr=False)  # None until labels have been read

    @cached_property
    def table(self) -> dict[str, NDArray[Any]]:
        """Table of the segments: a dictionary of columns, each with k rows.

        Labels and image are read once, when the table is first asked for, unless the pixels were counted.

        ====================== ================= ===============================================================
        column                 shape, dtype      meaning
        ====================== ================= ===============================================================
        ``label``              (k,), int         1 to k
        ``weight``             (k,), float       weight of the component
        ``pixels``             (k,), int         pixels with the label
        ``share``              (k,), float       their fraction of all pixels that are not nodata
        ``area``               (k,), float       their area (volume, where planes have a distance) in the squared
                                                 (cubed) unit of the georeference; absent where it is not known
        ``mean``               (k, d), float     mean of the component, in units of the features
        ``standard_deviation`` (k, d), float     its standard deviation
        ``band_mean``          (k, bands), float mean of the bands over the pixels; NaN where there are none
        ====================== ================= ===============================================================
        """
        parameters = get_parameters(self.model)
        k, statistics = parameters.n_components, self._statistics
        if statistics is None:
            assert self._image is not None
            statistics = SegmentStatistics.from_arrays(self.labels, self._image.values, k + 1)
        pixels = statistics.counts[1:]
        size = None if self.georeference is None else self.georeference.pixel_size
        return {
            "label": np.arange(1, k + 1),
            "weight": parameters.weights,
            "pixels": pixels,
            "share": pixels / max(1, pixels.sum()),
            **({} if size is None else {"area": pixels * size[0]}),
            "mean": parameters.means,
            "standard_deviation": np.sqrt(parameters.variances()),
            "band_mean": statistics.means[1:],
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Save the model with its preprocessing, so that `segment` labels other images alike.

        `streamgmm.load` reads the file as an ordinary model.

        Parameters
        ----------
        path : path
            File to write; an existing one is replaced.

        Raises
        ------
        OSError
            The file cannot be written; an existing one is then untouched.

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
        """Plot the image, its labels, both over each other, and the components in the plane of two features.

        Of a large image every few pixels are drawn, of a volume or a time series the middle. Where the number of
        segments was chosen, another panel shows what each additional segment gains.

        Parameters
        ----------
        bands : pair of int, default=(0, 1)
            Features on the axes of the ellipses, counted from 0.
        figure : matplotlib.figure.Figure, optional
            Figure to draw on; by default a new one, which no window shows.

        Returns
        -------
        matplotlib.figure.Figure
            The figure; ``figure.savefig("sheet.png")`` writes it.

        Raises
        ------
        ImportError
            matplotlib is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> from streamgmm import segment
        >>> image = np.array([[10, 11, 200, 201], [12, 10, 0, 202]], np.uint8)
        >>> [panel.get_title() for panel in segment(image, 2, nodata=0, random_state=0).plot().axes]
        ['image', '2 segments', 'segments over the image', 'components']
        """
        from streamgmm.images.sheet import draw_sheet

        assert self._image is not None
        return draw_sheet(self, self._image, bands, figure)
