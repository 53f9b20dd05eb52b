"""Division of an array into chunks, each read alone or with a margin of pixels around it.

A stored array is read region by region: a chunk with its margin is one task that waits for no other. A dask array
keeps its chunks, and neighbouring chunks exchange their edges.
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

Chunks = tuple[tuple[int, ...], ...]
Spans = tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkedArray:
    """Array with an order of its axes and a division into chunks."""

    array: Any  # ndarray, dask array, or stored array with shape, dtype and chunks
    order: tuple[int, ...]  # axes of the array in the order of the chunks; that of bands, if any, is last
    bands: tuple[int, ...] | None  # bands to read, in this order; None without an axis of bands
    chunks: Chunks = ()  # lengths along every axis but that of bands

    @classmethod
    def from_array(cls, array: Any, order: Sequence[int], bands: Sequence[int] | None, max_pixels: int) -> ChunkedArray:
        """Divide an array into chunks of up to ``max_pixels`` or one storage chunk; keep those of a dask array."""
        undivided = cls(array, tuple(order), None if bands is None else tuple(bands))
        if isinstance(array, da.Array):
            return replace(undivided, chunks=tuple(array.chunks[axis] for axis in undivided._pixel_axes))
        return undivided.rechunk(max_pixels, (0,) * len(undivided._pixel_axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without bands."""
        return tuple(int(self.array.shape[axis]) for axis in self._pixel_axes)

    @property
    def _pixel_axes(self) -> tuple[int, ...]:
        return self.order if self.bands is None else self.order[:-1]

    def rechunk(self, max_pixels: int, margin: Sequence[int]) -> ChunkedArray:
        """Divide into chunks of about ``max_pixels`` that suit reading with ``margin`` pixels around each."""
        if isinstance(self.array, da.Array):
            return replace(self, chunks=_split(self.chunks, max_pixels, margin))
        stored = getattr(self.array, "shards", None) or getattr(self.array, "chunks", None) or (1,) * self.array.ndim
        shape = self.shape
        units = [min(int(stored[axis]), length) for axis, length in zip(self._pixel_axes, shape, strict=True)]
        with_margin = [axis for axis, pixels in enumerate(margin) if pixels]
        sides = _grow_evenly(units, shape, max_pixels, with_margin) if any(margin) else _grow(units, shape, max_pixels)
        return replace(self, chunks=da.core.normalize_chunks(tuple(sides), tuple(shape)))

    def to_dask(self, margin: Sequence[int] | None = None) -> Any:
        """Return a dask array of these chunks, each with ``margin`` pixels more on both sides of each axis.

        The margin ends where the array ends. Bands are the last axis, in one chunk.
        """
        margin = margin or (0,) * len(self.chunks)
        return self._exchange_edges(margin) if isinstance(self.array, da.Array) else self._read_regions(margin)

    def _exchange_edges(self, margin: Sequence[int]) -> Any:
        lazy = self.array.transpose(self.order).rechunk(dict(enumerate(self.chunks)))
        if self.bands is not None:
            lazy = lazy.rechunk({len(self.chunks): -1})
            if self.bands != tuple(range(lazy.shape[-1])):
                chunks = (*lazy.chunks[:-1], (len(self.bands),))
                lazy = lazy.map_blocks(np.take, list(self.bands), axis=-1, chunks=chunks, dtype=lazy.dtype)
        depth = {axis: margin[axis] for axis, along in enumerate(self.chunks) if margin[axis] and len(along) > 1}
        return overlap(lazy, depth=depth, boundary="none", allow_rechunk=False) if depth else lazy

    def _read_regions(self, margin: Sequence[int]) -> Any:
        spans = tuple(
            tuple(
                (max(0, start - pixels), min(length, stop + pixels))
                for start, stop in pairwise(accumulate(along, initial=0))
            )
            for along, length, pixels in zip(self.chunks, self.shape, margin, strict=True)
        )
        chunks = tuple(tuple(stop - start for start, stop in along) for along in spans)
        if self.bands is not None:
            chunks = (*chunks, (len(self.bands),))
        return da.map_blocks(
            _read_region,
            array=delayed(self.array, pure=False, traverse=False),  # one key of the graph
            spans=spans,
            order=self.order,
            bands=self.bands,
            chunks=chunks,
            dtype=self.array.dtype,
            meta=np.empty((0,) * len(chunks), self.array.dtype),
            name=f"image-{uuid4().hex}",  # otherwise dask would hash all values
        )


def chunk_start(chunks: Chunks, block_id: Sequence[int]) -> list[int]:
    """Return the index of the first pixel of a chunk along each axis."""
    return [sum(along[:index]) for along, index in zip(chunks, block_id, strict=False)]


def _grow(units: list[int], shape: Sequence[int], max_pixels: int) -> list[int]:
    """Return sides of whole storage chunks, as many as possible along the last axis, then along that before it.

    Chunks are large because each pays for value counters of its own.
    """
    sides = list(units)
    for axis in reversed(range(len(sides))):
        others = prod(sides) // sides[axis]
        sides[axis] = min(units[axis] * max(1, max_pixels // (units[axis] * others)), shape[axis])
    return sides


def _grow_evenly(units: list[int], shape: Sequence[int], max_pixels: int, axes: list[int]) -> list[int]:
    """Return sides of whole storage chunks, about equal along ``axes``, so that margins overlap least."""
    sides, growing = list(units), list(axes)
    while growing:
        axis = min(growing, key=sides.__getitem__)
        longer = min(sides[axis] + units[axis] * max(1, sides[axis] // units[axis] // 16), shape[axis])
        if longer == sides[axis] or prod(sides) // sides[axis] * longer > max_pixels:
            growing.remove(axis)
        else:
            sides[axis] = longer
    return sides


def _split(chunks: Chunks, max_pixels: int, margin: Sequence[int]) -> Chunks:
    """Halve the longest side of chunks until they are small enough, and join those shorter than the margin."""
    sides = list(chunks)
    while prod(map(max, sides)) > max_pixels:
        axis = max(range(len(sides)), key=lambda axis: max(sides[axis]))
        if max(sides[axis]) < 2 * max(1, margin[axis]):
            break
        halves = [(length - length // 2, length // 2) for length in sides[axis]]
        sides[axis] = tuple(half for pair in halves for half in pair if half)
    for axis, pixels in enumerate(margin):
        length = sum(sides[axis])
        sides[axis] = (length,) if length < pixels else tuple(ensure_minimum_chunksize(pixels, sides[axis]))
    return tuple(sides)


def _read_region(
    array: Any, spans: Spans, order: tuple[int, ...], bands: tuple[int, ...] | None, block_id: tuple[int, ...]
) -> NDArray[Any]:
    """Read one chunk with its margin, and no bands but those between the first and the last that are used."""
    key = [slice(None)] * len(order)
    for axis, along, index in zip(order, spans, block_id, strict=False):
        key[axis] = slice(*along[index])
    if bands is None:
        return np.asarray(array[tuple(key)]).transpose(order)
    first = min(bands)
    key[order[-1]] = slice(first, max(bands) + 1)
    block = np.asarray(array[tuple(key)]).transpose(order)
    selected = [band - first for band in bands]
    return block if selected == list(range(block.shape[-1])) else block[..., selected]
