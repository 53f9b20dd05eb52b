"""What labels mean, for those who show them: a colour and a name each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.picture import palette


@dataclass(frozen=True, slots=True, eq=False)
class Legend:
    """Colours and names of labels 1 to k.

    Attributes
    ----------
    colours : ndarray of shape (k, 3), uint8
        Red, green and blue.
    names : tuple of k str
        As viewers list them.

    Examples
    --------
    >>> Legend.of(np.array([[10.0, 20.0, 30.0], [90.0, 80.0, 70.0]]), np.dtype(np.uint8)).names
    ('segment 1', 'segment 2')
    """

    colours: NDArray[np.uint8]
    names: tuple[str, ...]

    @classmethod
    def of(cls, means: NDArray[Any], dtype: np.dtype[Any]) -> Self:
        """Legend of segments by their means, shape (k, n_bands), in an image of a dtype."""
        return cls(palette(means, dtype), tuple(f"segment {label}" for label in range(1, len(means) + 1)))

    def table(self, n_values: int, highest: int) -> NDArray[np.uint16]:
        """Colours of all values that a dtype has, shape (n_values, 3), up to ``highest``; black where there is none."""
        colours = np.zeros((n_values, 3), np.uint16)
        colours[1 : len(self.colours) + 1] = self.colours.astype(np.uint16) * (highest // 255)
        return colours
