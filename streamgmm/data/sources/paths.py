"""Paths of stored arrays and tables; the suffix names the format."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from streamgmm.data.source import Source
from streamgmm.errors import InputError


def from_path(path: str | PathLike[str], sample_weight: Any = None) -> Source:
    """Return a source of the array or table that is stored at a path.

    Parameters
    ----------
    path : str or os.PathLike
        ``.zarr``: an array, or a group with exactly one; may be a URL that zarr can open. ``.npy``: mapped into
        memory, not read. ``.parquet``: a file or a folder of them, every column a number. ``.h5``, ``.hdf5``: a file
        with exactly one 2-d dataset.
    sample_weight : array-like, optional
        One weight for each row.
    """
    name = fspath(path)
    location = Path(name)
    opener = FORMATS.get(location.suffix.lower())
    is_parquet_folder = opener is None and location.is_dir() and any(location.glob("*.parquet"))
    if opener is None and not is_parquet_folder:
        raise InputError(f"X is the path {name!r}, whose suffix is not one of {', '.join(FORMATS)}; open it yourself.")
    if "://" not in name and not location.exists():
        raise InputError(f"X is the path {name!r}, but there is nothing; check it, and the working directory.")
    return (opener or _open_parquet)(name, sample_weight)


def _open_zarr(name: str, sample_weight: Any) -> Source:
    import zarr

    from streamgmm.data.sources.storage import from_zarr

    try:
        opened = zarr.open(name, mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"{name!r} cannot be opened as a zarr array ({error}); check that it was written.") from None
    return from_zarr(opened, sample_weight)


def _map_npy(name: str, sample_weight: Any) -> Source:
    from streamgmm.data.sources.in_memory import from_array

    try:
        mapped = np.load(name, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"{name!r} cannot be mapped into memory ({error}); save a numeric array to it.") from None
    return from_array(mapped, sample_weight)


def _open_parquet(name: str, sample_weight: Any) -> Source:
    from streamgmm.data.sources.parquet import from_parquet

    return from_parquet(Path(name), sample_weight)


def _open_hdf5(name: str, sample_weight: Any) -> Source:
    import h5py

    from streamgmm.data.sources.storage import from_hdf5, get_only_array

    try:
        file = h5py.File(name, "r")
    except OSError as error:
        raise InputError(f"{name!r} cannot be opened as HDF5 ({error}); check that it was written.") from None
    datasets: dict[str, Any] = {}

    def keep_dataset(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2:
            datasets[path] = item

    file.visititems(keep_dataset)
    return from_hdf5(get_only_array("HDF5 file", datasets), sample_weight)


FORMATS = {".zarr": _open_zarr, ".npy": _map_npy, ".parquet": _open_parquet, ".h5": _open_hdf5, ".hdf5": _open_hdf5}
