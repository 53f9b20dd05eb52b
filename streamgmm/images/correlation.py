"""Number of independent pixels that a spatially correlated image is worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.images.image_limits import LIMITS

if TYPE_CHECKING:
    from streamgmm.images.image import Image

Array = NDArray[np.float64]
Window = tuple[Array, NDArray[np.bool_]]  # values, 0 where nodata, and validity


def effective_n(
    image: Any,
    *,
    axes: str | None = None,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    mask: Any = None,
) -> float:
    """Estimate how many independent pixels an image is worth.

    The number of pixels is divided, along each axis, by the sum of their autocorrelation over all distances: so many
    independent pixels would determine the mean as precisely. To choose between two mixtures (``effective_n`` of
    `streamgmm.select`), pass the image of the differences of their log-densities, whose mean is what they are compared
    by. The result is a guide to the order of magnitude.

    Parameters
    ----------
    image : path, array-like, dask array, zarr array, or xarray DataArray
        Shape (height, width), or with bands, planes or time, as for `segment`. Up to 16 windows of 512 pixels a side
        are read, spread over the image.
    axes : str, optional
        One letter an axis, such as ``'YXC'``; see `segment`.
    bands : sequence of int, optional
        Bands to use, counted from 0; by default all.
    nodata : number, optional
        Value that marks nodata, besides NaN; by default what the format says.
    mask : array-like, dask or zarr array of bool, of the shape of the image without bands, optional
        True where a pixel is nodata.

    Returns
    -------
    float
        From 1 to the number of valid pixels; the smallest over the bands. Too large if pixels are correlated over
        hundreds of pixels.

    Raises
    ------
    InputError
        The image cannot be used, or all windows are nodata; a ValueError.

    Notes
    -----
    Correlations are summed along each axis as long as they are positive (Geyer, 1992); beyond there is mostly noise.
    The sum over all shifts is the product of those along the axes if the autocorrelation is such a product, as for
    fields that are autoregressive along each axis. If it decays exponentially and isotropically, the result is too
    large by up to π/2.

    References
    ----------
    Griffith (2005), "Effective geographic sample size in the presence of spatial autocorrelation". Clifford,
    Richardson & Hémon (1989), "Assessing the significance of the correlation between two spatial processes". Geyer
    (1992), "Practical Markov chain Monte Carlo", section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm.images import effective_n
    >>> noise = np.random.default_rng(0).normal(size=(200, 200))
    >>> blocky = np.repeat(np.repeat(noise, 3, axis=0), 3, axis=1)
    >>> round(effective_n(noise) / 200**2, 1), round(effective_n(blocky) / 200**2, 1)
    (1.0, 1.0)
    """
    from streamgmm.images.image import NO_VALID_PIXEL, Image
    from streamgmm.images.reading import open_image

    raster = open_image(image, axes)
    nodata = raster.nodata if nodata is None else nodata
    pixels = Image.from_array(
        raster.array, axes=raster.axes, bands=bands, nodata=nodata, mask=raster.make_nodata_mask(bands, mask)
    )
    windows = [_read_window(pixels, window) for window in _choose_windows(pixels.shape)]
    n_valid = sum(valid.sum() for _, valid in windows)
    if not n_valid:
        raise InputError(NO_VALID_PIXEL)
    n_pixels = n_valid / sum(valid.size for _, valid in windows) * float(np.prod(pixels.shape, dtype=np.float64))
    independent_fraction = min(1.0 / _sum_autocorrelation(windows, band) for band in range(pixels.n_bands))
    return float(min(max(1.0, n_pixels * independent_fraction), n_pixels))


def _choose_windows(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Return windows spread evenly over an image."""
    sides = [min(LIMITS.window_side, length) for length in shape]
    most = [length // side for length, side in zip(shape, sides, strict=True)]
    numbers = [1] * len(shape)
    while True:  # add one along the axis that has the fewest for its length
        candidates = [axis for axis in range(len(shape)) if numbers[axis] < most[axis]]
        if not candidates:
            break
        axis = max(candidates, key=lambda axis: most[axis] / numbers[axis])
        if np.prod(numbers) // numbers[axis] * (numbers[axis] + 1) > LIMITS.n_windows:
            break
        numbers[axis] += 1
    starts = [
        np.linspace(0, length - side, number + 2)[1:-1].astype(int) if number > 1 or length > side else np.zeros(1, int)
        for length, side, number in zip(shape, sides, numbers, strict=True)
    ]
    return [
        tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))
        for corner in product(*(along.tolist() for along in starts))
    ]


def _read_window(image: Image, window: tuple[slice, ...]) -> Window:
    from dask.base import compute

    values, valid = compute(image.values[window], image.map(_mark_valid, np.bool_)[window])
    return np.where(valid[..., None], values, 0).astype(np.float64), valid


def _mark_valid(rows: NDArray[Any]) -> NDArray[np.bool_]:
    return np.ones(len(rows), np.bool_)


def _sum_autocorrelation(windows: Sequence[Window], band: int) -> float:
    """Return the product over the axes of the summed autocorrelation of a band; infinity for a constant band."""
    n = sum(valid.sum() for _, valid in windows)
    mean = sum(values[..., band].sum() for values, _ in windows) / n
    fields = [(np.where(valid, values[..., band] - mean, 0.0), valid.astype(np.float64)) for values, valid in windows]
    variance = sum(float((deviations**2).sum()) for deviations, _ in fields) / n
    if not variance > 0.0:
        return float("inf")
    sums = []
    for axis in range(fields[0][0].ndim):
        products = sum(_sum_lagged_products(deviations, axis) for deviations, _ in fields)
        pairs = sum(_sum_lagged_products(valid, axis) for _, valid in fields)
        correlations = np.where(pairs > 0.5, products / np.maximum(pairs, 1.0), 0.0)[1:] / variance
        negative = np.flatnonzero(correlations <= 0.0)
        sums.append(1.0 + 2.0 * float(correlations[: negative[0] if len(negative) else None].sum()))
    return float(np.prod(sums))


def _sum_lagged_products(field: Array, axis: int) -> Array:
    """Return the sum over pixels of the product with the pixel at each distance along an axis, by FFT."""
    from scipy import fft

    length = field.shape[axis]
    n = fft.next_fast_len(2 * length - 1, real=True)
    spectrum = fft.rfft(field, n, axis=axis)
    power = (np.abs(spectrum) ** 2).sum(axis=tuple(other for other in range(field.ndim) if other != axis))
    products: Array = fft.irfft(power, n)[:length]
    return products
