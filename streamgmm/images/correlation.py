"""How many independent pixels those of an image are worth: neighbours say nearly the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError

if TYPE_CHECKING:
    from streamgmm.images.image import Image

Array = NDArray[np.float64]

SIDE, WINDOWS = 512, 16  # pixels along an axis of a window, and windows at most that are looked at


def effective_n(
    image: Any,
    *,
    axes: str | None = None,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    mask: Any = None,
) -> float:
    """Estimate how many independent pixels an image is worth.

    The number of pixels, divided along each axis by the sum of their autocorrelation over all distances: as many
    independent ones would tell the mean as well. To choose between mixtures (``effective_n`` of `streamgmm.select`),
    pass for an image the difference of the log-densities of two of them, pixel by pixel: its mean is what they are
    compared by. That is a guide to the order of magnitude, other for every two mixtures.

    Parameters
    ----------
    image : as in `segment`; (height, width), or with bands
        Up to 16 windows of 512 x 512 pixels are read, from all over it.
    axes, bands, nodata, mask
        As in `segment`.

    Returns
    -------
    float
        From 1 to the number of pixels that are not nodata; that of the band whose pixels are worth least. Rather too
        large where pixels resemble others that are hundreds away.

    Raises
    ------
    InputError
        The image cannot be used, or all of what is looked at is nodata; a ValueError.

    Notes
    -----
    Along each axis correlations are summed as long as they are positive (Geyer, 1992); beyond there is mostly noise.
    That the sum over all shifts is the product of those along the axes holds where the autocorrelation is such a
    product, as of fields that are autoregressive along each axis. Where it falls exponentially alike in all
    directions, the result is too large by up to π/2.

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
    whole = Image.from_array(
        raster.array, axes=raster.axes, bands=bands, nodata=nodata, mask=raster.nodata_mask(bands, mask)
    )
    shape = whole.values.shape[:-1]
    windows = [_window(whole, place) for place in _places(shape)]
    n_seen = sum(valid.sum() for _, valid in windows)
    if not n_seen:
        raise InputError(NO_VALID_PIXEL)
    share = n_seen / sum(valid.size for _, valid in windows)
    least = min(1.0 / _integrated(windows, band) for band in range(whole.n_bands))
    n_pixels = share * float(np.prod(shape, dtype=np.float64))
    return float(min(max(1.0, n_pixels * least), n_pixels))


def _places(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Windows that are spread evenly over an image."""
    sides = [min(SIDE, length) for length in shape]
    most = [length // side for length, side in zip(shape, sides, strict=True)]
    numbers = [1] * len(shape)
    while True:  # one more along the axis that has the fewest for its length
        longer = [axis for axis in range(len(shape)) if numbers[axis] < most[axis]]
        if not longer:
            break
        axis = max(longer, key=lambda axis: most[axis] / numbers[axis])
        if np.prod(numbers) // numbers[axis] * (numbers[axis] + 1) > WINDOWS:
            break
        numbers[axis] += 1
    starts = [
        np.linspace(0, length - side, number + 2)[1:-1].astype(int) if number > 1 or length > side else np.zeros(1, int)
        for length, side, number in zip(shape, sides, numbers, strict=True)
    ]
    return [
        tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))
        for corner in product(*(start.tolist() for start in starts))
    ]


def _window(image: Image, place: tuple[slice, ...]) -> tuple[Array, NDArray[np.bool_]]:
    """Values of a window, with 0 for nodata, and where they are valid."""
    from dask.base import compute

    values, valid = compute(image.values[place], image.map(_there, np.bool_)[place])
    filled: Array = np.where(valid[..., None], values, 0).astype(np.float64)
    return filled, valid


def _there(rows: NDArray[Any]) -> NDArray[np.bool_]:
    return np.ones(len(rows), np.bool_)


def _integrated(windows: Sequence[tuple[Array, NDArray[np.bool_]]], band: int) -> float:
    """Product over the axes of the sum of the autocorrelation of a band; infinite where it has one value."""
    n = sum(valid.sum() for _, valid in windows)
    mean = sum(values[..., band].sum() for values, _ in windows) / n
    fields = [(np.where(valid, values[..., band] - mean, 0.0), valid.astype(np.float64)) for values, valid in windows]
    variance = sum(float((deviations**2).sum()) for deviations, _ in fields) / n
    if not variance > 0.0:
        return float("inf")
    sums = []
    for axis in range(fields[0][0].ndim):
        products = sum(_products(deviations, axis) for deviations, _ in fields)
        pairs = sum(_products(valid, axis) for _, valid in fields)
        correlations = np.where(pairs > 0.5, products / np.maximum(pairs, 1.0), 0.0)[1:] / variance
        ended = np.flatnonzero(correlations <= 0.0)
        sums.append(1.0 + 2.0 * float(correlations[: ended[0] if len(ended) else None].sum()))
    return float(np.prod(sums))


def _products(field: Array, axis: int) -> Array:
    """Sum over pixels of the product with the pixel so far along an axis, for every distance."""
    from scipy import fft

    length = field.shape[axis]
    spectrum = fft.rfft(field, fft.next_fast_len(2 * length - 1, real=True), axis=axis)
    power = (np.abs(spectrum) ** 2).sum(axis=tuple(other for other in range(field.ndim) if other != axis))
    products: Array = fft.irfft(power, fft.next_fast_len(2 * length - 1, real=True))[:length]
    return products
