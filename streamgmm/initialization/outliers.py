"""Rows that no component explains, drawn while all rows are read under a start: a second look at the data.

A uniform sample has none of a component that is rarer than its rows. The second one, of rows that are far from every
component, has them all, or many: the further a row, the likelier it is drawn (as in k-means‖; Bahmani et al., 2012). It
is drawn by priority, with the row's own random number, so that neither chunks nor the order of reading change it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.source import Chunk
from streamgmm.data.subsample import KeyedRows, keep_smallest_keys, prioritized
from streamgmm.kernels.e_step import accumulate, make_kernels
from streamgmm.model.parameters import Array, Parameters

TAIL = 1e-4  # of the rows of a Gaussian are as far from it as what counts as unexplained
MOST = 8_192  # rows that are kept of them


@dataclass(frozen=True, slots=True, eq=False)
class PoorlyExplainedRows:
    """Rows that are far from every component.

    Attributes
    ----------
    rows : ndarray of shape (m, d)
        float64.
    weights : ndarray of shape (m,)
        Whose sums are, on average, those over all rows that are as far.
    excess : ndarray of shape (m,)
        How much further than what counts as far, as a part of it; squared distances.
    """

    rows: Array
    weights: Array
    excess: Array

    def under(self, parameters: Parameters) -> PoorlyExplainedRows:
        """Those that are far under other parameters, too."""
        excess = distances(self.rows, parameters) / radius(self.rows.shape[1]) - 1.0
        far = excess > 0.0
        return PoorlyExplainedRows(self.rows[far], self.weights[far], excess[far])


class OutlierSampler:
    """What was drawn so far of the rows that are far from every component.

    Parameters
    ----------
    seed : int
        Of the draws.
    n_features : int
    drawn : KeyedRows or None
        What was drawn before.
    """

    def __init__(self, seed: int, n_features: int, drawn: KeyedRows | None) -> None:
        self.draw = Draw(seed, radius(n_features), MOST)
        self.drawn = drawn

    def take(self, drawn: list[KeyedRows]) -> None:
        """Keep what was drawn from one wave."""
        self.drawn = keep_smallest_keys([*([] if self.drawn is None else [self.drawn]), *drawn], self.draw.most)

    def unexplained(self, parameters: Parameters) -> PoorlyExplainedRows:
        """What was drawn, where the pass has ended; ``parameters`` are those under which rows were read."""
        drawn = self.drawn
        assert drawn is not None and drawn.weights is not None  # there were rows
        chosen, sizes = prioritized(drawn.keys, drawn.weights, self.draw.most)
        rows = drawn.rows[chosen].astype(np.float64)
        further = np.maximum(distances(rows, parameters) / self.draw.far, 1.0)  # but for rounding they are
        return PoorlyExplainedRows(rows, sizes / further, further - 1.0)


@dataclass(frozen=True, slots=True)
class Draw:
    """Draws from a chunk. Rows have sizes in the place of their weights: these times how far they are.

    Attributes
    ----------
    seed : int
        Of the random numbers.
    far : float
        Squared distance from which rows count.
    most : int
        Rows to draw.
    """

    seed: int
    far: float
    most: int

    def __call__(self, rows: NDArray[Any], weights: Array | None, chunk: Chunk, distances: Array) -> KeyedRows:
        """Draw; the distances are those of `streamgmm.data.execution.RowTap`."""
        from streamgmm.kernels import hashing

        places = np.flatnonzero(distances > self.far)
        if weights is not None:
            places = places[weights[places] > 0.0]
        sizes = distances[places] / self.far
        if weights is not None:
            sizes *= weights[places]
        # where chunks are of unknown length each has numbers of its own
        first = chunk.index << 40 if chunk.start is None else chunk.start
        keys = np.empty(len(places))
        hashing.draw_uniform(np.uint64(self.seed), (first + places).astype(np.uint64), keys)
        kept = keep_smallest_keys([KeyedRows(keys / sizes, places, sizes)], self.most)
        return replace(kept, rows=rows[kept.rows])


@cache
def radius(n_features: int) -> float:
    """Squared distance, in standard deviations, beyond which a row counts as unexplained."""
    from scipy.special import chdtri  # takes long to load

    return float(chdtri(n_features, TAIL))


def distances(rows: NDArray[Any], parameters: Parameters) -> Array:
    """Squared distance of each row from the component that is nearest, in its own standard deviations."""
    found = np.empty(len(rows))
    accumulate(rows, None, make_kernels([parameters]), found)
    return found
