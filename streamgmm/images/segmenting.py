"""segment(): an image, a number of segments, and labels come out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from streamgmm.errors import InputError, InputTypeError
from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.loading import load
from streamgmm.images.mixture import ENOUGH, Sizes, checked_sizes, fitted
from streamgmm.images.ordering import ORDERS
from streamgmm.images.recipe import Preprocessing

if TYPE_CHECKING:  # these load dask and numba
    from streamgmm.images.features import Scaling
    from streamgmm.images.image import Image
    from streamgmm.images.reading.raster import Georeference
    from streamgmm.images.scene import SegmentationJob
    from streamgmm.selection.selection import Selection

TABLE_PASSES = 500  # over a table of distinct values, which take little time however many pixels there are
CERTAINTIES = (False, True, "largest")
STANDARD = "standard"


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
    grid: Georeference | Sequence[Georeference] | None = None,
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
    """Segment an image by the values of its pixels, whatever its size.

    Pixels of one to three bands of 8 bits, or of one of 16 bits, are counted once; the mixture is then fitted to the
    distinct values with their counts, which is the same as to all pixels, and labels are looked up. So are integers of
    more bands or bits, up to 64 bits a pixel, where they have at most 8 million distinct values, and a fourth as many
    as there are pixels; of a large image a few places are looked at first, and it is not counted where these say that
    there are more. Any other image, and any with ``window`` or ``coordinates``, is read block by block, once for each
    pass of EM.

    Parameters
    ----------
    image : path, list of paths, array-like, dask array, zarr array, or xarray DataArray
        Integers or floats; (height, width), or more axes, of which one may be of bands. Paths are of ``.zarr``
        (OME-Zarr too), ``.tif``, ``.npy``, slides (``.svs``, ``.ndpi``), what rasterio opens (GeoTIFF, ``.vrt``,
        ``.jp2``, ``.img``), or pictures of moderate size, ``.png`` or ``.jpg``. Several paths of files of one band each
        are the bands of one image, on one grid, unless ``output`` is a list. Any other list is of several images, of
        one dtype and as many bands: one mixture is fitted to the pixels of all.
    n_segments : int, iterable of int, or 'auto', optional
        Number of segments, k; may be left out where ``model`` is given. Of several numbers, such as ``range(2, 9)``, or
        'auto', 1 to 10, all are fitted in the same readings, and the smallest is taken from which the next gains less
        than 0.01 nats a pixel: of very many pixels, BIC would take the most that there are.
    output : path, or list of paths for a list of images, optional
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
    axes : str, optional
        What the axes are, a letter each: time T, planes Z, lines Y, columns X, bands C; lines and columns at least, in
        any order, such as ``'YXC'``, ``'ZYX'`` or ``'TCYX'``. By default what the format says; needed where it says
        nothing and it is not certain, which it is of two axes, and of three if either the first or the last has at most
        4 places, and the others at least 32.
    level : int, default=0
        Which resolution of an OME-Zarr image, a pyramid in a TIFF, a slide, or the overviews of a GeoTIFF; 0 is the
        finest.
    bands : sequence of int or str, optional
        Bands to use, counted from 0, or by name where they have names; by default all, or those of the ``model``.
    nodata : number, optional
        A pixel with this value, or NaN, in any used band is nodata: it is not learnt from, and its label is 0. By
        default what the format says, or else the ``model``. Where a file has alpha or a mask, what is fully transparent
        is nodata too.
    scaled : bool, default=False
        Whether factors and offsets that a GeoTIFF or a DataArray says are applied, in float32. Without it the numbers
        are as they are stored.
    mask : array-like, dask or zarr array of bool, of the shape of the labels, or list of them for a list, optional
        True where a pixel is nodata.
    grid : streamgmm.images.reading.raster.Georeference, or list of them for a list, optional
        Where pixels lie, by which the table has the areas of the segments; by default what the format says.
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
        A fitted model, or a file that it was saved to. Nothing is fitted then: label i is its component i − 1. One that
        `segment` has fitted knows its features, nodata, order and colours, and the dtype of the image, which must be
        the same.
    order : {'brightness', 'weight'}, default='brightness'
        Which segment is the first: that with the lowest mean over the bands (of L* where ``colour`` is Lab), or that
        with the largest weight.
    covariance_type, n_init, max_iter, tol, random_state
        As in `GaussianMixture`, with its defaults; but up to 500 passes where pixels are counted, since these take
        little time.
    reg_covar : float, optional
        Added to every variance, squared units of the features. By default 1/12 for integers: rounding to whole numbers
        took as much away, and without it a component could shrink to one value with an infinite density. As much in
        their units for Lab (where a grey level of 8 bits is 100/255 of lightness) and for scaled features (by the
        largest of their variances, and at least 1e-6). 1e-6 for floats.
    probabilities : bool or 'largest', default=False
        Whether there shall be, beside the labels, the probability of each segment, or that of the label alone. Where
        the labels are written to ``labels.zarr`` they are to ``labels_probabilities.zarr``, else they are lazy.
    verbose : int, default=0
        With 1, progress bars.

    Returns
    -------
    Segmentation, or list of Segmentation for a list of images
        ``labels``, ``model``, ``features`` and ``table``, what it can `~Segmentation.plot` and `~Segmentation.save`.

    Raises
    ------
    InputError
        The image or an argument cannot be used; a ValueError. The message says what, where, and the remedy.
    ImportError
        What opens or writes a format is not installed.
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
    _check_options(chosen, probabilities)
    if output is None and (overwrite or ome_version is not None):
        raise InputError("overwrite and ome_version are of output, which is not given; leave them out.")
    given = None if model is None else _given(model, chosen)
    sizes = _checked_sizes(n_segments, given)
    recipe = None if given is None else Preprocessing.of(given)
    wanted = {"bands": bands, "colour": colour, "window": window, "coordinates": coordinates, "scaling": scaling}
    wanted = _checked_features(wanted, given, recipe)

    from streamgmm.images.scene import on_one_scale, with_tables

    each, several = _paired(image, output, mask, grid)
    scenes = _scenes(
        each,
        bool(probabilities),
        {"overwrite": overwrite, "ome_version": ome_version},
        wanted={**wanted, "scaling": None if scaling == STANDARD else wanted["scaling"]},
        axes=axes,
        level=level,
        nodata=nodata,
        otherwise=None if recipe is None else recipe.nodata,
        scaled=scaled,
    )
    _check_alike(scenes, sizes)
    if given is not None:
        _check_fits(given, recipe, scenes[0])
    scenes = with_tables(scenes, learning=given is None)
    if scaling == STANDARD:
        scenes = on_one_scale(scenes)
    learnt = [scene.learnt.persist() if scene.counted is None else scene.learnt for scene in scenes]
    selection = None
    if given is None:
        given, selection = _fitted(scenes, learnt, sizes, chosen, verbose)
    if recipe is None:
        recipe = _recipe_of(scenes[0], given, chosen.get("order", ORDERS[0]) if model is None else None)
        given = copy(given)
        given._recipe = recipe.written()
    found = [
        replace(scene.segmented(given, recipe, features, probabilities, verbose), selection=selection)
        for scene, features in zip(scenes, learnt, strict=True)
    ]
    return found if several else found[0]


def _scenes(
    each: Sequence[tuple[Any, Any, Any, Any]], certain: bool, writing: Mapping[str, Any], **reading: Any
) -> list[SegmentationJob]:
    """Scenes of images with their outputs, masks and grids, none of which is written to what another is read from."""
    from streamgmm.images.scene import SegmentationJob, beside_labels
    from streamgmm.images.writers import ZARR, Output

    targets = [None if output is None else Output.of(output, **writing) for _, output, _, _ in each]
    written = [target for target in targets if target is not None]
    if certain:
        besides = [beside_labels(target) for target in written if target.kind == ZARR]
        written += [Output.of(one.path, overwrite=one.overwrite) for one in besides]
    scenes = [
        SegmentationJob.of(image, mask=mask, grid=grid, target=target, **reading)
        for (image, _, mask, grid), target in zip(each, targets, strict=True)
    ]
    sources = {source for scene in scenes for source in scene.sources}
    for target in written:
        if any(map(target.replaces, sources)):
            raise InputError(f"{target.path} is the image, or holds it; write the labels somewhere else.")
    if len({target.path.resolve() for target in written}) < len(written):
        raise InputError("Two images have the same output; pass a path of its own for each.")
    return scenes


def _fitted(
    scenes: Sequence[SegmentationJob], learnt: Sequence[Image], sizes: Sizes, chosen: dict[str, Any], verbose: int
) -> tuple[GaussianMixture, Selection | None]:
    """One mixture of all images, and what others of other sizes have come to where there were several."""
    from streamgmm.images.scene import rows_of

    rows, first = rows_of(scenes, learnt), scenes[0]
    possible, settings = sizes, chosen
    if first.counted is not None:
        possible, settings = _distinct_sizes(sizes, rows.n_rows or 0), {"max_iter": TABLE_PASSES, **chosen}
    brightness = partial(first.features.brightness, n_bands=first.pixels.n_bands)
    floor = first.features.rounding(first.pixels.dtype)
    model, selection = fitted(rows, possible, floor, brightness, settings, verbose)
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


def _checked_features(
    wanted: dict[str, Any], given: GaussianMixture | None, recipe: Preprocessing | None
) -> dict[str, Any]:
    """What of a pixel is to be learnt: what a model knows of itself need not be said, and cannot be said otherwise."""
    scaling = wanted["scaling"]
    if isinstance(scaling, str) and scaling != STANDARD:
        raise InputError(f"scaling={scaling!r} is not known; pass {STANDARD!r}, or the scaling of a segmentation.")
    if recipe is not None:
        known = {name: getattr(recipe.features, name) for name in wanted}
        for name, value in wanted.items():
            if name != "bands" and value is not None and value != known[name]:
                raise InputError(
                    f"The model has learnt with {name}={known[name]!r}, and {name}={value!r} was asked for; leave "
                    f"{name} out, or fit another one."
                )
        return known if wanted["bands"] is None else {**known, "bands": wanted["bands"]}
    if given is not None and scaling == STANDARD:
        raise InputError(
            f"model is given, and its features may not be scaled anew by scaling={STANDARD!r}; pass the scaling that "
            "it was fitted with, features.scaling of its segmentation."
        )
    return wanted


def _check_options(chosen: Mapping[str, Any], probabilities: Any) -> None:
    """Refuse what is not known, before anything is opened."""
    if chosen.get("order", ORDERS[0]) not in ORDERS:
        raise InputError(f"order={chosen['order']!r} is not known; pass one of {', '.join(map(repr, ORDERS))}.")
    if probabilities not in CERTAINTIES:
        raise InputError(f"probabilities={probabilities!r} is not known; pass True, False or 'largest'.")


def _paired(image: Any, output: Any, mask: Any, grid: Any) -> tuple[list[tuple[Any, Any, Any, Any]], bool]:
    """Each image with its output, mask and grid, and whether these were several images."""
    from streamgmm.images.reading import is_band_list

    separate = isinstance(output, list | tuple)
    several = _are_several(image) and (separate or not is_band_list(image))
    n_images = len(image) if several else None
    others = (_each(value, name, n_images) for name, value in (("output", output), ("mask", mask), ("grid", grid)))
    return list(zip(image if several else [image], *others, strict=True)), several


def _are_several(image: Any) -> bool:
    """Whether these may be several images, each an array or a path; a list of numbers is an array itself."""
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


def _check_alike(scenes: Sequence[SegmentationJob], sizes: Sizes) -> None:
    """Refuse, before the work, images of which there cannot be one mixture, and labels that cannot be written."""
    first = scenes[0]
    for place, scene in enumerate(scenes):
        one, other = ((s.pixels.n_bands, s.pixels.dtype, _n_features(s)) for s in (scene, first))
        if one != other:
            raise InputError(
                f"Image {place} has {one[0]} bands of {one[1]}, and image 0 has {other[0]} of {other[1]}; pass images "
                "of one kind, or segment them one by one."
            )
        if scene.target is not None:
            scene.target.check(scene.pixels.shape, sizes if isinstance(sizes, int) else sizes[-1], scene.grid)


def _n_features(scene: SegmentationJob) -> int:
    return scene.features.n_features(scene.pixels.n_bands, scene.pixels.axes)


def _check_fits(given: GaussianMixture, recipe: Preprocessing | None, scene: SegmentationJob) -> None:
    """Refuse an image that a model is not of."""
    n_features, n_bands = _n_features(scene), scene.pixels.n_bands
    if given.n_features_in_ != n_features and scene.features.plain:
        raise InputError(
            f"The model is of {given.n_features_in_} bands, and the image has {n_bands} that are used; choose as many, "
            "in the same order, by bands=."
        )
    if given.n_features_in_ != n_features:
        raise InputError(
            f"The model is of {given.n_features_in_} features, and {n_features} are made of the image; choose the same "
            "by bands=, colour=, window= and coordinates=."
        )
    if recipe is not None:
        recipe.check(scene.pixels.dtype, scene.names, scene.scale)


def _distinct_sizes(sizes: Sizes, n_values: int) -> Sizes:
    """Numbers of segments that can be made of so many distinct values; InputError where there is none."""
    possible = sizes if isinstance(sizes, int) else tuple(size for size in sizes if size <= n_values)
    least = sizes if isinstance(sizes, int) else sizes[0]
    if n_values == 1:
        raise InputError("The image has the same value everywhere, which leaves nothing to segment.")
    if n_values < least:
        raise InputError(
            f"The image has {n_values} distinct values, of which {least} segments cannot be made; pass a smaller "
            "n_segments, or label the values themselves."
        )
    return possible


def _recipe_of(scene: SegmentationJob, model: GaussianMixture, order: str | None) -> Preprocessing:
    """What is to be kept of how an image was segmented."""
    from streamgmm.images.picture import palette

    dtype = scene.pixels.dtype
    means = scene.features.bands_of(model.means_, scene.pixels.n_bands, dtype)
    return Preprocessing(
        dtype=dtype.name,
        features=scene.features,
        names=scene.names,
        nodata=scene.pixels.nodata,
        scale=scene.scale,
        order=order,
        palette=tuple((int(red), int(green), int(blue)) for red, green, blue in palette(means, dtype)),
    )
