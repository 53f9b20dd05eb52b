"""Preprocessing of the pixels of an image, stored with a model, so that other images are segmented alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamgmm.errors import InputError

if TYPE_CHECKING:  # it loads dask
    from streamgmm.images.features import Features

COLOURS = ("lab",)  # colour spaces of features
ORDERS = ("brightness", "weight")  # of segments
STANDARD = "standard"  # scaling by mean and deviation over the image

BandScale = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Features and meaning of the pixels of an image, and order and colours of its segments.

    Examples
    --------
    >>> from streamgmm.images.features import Features
    >>> preprocessing = Preprocessing("uint8", Features((3, 2)), None, 0, None, "brightness", ((10, 20, 30),))
    >>> Preprocessing.from_json(preprocessing.to_json()) == preprocessing
    True
    """

    dtype: str  # of the image
    features: Features
    names: tuple[str, ...] | None  # of the bands used
    nodata: float | None
    scale: BandScale | None  # factor and offset of each band used
    order: str | None  # None for the components of a given model, as they are
    palette: tuple[tuple[int, int, int], ...]  # red, green and blue of each segment

    @classmethod
    def from_model(cls, model: Any) -> Self | None:
        """Return the preprocessing stored with a model, if any."""
        text: str | None = getattr(model, "_preprocessing", None)
        return None if text is None else cls.from_json(text)

    def to_json(self) -> str:
        """Return JSON; equal objects give equal text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` returned; raise InputError if it is anything else."""
        from streamgmm.images.features import Features

        try:
            content = json.loads(text)
            content["features"] = Features.from_json(content["features"])
            content["names"] = None if content["names"] is None else tuple(content["names"])
            for name in ("scale", "palette"):
                content[name] = None if content[name] is None else tuple(tuple(part) for part in content[name])
            return cls(**content)
        except (ValueError, TypeError, LookupError) as error:
            raise InputError(
                f"What the model says of the image that it was fitted to cannot be read ({error}); segment that image "
                "again, and save the model anew."
            ) from None

    def check(self, dtype: np.dtype[Any], names: Sequence[str] | None, scale: BandScale | None) -> None:
        """Raise InputError if pixels of another image have another meaning."""
        differences = []
        if dtype.name != self.dtype:
            differences.append(f"pixels of {self.dtype}, and the image has {dtype.name}")
        if names is not None and self.names is not None and tuple(names) != self.names:
            differences.append(f"bands {', '.join(self.names)}, and the image has {', '.join(names)}")
        if scale is not None and self.scale is not None and tuple(scale) != self.scale:
            differences.append(f"bands of factors and offsets {self.scale}, and the image has {tuple(scale)}")
        if differences:
            raise InputError(
                f"The model was fitted to {'; to '.join(differences)}; convert the image, choose its bands by bands= "
                "in the order of the model, or fit another one."
            )
