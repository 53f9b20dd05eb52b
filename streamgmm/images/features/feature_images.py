"""Images of features, computed block by block; independent of how the image is cut, to the last bit."""

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
from streamgmm.images.features.local_windows import compute_window_reach, iter_local_moments
from streamgmm.images.features.scaling import Scaling
from streamgmm.images.image import NO_VALID_PIXEL, Image, check_finite, describe_pixel, find_nodata
from streamgmm.images.image_chunks import Chunks, chunk_start
from streamgmm.images.image_limits import LIMITS
from streamgmm.images.reading.axis_names import SPATIAL_AXES


def compute_features(image: Image, features: Features) -> Image:
    """Return a lazy image whose bands are the features; NaN where a pixel is nodata.

    Each block is read together with the pixels its windows reach.

    Examples
    --------
    >>> image = Image.from_array(np.array([[1.0, 3.0, np.nan, 7.0]]))
    >>> compute_features(image, Features(window=3)).values.compute()[0].T
    array([[ 1.,  3., nan,  7.],
           [ 2.,  2., nan,  7.],
           [ 1.,  1., nan,  0.]])
    """
    features.check(image.n_bands, image.dtype)
    if features.is_identity:
        return image
    n_features, dtype = features.n_features(image.n_bands, image.axes), features.dtype(image.dtype)
    reach = compute_window_reach(image.axes, features.window)
    block_bytes = LIMITS.memory_block_bytes if image.in_memory else LIMITS.feature_block_bytes
    image_blocks = image.rechunk(max(1, block_bytes // (n_features * dtype.itemsize)), reach)
    values, mask = image_blocks.read_with_margin(reach)
    compute = partial(
        _compute_block,
        features=features,
        nodata=image.nodata,
        axes=image_blocks.axes,
        chunks=image_blocks.chunks,
        shape=image_blocks.shape,
        dtype=dtype,
    )
    arrays = [values] if mask is None else [values, mask[..., None]]
    chunks, meta = (*image_blocks.chunks, (n_features,)), np.empty((0,) * values.ndim, dtype)
    lazy = da.map_blocks(compute, *arrays, chunks=chunks, dtype=dtype, meta=meta)
    return Image(lazy, image.axes, None, None, image.in_memory, origin=image_blocks)


def fit_scaling(images: Sequence[Image], features: Features) -> Scaling:
    """Measure mean and deviation of all features but the coordinates over the pixels of images, in one reading."""
    unscaled = replace(features, coordinates=None, scaling=None)
    return Scaling.from_source(concatenate_rows([compute_features(image, unscaled) for image in images], counted=False))


def concatenate_rows(images: Sequence[Image], *, counted: bool = True) -> Source:
    """Return the valid pixels of several images, one image after the other; see `Image.to_rows`.

    Raises InputError, if they are counted and all pixels of all images are nodata.
    """
    if len(images) == 1:
        return images[0].to_rows(counted=counted)
    rows = da.concatenate([image.to_rows(counted=False).array for image in images], allow_unknown_chunksizes=True)
    if counted:
        rows = rows.compute_chunk_sizes()
        if not len(rows):
            raise InputError(NO_VALID_PIXEL)
    return from_dask(rows, kind="images")


def _compute_block(
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
    """Compute the features of a block that was read with its surroundings."""
    reach, first = compute_window_reach(axes, features.window), chunk_start(chunks, block_id)
    is_nodata = find_nodata(block, mask, nodata)
    valid = np.ones(block.shape[:-1], np.bool_) if is_nodata is None else ~is_nodata
    _check_values(block, valid, features, axes, [max(0, start - n) for start, n in zip(first, reach, strict=True)])
    size = [along[index] for along, index in zip(chunks, block_id, strict=False)]
    inner = tuple(
        slice(min(pixels, start), min(pixels, start) + length)
        for pixels, start, length in zip(reach, first, size, strict=True)
    )
    bands = block
    if features.colour is not None:
        colours = features.convert_colour(block[valid])
        bands = np.zeros(block.shape, colours.dtype)
        bands[valid] = colours
    n_bands = block.shape[-1]
    out = np.empty((*size, features.n_features(n_bands, axes)), dtype)
    for band in range(n_bands):
        out[..., band] = features.scale(bands[..., band][inner], band)
    if features.window is not None:
        for band, moments in enumerate(iter_local_moments(bands, valid, axes, features.window, inner)):
            for feature, moment in zip((n_bands + band, 2 * n_bands + band), moments, strict=True):
                out[..., feature] = features.scale(moment, feature)
    if features.coordinates is not None:
        positions = _relative_positions(axes, first, size, shape)
        out[..., features.n_scaled(n_bands) :] = features.coordinates * positions
    if is_nodata is not None:
        out[is_nodata[inner]] = np.nan
    return out


def _check_values(
    block: NDArray[Any], valid: NDArray[np.bool_], features: Features, axes: str, start: list[int]
) -> None:
    """Raise an error that names the first valid pixel whose value cannot be used."""
    check_finite(block, ~valid, axes, start)
    if features.colour is not None and block.dtype.kind == "f":
        refused = np.any((block < 0) | (block > 1), axis=-1) & valid
        if refused.any():
            raise InputError(
                f"colour={features.colour!r} needs floats from 0 to 1, and the image holds "
                f"{', '.join(f'{value:g}' for value in block[refused][0])} at {describe_pixel(axes, start, refused)}; "
                "divide it by its largest possible value, or convert it to uint8."
            )


def _relative_positions(axes: str, first: list[int], size: list[int], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the centres of pixels along each spatial axis; the longer of rows and columns extends from 0 to 1."""
    longest = max(shape[axes.index(name)] for name in "YX")
    positions = []
    for axis, name in sorted(enumerate(axes), key=lambda item: SPATIAL_AXES.find(item[1])):
        if name in SPATIAL_AXES:
            along = (first[axis] + 0.5 + np.arange(size[axis])) / (shape[axis] if name == "Z" else longest)
            positions.append(np.broadcast_to(along.reshape([-1 if a == axis else 1 for a in range(len(axes))]), size))
    return np.stack(positions, axis=-1)
