"""Rows on disk: a zarr array of any size, written chunk by chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from benchmarks.workloads import mixture

N_FEATURES = 15
CHUNK_ROWS = 2**18  # 15 MiB of float32
GIGABYTE = 10**9


def write_rows(path: Path, gigabytes: float, k: int = 8) -> int:
    """Write as many float32 rows as make up the size in memory; returns how many.

    Chunks are one mixture in a new order each. Values are rounded to 1/64, so that they compress, and quickly.
    """
    n_rows = max(2 * k, round(gigabytes * GIGABYTE / (4 * N_FEATURES)))
    step = min(CHUNK_ROWS, n_rows)
    array = zarr.create_array(
        path,
        shape=(n_rows, N_FEATURES),
        chunks=(step, N_FEATURES),
        dtype="float32",
        compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
    )
    rows = (np.rint(64 * mixture(step, N_FEATURES, k)) / 64).astype(np.float32)
    for index, start in enumerate(range(0, n_rows, step)):
        shuffled = np.random.default_rng(index).permutation(rows)
        array[start : start + step] = shuffled[: n_rows - start]
    return n_rows
