"""segment(): an image, a number of segments, and labels come out."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from streamgmm.errors import InputError, InputTypeError
from streamgmm.estimator import GaussianMixture
from streamgmm.images.axes import named_axes
from streamgmm.images.ordering import ORDERS, placed, reordered
from streamgmm.images.segmentation import Segmentation
from streamgmm.loading import load
from streamgmm.progress import rows_bar

if TYPE_CHECKING:  # these load dask and numba
    from streamgmm.images.counting import Counted
    from streamgmm.images.image import Image
    from streamgmm.images.raster import Raster
    from streamgmm.images.writers import Output

ROUNDING = 1 / 12  # squared grey levels: the variance of what rounding to whole numbers took away


def segment(
    image: Any,
    n_segments: int | None = None,
    *,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    ome_version: str | None = None,
    axes: str | None = None,
    level: int | None = None,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    scaled: bool = False,
    mask: Any = None,
    model: GaussianMixture | str | PathLike[str] | None = None,
    order: str | None = None,
    covariance_type: str | None = None,
    reg_covar: float | None = None,
    n_init: int | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    random_state: Any = None,
    verbose: int = 0,
) -> Segmentation:
    """Segment an image by the values of its pixels, whatever its size.

    Pixels of one to three bands of 8 bits, or of one of 16 bits, are counted once; the mixture is then fitted to the
    distinct values with their counts, which is the same as to all pixels, and labels are looked up. Any other image is
    read block by block, a few times.

    Parameters
    ----------
    image : path, list of paths, array-like, dask array, zarr array, or xarray DataArray
        Integers or floats; (height, width), or three axes of which one is of bands. Paths are of ``.zarr`` (OME-Zarr
        too), ``.tif``, ``.npy``, what rasterio opens (GeoTIFF, ``.vrt``, ``.jp2``, ``.img``), or pictures of moderate
        size, ``.png`` or ``.jpg``. Several paths are the bands of one image, a file each, on one grid.
    n_segments : int, optional
        Number of segments, k; may be left out where ``model`` is given.
    output : path, optional
        What to write the labels to, by this process; it appears once it is complete. A process that was stopped is gone
        on with by the same call, if that has an integer for ``random_state``, or ``model``.

        * ``NAME.zarr``: an array.
        * ``NAME.ome.zarr``: an OME-Zarr label image, a pyramid with colours; ``IMAGE.zarr/labels/NAME``: the same,
          within an OME-Zarr image, which then lists it.
        * ``NAME.tif``: a BigTIFF of tiles with a palette, nodata 0; a GeoTIFF where the image lies somewhere on earth.
        * ``NAME.png``: for a small image and up to 254 segments; 0 is transparent.

        Palettes have the mean colours where three bands of 8 bits are used.
    overwrite : bool, default=False
        Whether what is at ``output`` may be replaced.
    ome_version : {'0.5', '0.4'}, optional
        Of OME-Zarr: by default that of the image which the labels become a part of, else 0.5. With it a plain ``.zarr``
        is OME-Zarr too.
    axes : {'YX', 'YXC', 'CYX', 'YCX'}, optional
        What the axes are: lines Y, columns X, bands C. By default what the format says; needed where it says nothing
        and it is not certain, which it is of three axes if either the first or the last has at most 4 places, and the
        others at least 32.
    level : int, default=0
        Which resolution of an OME-Zarr image, a pyramid in a TIFF, or the overviews of a GeoTIFF; 0 is the finest.
    bands : sequence of int, optional
        Bands to use, counted from 0; all by default.
    nodata : number, optional
        A pixel with this value, or NaN, in any used band is nodata: it is not learnt from, and its label is 0. By
        default what the format says. Where a file has alpha or a mask, what is fully transparent is nodata too.
    scaled : bool, default=False
        Whether factors and offsets that a GeoTIFF or a DataArray says are applied, in float32. Without it the numbers
        are as they are stored.
    mask : array-like, dask or zarr array of bool, shape (height, width), optional
        True where a pixel is nodata.
    model : GaussianMixture or path, optional
        A fitted model, or a file that it was saved to. Nothing is fitted then: label i is its component i − 1.
    order : {'brightness', 'weight'}, default='brightness'
        Which segment is the first: that with the lowest mean over the bands, or that with the largest weight.
    covariance_type, n_init, max_iter, tol, random_state
        As in `GaussianMixture`, with its defaults.
    reg_covar : float, optional
        Added to every variance, squared units of the image. By default 1/12 for integers: rounding to whole numbers
        took as much away, and without it a component could shrink to one value with an infinite density. 1e-6 for
        floats.
    verbose : int, default=0
        With 1, progress bars.

    Returns
    -------
    Segmentation
        ``labels``, ``model`` and ``table``.

    Raises
    ------
    InputError
        The image or an argument cannot be used; a ValueError. The message says what, where, and the remedy.
    ResultError
        Another process is writing to ``output``.
    OSError
        ``output`` exists, or cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import segment
    >>> image = np.array([[10, 11, 200, 201], [12, 10, 0, 202]], np.uint8)
    >>> found = segment(image, 2, nodata=0, random_state=0)
    >>> found.labels
    array([[1, 1, 2, 2],
           [1, 1, 0, 2]], dtype=uint8)
    >>> found.table["pixels"], found.table["mean"].ravel().round(2)
    (array([4, 3]), array([ 10.75, 201.  ]))
    """
    fitting = {
        "order": order,
        "covariance_type": covariance_type,
        "reg_covar": reg_covar,
        "n_init": n_init,
        "max_iter": max_iter,
        "tol": tol,
        "random_state": random_state,
    }
    chosen = {name: value for name, value in fitting.items() if value is not None}
    fitted = None if model is None else _given(model, chosen)
    k = _checked_number(n_segments, fitted)
    if chosen.get("order", ORDERS[0]) not in ORDERS:
        raise InputError(f"order={order!r} is not known; pass one of {', '.join(map(repr, ORDERS))}.")
    if output is None and (overwrite or ome_version is not None):
        raise InputError("overwrite and ome_version are of output, which is not given; leave them out.")

    from streamgmm.images.counting import Counted, countable
    from streamgmm.images.formats import opened, place
    from streamgmm.images.image import NO_PIXEL, Image
    from streamgmm.images.writers import Output

    target = None if output is None else Output.of(output, overwrite=overwrite, ome_version=ome_version)
    raster = opened(image, axes, level)
    sources = image if isinstance(image, list | tuple) else (image, raster.array)
    if target is not None and any(target.replaces(path) for path in map(place, sources) if path):
        raise InputError(f"{target.path} is the image, or holds it; write the labels somewhere else.")
    if scaled:
        raster, nodata = raster.scaled(nodata), None
    nodata = raster.nodata if nodata is None else nodata
    pixels = Image.of(raster.array, axes=raster.axes, bands=bands, nodata=nodata, mask=raster.lacking(bands, mask))
    if fitted is not None and fitted.n_features_in_ != pixels.n_bands:
        raise InputError(
            f"The model is of {fitted.n_features_in_} bands, and the image has {pixels.n_bands} that are used; choose "
            "as many, in the same order, by bands=."
        )
    if target is not None:
        target.check(pixels.shape, k, raster.grid)
    counted = None
    if countable(pixels.dtype, pixels.n_bands):
        counted = Counted.of(pixels.rows(counted=False))
        if not len(counted.values):
            raise InputError(NO_PIXEL)
    if fitted is None:
        fitted = _fitted(pixels, counted, k, chosen, verbose)
    return _labelled(pixels, counted, fitted, target, raster, verbose)


def _given(model: GaussianMixture | str | PathLike[str], chosen: dict[str, Any]) -> GaussianMixture:
    """A fitted model, which nothing else may be said of."""
    if chosen:
        raise InputError(f"model is given, so that nothing is fitted; leave out {', '.join(chosen)}.")
    fitted = load(model) if isinstance(model, str | PathLike) else model
    if not isinstance(fitted, GaussianMixture):
        raise InputTypeError(f"model is a {type(fitted).__name__}; pass a streamgmm.GaussianMixture, or its file.")
    check_is_fitted(fitted, "means_")
    return fitted


def _checked_number(n_segments: int | None, fitted: GaussianMixture | None) -> int:
    """Number of segments, as it is given or as a model has it."""
    if fitted is not None:
        k = len(fitted.means_)
        if n_segments not in (None, k):
            raise InputError(f"The model has {k} components and n_segments is {n_segments}; pass {k}, or leave it out.")
        return k
    if not isinstance(n_segments, Integral) or n_segments < 1:
        raise InputError(f"n_segments is {n_segments!r}; pass how many segments there shall be, an integer from 1.")
    return int(n_segments)


def _fitted(
    pixels: Image, counted: Counted | None, n_segments: int, chosen: dict[str, Any], verbose: int
) -> GaussianMixture:
    """A mixture of the pixels that are not nodata, its components in the order of the segments."""
    settings: dict[str, Any] = {"reg_covar": ROUNDING} if pixels.dtype.kind in "iu" else {}
    settings |= {name: value for name, value in chosen.items() if name != "order"}
    if counted is not None and len(counted.values) < max(2, n_segments):
        raise InputError(
            f"The image has {len(counted.values)} distinct values, of which {n_segments} segments cannot be made; "
            "pass a smaller n_segments, or label the values themselves."
        )
    model = GaussianMixture(n_segments, verbose=verbose, **settings)
    model.fit(pixels.rows() if counted is None else counted.source())
    return reordered(model, placed(model, chosen.get("order", ORDERS[0])))


def _labelled(
    pixels: Image,
    counted: Counted | None,
    model: GaussianMixture,
    target: Output | None,
    raster: Raster,
    verbose: int,
) -> Segmentation:
    """Labels of all pixels by a fitted model, where they are wanted."""
    from streamgmm.images.labelling import Labelling, label_dtype

    k = len(model.means_)
    dtype = label_dtype(k)
    labelling: Any = Labelling.by(model, dtype)
    known = None
    if counted is not None:
        labels = labelling(counted.values)
        known = np.bincount(labels, weights=counted.counts, minlength=k + 1).astype(np.int64)
        labelling = counted.table(labels)
    lazy = pixels.map(labelling, dtype)
    if target is None:
        return Segmentation(lazy.compute() if pixels.at_hand else lazy, model, known)

    from streamgmm.results import Record

    axes = named_axes(raster.array.shape, raster.axes)
    record = Record.of("segments", model, pixels.pixels())
    with rows_bar(pixels.shape[0], "labels", shown=bool(verbose)) as bar:
        written = target.write(
            lazy,
            record,
            axes="".join(axis for axis in "TZYX" if axis in axes),
            means=np.asarray(model.means_),
            dtype=pixels.dtype,
            grid=raster.grid,
            wrote=bar.update,
        )
    return Segmentation(written, model, known)
