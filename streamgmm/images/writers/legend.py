"""What labels mean, for those who show them: a colour and a name each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    >>> Legend.of([(10, 20, 30), (90, 80, 70)]).names
    ('segment 1', 'segment 2')
    """

    colours: NDArray[np.uint8]
    names: tuple[str, ...]

    @classmethod
    def of(cls, colours: ArrayLike) -> Self:
        """Legend of segments of given colours, shape (k, 3)."""
        found = np.array(colours, np.uint8)
        return cls(found, tuple(f"segment {label}" for label in range(1, len(found) + 1)))

    def table(self, n_values: int, highest: int) -> NDArray[np.uint16]:
        """Colours of all values that a dtype has, shape (n_values, 3), up to ``highest``; black where there is none."""
        colours = np.zeros((n_values, 3), np.uint16)
        colours[1 : len(self.colours) + 1] = self.colours.astype(np.uint16) * (highest // 255)
        return colours
