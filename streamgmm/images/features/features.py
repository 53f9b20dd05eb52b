"""Features: the value that says what of a pixel is learnt. It knows pixels, nothing of where they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError, InputTypeError
from streamgmm.images.features.colour import LIGHTEST, check_colour, lab, rgb
from streamgmm.images.features.scaling import Scaling
from streamgmm.images.reading.axis_names import SPATIAL_AXES
from streamgmm.images.recipe import COLOURS

WIDEST = 255  # pixels: the side of a window beyond which it is no neighbourhood, and costs more than all else
ROUNDING = 1 / 12  # squared grey levels: the variance of what rounding to whole numbers took away
LEAST = 1e-6  # variance that is added on a scale of deviations


@dataclass(frozen=True, slots=True)
class Features:
    """What of a pixel is learnt.

    In this order: its bands, or their colour; the local mean of each of these; the local deviation of each; where the
    pixel is.

    Attributes
    ----------
    bands : tuple of int, or None
        Bands that are used, counted from 0; all by default.
    colour : {'lab'} or None
        ``'lab'`` makes L*, a* and b* of three bands, red, green and blue of sRGB, under D65.
    window : int or None
        Side, odd, of the square of lines and columns around the pixel (the cube, where there are planes) over whose
        pixels the local mean and the local standard deviation are. Those beyond the edge of the image, and those that
        are nodata, are left out.
    coordinates : float or None
        What the longer side of the image counts as, in the unit of the other features: each of plane, line and column
        is a feature from 0 to that, those of lines and columns over the longer side, those of planes over their
        number. So it depends neither on chunks nor on the resolution.
    scaling : Scaling or None
        Scale of all but the coordinates, which have their weight.

    Examples
    --------
    >>> Features(window=5).n_features(3, "YX"), Features(coordinates=10.0).n_features(1, "ZYX")
    (9, 4)
    >>> Features(colour="lab").of_rows(np.array([[255, 0, 0]], np.uint8)).round(1)
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
        window = self.window
        if window is not None and not (isinstance(window, Integral) and 3 <= window <= WIDEST and window % 2):
            raise InputError(
                f"window={window!r} is no side of a window; pass an odd number of pixels from 3 to {WIDEST}."
            )
        if self.scaling is not None and not isinstance(self.scaling, Scaling):
            raise InputTypeError(f"The scaling is a {type(self.scaling).__name__}; pass a Scaling.")
        weight = self.coordinates
        if weight is not None and not (isinstance(weight, Real) and 0 < weight < np.inf):
            raise InputError(
                f"coordinates={weight!r} is no weight; pass a number above 0, in the unit of the other features, that "
                "the longer side of the image shall count as."
            )

    @property
    def plain(self) -> bool:
        """Whether they are the values of the bands as they are."""
        return self.pointwise and self.colour is None and self.scaling is None

    @property
    def pointwise(self) -> bool:
        """Whether they depend on nothing but the bands of the pixel itself."""
        return self.window is None and self.coordinates is None

    def n_scaled(self, n_bands: int) -> int:
        """Number of features without the coordinates."""
        return n_bands * (1 if self.window is None else 3)

    def n_features(self, n_bands: int, axes: str) -> int:
        """Number of features of an image with some bands and axes."""
        return self.n_scaled(n_bands) + (0 if self.coordinates is None else len(set(axes) & set(SPATIAL_AXES)))

    def dtype(self, pixels: np.dtype[Any]) -> np.dtype[Any]:
        """Dtype of the features: as many digits as the pixels have, or more."""
        return pixels if self.plain else np.result_type(pixels, np.float32)

    def check(self, n_bands: int, pixels: np.dtype[Any]) -> None:
        """Refuse, before the work, pixels of which these features cannot be made."""
        if self.colour is not None:
            check_colour()
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

    def of_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Features of pixels (n, n_bands) by themselves, where they are pointwise; floats for Lab are from 0 to 1."""
        if self.plain:
            return rows
        values = self.coloured(rows)
        features = np.empty(values.shape, self.dtype(rows.dtype))
        for band in range(values.shape[1]):
            features[:, band] = self.scaled(values[:, band], band)
        return features

    def coloured(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Bands (n, n_bands), or their colour."""
        return rows if self.colour is None else lab(rows)

    def scaled(self, values: NDArray[Any], feature: int) -> NDArray[Any]:
        """Values of one feature on its scale."""
        return values if self.scaling is None else self.scaling.scaled(values, feature)

    def bands_of(self, means: NDArray[Any], n_bands: int, pixels: np.dtype[Any]) -> NDArray[np.float64]:
        """Bands (k, n_bands), in units of the image, of means (k, n_features) of features."""
        values = self._unscaled(means, n_bands)
        return values if self.colour is None else rgb(values, pixels)

    def brightness(self, means: NDArray[Any], n_bands: int) -> NDArray[np.float64]:
        """Of means of features: the mean over the bands, in units of the image; L* of colours."""
        values = self._unscaled(means, n_bands)
        brightness: NDArray[np.float64] = values.mean(axis=1) if self.colour is None else values[:, 0]
        return brightness

    def rounding(self, pixels: np.dtype[Any]) -> float | None:
        """Variance to be added to each feature of whole numbers, since rounding took it away; None for floats.

        1/12 of a squared grey level; of the squared step of lightness that a grey level makes; on a scale of
        deviations as much as that is of the largest variance, and at least 1e-6.
        """
        if pixels.kind not in "iu":
            return None
        step = 1.0 if self.colour is None else LIGHTEST / float(np.iinfo(pixels).max)
        if self.scaling is None:
            return ROUNDING * step**2
        return max(ROUNDING * (step / max(self.scaling.deviations)) ** 2, LEAST)

    def written(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return asdict(self)

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Self:
        """What `written` made; KeyError, TypeError or InputError where it is something else.

        Examples
        --------
        >>> features = Features((2, 0), window=3, scaling=Scaling((0.0,) * 6, (1.0,) * 6))
        >>> Features.read(features.written()) == features
        True
        """
        bands, scaling = written["bands"], written["scaling"]
        return cls(
            None if bands is None else tuple(int(band) for band in bands),
            written["colour"],
            written["window"],
            written["coordinates"],
            None if scaling is None else Scaling(tuple(scaling["means"]), tuple(scaling["deviations"])),
        )

    def _unscaled(self, means: NDArray[Any], n_bands: int) -> NDArray[np.float64]:
        values = np.asarray(means, np.float64)[:, :n_bands]
        return values if self.scaling is None else self.scaling.unscaled(values)


def numbered(bands: Sequence[int | str] | int | str | None, names: Sequence[str] | None) -> tuple[int, ...] | None:
    """Bands by their numbers, of which some may be given by their names.

    Examples
    --------
    >>> numbered(["nir", 0], ("red", "nir"))
    (1, 0)
    """
    if bands is None:
        return None
    several: Any = [bands] if isinstance(bands, str | Integral) else bands
    return tuple(_number(band, names) for band in several)


def _number(name: Any, names: Sequence[str] | None) -> int:
    if isinstance(name, Integral):
        return int(name)
    if not isinstance(name, str):
        raise InputError(f"bands has {name!r}, which is neither a number of a band, from 0, nor a name; pass such.")
    if names is None:
        raise InputError(f"The bands of the image have no names, such as {name!r}; pass numbers from 0.")
    if list(names).count(name) != 1:
        raise InputError(
            f"The image has {'no band' if name not in names else 'more than one band'} {name!r}, but "
            f"{', '.join(map(repr, names))}; pass one of these, or numbers from 0."
        )
    return list(names).index(name)
