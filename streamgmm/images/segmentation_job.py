"""One image to be segmented: its pixels, their features, the table of their values, and the files of its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import dask.array as da
import numpy as np

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.sources import Source
from streamgmm.data.sources.dask_arrays import from_dask
from streamgmm.errors import InputError
from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.fitting.progress import create_rows_bar
from streamgmm.images.counting import ValueCounts, ValueLookup, count_images
from streamgmm.images.features import Features, Scaling, compute_features, concatenate_rows, fit_scaling, resolve_bands
from streamgmm.images.image import NO_VALID_PIXEL, Image
from streamgmm.images.image_limits import LIMITS
from streamgmm.images.labels import make_labeller, make_probability_function
from streamgmm.images.preprocessing import BandScale, Preprocessing
from streamgmm.images.reading import find_path, open_image
from streamgmm.images.reading.raster import Georeference
from streamgmm.images.segment_statistics import SegmentStatistics
from streamgmm.images.segmentation import Segmentation
from streamgmm.images.writers import LabelDescription, LabelOutput, label_dtype, palette
from streamgmm.results.provenance import Provenance


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationJob:
    """An image, its outputs, and everything its labels depend on but the mixture."""

    pixels: Image
    features: Features
    settings: Mapping[str, Any]  # axes, nodata and mask in JSON's types; they identify interrupted labels
    names: tuple[str, ...] | None  # of the bands used
    scale: BandScale | None  # factor and offset of each band used, which are not applied
    georeference: Georeference | None
    sources: tuple[Path, ...]  # known files that are read, which no output may replace
    output: LabelOutput | None
    probability_output: LabelOutput | None
    value_counts: ValueCounts | None = None

    @classmethod
    def open(
        cls,
        image: Any,
        features: Mapping[str, Any],
        *,
        axes: str | None,
        level: int | None,
        nodata: float | None,
        default_nodata: float | None,
        scaled: bool,
        mask: Any,
        georeference: Georeference | None,
        output: LabelOutput | None,
        probability_output: LabelOutput | None,
    ) -> Self:
        """Open an image; no pixel is read.

        ``nodata`` counts first, then what the format says, then ``default_nodata``.
        """
        raster = open_image(image, axes, level)
        sources = (*image, mask) if isinstance(image, list | tuple) else (image, raster.array, mask)
        if scaled:
            raster, nodata = raster.apply_scale(nodata), None
        nodata = next((value for value in (nodata, raster.nodata, default_nodata) if value is not None), None)
        features = {**features, "bands": resolve_bands(features["bands"], raster.bands)}
        bands = features["bands"]
        pixels = Image.from_array(
            raster.array, axes=raster.axes, bands=bands, nodata=nodata, mask=raster.make_nodata_mask(bands, mask)
        )
        used = range(pixels.n_bands) if bands is None else bands
        job = cls(
            pixels=pixels,
            features=Features(**features),
            settings={"axes": pixels.axes, "nodata": pixels.nodata, "mask": None if mask is None else _digest(mask)},
            names=None if raster.bands is None else tuple(raster.bands[band] for band in used),
            scale=None if raster.scale is None else tuple(raster.scale[band] for band in used),
            georeference=raster.georeference if georeference is None else georeference,
            sources=tuple(path for path in map(find_path, sources) if path is not None),
            output=output,
            probability_output=probability_output,
        )
        job.features.check(pixels.n_bands, pixels.dtype)
        return job

    @property
    def n_features(self) -> int:
        """Number of features of a pixel."""
        return self.features.n_features(self.pixels.n_bands, self.pixels.axes)

    def compute_features(self) -> Image:
        """Return the image of the features, kept in memory where that saves computing them for each pass."""
        image = compute_features(self.pixels, self.features)
        return image.persist() if self.value_counts is None else image

    def brightness(self, means: Any) -> Any:
        """Return the brightness of means (k, n_features) of features."""
        return self.features.brightness(means, self.pixels.n_bands)

    def describe_preprocessing(self, model: GaussianMixture, order: str | None) -> Preprocessing:
        """Return the preprocessing to be stored with a model of this image."""
        dtype = self.pixels.dtype
        colours = palette(self.features.to_bands(model.means_, self.pixels.n_bands, dtype), dtype)
        return Preprocessing(
            dtype=dtype.name,
            features=self.features,
            names=self.names,
            nodata=self.pixels.nodata,
            scale=self.scale,
            order=order,
            palette=tuple((int(red), int(green), int(blue)) for red, green, blue in colours),
        )

    def run(
        self,
        model: GaussianMixture,
        preprocessing: Preprocessing,
        features: Image,
        probabilities: bool | str,
        verbose: int,
    ) -> Segmentation:
        """Label all pixels by a fitted model of their ``features``, and write what has an output."""
        k = len(model.means_)
        dtype = label_dtype(k)
        labeller = make_labeller(model, dtype)
        statistics = None
        if self.value_counts is None:
            labels = features.map(labeller, dtype)
        else:
            values = self.value_counts.values
            value_labels = labeller(self.features.transform(values))
            statistics = SegmentStatistics.from_pixels(value_labels, values, k + 1, self.value_counts.counts)
            labels = self.pixels.map(ValueLookup(values, value_labels), dtype)
        posterior = _compute_probabilities(features, model, probabilities)
        if self.output is not None:
            labels = self._write("segments", labels, self.output, model, preprocessing, verbose)
        elif self.pixels.in_memory:
            labels = labels.compute()
        if self.probability_output is not None:
            kind = "probabilities" if probabilities is True else "largest probabilities"
            posterior = self._write(kind, posterior, self.probability_output, model, preprocessing, verbose)
        return Segmentation(labels, model, self.features, posterior, None, self.georeference, self.pixels, statistics)

    def _write(
        self,
        kind: str,
        array: Any,
        output: LabelOutput,
        model: GaussianMixture,
        preprocessing: Preprocessing,
        verbose: int,
    ) -> Any:
        parameters = get_parameters(model)
        settings = {**self.settings, **self.features.to_json()}
        provenance = Provenance.from_source(kind, parameters, self.pixels.to_weighted_rows(), settings)
        colours = np.array(preprocessing.palette, np.uint8)
        description = LabelDescription(self.pixels.axes, colours, self.georeference)
        with create_rows_bar(prod(self.pixels.shape), kind, shown=bool(verbose)) as bar:
            return output.write(array, provenance, description, tile=LIMITS.label_tile, progress=bar.update)


def count_pixels(jobs: Sequence[SegmentationJob], *, learning: bool) -> list[SegmentationJob]:
    """Return the jobs with their pixels counted, where that is worthwhile for all of them."""
    is_pointwise = all(job.features.is_pointwise for job in jobs)
    tables = count_images([job.pixels for job in jobs], learning=learning) if is_pointwise else None
    if tables is None:
        return list(jobs)
    return [replace(job, value_counts=table) for job, table in zip(jobs, tables, strict=True)]


def standardize(jobs: Sequence[SegmentationJob]) -> list[SegmentationJob]:
    """Return the jobs with features standardized over the pixels of all."""
    table, features = _join_tables(jobs), jobs[0].features
    if table is None:
        scaling = fit_scaling([job.pixels for job in jobs], features)
    else:
        scaling = Scaling.from_source(table.to_source(features.transform(table.values)))
    return [replace(job, features=replace(job.features, scaling=scaling)) for job in jobs]


def training_rows(jobs: Sequence[SegmentationJob], features: Sequence[Image]) -> Source:
    """Return the rows of one mixture of several images: distinct values with counts, or the features of all pixels.

    Raises InputError if all pixels of all images are nodata.
    """
    table = _join_tables(jobs)
    return concatenate_rows(features) if table is None else table.to_source(jobs[0].features.transform(table.values))


def _join_tables(jobs: Sequence[SegmentationJob]) -> ValueCounts | None:
    tables = [job.value_counts for job in jobs if job.value_counts is not None]
    if not tables:
        return None
    table = ValueCounts.join(tables)
    if not len(table.values):
        raise InputError(NO_VALID_PIXEL)
    return table


def _compute_probabilities(features: Image, model: GaussianMixture, probabilities: bool | str) -> Any:
    """Return lazy posterior probabilities, those of all segments with a new last axis; None for False."""
    if probabilities is False:
        return None
    function, dtype = make_probability_function(model, largest=probabilities == "largest")
    lazy = features.map(function, dtype)
    if dtype.names is None:
        return lazy
    chunks, meta = (*lazy.chunks, (len(model.means_),)), np.empty((0,) * (lazy.ndim + 1), dtype["probability"].base)
    return lazy.map_blocks(itemgetter("probability"), new_axis=lazy.ndim, chunks=chunks, meta=meta)


def _digest(mask: Any) -> str:
    """Return the identity of a mask: all of it in memory, else its name in dask and some of its values."""
    if isinstance(mask, da.Array) or all(hasattr(mask, name) for name in ("shape", "dtype", "chunks")):
        lazy = mask if isinstance(mask, da.Array) else da.from_array(mask, name=False)
        rows = from_dask(da.reshape_blockwise(lazy, (lazy.size,))[:, None].astype(np.uint8))
        sample = Fingerprint.from_source(rows).rows
        return f"{mask.name} {sample}" if isinstance(mask, da.Array) else sample
    return hashlib.sha256(np.ascontiguousarray(mask).data).hexdigest()
