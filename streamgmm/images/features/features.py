"""Description of the features of a pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError, InputTypeError
from streamgmm.images.features.colour import convert_to_lab, convert_to_rgb, import_skimage_color
from streamgmm.images.features.scaling import Scaling
from streamgmm.images.preprocessing import COLOURS
from streamgmm.images.reading.axis_names import SPATIAL_AXES

MAX_WINDOW = 255  # pixels; a larger window is no neighbourhood, and costs more than all else
ROUNDING_VARIANCE = 1 / 12  # squared grey levels: the variance that rounding to whole numbers takes away
MIN_SCALED_VARIANCE = 1e-6  # added to variances of standardized features at least


@dataclass(frozen=True, slots=True)
class Features:
    """Features of a pixel: bands or colour, their local means, their local deviations, coordinates; in this order.

    Attributes
    ----------
    bands : tuple of int, or None
        Bands used, counted from 0; None for all.
    colour : {'lab'} or None
        Colour space to which three bands, red, green and blue of sRGB under D65, are converted.
    window : int or None
        Side in pixels, odd, of the square (cube, where there are planes) over which local mean and local standard
        deviation are taken. Pixels beyond the edge and nodata are left out.
    coordinates : float or None
        Length of the longer side of the image in the unit of the other features. Row, column and, where there are
        planes, plane become features from 0 to that, whatever the chunks and the resolution.
    scaling : Scaling or None
        Standardization of all features but the coordinates.

    Examples
    --------
    >>> Features(window=5).n_features(3, "YX"), Features(coordinates=10.0).n_features(1, "ZYX")
    (9, 4)
    >>> Features(colour="lab").transform(np.array([[255, 0, 0]], np.uint8)).round(1)
    array([[53.2, 80.1, 67.2]], dtype=float32)
    """

    bands: tuple[int, ...] | None = None
    colour: str | None = None
    window: int | None = None
    coordinates: float | None = None
    scaling: Scaling | None = None

    def __post_init__(self) -> None:
        if self.colour is not None and self.colour not in COLOURS:
            raise InputError(f"colour={self.colour!r} is not known; pass {', '.join(map(repr, COLOURS))}, or None.")
        window, unit = self.window, self.coordinates
        if window is not None and not (isinstance(window, Integral) and 3 <= window <= MAX_WINDOW and window % 2):
            raise InputError(
                f"window={window!r} is no side of a window; pass an odd number of pixels from 3 to {MAX_WINDOW}."
            )
        if self.scaling is not None and not isinstance(self.scaling, Scaling):
            raise InputTypeError(f"The scaling is a {type(self.scaling).__name__}; pass a Scaling.")
        if unit is not None and not (isinstance(unit, Real) and 0 < unit < np.inf):
            raise InputError(
                f"coordinates={unit!r} is no weight; pass a number above 0, the length of the longer side of the image "
                "in the unit of the other features."
            )

    @property
    def is_identity(self) -> bool:
        """True if the features are the values of the bands."""
        return self.is_pointwise and self.colour is None and self.scaling is None

    @property
    def is_pointwise(self) -> bool:
        """True if the features of a pixel depend on its own bands only."""
        return self.window is None and self.coordinates is None

    def n_scaled(self, n_bands: int) -> int:
        """Return the number of features without the coordinates."""
        return n_bands * (1 if self.window is None else 3)

    def n_features(self, n_bands: int, axes: str) -> int:
        """Return the number of features of an image with ``n_bands`` bands and these axes."""
        return self.n_scaled(n_bands) + (0 if self.coordinates is None else len(set(axes) & set(SPATIAL_AXES)))

    def dtype(self, pixels: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the features of pixels of a dtype."""
        return pixels if self.is_identity else np.result_type(pixels, np.float32)

    def check(self, n_bands: int, pixels: np.dtype[Any]) -> None:
        """Raise InputError or ImportError, before the work, if pixels cannot have these features."""
        if self.colour is not None:
            import_skimage_color()
            if n_bands != 3:
                raise InputError(
                    f"colour={self.colour!r} needs red, green and blue, and {n_bands} bands are used; choose three by "
                    "bands=."
                )
            if pixels not in (np.uint8, np.uint16) and pixels.kind != "f":
                raise InputError(
                    f"colour={self.colour!r} needs uint8, uint16, or floats from 0 to 1, and the image is {pixels}; "
                    "convert it."
                )
        if self.scaling is not None and len(self.scaling.means) != self.n_scaled(n_bands):
            raise InputError(
                f"The scaling is of {len(self.scaling.means)} features, and the image has {self.n_scaled(n_bands)}; "
                "use the bands, colour and window that it was made with."
            )

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the features of pixels (n, n_bands), where they are pointwise."""
        if self.is_identity:
            return rows
        values = self.convert_colour(rows)
        features = np.empty(values.shape, self.dtype(rows.dtype))
        for band in range(values.shape[1]):
            features[:, band] = self.scale(values[:, band], band)
        return features

    def convert_colour(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return bands (n, n_bands), in the colour space of the features."""
        return rows if self.colour is None else convert_to_lab(rows)

    def scale(self, values: NDArray[Any], feature: int) -> NDArray[Any]:
        """Return values of one feature, standardized where there is a scaling."""
        return values if self.scaling is None else self.scaling.apply(values, feature)

    def to_bands(self, means: NDArray[Any], n_bands: int, pixels: np.dtype[Any]) -> NDArray[np.float64]:
        """Return the bands (k, n_bands), in units of the image, of means (k, n_features) of features."""
        values = self._unscale(means, n_bands)
        return values if self.colour is None else convert_to_rgb(values, pixels)

    def brightness(self, means: NDArray[Any], n_bands: int) -> NDArray[np.float64]:
        """Return the brightness of means of features: the mean over the bands, or L*."""
        values = self._unscale(means, n_bands)
        brightness: NDArray[np.float64] = values.mean(axis=1) if self.colour is None else values[:, 0]
        return brightness

    def rounding_variance(self, pixels: np.dtype[Any]) -> float | None:
        """Return the variance that rounding to whole numbers took from each feature; None for floats.

        1/12 of a squared grey level, or of the step of L* that one grey level makes, on the scale of the feature with
        the largest variance.
        """
        if pixels.kind not in "iu":
            return None
        step = 1.0 if self.colour is None else 100.0 / float(np.iinfo(pixels).max)  # L* of white is 100
        if self.scaling is None:
            return ROUNDING_VARIANCE * step**2
        return max(ROUNDING_VARIANCE * (step / max(self.scaling.deviations)) ** 2, MIN_SCALED_VARIANCE)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned; raise KeyError, TypeError or InputError if it is anything else."""
        bands, scaling = content["bands"], content["scaling"]
        return cls(
            None if bands is None else tuple(int(band) for band in bands),
            content["colour"],
            content["window"],
            content["coordinates"],
            None if scaling is None else Scaling(tuple(scaling["means"]), tuple(scaling["deviations"])),
        )

    def _unscale(self, means: NDArray[Any], n_bands: int) -> NDArray[np.float64]:
        values = np.asarray(means, np.float64)[:, :n_bands]
        return values if self.scaling is None else self.scaling.invert(values)


def resolve_bands(bands: Sequence[int | str] | int | str | None, names: Sequence[str] | None) -> tuple[int, ...] | None:
    """Return bands, given as numbers or names, as numbers.

    Examples
    --------
    >>> resolve_bands(["nir", 0], ("red", "nir"))
    (1, 0)
    """
    if bands is None:
        return None
    items: Any = [bands] if isinstance(bands, str | Integral) else bands
    return tuple(_resolve_band(band, names) for band in items)


def _resolve_band(band: Any, names: Sequence[str] | None) -> int:
    if isinstance(band, Integral):
        return int(band)
    if not isinstance(band, str):
        raise InputError(f"bands has {band!r}, which is neither a number of a band, from 0, nor a name; pass such.")
    if names is None:
        raise InputError(f"The bands of the image have no names, such as {band!r}; pass numbers from 0.")
    if list(names).count(band) != 1:
        raise InputError(
            f"The image has {'no band' if band not in names else 'more than one band'} {band!r}, but "
            f"{', '.join(map(repr, names))}; pass one of these, or numbers from 0."
        )
    return list(names).index(band)
