"""Features of the pixels of an image, block by block: they are an image again, of as many bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from streamgmm.data.sources import Source
from streamgmm.data.sources.dask_arrays import from_dask
from streamgmm.errors import InputError
from streamgmm.images.features.features import Features
from streamgmm.images.features.scaling import Scaling
from streamgmm.images.features.windows import reach_of, surroundings
from streamgmm.images.image import NO_VALID_PIXEL, Image, check_finite, describe_pixel, find_nodata
from streamgmm.images.image_chunks import Chunks, chunk_start
from streamgmm.images.reading.axis_names import SPATIAL_AXES

BLOCK_BYTES = 2**26  # of the features of a block; for larger ones less of their surroundings is read twice
AT_HAND_BYTES = 2**22  # of an image in memory, of which all threads shall have a part


def features_of(image: Image, features: Features) -> Image:
    """The features as bands, lazily; NaN where a pixel is nodata.

    Blocks are cut anew where they are not those of a dask array, and each is read together with what its windows reach.
    The results do not depend on how an image is cut, to the last bit.

    Examples
    --------
    >>> image = Image.from_array(np.array([[1.0, 3.0, np.nan, 7.0]]))
    >>> features_of(image, Features(window=3)).values.compute()[0].T
    array([[ 1.,  3., nan,  7.],
           [ 2.,  2., nan,  7.],
           [ 1.,  1., nan,  0.]])
    """
    features.check(image.n_bands, image.dtype)
    if features.plain:
        return image
    n_features, dtype = features.n_features(image.n_bands, image.axes), features.dtype(image.dtype)
    reach = reach_of(image.axes, features.window)
    most = AT_HAND_BYTES if image.in_memory else BLOCK_BYTES
    cut = image.rechunk(max(1, most // (n_features * dtype.itemsize)), reach)
    values, mask = cut.read_with_margin(reach)
    made = partial(
        _features,
        features=features,
        nodata=image.nodata,
        axes=cut.axes,
        chunks=cut.chunks,
        shape=cut.shape,
        dtype=dtype,
    )
    arrays = [values] if mask is None else [values, mask[..., None]]
    chunks, meta = (*cut.chunks, (n_features,)), np.empty((0,) * values.ndim, dtype)
    lazy = da.map_blocks(made, *arrays, chunks=chunks, dtype=dtype, meta=meta)
    return Image(lazy, image.axes, None, None, image.in_memory, origin=cut)


def standardized(images: Sequence[Image], features: Features) -> Features:
    """The same features, all but the coordinates on the scale that they have over all pixels of images; one pass."""
    unscaled = replace(features, coordinates=None, scaling=None)
    rows = rows_together([features_of(image, unscaled) for image in images], counted=False)
    return replace(features, scaling=Scaling.of(rows))


def rows_together(images: Sequence[Image], *, counted: bool = True) -> Source:
    """The pixels of several images that are not nodata, one image after the other; see `Image.to_rows`.

    An image may be all nodata, but not every one; InputError then, if they are counted.
    """
    if len(images) == 1:
        return images[0].to_rows(counted=counted)
    rows = [image.to_rows(counted=False).array for image in images]
    together = da.concatenate(rows, allow_unknown_chunksizes=True)
    if counted:
        together = together.compute_chunk_sizes()
        if not len(together):
            raise InputError(NO_VALID_PIXEL)
    return from_dask(together, kind="images")


def _features(
    block: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    *,
    block_id: tuple[int, ...],
    features: Features,
    nodata: float | None,
    axes: str,
    chunks: Chunks,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Features of a block that was read with what lies around it."""
    reach, first = reach_of(axes, features.window), chunk_start(chunks, block_id)
    without = find_nodata(block, mask, nodata)
    _check(block, without, features, axes, [max(0, start - pixels) for start, pixels in zip(first, reach, strict=True)])
    valid = np.ones(block.shape[:-1], np.bool_) if without is None else ~without
    size = [along[index] for along, index in zip(chunks, block_id, strict=False)]
    inner = tuple(
        slice(min(pixels, start), min(pixels, start) + length)
        for pixels, start, length in zip(reach, first, size, strict=True)
    )
    bands = block
    if features.colour is not None:
        coloured = features.coloured(block[valid])
        bands = np.zeros(block.shape, coloured.dtype)
        bands[valid] = coloured
    out = np.empty((*size, features.n_features(block.shape[-1], axes)), dtype)
    n_bands = block.shape[-1]
    for band in range(n_bands):
        out[..., band] = features.scaled(bands[..., band][inner], band)
    if features.window is not None:
        for band, moments in enumerate(surroundings(bands, valid, axes, features.window, inner)):
            for feature, fit_state in zip((n_bands + band, 2 * n_bands + band), moments, strict=True):
                out[..., feature] = features.scaled(fit_state, feature)
    if features.coordinates is not None:
        out[..., features.n_scaled(n_bands) :] = features.coordinates * _coordinates(axes, first, size, shape)
    if without is not None:
        out[without[inner]] = np.nan
    return out


def _check(
    block: NDArray[Any],
    without: NDArray[np.bool_] | None,
    features: Features,
    axes: str,
    start: Sequence[int],
) -> None:
    """Refuse a pixel whose value cannot be used, and say where it is."""
    check_finite(block, without, axes, start)
    if features.colour is not None and block.dtype.kind == "f":
        refused = np.any((block < 0) | (block > 1), axis=-1) & (True if without is None else ~without)
        if refused.any():
            raise InputError(
                f"colour={features.colour!r} needs floats from 0 to 1, and the image holds "
                f"{', '.join(f'{value:g}' for value in block[refused][0])} at {describe_pixel(axes, start, refused)}; "
                "divide it by its largest possible value, or convert it to uint8."
            )


def _coordinates(axes: str, first: list[int], size: list[int], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Middles of pixels along each axis that has neighbours; the longer of lines and columns is from 0 to 1."""
    longest = max(shape[axes.index(name)] for name in "YX")
    found = []
    for name in SPATIAL_AXES:
        if name in axes:
            axis = axes.index(name)
            unit = shape[axis] if name == "Z" else longest
            along = (first[axis] + 0.5 + np.arange(size[axis])) / unit
            found.append(np.broadcast_to(np.expand_dims(along, [a for a in range(len(axes)) if a != axis]), size))
    return np.stack(found, axis=-1)
