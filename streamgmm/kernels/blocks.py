"""Rows brought into the form that the inner loops run on: transposed blocks of float64 about a shared origin."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError, NonFiniteError
from streamgmm.kernels.compilation import cached
from streamgmm.model.statistics import LARGEST, Array

# rows held transposed at once, in cache with their log-densities; not a power of two, whose strides collide
BLOCK = 384
CACHE = 2**16  # float64 values of one portion of rows, 512 KiB: it stays in the second level of cache

# dtypes that the loader is compiled for; others are rare, and not worth the wait
NATIVE = frozenset(np.dtype(name) for name in ("float64", "float32", "int16", "uint16", "uint8"))


def iter_blocks(rows: NDArray[Any], width: int, origin: Array) -> Iterator[tuple[slice, Array]]:
    """Load rows (n, d) portion by portion; yields which rows they are, and the blocks that hold them.

    A portion is a multiple of the block and stays in cache while it is used. The blocks belong to the thread, and hold
    the rows until its next portion. Raises NonFiniteError.
    """
    if rows.shape[1] != len(origin):
        raise InputError(f"X has {rows.shape[1]} features, but the parameters have {len(origin)}.")
    native = rows.dtype in NATIVE
    step = max(BLOCK, CACHE // width // BLOCK * BLOCK)
    blocks = _blocks(-(-min(step, len(rows)) // BLOCK), width)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        if load(part if native else part.astype(np.float64, order="C"), origin, blocks):
            raise NonFiniteError("Input X contains NaN, infinity or a value too large to be squared.")
        yield slice(start, start + len(part)), blocks


_kept = threading.local()


def _blocks(number: int, width: int) -> Array:
    """Room for some blocks: the thread's own where it has enough, because new memory costs as much as loading."""
    kept: Array | None = getattr(_kept, "blocks", None)
    if kept is None or kept.shape[1] != width or len(kept) < number:
        kept = _kept.blocks = np.empty((number, width, BLOCK))
    return kept[:number]


@cached
def load(rows, origin, blocks):  # type: ignore[no-untyped-def]
    """Fill ``blocks`` (n_blocks, width, block) from rows (n, d); return how many values cannot be used.

    Columns beyond d are zeros. Values are widened here and nowhere else.
    """
    n, d = rows.shape
    size = blocks.shape[2]
    unusable = 0
    for b in range((n + size - 1) // size):
        first = b * size
        length = min(size, n - first)
        for j in range(d):
            column = blocks[b, j]
            centre = origin[j]
            for i in range(length):
                value = np.float64(rows[first + i, j])
                unusable += not abs(value) <= LARGEST
                column[i] = value - centre
        for j in range(d, blocks.shape[1]):
            column = blocks[b, j]
            for i in range(length):
                column[i] = 0.0
    return unusable
