"""Loading of rows: transposed blocks of float64 about a shared origin, for the inner loops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError, NonFiniteError
from streamgmm.kernels.compilation import cached
from streamgmm.model.statistics import MAX_MAGNITUDE, Array

BLOCK_ROWS = 384  # in cache with their log-densities; not a power of two, whose strides collide
CACHED_VALUES = 2**16  # float64 values loaded at a time, 512 KiB: they stay in the second level of cache

COMPILED_DTYPES = frozenset(np.dtype(name) for name in ("float64", "float32", "int16", "uint16", "uint8"))
# other dtypes are rare, and not worth the wait for the compiler


def iter_blocks(rows: NDArray[Any], width: int, origin: Array) -> Iterator[tuple[slice, Array]]:
    """Yield slices of rows (n, d) and the blocks that hold them; raises NonFiniteError.

    The blocks belong to the thread, stay in cache, and hold the rows until the next iteration.
    """
    if rows.shape[1] != len(origin):
        raise InputError(f"X has {rows.shape[1]} features, but the parameters have {len(origin)}.")
    is_compiled = rows.dtype in COMPILED_DTYPES
    step = max(BLOCK_ROWS, CACHED_VALUES // width // BLOCK_ROWS * BLOCK_ROWS)
    blocks = _get_blocks(-(-min(step, len(rows)) // BLOCK_ROWS), width)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        if load(part if is_compiled else part.astype(np.float64, order="C"), origin, blocks):
            raise NonFiniteError("Input X contains NaN, infinity or a value too large to be squared.")
        yield slice(start, start + len(part)), blocks


_local = threading.local()


def _get_blocks(number: int, width: int) -> Array:
    """Return blocks of the thread, reused because new memory costs as much as loading."""
    blocks: Array | None = getattr(_local, "blocks", None)
    if blocks is None or blocks.shape[1] != width or len(blocks) < number:
        blocks = _local.blocks = np.empty((number, width, BLOCK_ROWS))
    return blocks[:number]


@cached
def load(rows, origin, blocks):  # type: ignore[no-untyped-def]
    """Fill ``blocks`` (n_blocks, width, block) from rows (n, d); return the number of values that cannot be used.

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
                unusable += not abs(value) <= MAX_MAGNITUDE
                column[i] = value - centre
        for j in range(d, blocks.shape[1]):
            column = blocks[b, j]
            for i in range(length):
                column[i] = 0.0
    return unusable
