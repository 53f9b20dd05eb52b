"""segment(): an image, a number of segments, and labels come out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from errno import EEXIST, ENOENT
from os import PathLike, fspath, strerror
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from streamgmm.errors import InputError, InputTypeError
from streamgmm.estimator import GaussianMixture
from streamgmm.images.mixture import ENOUGH, Sizes, checked_sizes, fitted
from streamgmm.images.ordering import ORDERS
from streamgmm.images.recipe import Recipe
from streamgmm.loading import load

if TYPE_CHECKING:  # this loads dask and numba
    from streamgmm.images.scene import Scene
    from streamgmm.selection import Selection

PICTURE = ".png"
TABLE_PASSES = 500  # over a table of distinct values, which take little time however many pixels there are
CERTAINTIES = (False, True, "largest")


def segment(
    image: Any,
    n_segments: Any = None,
    *,
    output: Any = None,
    overwrite: bool = False,
    axes: str | None = None,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    mask: Any = None,
    grid: Any = None,
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
    """Segment an image by the values of its pixels, whatever its size.

    Pixels of one to three bands of 8 bits, or of one of 16 bits, are counted once; the mixture is then fitted to the
    distinct values with their counts, which is the same as to all pixels, and labels are looked up. Any other image is
    read block by block, a few times.

    Parameters
    ----------
    image : array-like, dask array, zarr array, or path; (height, width), or three axes of which one is of bands
        Integers or floats. Paths are of ``.zarr``, ``.npy``, or pictures of moderate size, ``.png`` or ``.jpg``. Or a
        list of such arrays or paths, of one dtype and as many bands: one mixture is fitted to the pixels of all.
    n_segments : int, iterable of int, or 'auto', optional
        Number of segments, k; may be left out where ``model`` is given. Of several numbers, such as ``range(2, 9)``, or
        'auto', 1 to 10, all are fitted in the same readings, and the smallest is taken from which the next gains less
        than 0.01 nats a pixel: of very many pixels, BIC would take the most that there are.
    output : path, or list of paths for a list of images, optional
        ``.zarr`` to write the labels to, by this process, which appears once it is complete. A process that was stopped
        is gone on with by the same call, if that has an integer for ``random_state``, or ``model``. Or ``.png``, for a
        small image and up to 254 segments: its values are the labels, 0 is transparent, and its palette has the mean
        colours where three bands of 8 bits are used.
    overwrite : bool, default=False
        Whether what is at ``output`` may be replaced.
    axes : {'YX', 'YXC', 'CYX', 'YCX'}, optional
        What the axes are: lines Y, columns X, bands C. Needed where it is not certain, which it is of three axes if
        either the first or the last has at most 4 places, and the others at least 32.
    bands : sequence of int, optional
        Bands to use, counted from 0; by default all, or those of the ``model``.
    nodata : number, optional
        A pixel with this value, or NaN, in any used band is nodata: it is not learnt from, and its label is 0. By
        default that of the ``model``.
    mask : array-like, dask or zarr array of bool, shape (height, width), or list of them for a list, optional
        True where a pixel is nodata.
    grid : object with ``pixel_size``, or list of them for a list, optional
        Where pixels lie: the area of one, with its unit, by which the table has the areas of the segments.
    model : GaussianMixture or path, optional
        A fitted model, or a file that it was saved to. Nothing is fitted then: label i is its component i − 1. One that
        `segment` has fitted knows its bands, nodata, order and colours, and the dtype of the image, which must be the
        same.
    order : {'brightness', 'weight'}, default='brightness'
        Which segment is the first: that with the lowest mean over the bands, or that with the largest weight.
    covariance_type, n_init, max_iter, tol, random_state
        As in `GaussianMixture`, with its defaults; but up to 500 passes where pixels are counted, since these take
        little time.
    reg_covar : float, optional
        Added to every variance, squared units of the image. By default 1/12 for integers: rounding to whole numbers
        took as much away, and without it a component could shrink to one value with an infinite density. 1e-6 for
        floats.
    probabilities : bool or 'largest', default=False
        Whether there shall be, beside the labels, the probability of each segment, or that of the label alone. Where
        the labels are written to ``labels.zarr`` they are to ``labels_probabilities.zarr``.
    verbose : int, default=0
        With 1, progress bars.

    Returns
    -------
    Segmentation, or list of Segmentation for a list of images
        ``labels``, ``model`` and ``table``, what it can `~Segmentation.plot` and `~Segmentation.save`.

    Raises
    ------
    InputError
        The image or an argument cannot be used; a ValueError. The message says what, where, and the remedy.
    ResultError
        Another process is writing to ``output``.
    OSError
        ``output`` exists, or cannot be written.

    Warns
    -----
    UserWarning
        The largest of several numbers of segments was taken, and more may be better.

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
    given = None if model is None else _given(model, chosen)
    sizes = _checked_sizes(n_segments, given)
    if chosen.get("order", ORDERS[0]) not in ORDERS:
        raise InputError(f"order={order!r} is not known; pass one of {', '.join(map(repr, ORDERS))}.")
    if probabilities not in CERTAINTIES:
        raise InputError(f"probabilities={probabilities!r} is not known; pass True, False or 'largest'.")
    recipe = None if given is None else Recipe.of(given)
    if recipe is not None:
        bands = recipe.bands if bands is None else bands
        nodata = recipe.nodata if nodata is None else nodata
    n_images = len(image) if _are_several(image) else None
    each = zip(
        image if n_images else [image],
        _each(output, "output", n_images),
        _each(mask, "mask", n_images),
        _each(grid, "grid", n_images),
        strict=True,
    )
    scenes = _scenes(list(each), overwrite, bool(probabilities), axes=axes, bands=bands, nodata=nodata)
    _check_alike(scenes, sizes)
    if given is not None:
        _check_fits(given, recipe, scenes[0])
    scenes = [scene.with_table() for scene in scenes]
    selection = None
    if given is None:
        given, selection = _fitted(scenes, sizes, chosen, verbose)
    if recipe is None:
        recipe = _recipe_of(scenes[0], given, bands, chosen.get("order", ORDERS[0]) if model is None else None)
        given = copy(given)
        given._recipe = recipe.written()
    found = [scene.segmented(given, recipe, probabilities, overwrite, verbose) for scene in scenes]
    found = [replace(one, selection=selection) for one in found]
    return found if n_images else found[0]


def _scenes(each: Sequence[tuple[Any, Any, Any, Any]], overwrite: bool, certain: bool, **pixels: Any) -> list[Scene]:
    """Scenes of images with their outputs, masks and grids, none of which is written to what another is read from."""
    paths = [None if output is None else _checked_output(output, overwrite) for _, output, _, _ in each]
    if overwrite and None in paths:
        raise InputError("overwrite=True replaces what is at output, which is not given; leave it out.")

    from streamgmm.images.scene import Scene, beside_labels

    written = [path for path in paths if path is not None]
    if certain:
        zarrs = [path for path in written if path.suffix.lower() != PICTURE]
        written += [_checked_output(beside_labels(path), overwrite) for path in zarrs]
    scenes = [
        Scene.of(image, mask=mask, grid=grid, target=path, **pixels)
        for (image, _, mask, grid), path in zip(each, paths, strict=True)
    ]
    sources = {source for scene in scenes for source in scene.sources}
    for path in written:
        if path.resolve() in sources:
            raise InputError(f"{path} is the image; write the labels somewhere else.")
    if len({path.resolve() for path in written}) < len(written):
        raise InputError("Two images have the same output; pass a path of its own for each.")
    return scenes


def _fitted(
    scenes: Sequence[Scene], sizes: Sizes, chosen: dict[str, Any], verbose: int
) -> tuple[GaussianMixture, Selection | None]:
    """One mixture of all images, and what others of other sizes have come to where there were several."""
    from streamgmm.images.scene import rows_of

    rows, dtype = rows_of(scenes), scenes[0].pixels.dtype
    if scenes[0].counted is None:
        model, selection = fitted(rows, sizes, dtype, chosen, verbose)
    else:
        possible = _distinct_sizes(sizes, rows.n_rows or 0)
        model, selection = fitted(rows, possible, dtype, {"max_iter": TABLE_PASSES, **chosen}, verbose)
    if isinstance(sizes, tuple) and len(sizes) > 1 and len(model.means_) == sizes[-1]:
        warnings.warn(
            f"{sizes[-1]} segments, the most that were tried, still gain {ENOUGH} nats a pixel or more over the next "
            f"fewer; pass a range with more, such as n_segments=range({sizes[-1]}, {2 * sizes[-1]}).",
            stacklevel=3,
        )
    return model, selection


def _given(model: GaussianMixture | str | PathLike[str], chosen: dict[str, Any]) -> GaussianMixture:
    """A fitted model, which nothing else may be said of."""
    if chosen:
        raise InputError(f"model is given, so that nothing is fitted; leave out {', '.join(chosen)}.")
    given = load(model) if isinstance(model, str | PathLike) else model
    if not isinstance(given, GaussianMixture):
        raise InputTypeError(f"model is a {type(given).__name__}; pass a streamgmm.GaussianMixture, or its file.")
    check_is_fitted(given, "means_")
    return given


def _checked_sizes(n_segments: Any, given: GaussianMixture | None) -> Sizes:
    """Number of segments, or the numbers to try, as it is given or as a model has it."""
    if given is None:
        return checked_sizes(n_segments)
    k = len(given.means_)
    if n_segments not in (None, k):
        raise InputError(f"The model has {k} components and n_segments is {n_segments}; pass {k}, or leave it out.")
    return k


def _are_several(image: Any) -> bool:
    """Whether these are several images, each an array or a path; a list of numbers is an array itself."""
    if not isinstance(image, list | tuple) or not image:
        return False
    return all(isinstance(one, str | PathLike) or len(getattr(one, "shape", ())) >= 2 for one in image)


def _each(value: Any, name: str, n_images: int | None) -> list[Any]:
    """What is given for each image; for several images as many, or nothing."""
    if n_images is None:
        return [value]
    if value is None:
        return [None] * n_images
    if not isinstance(value, list | tuple) or len(value) != n_images:
        raise InputError(f"{name} is for one image, and {n_images} are given; pass a list of as many.")
    return list(value)


def _check_alike(scenes: Sequence[Scene], sizes: Sizes) -> None:
    """Refuse, before the work, images of which there cannot be one mixture, and labels that cannot be a picture."""
    first = scenes[0].pixels
    for place, scene in enumerate(scenes):
        if (scene.pixels.dtype, scene.pixels.n_bands) != (first.dtype, first.n_bands):
            raise InputError(
                f"Image {place} has {scene.pixels.n_bands} bands of {scene.pixels.dtype}, and image 0 has "
                f"{first.n_bands} of {first.dtype}; pass images of one kind, or segment them one by one."
            )
        if scene.target is not None and scene.target.suffix.lower() == PICTURE:
            from streamgmm.images.picture import check_picture

            check_picture(scene.pixels.shape, sizes if isinstance(sizes, int) else sizes[-1])


def _check_fits(given: GaussianMixture, recipe: Recipe | None, scene: Scene) -> None:
    """Refuse an image that a model is not of."""
    if given.n_features_in_ != scene.pixels.n_bands:
        raise InputError(
            f"The model is of {given.n_features_in_} bands, and the image has {scene.pixels.n_bands} that are used; "
            "choose as many, in the same order, by bands=."
        )
    if recipe is not None:
        recipe.check(scene.pixels.dtype, scene.names, scene.scale)


def _distinct_sizes(sizes: Sizes, n_values: int) -> Sizes:
    """Numbers of segments that can be made of so many distinct values; InputError where there is none."""
    possible = sizes if isinstance(sizes, int) else tuple(size for size in sizes if size <= n_values)
    least = sizes if isinstance(sizes, int) else sizes[0]
    if n_values < max(2, least):
        raise InputError(
            f"The image has {n_values} distinct values, of which {least} segments cannot be made; pass a smaller "
            "n_segments, or label the values themselves."
        )
    return possible


def _recipe_of(scene: Scene, model: GaussianMixture, bands: Sequence[int] | None, order: str | None) -> Recipe:
    """What is to be kept of how an image was segmented."""
    from streamgmm.images.picture import palette

    colours = palette(np.asarray(model.means_), scene.pixels.dtype)
    return Recipe(
        dtype=scene.pixels.dtype.name,
        bands=None if bands is None else tuple(int(band) for band in bands),
        names=scene.names,
        nodata=scene.pixels.nodata,
        scale=scene.scale,
        order=order,
        palette=tuple((int(red), int(green), int(blue)) for red, green, blue in colours),
    )


def _checked_output(output: str | PathLike[str], overwrite: bool) -> Path:
    """Fail before the work, not after it."""
    if not isinstance(output, str | PathLike):
        raise InputTypeError(f"output is a {type(output).__name__}; pass the path of a .zarr or .png for each image.")
    path = Path(fspath(output))
    if path.suffix.lower() not in (".zarr", PICTURE):
        raise InputError(f"output={fspath(output)!r} ends neither in .zarr nor in {PICTURE}; choose one of these.")
    if not path.parent.is_dir():
        raise FileNotFoundError(ENOENT, strerror(ENOENT), str(path.parent))
    if path.exists() and not overwrite:
        raise FileExistsError(EEXIST, "it exists; choose another name, or pass overwrite=True (--overwrite)", str(path))
    return path
