"""How an array is cut: blocks of whole storage chunks, each by itself or with what lies around it.

What is stored is read region by region, so that a block and its surroundings are one task, which waits for no other
and leaves nothing behind. A dask array keeps its blocks, and its neighbours exchange their edges. It knows arrays and
the order of their axes, not what these mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import prod
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
from dask.array.overlap import ensure_minimum_chunksize, overlap
from dask.delayed import delayed
from numpy.typing import NDArray

Lengths = tuple[tuple[int, ...], ...]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """An array in blocks.

    Attributes
    ----------
    array : ndarray, dask.array.Array, or anything stored that has a shape, a dtype and chunks
        With its axes as they are.
    order : tuple of int
        Axes of the array in the order of the blocks: those along which it is cut, then that of bands where it has one.
    bands : tuple of int, or None
        Which bands are read, in their order; None where there is no axis of bands.
    lengths : tuple of tuple of int
        Lengths of the blocks along each axis that is cut.
    """

    array: Any
    order: tuple[int, ...]
    bands: tuple[int, ...] | None
    lengths: Lengths = ()

    @classmethod
    def of(cls, array: Any, order: Sequence[int], bands: Sequence[int] | None, most: int) -> Blocks:
        """Cut an array into blocks of up to ``most`` pixels, or of one storage chunk; a dask array is cut already.

        Large blocks, since each counts from counters of its own, which are all to be made anew; whole lines of storage
        chunks, where they are not too many pixels.
        """
        blocks = cls(array, tuple(order), None if bands is None else tuple(bands))
        if isinstance(array, da.Array):
            return replace(blocks, lengths=tuple(array.chunks[place] for place in blocks._cut))
        return replace(blocks, lengths=_even(_in_lines(blocks._units(), blocks.shape, most), blocks.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Along the axes that are cut."""
        return tuple(int(self.array.shape[place]) for place in self._cut)

    def rechunk(self, most: int, reach: Sequence[int]) -> Blocks:
        """The same in blocks of about ``most`` pixels, which are to be read with ``reach`` pixels around them.

        Their sides are alike where there is a reach, since then the least is read twice.
        """
        if isinstance(self.array, da.Array):
            return replace(self, lengths=_halved(self.lengths, most, reach))
        around = [axis for axis, pixels in enumerate(reach) if pixels]
        units, shape = self._units(), self.shape
        lengths = _in_squares(units, shape, most, around) if around else _in_lines(units, shape, most)
        return replace(self, lengths=_even(lengths, shape))

    def cut_as(self, lengths: Lengths) -> Blocks:
        """The same in the blocks of another array of this shape."""
        return replace(self, lengths=lengths)

    def lazy(self, reach: Sequence[int] | None = None) -> Any:
        """A dask array whose blocks are those of the array, with ``reach`` pixels more on both sides of each axis.

        Where the array ends there are none. Bands, where there are any, are last and not cut.
        """
        reach = tuple(reach or [0] * len(self.lengths))
        return self._exchanged(reach) if isinstance(self.array, da.Array) else self._read(reach)

    @property
    def _cut(self) -> tuple[int, ...]:
        return self.order if self.bands is None else self.order[:-1]

    def _units(self) -> list[int]:
        """Sides of what is stored as one: a shard, a storage chunk, or a pixel."""
        stored = getattr(self.array, "shards", None) or getattr(self.array, "chunks", None) or (1,) * self.array.ndim
        return [min(int(stored[place]), length) for place, length in zip(self._cut, self.shape, strict=True)]

    def _exchanged(self, reach: tuple[int, ...]) -> Any:
        cut = range(len(self.lengths))
        lazy = self.array.transpose(self.order).rechunk(dict(zip(cut, self.lengths, strict=True)))
        if self.bands is not None:
            lazy = lazy.rechunk({len(cut): -1})
            if self.bands != tuple(range(lazy.shape[-1])):
                chunks = (*lazy.chunks[:-1], (len(self.bands),))
                lazy = lazy.map_blocks(_some, list(self.bands), chunks=chunks, dtype=lazy.dtype)
        depth = {axis: reach[axis] for axis in cut if reach[axis] and len(self.lengths[axis]) > 1}
        return overlap(lazy, depth=depth, boundary="none", allow_rechunk=False) if depth else lazy

    def _read(self, reach: tuple[int, ...]) -> Any:
        spans = tuple(
            tuple((max(0, start - pixels), min(length, stop + pixels)) for start, stop in pairwise(_starts(lengths)))
            for lengths, length, pixels in zip(self.lengths, self.shape, reach, strict=True)
        )
        chunks = tuple(tuple(stop - start for start, stop in along) for along in spans)
        if self.bands is not None:
            chunks = (*chunks, (len(self.bands),))
        return da.map_blocks(
            _region,
            array=delayed(self.array, pure=False, traverse=False),  # one key of the graph
            spans=spans,
            order=self.order,
            bands=self.bands,
            chunks=chunks,
            dtype=self.array.dtype,
            meta=np.empty((0,) * len(chunks), self.array.dtype),
            name=f"image-{uuid4().hex}",  # else it would be a digest of all values
        )


def starts_of(lengths: Lengths) -> tuple[NDArray[np.intp], ...]:
    """First pixel of each block along each axis."""
    return tuple(np.array(_starts(along)[:-1], np.intp) for along in lengths)


def _starts(lengths: Sequence[int]) -> list[int]:
    return list(accumulate(lengths, initial=0))


def _in_lines(units: list[int], shape: Sequence[int], most: int) -> list[int]:
    """Whole units, as many as there are along the last axis, then along that before it."""
    lengths = list(units)
    for axis in reversed(range(len(lengths))):
        others = prod(lengths) // lengths[axis]
        lengths[axis] = min(units[axis] * max(1, most // (units[axis] * others)), shape[axis])
    return lengths


def _in_squares(units: list[int], shape: Sequence[int], most: int, around: list[int]) -> list[int]:
    """Whole units, a few more always along the shortest side of those that are ``around``."""
    lengths, growing = list(units), list(around)
    while growing:
        axis = min(growing, key=lengths.__getitem__)
        longer = min(lengths[axis] + units[axis] * max(1, lengths[axis] // units[axis] // 16), shape[axis])
        if longer == lengths[axis] or prod(lengths) // lengths[axis] * longer > most:
            growing.remove(axis)
        else:
            lengths[axis] = longer
    return lengths


def _even(lengths: Sequence[int], shape: Sequence[int]) -> Lengths:
    """Blocks of these lengths, of which the last ones are what is left."""
    return da.core.normalize_chunks(tuple(lengths), tuple(shape))  # type: ignore[no-any-return]


def _halved(lengths: Lengths, most: int, reach: Sequence[int]) -> Lengths:
    """Blocks, each side halved in turn where they are too large, and joined where they are shorter than the reach."""
    sides = list(lengths)
    while prod(map(max, sides)) > most:
        axis = max(range(len(sides)), key=lambda axis: max(sides[axis]))
        if max(sides[axis]) < 2 * max(1, reach[axis]):
            break
        halves = [(length - length // 2, length // 2) for length in sides[axis]]
        sides[axis] = tuple(half for pair in halves for half in pair if half)
    for axis, pixels in enumerate(reach):
        short = sum(sides[axis]) < pixels
        sides[axis] = (sum(sides[axis]),) if short else tuple(ensure_minimum_chunksize(pixels, sides[axis]))
    return tuple(sides)


def _some(block: NDArray[Any], bands: list[int]) -> NDArray[Any]:
    return block[..., bands]


def _region(
    array: Any,
    spans: tuple[tuple[Span, ...], ...],
    order: tuple[int, ...],
    bands: tuple[int, ...] | None,
    block_id: tuple[int, ...],
) -> NDArray[Any]:
    """Read one block with its surroundings; of bands no more than lie between those that are wanted."""
    part = [slice(None)] * len(order)
    for place, along, number in zip(order, spans, block_id, strict=False):
        part[place] = slice(*along[number])
    first = 0
    if bands is not None:
        first = min(bands)
        part[order[-1]] = slice(first, max(bands) + 1)
    block = np.asarray(array[tuple(part)]).transpose(order)
    if bands is None:
        return block
    chosen = [band - first for band in bands]
    return block if chosen == list(range(block.shape[-1])) else block[..., chosen]
