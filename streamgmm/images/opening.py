"""A path is the image that is stored there; the suffix says how. Nothing is read whole that need not be."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from streamgmm.errors import InputError
from streamgmm.sources.storage import only


def opened(image: Any) -> Any:
    """Array of what is stored at a path; anything else as it is, but for a zarr group, which is its one array."""
    if isinstance(image, str | PathLike):
        name = fspath(image)
        opener = _OPENERS.get(Path(name).suffix.lower())
        if opener is None:
            raise InputError(f"{name!r} ends in none of {', '.join(_OPENERS)}; open the image yourself, as an array.")
        if "://" not in name and not Path(name).exists():
            raise InputError(f"The image is the path {name!r}, but there is nothing; check it.")
        try:
            image = opener(name)
        except (OSError, ValueError) as error:
            raise InputError(f"{name!r} cannot be opened as an image ({error}); check that it was written.") from None
    return only("zarr group", dict(image.arrays())) if hasattr(image, "arrays") else image


def place(image: Any) -> Path | None:
    """Where an image is on disk, which nothing may be written to; None where it is not known to be."""
    if isinstance(image, str | PathLike):
        return Path(fspath(image))
    root = getattr(getattr(image, "store", None), "root", None)
    return None if root is None else Path(root, image.path)


def _zarr(name: str) -> Any:
    import zarr

    return zarr.open(name, mode="r")


def _npy(name: str) -> Any:
    return np.load(name, mmap_mode="r")


_OPENERS = {".zarr": _zarr, ".npy": _npy}
