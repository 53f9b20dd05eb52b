"""The table of the values of an image's pixels. It knows nothing of where pixels lie, nor of how counters are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.source import Chunk, Source
from streamgmm.data.sources.in_memory import ArraySource
from streamgmm.images.counting.direct import Direct
from streamgmm.images.counting.hashed import Hashed
from streamgmm.images.counting.numbers import MOST_BITS, decoded, encoded, n_bits

MOST_BANDS = 3  # of 8 bits: 2**24 counters, 134 MB, most of which are never touched
MOST_VALUES = 2**23  # that are found by a hash, whose 2**24 slots take 268 MB


def countable(dtype: np.dtype[Any], n_bands: int) -> bool:
    """Whether pixels are so small that all values can have a counter: up to 3 bands of 8 bits, or one of 16.

    Examples
    --------
    >>> countable(np.dtype(np.uint8), 3), countable(np.dtype(np.uint16), 1), countable(np.dtype(np.uint16), 2)
    (True, True, False)
    """
    most = {1: MOST_BANDS, 2: 1}.get(dtype.itemsize, 0)
    return dtype.kind in "iu" and n_bands <= most


def hashable(dtype: np.dtype[Any], n_bands: int) -> bool:
    """Whether pixels are integers of up to 64 bits, so that those values can have a counter that are there.

    Examples
    --------
    >>> hashable(np.dtype(np.uint16), 4), hashable(np.dtype(np.uint8), 9), hashable(np.dtype(np.float32), 1)
    (True, False, False)
    """
    return dtype.kind in "iu" and n_bits(dtype, n_bands) <= MOST_BITS


class Total(Protocol):
    """Counts of values, which are numbers, so far."""

    def add(self, numbers: NDArray[Any], counts: NDArray[Any]) -> bool:
        """Add counts of some values; False, and it is of no use any more, where there is no room for all."""

    def found(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Values that there are, in order, and how often."""


class Counters(Protocol):
    """A way to have something for each value of a pixel: for all that could be, or for those that are there.

    Attributes
    ----------
    together : int
        Chunks whose values are held at once.
    """

    together: int

    def distinct(self, rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Values of some rows, each once, and how often it is there; None where they are too many."""

    def total(self) -> Total:
        """Nothing counted yet."""

    def function(self, values: NDArray[Any], results: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """What gives each row the result of its value, 0 for any other value."""


def _counters(dtype: np.dtype[Any], n_bands: int, most: int = MOST_VALUES) -> Counters:
    return Direct(2 ** n_bits(dtype, n_bands)) if countable(dtype, n_bands) else Hashed(most)


@dataclass(frozen=True, slots=True, eq=False)
class ValueCounts:
    """The values of pixels, and how often each is there.

    Attributes
    ----------
    values : ndarray of shape (n, n_bands)
        Distinct, in a fixed order.
    counts : ndarray of shape (n,)
        Pixels of each, int64, at least 1.

    Examples
    --------
    >>> from streamgmm.data.sources import as_source
    >>> counted = ValueCounts.of(as_source(np.array([[7], [2], [7]], np.uint8)))
    >>> counted.values.ravel(), counted.counts
    (array([2, 7], dtype=uint8), array([1, 2]))
    """

    values: NDArray[Any]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, source: Source, most: int = MOST_VALUES) -> ValueCounts | None:
        """Count the rows of a source without weights, in one reading.

        None where there are more than ``most`` values and these cannot all have a counter: what was counted until then
        is dropped.
        """
        counters = _counters(source.dtype, source.n_features, most)
        total = counters.total()
        for chunk_group in _waves(source.chunks(), counters.together):
            for found in execution.map_chunks(chunk_group, _distinct, counters):
                if found is None or not total.add(*found):
                    return None
        return cls._of(total, source.dtype, source.n_features)

    @classmethod
    def together(cls, tables: Sequence[ValueCounts]) -> ValueCounts:
        """The table of the pixels of several images, of one dtype and as many bands."""
        first = tables[0]
        if len(tables) == 1:
            return first
        dtype, n_bands = first.values.dtype, first.values.shape[1]
        total = _counters(dtype, n_bands, sum(len(one.values) for one in tables)).total()
        for one in tables:
            total.add(encoded(one.values), one.counts)
        return cls._of(total, dtype, n_bands)

    @classmethod
    def _of(cls, total: Total, dtype: np.dtype[Any], n_bands: int) -> ValueCounts:
        numbers, counts = total.found()
        return cls(decoded(numbers, dtype, n_bands), counts)

    @property
    def n_pixels(self) -> int:
        """Number of pixels that were counted."""
        return int(self.counts.sum())

    def source(self, features: NDArray[Any] | None = None) -> ArraySource:
        """The table as rows with weights, or features of its values in their place."""
        return ArraySource(self.values if features is None else features, self.counts.astype(np.float64))

    def table(self, results: NDArray[Any]) -> LookUp:
        """What gives each pixel the result of its value, of which there is one for each row of the table."""
        return LookUp(self.values, results)


@dataclass(frozen=True, eq=False)
class LookUp:
    """A function of pixels, as a table of their values; 0 for a value that it does not have.

    Attributes
    ----------
    values : ndarray of shape (n, n_bands)
        Distinct.
    results : ndarray of shape (n,)
        Of each.
    """

    values: NDArray[Any]
    results: NDArray[Any]
    _function: Callable[[NDArray[Any]], NDArray[Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        function = _counters(self.values.dtype, self.values.shape[1]).function(self.values, self.results)
        object.__setattr__(self, "_function", function)

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Result for each row, shape (n,)."""
        return self._function(rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """What goes to another process: only what was counted, since most entries are of values that are not there."""
        return LookUp, (self.values, self.results)


def _waves(chunks: Iterator[Chunk], together: int) -> Iterator[ChunkGroup]:
    while chunk_group := tuple(islice(chunks, together)):
        yield ChunkGroup(chunk_group, ends_pass=False, ends_batch=False)


def _distinct(
    rows: NDArray[Any], weights: None, chunk: Chunk, counters: Counters
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    return counters.distinct(rows)
