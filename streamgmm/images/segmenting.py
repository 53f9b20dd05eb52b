"""segment(): an image, a number of segments, and labels come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from errno import EEXIST, ENOENT
from numbers import Integral
from os import PathLike, fspath, strerror
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from streamgmm.errors import InputError, InputTypeError
from streamgmm.estimator import GaussianMixture
from streamgmm.images.ordering import ORDERS, placed, reordered
from streamgmm.images.segmentation import Segmentation
from streamgmm.loading import load
from streamgmm.progress import rows_bar

if TYPE_CHECKING:  # these load dask and numba
    from streamgmm.images.counting import Counted
    from streamgmm.images.features import Features, Scaling
    from streamgmm.images.image import Image

PICTURE = ".png"
STANDARD = "standard"


def segment(
    image: Any,
    n_segments: int | None = None,
    *,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    axes: str | None = None,
    bands: Sequence[int | str] | None = None,
    nodata: float | None = None,
    mask: Any = None,
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
    verbose: int = 0,
) -> Segmentation:
    """Segment an image by the values of its pixels, whatever its size.

    Pixels of one to three bands of 8 bits, or of one of 16 bits, are counted once; the mixture is then fitted to the
    distinct values with their counts, which is the same as to all pixels, and labels are looked up. Any other image,
    and any with ``window`` or ``coordinates``, is read block by block, a few times.

    Parameters
    ----------
    image : array-like, dask array, zarr array, or path; (height, width), or more axes, of which one may be of bands
        Integers or floats. Paths are of ``.zarr``, ``.npy``, or pictures of moderate size, ``.png`` or ``.jpg``.
    n_segments : int, optional
        Number of segments, k; may be left out where ``model`` is given.
    output : path, optional
        ``.zarr`` to write the labels to, by this process, which appears once it is complete. A process that was stopped
        is gone on with by the same call, if that has an integer for ``random_state``, or ``model``. Or ``.png``, for a
        small image and up to 254 segments: its values are the labels, 0 is transparent, and its palette has the mean
        colours where three bands of 8 bits are used.
    overwrite : bool, default=False
        Whether what is at ``output`` may be replaced.
    axes : str, optional
        What the axes are, a letter each: time T, planes Z, lines Y, columns X, bands C; lines and columns at least, in
        any order, such as ``'YXC'``, ``'ZYX'`` or ``'TCYX'``. Needed where it is not certain, which it is of two axes,
        and of three if either the first or the last has at most 4 places, and the others at least 32.
    bands : sequence of int or str, optional
        Bands to use, counted from 0, or by name where they have names; all by default.
    nodata : number, optional
        A pixel with this value, or NaN, in any used band is nodata: it is not learnt from, and its label is 0.
    mask : array-like, dask or zarr array of bool, of the shape of the labels, optional
        True where a pixel is nodata.
    colour : {'lab'}, optional
        Learn L*, a* and b* of three bands, which are red, green and blue of sRGB (under D65; through scikit-image), in
        uint8, uint16, or floats from 0 to 1.
    window : int, optional
        Learn, beside each band, its mean and its standard deviation over a square of so many lines and columns, an odd
        number, around the pixel; over a cube where there are planes. Pixels that are nodata are left out.
    coordinates : float, optional
        Learn, beside the bands, where a pixel is: its line and column, the longer side of the image counting as so many
        units of the other features, and its plane, all planes counting as many.
    scaling : {'standard'} or Scaling, optional
        Divide each feature but the coordinates, less its mean, by its standard deviation over the image, for which it
        is read once more where it was not counted; or the scaling of an earlier segmentation, as in
        ``features.scaling``.
    model : GaussianMixture or path, optional
        A fitted model, or a file that it was saved to. Nothing is fitted then: label i is its component i − 1.
    order : {'brightness', 'weight'}, default='brightness'
        Which segment is the first: that with the lowest mean over the bands (of L* where ``colour`` is Lab), or that
        with the largest weight.
    covariance_type, n_init, max_iter, tol, random_state
        As in `GaussianMixture`, with its defaults.
    reg_covar : float, optional
        Added to every variance, squared units of the features. By default 1/12 for integers: rounding to whole numbers
        took as much away, and without it a component could shrink to one value with an infinite density. As much in
        their units for Lab (where a grey level of 8 bits is 100/255 of lightness) and for scaled features (by the
        largest of their variances, and at least 1e-6). 1e-6 for floats.
    verbose : int, default=0
        With 1, progress bars.

    Returns
    -------
    Segmentation
        ``labels``, ``model``, ``features`` and ``table``.

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
    target = None if output is None else _checked_output(output, overwrite)
    if target is None and overwrite:
        raise InputError("overwrite=True replaces what is at output, which is not given; leave it out.")

    from streamgmm.images.counting import Counted, countable
    from streamgmm.images.features import Features, features_of, numbered
    from streamgmm.images.image import NO_PIXEL, Image
    from streamgmm.images.opening import opened, place
    from streamgmm.images.picture import check_picture

    given = _given_scaling(scaling, fitted)
    features = Features(numbered(bands, None), colour, window, coordinates, given)
    array, axes = opened(image, axes)
    if target is not None and target.resolve() in {path.resolve() for path in map(place, (image, array)) if path}:
        raise InputError(f"{target} is the image; write the labels somewhere else.")
    pixels = Image.of(array, axes=axes, bands=features.bands, nodata=nodata, mask=mask)
    features.check(pixels.n_bands, pixels.dtype)
    if fitted is not None:
        _check_model(fitted, pixels, features)
    if target is not None and target.suffix.lower() == PICTURE:
        check_picture(pixels.shape, k)
    counted = None
    if features.pointwise and countable(pixels.dtype, pixels.n_bands):
        counted = Counted.of(pixels.rows(counted=False))
        if not len(counted.values):
            raise InputError(NO_PIXEL)
    if fitted is None and scaling == STANDARD:
        features = _scaled(pixels, counted, features)
    learnt = features_of(pixels, features)
    if counted is None:
        learnt = learnt.held()
    if fitted is None:
        fitted = _fitted(pixels, counted, features, learnt, k, chosen, verbose)
    return _labelled(pixels, counted, features, learnt, fitted, target, overwrite, verbose)


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


def _given_scaling(scaling: str | Scaling | None, fitted: GaussianMixture | None) -> Scaling | None:
    """A scaling that is there before the image is read."""
    if scaling is None or not isinstance(scaling, str):
        return scaling
    if scaling != STANDARD:
        raise InputError(f"scaling={scaling!r} is not known; pass {STANDARD!r}, or the scaling of a segmentation.")
    if fitted is not None:
        raise InputError(
            f"model is given, and its features may not be scaled anew by scaling={STANDARD!r}; pass the scaling that "
            "it was fitted with, features.scaling of its segmentation."
        )
    return None


def _check_model(fitted: GaussianMixture, pixels: Image, features: Features) -> None:
    """Refuse a model of other features, as far as their number says so."""
    n_features = features.n_features(pixels.n_bands, pixels.axes)
    if fitted.n_features_in_ == n_features:
        return
    if features.plain:
        raise InputError(
            f"The model is of {fitted.n_features_in_} bands, and the image has {pixels.n_bands} that are used; choose "
            "as many, in the same order, by bands=."
        )
    raise InputError(
        f"The model is of {fitted.n_features_in_} features, and {n_features} are made of the image; choose the same by "
        "bands=, colour=, window= and coordinates=."
    )


def _scaled(pixels: Image, counted: Counted | None, features: Features) -> Features:
    """The same features on the scale that they have over the pixels that are not nodata."""
    from streamgmm.images.features import Scaling, standardized

    if counted is None:
        return standardized(pixels, features)
    return replace(features, scaling=Scaling.of(counted.source(features.of_rows(counted.values))))


def _fitted(
    pixels: Image,
    counted: Counted | None,
    features: Features,
    learnt: Image,
    n_segments: int,
    chosen: dict[str, Any],
    verbose: int,
) -> GaussianMixture:
    """A mixture of the pixels that are not nodata, its components in the order of the segments."""
    floor = features.rounding(pixels.dtype)
    settings: dict[str, Any] = {} if floor is None else {"reg_covar": floor}
    settings |= {name: value for name, value in chosen.items() if name != "order"}
    if counted is not None and len(counted.values) < max(2, n_segments):
        raise InputError(
            f"The image has {len(counted.values)} distinct values, of which {n_segments} segments cannot be made; "
            "pass a smaller n_segments, or label the values themselves."
        )
    model = GaussianMixture(n_segments, verbose=verbose, **settings)
    if counted is None:
        model.fit(learnt.rows())
    else:
        model.fit(counted.source(features.of_rows(counted.values)))
    brightness = features.brightness(model.means_, pixels.n_bands)
    return reordered(model, placed(model, chosen.get("order", ORDERS[0]), brightness))


def _labelled(
    pixels: Image,
    counted: Counted | None,
    features: Features,
    learnt: Image,
    model: GaussianMixture,
    target: Path | None,
    overwrite: bool,
    verbose: int,
) -> Segmentation:
    """Labels of all pixels by a fitted model, where they are wanted."""
    from streamgmm.images.labelling import Labelling, label_dtype

    k = len(model.means_)
    dtype = label_dtype(k)
    labelling: Any = Labelling.by(model, dtype)
    known = None
    if counted is None:
        lazy = learnt.map(labelling, dtype)
    else:
        labels = labelling(features.of_rows(counted.values))
        known = np.bincount(labels, weights=counted.counts, minlength=k + 1).astype(np.int64)
        lazy = pixels.map(counted.table(labels), dtype)
    if target is None:
        return Segmentation(lazy.compute() if pixels.at_hand else lazy, model, features, known)

    if target.suffix.lower() == PICTURE:
        from streamgmm.images.picture import palette, write_picture

        written = lazy.compute()
        colours = palette(features.bands_of(model.means_, pixels.n_bands, pixels.dtype), pixels.dtype)
        write_picture(written if pixels.axes == "YX" else written.T, colours, target, overwrite=overwrite)
        return Segmentation(written, model, features, known)

    import dask
    import zarr

    from streamgmm.results import Record, write

    # what is written to is held by this process: the workers of a cluster could not share it
    with rows_bar(pixels.shape[0], "labels", shown=bool(verbose)) as bar, dask.config.set(scheduler="threads"):
        write(lazy, target, Record.of("segments", model, learnt.pixels()), overwrite=overwrite, wrote=bar.update)
    return Segmentation(zarr.open_array(target, mode="r"), model, features, known)


def _checked_output(output: str | PathLike[str], overwrite: bool) -> Path:
    """Fail before the work, not after it."""
    path = Path(fspath(output))
    if path.suffix.lower() not in (".zarr", PICTURE):
        raise InputError(f"output={fspath(output)!r} ends neither in .zarr nor in {PICTURE}; choose one of these.")
    if not path.parent.is_dir():
        raise FileNotFoundError(ENOENT, strerror(ENOENT), str(path.parent))
    if path.exists() and not overwrite:
        raise FileExistsError(EEXIST, "it exists; choose another name, or pass overwrite=True (--overwrite)", str(path))
    return path
