"""One image that is to be segmented: its pixels, what of them is learnt, the table of their values, its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Self

import dask.array as da
import numpy as np

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.sources import Source
from streamgmm.data.sources.dask_arrays import from_dask
from streamgmm.errors import InputError
from streamgmm.estimator import GaussianMixture
from streamgmm.fitting.progress import create_rows_bar
from streamgmm.images.counting import ValueCounts
from streamgmm.images.counting.paying import tables_of
from streamgmm.images.features import Features, Scaling, features_of, numbered, rows_together, standardized
from streamgmm.images.image import NO_VALID_PIXEL, Image
from streamgmm.images.labelling import Labelling, ProbabilityLayer, label_dtype
from streamgmm.images.reading import find_path, open_image
from streamgmm.images.reading.raster import Georeference
from streamgmm.images.recipe import Preprocessing, Scale
from streamgmm.images.segmentation import Segmentation
from streamgmm.images.tallying import SegmentStatistics
from streamgmm.images.writers import PICTURE, ZARR, Output
from streamgmm.images.writers.legend import Legend
from streamgmm.results.provenance import Record

TILE = 1024  # longest side of a chunk of labels, which a viewer reads as one
DIGESTED = 2**24  # bytes of a mask at once


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationJob:
    """An image, where its labels go, and on what they depend.

    Attributes
    ----------
    pixels : Image
        Its pixels in blocks.
    features : Features
        What of them is learnt.
    counted : ValueCounts or None
        The table of their values, once they are counted.
    settings : mapping
        What labels depend on beside these and the mixture, in JSON's types.
    names : tuple of str, or None
        Of the bands that are used.
    scale : tuple of (float, float), or None
        Factor and offset of each of these, which are not applied.
    grid : Georeference or None
        Where pixels lie.
    sources : tuple of pathlib.Path
        What it is read from, as far as that is known, which must not be written to.
    target : Output or None
        Where labels are written to.
    """

    pixels: Image
    features: Features
    counted: ValueCounts | None
    settings: Mapping[str, Any]
    names: tuple[str, ...] | None
    scale: Scale | None
    grid: Georeference | None
    sources: tuple[Path, ...]
    target: Output | None

    @classmethod
    def of(
        cls,
        image: Any,
        wanted: Mapping[str, Any],
        *,
        axes: str | None,
        level: int | None,
        nodata: float | None,
        otherwise: float | None,
        scaled: bool,
        mask: Any,
        grid: Georeference | None,
        target: Output | None,
    ) -> Self:
        """Scene of an image as it was given, of whose pixels ``wanted`` is to be learnt; nothing of it is read.

        What says nodata is ``nodata``, else what the format says, else, in case that it says nothing, ``otherwise``.
        """
        raster = open_image(image, axes, level)
        sources = (*image, mask) if isinstance(image, list | tuple) else (image, raster.array, mask)
        if scaled:
            raster, nodata = raster.apply_scale(nodata), None
        said = next((one for one in (nodata, raster.nodata, otherwise) if one is not None), None)
        features = Features(**{**wanted, "bands": numbered(wanted["bands"], raster.bands)})
        without = raster.nodata_mask(features.bands, mask)
        pixels = Image.from_array(raster.array, axes=raster.axes, bands=features.bands, nodata=said, mask=without)
        features.check(pixels.n_bands, pixels.dtype)
        used = range(pixels.n_bands) if features.bands is None else features.bands
        return cls(
            pixels,
            features,
            None,
            {"axes": pixels.axes, "nodata": pixels.nodata, "mask": None if mask is None else _digest(mask)},
            None if raster.bands is None else tuple(raster.bands[band] for band in used),
            None if raster.scale is None else tuple(raster.scale[band] for band in used),
            raster.georeference if grid is None else grid,
            tuple(path for path in map(find_path, sources) if path is not None),
            target,
        )

    @property
    def learnt(self) -> Image:
        """The features of the pixels."""
        return features_of(self.pixels, self.features)

    def segmented(
        self, model: GaussianMixture, recipe: Preprocessing, learnt: Image, certainty: bool | str, verbose: int
    ) -> Segmentation:
        """Labels of all pixels by a fitted model of what is ``learnt`` of them, where they are wanted."""
        k = len(model.means_)
        dtype = label_dtype(k)
        labelling: Any = Labelling.by(model, dtype)
        tally = None
        if self.counted is None:
            lazy = learnt.map(labelling, dtype)
        else:
            labels = labelling(self.features.of_rows(self.counted.values))
            tally = SegmentStatistics.of(labels, self.counted.values, k + 1, self.counted.counts)
            lazy = self.pixels.map(self.counted.table(labels), dtype)
        likely = _certainty(learnt, model, certainty)
        if self.target is None:
            lazy = lazy.compute() if self.pixels.in_memory else lazy
        else:
            lazy = self._written("segments", lazy, self.target, model, recipe, verbose)
            if likely is not None and self.target.kind == ZARR:
                kind = "probabilities" if certainty is True else "largest probabilities"
                likely = self._written(kind, likely, beside_labels(self.target), model, recipe, verbose)
        return Segmentation(lazy, model, self.features, likely, None, self.grid, self.pixels, tally)

    def _written(
        self, kind: str, lazy: Any, target: Output, model: GaussianMixture, recipe: Preprocessing, verbose: int
    ) -> Any:
        """A lazy array as it is where it was written to, which it is once this returns."""
        record = Record.of(kind, model, self.pixels.to_weighted_rows(), {**self.settings, **self.features.written()})
        shown = bool(verbose) and target.kind != PICTURE
        with create_rows_bar(prod(self.pixels.shape), kind, shown=shown) as bar:
            return target.write(
                lazy,
                record,
                axes=self.pixels.axes,
                legend=Legend.of(recipe.palette),
                grid=self.grid,
                tile=TILE,
                wrote=bar.update,
            )


def with_tables(scenes: Sequence[SegmentationJob], *, learning: bool) -> list[SegmentationJob]:
    """The same with their pixels counted, where that pays for all and nothing else is learnt; else as they are."""
    pointwise = all(scene.features.pointwise for scene in scenes)
    tables = tables_of([scene.pixels for scene in scenes], learning=learning) if pointwise else None
    if tables is None:
        return list(scenes)
    return [replace(scene, counted=table) for scene, table in zip(scenes, tables, strict=True)]


def rows_of(scenes: Sequence[SegmentationJob], learnt: Sequence[Image]) -> Source:
    """What one mixture of several images is fitted to: their tables together, or what is learnt of all pixels.

    An image may be all nodata, but not every one; InputError then.
    """
    together = _table(scenes)
    if together is None:
        return rows_together(learnt)
    return together.source(scenes[0].features.of_rows(together.values))


def on_one_scale(scenes: Sequence[SegmentationJob]) -> list[SegmentationJob]:
    """The same with features on the scale that they have over the pixels of all."""
    together, features = _table(scenes), scenes[0].features
    if together is None:
        scaling = standardized([scene.pixels for scene in scenes], features).scaling
    else:
        scaling = Scaling.of(together.source(features.of_rows(together.values)))
    return [replace(scene, features=replace(scene.features, scaling=scaling)) for scene in scenes]


def _table(scenes: Sequence[SegmentationJob]) -> ValueCounts | None:
    """The table of all pixels, where they were counted."""
    tables = [scene.counted for scene in scenes if scene.counted is not None]
    if not tables:
        return None
    together = ValueCounts.together(tables)
    if not len(together.values):
        raise InputError(NO_VALID_PIXEL)
    return together


def beside_labels(target: Output) -> Output:
    """Where the probabilities go of labels that go somewhere."""
    return replace(target, path=target.path.with_name(f"{target.path.stem}_probabilities{target.path.suffix}"))


def _certainty(learnt: Image, model: GaussianMixture, certainty: bool | str) -> Any:
    """Lazy probabilities, where they are wanted."""
    if certainty is False:
        return None
    function = ProbabilityLayer.by(model, largest=certainty == "largest")
    lazy = learnt.map(function, function.dtype)
    if certainty == "largest":
        return lazy
    field, k = function.dtype["probability"], len(model.means_)
    return lazy.map_blocks(
        _probability,
        new_axis=lazy.ndim,
        chunks=(*lazy.chunks, (k,)),
        meta=np.empty((0,) * (lazy.ndim + 1), field.base),
    )


def _digest(mask: Any) -> str:
    """By what a mask is recognized: all of it where it is in memory, else its name in dask and some of its values."""
    if isinstance(mask, da.Array) or all(hasattr(mask, name) for name in ("shape", "dtype", "chunks")):
        lazy = mask if isinstance(mask, da.Array) else da.from_array(mask, name=False)
        rows = from_dask(da.reshape_blockwise(lazy, (lazy.size,))[:, None].astype(np.uint8))
        looked_at = Fingerprint.from_source(rows).rows
        return f"{mask.name} {looked_at}" if isinstance(mask, da.Array) else looked_at
    array, digest = np.asarray(mask), hashlib.sha256()
    lines = max(1, DIGESTED // max(1, array[:1].nbytes))
    for start in range(0, len(array), lines):
        digest.update(np.ascontiguousarray(array[start : start + lines]).data)
    return digest.hexdigest()


def _probability(block: Any) -> Any:
    return block["probability"]
