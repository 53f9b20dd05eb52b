"""Kinds of input, a file each; each becomes a `Source` of chunks.

Importing this imports none of dask, zarr, xarray, h5py and pandas.
"""

from __future__ import annotations

import sys
from importlib import import_module
from os import PathLike
from typing import Any

from streamgmm.data.source import LEAF_ROWS, Chunk, Source
from streamgmm.data.sources.batches import BatchSource, is_batches
from streamgmm.data.sources.in_memory import from_array
from streamgmm.data.sources.paths import from_path
from streamgmm.errors import InputError

__all__ = ["KINDS", "LEAF_ROWS", "Chunk", "Source", "as_source"]

# module and name of an input's type -> module and function that make a source of it and of its weights
KINDS: dict[tuple[str, str], str] = {
    ("dask.array", "Array"): "dask_arrays.from_dask",
    ("dask.dataframe", "DataFrame"): "dask_arrays.from_dask_frame",
    ("xarray", "DataArray"): "xarray_objects.from_xarray",
    ("xarray", "Dataset"): "xarray_objects.from_xarray",
    ("zarr", "Array"): "storage.from_zarr",
    ("zarr", "Group"): "storage.from_zarr",
    ("h5py", "Dataset"): "storage.from_hdf5",
}


def as_source(X: Any, sample_weight: Any = None, *, feature_dim: Any = None) -> Source:
    """Return a source of any kind of input.

    Parameters
    ----------
    X : array-like, path, batches, or an object of one of the types in ``KINDS``
        A source is returned unchanged.
    sample_weight : array-like or lazy array of shape (n_rows,), or batches if ``X`` is batches, optional
        Weight of each row, not negative.
    feature_dim : hashable, optional
        Dim of an xarray DataArray along which the features are; by default the last of two.

    Returns
    -------
    Source
        Reads nothing but the first batch of batches, until a pass is asked for.

    Raises
    ------
    InputError
        ``X`` or ``sample_weight`` cannot be used; also a ValueError. For a wrong type it is a TypeError too.

    Examples
    --------
    >>> as_source([[1.0, 2.0], [3.0, 4.0]])
    array of 2 rows x 2 features, float64
    """
    if feature_dim is not None and not _is_kind(X, "xarray", "DataArray"):
        raise InputError(f"feature_dim is {feature_dim!r}, but X is not an xarray DataArray; leave it out.")
    source: Source
    if callable(getattr(X, "chunks", None)) and hasattr(X, "n_features"):
        if sample_weight is not None:
            raise InputError("X is a source, which has its own weights; leave out sample_weight.")
        source = X
        return source
    if isinstance(X, str | PathLike):
        return from_path(X, sample_weight)
    for kind, maker in KINDS.items():
        if _is_kind(X, *kind):
            module, function = maker.split(".")
            options = {} if feature_dim is None else {"feature_dim": feature_dim}
            source = getattr(import_module(f"{__name__}.{module}"), function)(X, sample_weight, **options)
            return source
    return BatchSource(X, sample_weight) if is_batches(X) else from_array(X, sample_weight)


def _is_kind(X: Any, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(X, kind)
