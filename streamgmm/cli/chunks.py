"""Stored rows as a source whose results are lazy."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from streamgmm.data.sources import LEAF_ROWS, Source, as_source
from streamgmm.data.sources.arrays import ArraySource
from streamgmm.data.sources.dask_arrays import from_dask
from streamgmm.data.sources.storage import task_rows


def chunked(path: str) -> Source:
    """Source of what is stored at a path, whose results are lazy also where the rows are mapped into memory."""
    source = as_source(path)
    if not isinstance(source, ArraySource):
        return source
    rows = _Mapped(source.rows)
    length = task_rows(source.n_features, source.dtype.itemsize, LEAF_ROWS)
    return from_dask(da.from_array(rows, (length, -1), name=False, meta=np.empty((0, 0), rows.dtype)), kind="array")


class _Mapped:
    """What dask needs of a memory-mapped array, and no ``copy``, by which it would read all of it."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = rows
        self.shape, self.dtype, self.ndim = rows.shape, rows.dtype, rows.ndim

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(self._rows[key])
