"""Colours of RGB in which distances are about those that are seen: CIE L*a*b*. Nothing else of images is known here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.counting import distinct

LIGHTEST = 100.0  # L* of white; that of black is 0
MANY = 2**16  # pixels of 8 bits, among which there are far fewer colours


def lab(pixels: NDArray[Any]) -> NDArray[Any]:
    """L*, a* and b* of sRGB (n, 3) under D65 and for an observer at 2°: uint8, uint16, or floats from 0 to 1.

    Each pixel is multiplied with the matrix of primaries by itself: as one of many it could be rounded otherwise.

    Examples
    --------
    >>> lab(np.array([[255, 255, 255], [255, 0, 0]], np.uint8)).round(2)
    array([[100.  ,  -0.  ,   0.  ],
           [ 53.24,  80.09,  67.2 ]])
    """
    if pixels.dtype == np.uint8 and len(pixels) > MANY:
        values, places = distinct(pixels)
        colours: NDArray[Any] = _lab(values)[places]
        return colours
    return _lab(pixels)


def rgb(colours: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Red, green and blue of L*, a* and b* (n, 3), in the units of pixels of a dtype; the nearest that there are.

    Examples
    --------
    >>> rgb(np.array([[100.0, 0.0, 0.0]]), np.dtype(np.uint8)).round(1)
    array([[255., 255., 255.]])
    """
    full = np.iinfo(dtype).max if dtype.kind == "u" else 1
    return full * np.asarray(_skimage().lab2rgb(colours[:, None])[:, 0], np.float64)


def _lab(pixels: NDArray[Any]) -> NDArray[Any]:
    colours: NDArray[Any] = _skimage().rgb2lab(pixels[:, None])[:, 0]
    return colours


def check_colour() -> None:
    """Refuse before the work."""
    _skimage()


def _skimage() -> Any:
    try:
        from skimage import color
    except ImportError:
        raise ImportError("colour='lab' needs scikit-image; install it with: pip install 'streamgmm[lab]'") from None
    return color
