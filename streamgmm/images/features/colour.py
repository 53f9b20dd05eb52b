"""Conversion between RGB and CIE L*a*b*, in which distances are about those that people see; by scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.counting import find_unique_pixels
from streamgmm.images.image_limits import LIMITS


def convert_to_lab(pixels: NDArray[Any]) -> NDArray[Any]:
    """Convert sRGB (n, 3), uint8, uint16 or floats from 0 to 1, to L*a*b* under D65 for a 2° observer.

    scikit-image multiplies each pixel of (n, 1, 3) with the matrix of primaries by itself, so that its neighbours in
    a block do not change its rounding.

    Examples
    --------
    >>> convert_to_lab(np.array([[255, 255, 255], [255, 0, 0]], np.uint8)).round(2)
    array([[100.  ,  -0.  ,   0.  ],
           [ 53.24,  80.09,  67.2 ]])
    """
    colours: NDArray[Any]
    if pixels.dtype == np.uint8 and len(pixels) > LIMITS.unique_colours_from:
        values, indices = find_unique_pixels(pixels)
        colours = import_skimage_color().rgb2lab(values[:, None])[:, 0][indices]
    else:
        colours = import_skimage_color().rgb2lab(pixels[:, None])[:, 0]
    return colours


def convert_to_rgb(colours: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Convert L*a*b* (n, 3) to the nearest sRGB, in the units of pixels of a dtype.

    Examples
    --------
    >>> convert_to_rgb(np.array([[100.0, 0.0, 0.0]]), np.dtype(np.uint8)).round(1)
    array([[255., 255., 255.]])
    """
    full = np.iinfo(dtype).max if dtype.kind == "u" else 1
    return full * np.asarray(import_skimage_color().lab2rgb(colours[:, None])[:, 0], np.float64)


def import_skimage_color() -> Any:
    """Return `skimage.color`, or raise ImportError with the remedy."""
    try:
        from skimage import color
    except ImportError:
        raise ImportError("colour='lab' needs scikit-image; install it with: pip install 'streamgmm[lab]'") from None
    return color
