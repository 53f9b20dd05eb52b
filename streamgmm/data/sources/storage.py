"""Chunked arrays on disk: zarr and HDF5, read in tasks of about 16 MiB of whole chunks or shards."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

from streamgmm.data.checks import check_shape, choose_dtype
from streamgmm.data.sources.dask_arrays import DaskSource, from_dask
from streamgmm.errors import InputError

TASK_BYTES = 16 * 2**20


def from_zarr(array: Any, sample_weight: Any = None) -> DaskSource:
    """Return a source of a 2-d zarr array, format 2 or 3, or of a group that holds exactly one array."""
    if hasattr(array, "arrays"):
        array = get_only_array("zarr group", dict(array.arrays()))
    return _from_stored(array, array.shards or array.chunks, "zarr array", sample_weight)


def from_hdf5(dataset: Any, sample_weight: Any = None) -> DaskSource:
    """Return a source of a 2-d HDF5 dataset, which dask reads under a lock; its file must stay open."""
    return _from_stored(dataset, dataset.chunks, "HDF5 dataset", sample_weight, lock=True)


def get_only_array(kind: str, arrays: dict[str, Any]) -> Any:
    """Return the array of a container that has exactly one; otherwise the error names all."""
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    names = ", ".join(repr(name) for name in sorted(arrays)) or "none"
    raise InputError(f"The {kind} must hold exactly one array to fit, but holds {names}; open the one you mean.")


def task_rows(n_features: int, itemsize: int, storage_rows: int) -> int:
    """Return the rows of one task: as many whole storage chunks as make ``TASK_BYTES``, at least one."""
    return storage_rows * max(1, TASK_BYTES // (storage_rows * n_features * itemsize))


def _from_stored(
    array: Any, storage_chunks: tuple[int, ...] | None, kind: str, sample_weight: Any, lock: bool = False
) -> DaskSource:
    check_shape(array.shape, kind)
    choose_dtype(array.dtype)
    n_features = array.shape[1]
    rows = task_rows(n_features, array.dtype.itemsize, storage_chunks[0] if storage_chunks else 1)
    lazy = da.from_array(array, chunks=(rows, n_features), lock=lock, meta=np.empty((0, 0), array.dtype))
    if sample_weight is not None and hasattr(sample_weight, "chunks") and not isinstance(sample_weight, da.Array):
        sample_weight = da.from_array(sample_weight, chunks=(rows,), lock=lock)  # stored like the rows
    return from_dask(lazy, sample_weight, kind=kind)
