"""`segment`: from an image and a number of segments to labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from streamgmm.errors import InputError, InputTypeError
from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.loading import load
from streamgmm.images.image_limits import LIMITS
from streamgmm.images.pixel_mixture import Sizes, check_sizes, fit_mixture
from streamgmm.images.preprocessing import ORDERS, STANDARD, Preprocessing

if TYPE_CHECKING:  # these load dask and numba
    from streamgmm.images.features import Scaling
    from streamgmm.images.image import Image
    from streamgmm.images.reading.raster import Georeference
    from streamgmm.images.segmentation import Segmentation
    from streamgmm.images.segmentation_job import SegmentationJob
    from streamgmm.selection.selection import Selection


def segment(
    image: Any,
    n_segments: Any = None,
    *,
    output: Any = None,
    overwrite: bool = False,
    ome_version: str | None = None,
    axes: str | None = None,
    level: int | None = None,
    bands: Sequence[int | str] | None = None,
    nodata: float | None = None,
    scaled: bool = False,
    mask: Any = None,
    georeference: Georeference | Sequence[Georeference] | None = None,
    colour: str | None = None,
    window: int | None = None,
    coordinates: float | None = None,
    scaling: str | Scaling | None = None,
    model: GaussianMixture | str | PathLike[str] | None = None,
    order: str | None = None,
    covariance_type: str | None = None,
    reg_covar: float | None = None,
    n_init: int | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    random_state: Any = None,
    probabilities: bool | str = False,
    verbose: int = 0,
) -> Any:
    """Segment an image of any size by fitting a Gaussian mixture to its pixels.

    Parameters
    ----------
    image : path, list of paths, array-like, dask array, zarr array, or xarray DataArray
        Integers or floats of shape (height, width), or with more axes, of which one may be of bands. Paths end in
        ``.zarr`` (also OME-Zarr), ``.tif``, ``.npy``, ``.svs``, ``.ndpi``, ``.png``, ``.jpg``, or a suffix that
        rasterio opens (GeoTIFF, ``.vrt``, ``.jp2``, ``.img``). Paths of files of one band each are the bands of one
        image, unless ``output`` is a list. Any other list holds several images, of one dtype and as many bands; one
        mixture is fitted to the pixels of all.
    n_segments : int, iterable of int, or 'auto', optional
        Number of segments, k; may be omitted with ``model``. Of several numbers, or 'auto' (1 to 10), the smallest is
        chosen from which the next gains less than 0.01 nats a pixel. BIC would choose the largest, since pixels are
        many.
    output : path, or list of paths for a list of images, optional
        File for the labels; it is complete or absent. An interrupted call resumes, if it is repeated with an integer
        for ``random_state``, or with ``model``.

        * ``NAME.zarr``: an array.
        * ``NAME.ome.zarr``: an OME-Zarr label image, a pyramid with colours; ``IMAGE.zarr/labels/NAME``: the same
          within an OME-Zarr image, which then lists it.
        * ``NAME.tif``: a tiled BigTIFF with a palette, nodata 0; a GeoTIFF if the image is georeferenced.
        * ``NAME.png``: for a small image and up to 254 segments; 0 is transparent.

        Palettes show the mean colours if three bands of 8 bits are used.
    overwrite : bool, default=False
        If True, replace an existing ``output``.
    ome_version : {'0.5', '0.4'}, optional
        Version of OME-Zarr; by default that of the image the labels become a part of, or 0.5. With it a plain
        ``.zarr`` is OME-Zarr too.
    axes : str, optional
        One letter an axis: time T, planes Z, rows Y, columns X, bands C, in any order, Y and X among them, such as
        ``'YXC'`` or ``'TCYX'``. By default what the format says, or, of two axes, ``'YX'``; of three, bands are the
        first or the last axis if only one of these has at most 4 elements, and the others at least 32. Needed
        otherwise.
    level : int, default=0
        Resolution of an OME-Zarr image, a TIFF pyramid, a slide, or the overviews of a GeoTIFF; 0 is the finest.
    bands : sequence of int or str, optional
        Bands to use, counted from 0 or by name; by default all, or those of the ``model``.
    nodata : number, optional
        Value that marks a pixel as nodata, in any band used. Such pixels are not learnt and have label 0, like those
        that are NaN or, by the mask or alpha of a file, transparent. By default what the format says, or the
        ``model``.
    scaled : bool, default=False
        If True, apply the factors and offsets of a GeoTIFF or a DataArray, in float32.
    mask : array-like, dask or zarr array of bool, of the shape of the labels, or list of them for a list, optional
        True where a pixel is nodata.
    georeference : streamgmm.images.reading.raster.Georeference, or list of them for a list, optional
        Position of the pixels, from which the table has the areas of the segments; by default what the format says.
    colour : {'lab'}, optional
        Convert three bands (red, green and blue of sRGB; uint8, uint16, or floats from 0 to 1) to CIE L*a*b*.
    window : int, optional
        Add mean and standard deviation of each band over a square of so many pixels around each pixel (a cube where
        there are planes). Odd, from 3 to 255; nodata is left out.
    coordinates : float, optional
        Add row, column and plane of each pixel. The value is the length of the longer side of the image, and of the
        stack of planes, in the unit of the other features.
    scaling : {'standard'} or Scaling, optional
        Standardize all features but the coordinates over the image, which may take another reading of it; or apply
        the scaling of an earlier segmentation, ``segmentation.features.scaling``.
    model : GaussianMixture or path, optional
        Fitted model, or its file; nothing is fitted, and label i is its component i − 1. A model of `segment` knows
        its features, nodata, order and colours, and needs an image of the same dtype.
    order : {'brightness', 'weight'}, default='brightness'
        Number segments from the lowest mean over the bands (of L* with ``colour='lab'``), or from the largest weight.
    covariance_type, n_init, max_iter, tol, random_state
        Parameters of `GaussianMixture`, with its defaults, but ``max_iter=500`` where pixels are counted.
    reg_covar : float, optional
        Added to every variance, in squared units of the features. By default 1/12 of a squared grey level for integers,
        the variance that rounding took away, or what that is after ``colour`` and ``scaling``; 1e-6 for floats.
    probabilities : bool or 'largest', default=False
        Also compute the posterior probability of each segment, or that of the label alone. With output
        ``labels.zarr`` they are written to ``labels_probabilities.zarr``, else they are lazy.
    verbose : int, default=0
        1 shows progress bars.

    Returns
    -------
    Segmentation, or list of Segmentation for a list of images
        Labels, model and table, with methods `~Segmentation.plot` and `~Segmentation.save`.

    Raises
    ------
    InputError
        The image or an argument cannot be used; a ValueError. The message says what, where, and the remedy.
    ImportError
        The library that reads or writes a format is not installed.
    ResultError
        Another process is writing to ``output``.
    OSError
        ``output`` exists, or cannot be written.

    Warns
    -----
    UserWarning
        The largest of several numbers of segments was chosen, and more may be better.

    Notes
    -----
    Pixels of up to three bands of 8 bits, or one of 16, are counted once, and the mixture is fitted to the distinct
    values with their counts: the same fit as to all pixels, to rounding. So are other integers of up to 64 bits a
    pixel, if they have at most 8 million distinct values, and a fourth as many as there are pixels. Any other image,
    and any with ``window`` or ``coordinates``, is read block by block, once a pass of EM.

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import segment
    >>> image = np.array([[10, 11, 200, 201], [12, 10, 0, 202]], np.uint8)
    >>> segmentation = segment(image, 2, nodata=0, random_state=0)
    >>> segmentation.labels
    array([[1, 1, 2, 2],
           [1, 1, 0, 2]], dtype=uint8)
    >>> segmentation.table["pixels"], segmentation.table["mean"].ravel().round(2)
    (array([4, 3]), array([ 10.75, 201.  ]))
    """
    settings: dict[str, Any] = {
        "order": order,
        "covariance_type": covariance_type,
        "reg_covar": reg_covar,
        "n_init": n_init,
        "max_iter": max_iter,
        "tol": tol,
        "random_state": random_state,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if settings.get("order", ORDERS[0]) not in ORDERS:
        raise InputError(f"order={order!r} is not known; pass one of {', '.join(map(repr, ORDERS))}.")
    if probabilities not in (False, True, "largest"):
        raise InputError(f"probabilities={probabilities!r} is not known; pass True, False or 'largest'.")
    if output is None and (overwrite or ome_version is not None):
        raise InputError("overwrite and ome_version are of output, which is not given; leave them out.")
    fitted = None if model is None else _load_model(model, settings)
    sizes = _resolve_sizes(n_segments, fitted)
    preprocessing = None if fitted is None else Preprocessing.from_model(fitted)
    features = {"bands": bands, "colour": colour, "window": window, "coordinates": coordinates, "scaling": scaling}
    features = _resolve_features(features, fitted, preprocessing)

    from streamgmm.images.segmentation_job import count_pixels, standardize

    inputs, is_list = _pair_inputs(image, output, mask, georeference)
    jobs = _open_jobs(
        inputs,
        {"overwrite": overwrite, "ome_version": ome_version},
        probabilities=bool(probabilities),
        features={**features, "scaling": None if scaling == STANDARD else features["scaling"]},
        axes=axes,
        level=level,
        nodata=nodata,
        default_nodata=None if preprocessing is None else preprocessing.nodata,
        scaled=scaled,
    )
    _check_jobs(jobs, sizes if isinstance(sizes, int) else sizes[-1])
    if fitted is not None:
        _check_model(fitted, preprocessing, jobs[0])
    jobs = count_pixels(jobs, learning=fitted is None)
    if scaling == STANDARD:
        jobs = standardize(jobs)
    feature_images = [job.compute_features() for job in jobs]
    selection = None
    if fitted is None:
        fitted, selection = _fit(jobs, feature_images, sizes, settings, verbose)
    if preprocessing is None:
        fitted = copy(fitted)
        label_order = settings.get("order", ORDERS[0]) if model is None else None
        preprocessing = jobs[0].describe_preprocessing(fitted, label_order)
        fitted._preprocessing = preprocessing.to_json()
    segmentations: list[Segmentation] = [
        replace(job.run(fitted, preprocessing, feature_image, probabilities, verbose), selection=selection)
        for job, feature_image in zip(jobs, feature_images, strict=True)
    ]
    return segmentations if is_list else segmentations[0]


def _load_model(model: GaussianMixture | str | PathLike[str], settings: dict[str, Any]) -> GaussianMixture:
    if settings:
        raise InputError(f"model is given, so that nothing is fitted; leave out {', '.join(settings)}.")
    fitted = load(model) if isinstance(model, str | PathLike) else model
    if not isinstance(fitted, GaussianMixture):
        raise InputTypeError(f"model is a {type(fitted).__name__}; pass a streamgmm.GaussianMixture, or its file.")
    check_is_fitted(fitted, "means_")
    return fitted


def _resolve_sizes(n_segments: Any, fitted: GaussianMixture | None) -> Sizes:
    if fitted is None:
        return check_sizes(n_segments)
    k = len(fitted.means_)
    if n_segments not in (None, k):
        raise InputError(f"The model has {k} components and n_segments is {n_segments}; pass {k}, or leave it out.")
    return k


def _resolve_features(
    features: dict[str, Any], fitted: GaussianMixture | None, preprocessing: Preprocessing | None
) -> dict[str, Any]:
    """Return the arguments of `Features`, completed by what a model knows, which must not contradict them."""
    scaling = features["scaling"]
    if isinstance(scaling, str) and scaling != STANDARD:
        raise InputError(f"scaling={scaling!r} is not known; pass {STANDARD!r}, or the scaling of a segmentation.")
    if preprocessing is None:
        if fitted is not None and scaling == STANDARD:
            raise InputError(
                f"model is given, and its features may not be scaled anew by scaling={STANDARD!r}; pass the scaling "
                "that it was fitted with, features.scaling of its segmentation."
            )
        return features
    known = {name: getattr(preprocessing.features, name) for name in features}
    for name, value in features.items():
        if name != "bands" and value is not None and value != known[name]:
            raise InputError(
                f"The model has learnt with {name}={known[name]!r}, and {name}={value!r} was asked for; leave "
                f"{name} out, or fit another one."
            )
    return known if features["bands"] is None else {**known, "bands": features["bands"]}


def _pair_inputs(image: Any, output: Any, mask: Any, georeference: Any) -> tuple[list[tuple[Any, ...]], bool]:
    """Return each image with its output, mask and georeference, and True if a list of images was passed."""
    from streamgmm.images.reading import is_band_list

    is_list = isinstance(image, list | tuple) and all(
        isinstance(item, str | PathLike) or len(getattr(item, "shape", ())) >= 2  # a list of numbers is an array
        for item in image
    )
    if not is_list or not image or not (isinstance(output, list | tuple) or not is_band_list(image)):
        return [(image, output, mask, georeference)], False
    columns = [image]
    for name, values in {"output": output, "mask": mask, "georeference": georeference}.items():
        if values is not None and (not isinstance(values, list | tuple) or len(values) != len(image)):
            raise InputError(f"{name} is for one image, and {len(image)} are given; pass a list of as many.")
        columns.append([None] * len(image) if values is None else values)
    return list(zip(*columns, strict=True)), True


def _open_jobs(
    inputs: Sequence[tuple[Any, ...]], options: dict[str, Any], *, probabilities: bool, **reading: Any
) -> list[SegmentationJob]:
    """Open the images; raise InputError if an output would destroy an input or another output."""
    from streamgmm.images.segmentation_job import SegmentationJob
    from streamgmm.images.writers import LabelOutput

    jobs = []
    for image, path, mask, georeference in inputs:
        output = None if path is None else LabelOutput.from_path(path, **options)
        beside = None if output is None or not probabilities else output.for_probabilities()
        outputs: dict[str, Any] = {"output": output, "probability_output": beside}
        jobs.append(SegmentationJob.open(image, mask=mask, georeference=georeference, **outputs, **reading))
    sources = {source for job in jobs for source in job.sources}
    written = [output for job in jobs for output in (job.output, job.probability_output) if output is not None]
    for output in written:
        if any(map(output.replaces, sources)):
            raise InputError(f"{output.path} is the image, or holds it; write the labels somewhere else.")
    if len({output.path.resolve() for output in written}) < len(written):
        raise InputError("Two images have the same output; pass a path of its own for each.")
    return jobs


def _check_jobs(jobs: Sequence[SegmentationJob], n_segments: int) -> None:
    """Raise an error, before the work, if images do not share a mixture, or their labels cannot be written."""
    kinds = [(job.pixels.n_bands, job.pixels.dtype, job.n_features) for job in jobs]
    for index, (job, kind) in enumerate(zip(jobs, kinds, strict=True)):
        if kind != kinds[0]:
            raise InputError(
                f"Image {index} has {kind[0]} bands of {kind[1]}, and image 0 has {kinds[0][0]} of {kinds[0][1]}; pass "
                "images of one kind, or segment them one by one."
            )
        if job.output is not None:
            job.output.format.check(job.pixels.shape, n_segments, job.georeference)


def _check_model(fitted: GaussianMixture, preprocessing: Preprocessing | None, job: SegmentationJob) -> None:
    """Raise InputError if a model was fitted to other features or pixels."""
    if fitted.n_features_in_ != job.n_features and job.features.is_identity:
        raise InputError(
            f"The model is of {fitted.n_features_in_} bands, and the image has {job.n_features} that are used; choose "
            "as many, in the same order, by bands=."
        )
    if fitted.n_features_in_ != job.n_features:
        raise InputError(
            f"The model is of {fitted.n_features_in_} features, and {job.n_features} are made of the image; choose the "
            "same by bands=, colour=, window= and coordinates=."
        )
    if preprocessing is not None:
        preprocessing.check(job.pixels.dtype, job.names, job.scale)


def _fit(
    jobs: Sequence[SegmentationJob], features: Sequence[Image], sizes: Sizes, settings: dict[str, Any], verbose: int
) -> tuple[GaussianMixture, Selection | None]:
    """Fit one mixture to all images; return it and, of several sizes, the selection."""
    from streamgmm.images.segmentation_job import training_rows

    rows, first, possible = training_rows(jobs, features), jobs[0], sizes
    floor = first.features.rounding_variance(first.pixels.dtype)
    defaults: dict[str, Any] = {} if floor is None else {"reg_covar": floor}
    if first.value_counts is not None:
        possible = _limit_sizes(sizes, rows.n_rows or 0)
        defaults["max_iter"] = LIMITS.table_passes
    model, selection = fit_mixture(rows, possible, first.brightness, {**defaults, **settings}, verbose)
    if isinstance(sizes, tuple) and len(sizes) > 1 and len(model.means_) == sizes[-1]:
        warnings.warn(
            f"{sizes[-1]} segments, the most that were tried, still gain {LIMITS.minimum_gain} nats a pixel or more "
            f"over the next fewer; pass a range with more, such as n_segments=range({sizes[-1]}, {2 * sizes[-1]}).",
            stacklevel=3,
        )
    return model, selection


def _limit_sizes(sizes: Sizes, n_values: int) -> Sizes:
    """Return the sizes that so many distinct values allow; raise InputError if there is none."""
    smallest = sizes if isinstance(sizes, int) else sizes[0]
    if n_values == 1:
        raise InputError("The image has the same value everywhere, which leaves nothing to segment.")
    if n_values < smallest:
        raise InputError(
            f"The image has {n_values} distinct values, of which {smallest} segments cannot be made; pass a smaller "
            "n_segments, or label the values themselves."
        )
    return sizes if isinstance(sizes, int) else tuple(size for size in sizes if size <= n_values)
