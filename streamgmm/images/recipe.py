"""What a model of an image carries besides the mixture: how pixels become rows, and what its labels mean.

It is kept in the model's file, so that another image is segmented in the same way, and labels and colours stay what
they were. It knows neither images nor models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from streamgmm.errors import InputError

Scale = tuple[tuple[float, float], ...]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an image was segmented.

    Attributes
    ----------
    dtype : str
        Of the image, such as ``'uint8'``.
    bands : tuple of int, or None
        Numbers of the bands that are used; None for all.
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
    features : mapping
        What of a pixel is learnt, in JSON's types; empty for its values.

    Examples
    --------
    >>> recipe = Recipe("uint8", (3, 2), ("red", "green"), 0, None, "brightness", ((10, 20, 30),))
    >>> Recipe.read(recipe.written()) == recipe
    True
    """

    dtype: str
    bands: tuple[int, ...] | None
    names: tuple[str, ...] | None
    nodata: float | None
    scale: Scale | None
    order: str | None
    palette: tuple[Colour, ...]
    features: Mapping[str, Any] = field(default_factory=dict)

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
        try:
            said = json.loads(text)
            for name in ("bands", "names"):
                said[name] = None if said[name] is None else tuple(said[name])
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
