"""What a model of an image carries besides the mixture: how pixels become rows, and what its labels mean.

It is kept in the model's file, so that another image is segmented in the same way, and labels and colours stay what
they were. It knows neither images nor models.
"""

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

Scale = tuple[tuple[float, float], ...]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image was segmented.

    Attributes
    ----------
    dtype : str
        Of the image, such as ``'uint8'``.
    features : Features
        What of a pixel is learnt, the numbers of the bands among it.
    names : tuple of str, or None
        Names of these, where the image has names.
    nodata : number or None
        Value that says that a pixel has none.
    scale : tuple of (float, float), or None
        Factor and offset of each band that is used, where the image has them.
    order : str or None
        By what the segments are numbered; None where the components of a given model were taken as they are.
    palette : tuple of (int, int, int)
        Red, green and blue of each segment.

    Examples
    --------
    >>> from streamgmm.images.features import Features
    >>> recipe = Preprocessing("uint8", Features((3, 2)), ("red", "green"), 0, None, "brightness", ((10, 20, 30),))
    >>> Preprocessing.read(recipe.written()) == recipe
    True
    """

    dtype: str
    features: Features
    names: tuple[str, ...] | None
    nodata: float | None
    scale: Scale | None
    order: str | None
    palette: tuple[Colour, ...]

    @classmethod
    def of(cls, model: Any) -> Self | None:
        """Recipe that a model carries, if any."""
        written: str | None = getattr(model, "_recipe", None)
        return None if written is None else cls.read(written)

    def written(self) -> str:
        """The same as text; equal recipes give equal text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Self:
        """What `written` made; InputError where it is something else."""
        from streamgmm.images.features import Features

        try:
            said = json.loads(text)
            said["features"] = Features.read(said["features"])
            said["names"] = None if said["names"] is None else tuple(said["names"])
            for name in ("scale", "palette"):
                said[name] = None if said[name] is None else tuple(tuple(part) for part in said[name])
            recipe = cls(**said)
        except (ValueError, TypeError, LookupError) as error:
            raise InputError(
                f"What the model says of the image that it was fitted to cannot be read ({error}); segment that image "
                "again, and save the model anew."
            ) from None
        return recipe

    def check(self, dtype: np.dtype[Any], names: Sequence[str] | None, scale: Scale | None) -> None:
        """Raise InputError unless pixels of another image mean what those did that the model was fitted to."""
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
