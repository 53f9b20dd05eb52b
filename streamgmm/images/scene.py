"""One image that is to be segmented: its pixels, the table of their values where they can be counted, its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import dask
import dask.array as da
import numpy as np

from streamgmm.errors import InputError
from streamgmm.estimator import GaussianMixture
from streamgmm.fingerprint import Fingerprint
from streamgmm.images.axes import named_axes
from streamgmm.images.counting import Counted, countable
from streamgmm.images.image import NO_PIXEL, Image
from streamgmm.images.labelling import Certainty, Labelling, label_dtype
from streamgmm.images.opening import opened, place
from streamgmm.images.recipe import Recipe, Scale
from streamgmm.images.segmentation import Segmentation
from streamgmm.images.tallying import Tally
from streamgmm.progress import rows_bar
from streamgmm.results import Record, write
from streamgmm.sources import Source
from streamgmm.sources.blocks import from_dask

TILE = 1024  # longest side of a chunk of labels, which a viewer reads as one
PICTURE = ".png"
DIGESTED = 2**24  # bytes of a mask at once


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image, where its labels go, and on what they depend.

    Attributes
    ----------
    pixels : Image
        Its pixels in blocks.
    counted : Counted or None
        The table of their values, once they are counted.
    settings : mapping
        What labels depend on beside these and the mixture, in JSON's types.
    names : tuple of str, or None
        Of the bands that are used.
    scale : tuple of (float, float), or None
        Factor and offset of each of these.
    grid : object or None
        Where pixels lie.
    sources : tuple of pathlib.Path
        What it is read from, as far as that is known, which must not be written to.
    target : pathlib.Path or None
        Where labels are written to.
    """

    pixels: Image
    counted: Counted | None
    settings: Mapping[str, Any]
    names: tuple[str, ...] | None
    scale: Scale | None
    grid: Any
    sources: tuple[Path, ...]
    target: Path | None

    @classmethod
    def of(
        cls,
        image: Any,
        *,
        axes: str | None,
        bands: Sequence[int] | None,
        nodata: float | None,
        mask: Any,
        grid: Any,
        target: Path | None,
    ) -> Self:
        """Scene of an image as it was given; nothing of it is read."""
        array, axes = opened(image, axes)
        pixels = Image.of(array, axes=axes, bands=bands, nodata=nodata, mask=mask)
        settings = {
            "axes": named_axes(tuple(np.shape(array)), axes),
            "bands": None if bands is None else [int(band) for band in bands],
            "nodata": pixels.nodata,
            "mask": None if mask is None else _digest(mask),
        }
        sources = tuple(path.resolve() for path in map(place, (image, array, mask)) if path is not None)
        return cls(pixels, None, settings, None, None, grid, sources, target)

    def with_table(self) -> Self:
        """The same with its pixels counted, where they can be."""
        if not countable(self.pixels.dtype, self.pixels.n_bands):
            return self
        return replace(self, counted=Counted.of(self.pixels.rows(counted=False)))

    def segmented(
        self, model: GaussianMixture, recipe: Recipe, certainty: bool | str, overwrite: bool, verbose: int
    ) -> Segmentation:
        """Labels of all pixels by a fitted model, where they are wanted."""
        k = len(model.means_)
        dtype = label_dtype(k)
        labelling: Any = Labelling.by(model, dtype)
        tally = None
        if self.counted is not None:
            labels = labelling(self.counted.values)
            tally = Tally.of(labels, self.counted.values, k + 1, self.counted.counts)
            labelling = self.counted.table(labels)
        lazy = self.pixels.map(labelling, dtype)
        likely = self._certainty(model, certainty)
        if self.target is None:
            lazy = lazy.compute() if self.pixels.at_hand else lazy
        elif self.target.suffix.lower() == PICTURE:
            from streamgmm.images.picture import write_picture

            lazy = lazy.compute()
            write_picture(lazy, np.array(recipe.palette, np.uint8), self.target, overwrite=overwrite)
        else:
            lazy = self._written("segments", lazy, self.target, model, recipe, overwrite, verbose)
            if likely is not None:
                kind = "probabilities" if certainty is True else "largest probabilities"
                beside = beside_labels(self.target)
                likely = self._written(kind, likely, beside, model, recipe, overwrite, verbose)
        return Segmentation(lazy, model, likely, None, self.grid, self.pixels, tally)

    def _certainty(self, model: GaussianMixture, certainty: bool | str) -> Any:
        """Lazy probabilities, where they are wanted."""
        if certainty is False:
            return None
        function = Certainty.by(model, largest=certainty == "largest")
        lazy = self.pixels.map(function, function.dtype)
        if certainty == "largest":
            return lazy
        field, k = function.dtype["probability"], len(model.means_)
        return lazy.map_blocks(
            _probability,
            new_axis=lazy.ndim,
            chunks=(*lazy.chunks, (k,)),
            meta=np.empty((0,) * (lazy.ndim + 1), field.base),
        )

    def _written(
        self,
        kind: str,
        lazy: Any,
        target: Path,
        model: GaussianMixture,
        recipe: Recipe,
        overwrite: bool,
        verbose: int,
    ) -> Any:
        """A lazy array as it is in a zarr, where it is once this returns."""
        import zarr

        record = Record.of(kind, model, self.pixels.pixels(), {**self.settings, "features": dict(recipe.features)})
        n_axes = len(self.pixels.shape)
        n_pixels = int(np.prod(self.pixels.shape))
        # what is written to is held by this process: the workers of a cluster could not share it
        with rows_bar(n_pixels, kind, shown=bool(verbose)) as bar, dask.config.set(scheduler="threads"):
            write(lazy, target, record, tile=TILE, places=n_axes, overwrite=overwrite, wrote=bar.update)
        return zarr.open_array(target, mode="r")


def rows_of(scenes: Sequence[Scene]) -> Source:
    """What one mixture of several images is fitted to: their tables together, or all of their pixels.

    An image may be all nodata, but not every one; InputError then.
    """
    tables = [scene.counted for scene in scenes if scene.counted is not None]
    if tables:
        counted = Counted.together(tables)
        if not len(counted.values):
            raise InputError(NO_PIXEL)
        return counted.source()
    if len(scenes) == 1:
        return scenes[0].pixels.rows()
    rows = [scene.pixels.rows(counted=False).array for scene in scenes]
    together = da.concatenate(rows, allow_unknown_chunksizes=True).compute_chunk_sizes()
    if not len(together):
        raise InputError(NO_PIXEL)
    return from_dask(together, kind="images")


def beside_labels(target: Path) -> Path:
    """Where the probabilities are of labels that are at a path.

    Examples
    --------
    >>> beside_labels(Path("scan.zarr")).name
    'scan_probabilities.zarr'
    """
    return target.with_name(f"{target.stem}_probabilities{target.suffix}")


def _digest(mask: Any) -> str:
    """By what a mask is recognized: all of it where it is in memory, else its name in dask and some of its values."""
    if isinstance(mask, da.Array) or all(hasattr(mask, name) for name in ("shape", "dtype", "chunks")):
        lazy = mask if isinstance(mask, da.Array) else da.from_array(mask, name=False)
        rows = from_dask(da.reshape_blockwise(lazy, (lazy.size,))[:, None].astype(np.uint8))
        looked_at = Fingerprint.of(rows).rows
        return f"{mask.name} {looked_at}" if isinstance(mask, da.Array) else looked_at
    array, digest = np.asarray(mask), hashlib.sha256()
    lines = max(1, DIGESTED // max(1, array[:1].nbytes))
    for start in range(0, len(array), lines):
        digest.update(np.ascontiguousarray(array[start : start + lines]).data)
    return digest.hexdigest()


def _probability(block: Any) -> Any:
    return block["probability"]
