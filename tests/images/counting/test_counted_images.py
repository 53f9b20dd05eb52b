"""The choice of the images that are counted changes nothing but the time."""

import warnings
from dataclasses import replace
from functools import cache

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image
from sklearn.exceptions import ConvergenceWarning

from streamgmm import GaussianMixture, segment
from streamgmm.errors import InputError
from streamgmm.images import segmentation_job
from streamgmm.images.counting import ValueCounts, ValueLookup, count_images, distinct_values
from streamgmm.images.features import Features, compute_features
from streamgmm.images.image import Image
from streamgmm.images.image_limits import LIMITS
from streamgmm.images.labels import make_labeller

CHINA = load_sample_image("china.jpg")[60:180, 150:310]


def infrared(photograph):
    """Return a photograph with a fourth band, computed from the others and the position."""
    near = (photograph @ np.array([-0.3, 0.9, 0.2]) + 40).clip(0, 255).astype(np.uint8)
    return np.concatenate([photograph, near[..., None]], axis=2) & 240


IMAGES = {
    "8 bits, 4 bands": infrared(CHINA),
    "8 bits, 6 bands": np.concatenate([infrared(CHINA), CHINA[..., :2] & 192], axis=2),
    "16 bits, 2 bands": (CHINA[..., :2].astype(np.uint16) >> 2) * 600,
    "16 bits, 4 bands, signed": infrared(CHINA).astype(np.int16) * 100 - 9_000,
    "32 bits": (CHINA[..., 0].astype(np.uint32) >> 1) * 70_000,
}


def noise(shape=(120, 160), seed=0):
    return np.random.default_rng(seed).integers(0, 2**16, (*shape, 4), np.uint16)


def table(image, **options):
    axes = "YXC" if image.ndim == 3 else "YX"
    tables = count_images([Image.from_array(image, axes=axes, **options)], learning=True)
    return tables and tables[0]


def ignore_warnings(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return function(*arguments, **options)


@pytest.mark.parametrize("nodata", [False, True])
@pytest.mark.parametrize("kind", IMAGES)
def test_em_on_value_counts_equals_em_on_pixels_to_rounding_with_identical_labels(kind, nodata):
    image = IMAGES[kind].copy()
    hidden = int(image[40, 50].flat[0]) if nodata else None
    if nodata:
        image[:, 30:50] = hidden
    counted = table(da.from_array(image, 64), nodata=hidden)
    rows = image.reshape(len(image) * image.shape[1], -1)
    rows = rows if hidden is None else rows[(rows != hidden).all(axis=1)]
    values, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.lexsort(counted.values.T[::-1])
    np.testing.assert_array_equal(counted.values[order], values)
    np.testing.assert_array_equal(counted.counts[order], counts)
    start = {
        "weights_init": np.full(3, 1 / 3),
        "means_init": np.quantile(rows.astype(float), [0.2, 0.5, 0.8], axis=0),
        "precisions_init": np.tile(np.diag(1 / rows.var(axis=0)), (3, 1, 1)),
    }
    one, other = (
        ignore_warnings(
            GaussianMixture(3, algorithm="batch", max_iter=15, tol=0.0, reg_covar=1 / 12, **start).fit, source
        )
        for source in (counted.to_source(), rows)
    )
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-10, atol=1e-10 * rows.std())
    looked_up = ValueLookup(counted.values, make_labeller(one, np.dtype(np.uint8))(counted.values))
    np.testing.assert_array_equal(looked_up(rows), other.predict(rows) + 1)


@pytest.mark.parametrize(
    ("kind", "options"), [*((kind, {}) for kind in IMAGES), ("8 bits, 4 bands", {"scaling": "standard"})]
)
def test_counted_images_get_the_labels_of_their_pixels(kind, options):
    image = IMAGES[kind]
    axes, hidden = "YXC"[: image.ndim], int(image[40, 50].flat[0])
    segmentation = segment(image, 3, axes=axes, nodata=hidden, random_state=0, probabilities="largest", **options)
    assert segmentation._statistics is not None  # it was counted
    pixels = Image.from_array(image, axes=axes, nodata=hidden)
    lazy = compute_features(pixels, segmentation.features).map(
        make_labeller(segmentation.model, np.dtype(np.uint8)), np.uint8
    )
    np.testing.assert_array_equal(segmentation.labels, lazy.compute())
    np.testing.assert_array_equal(
        segmentation.labels == 0, (image.reshape(*segmentation.labels.shape, -1) == hidden).any(axis=2)
    )
    np.testing.assert_array_equal(
        segmentation.table["pixels"], np.bincount(segmentation.labels.ravel(), minlength=4)[1:]
    )
    for label, mean in enumerate(segmentation.table["band_mean"], 1):
        np.testing.assert_allclose(mean, image[segmentation.labels == label].reshape(-1, pixels.n_bands).mean(axis=0))
    again = segment(image, model=segmentation.model, axes=axes)  # in one reading, uncounted
    assert again._statistics is None
    np.testing.assert_array_equal(again.labels, segmentation.labels)
    np.testing.assert_array_equal(again.table["pixels"], segmentation.table["pixels"])


def test_colours_of_sixteen_bits_are_counted():
    pytest.importorskip("skimage")
    image = (CHINA[:80, :100].astype(np.uint16) & 248) * 257
    segmentation = segment(image, 3, colour="lab", random_state=0)
    assert segmentation._statistics is not None
    rows = Features(colour="lab").transform(image.reshape(-1, 3))
    np.testing.assert_array_equal(segmentation.labels.ravel(), segmentation.model.predict(rows) + 1)


@cache
def whole_of_four_bands():
    return segment(IMAGES["8 bits, 4 bands"][:60, :90], 3, random_state=0, axes="YXC")


@settings(max_examples=4)
@given(st.data())
def test_chunks_change_no_label_and_no_parameter_of_a_counted_image(data):
    image = IMAGES["8 bits, 4 bands"][:60, :90]
    whole = whole_of_four_bands()
    chunks = [data.draw(st.integers(least, length)) for least, length in ((11, 60), (11, 90), (1, 4))]
    stored = zarr.create_array({}, shape=image.shape, chunks=tuple(chunks), dtype=image.dtype)
    stored[:] = image
    assert whole._statistics is not None
    for cut in (stored, da.from_array(image, chunks=tuple(chunks))):
        segmentation = segment(cut, 3, random_state=0, axes="YXC")
        np.testing.assert_array_equal(segmentation.labels.compute(), whole.labels)
        np.testing.assert_array_equal(segmentation.model.covariances_, whole.model.covariances_)


HALF = np.concatenate([np.full((120, 80, 4), 9, np.uint16), noise((120, 80))], axis=1)
MANY_VALUES = {"noise": noise(), "half of it noise": HALF}


@cache
def segment_uncounted(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmentation_job, "count_images", lambda images, learning: None)
        lazy = da.from_array(MANY_VALUES[name], chunks=(30, 40, 4))
        return ignore_warnings(segment, lazy, 3, axes="YXC", random_state=0, max_iter=5)


@pytest.mark.parametrize("name", MANY_VALUES)
@pytest.mark.parametrize("way", ["at once", "expected", "in the middle"])
def test_images_of_too_many_values_are_segmented_as_if_never_counted(name, way, monkeypatch):
    lazy, streamed = da.from_array(MANY_VALUES[name], chunks=(30, 40, 4)), segment_uncounted(name)
    if way != "at once":
        monkeypatch.setattr(distinct_values, "LIMITS", replace(LIMITS, sample_run_pixels=2**7))
    if way == "in the middle":
        monkeypatch.setattr(distinct_values, "estimate_distinct_values", lambda image: 0.0)
    begun = []
    from_source = ValueCounts.from_source
    monkeypatch.setattr(ValueCounts, "from_source", lambda *args: begun.append(args) or from_source(*args))
    segmentation = ignore_warnings(segment, lazy, 3, axes="YXC", random_state=0, max_iter=5)
    assert len(begun) == (way != "expected") and segmentation._statistics is None
    np.testing.assert_array_equal(segmentation.labels.compute(), streamed.labels.compute())
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(segmentation.model, name), getattr(streamed.model, name))
    assert segmentation.model.n_iter_ == streamed.model.n_iter_


@pytest.mark.parametrize("n_values", [3_000, 3_001])
def test_images_of_at_most_a_fourth_as_many_values_as_pixels_are_counted(n_values):
    assert LIMITS.pixels_per_value == 4
    image = np.resize(np.arange(n_values, dtype=np.uint32), (100, 120))
    assert (table(image) is None) == (n_values > 3_000)


def test_counting_stops_soon_after_too_many_values():
    read = []

    def record_block(block, block_info=None):
        read.append(block_info[0]["chunk-location"])
        return block

    image = noise((640, 64))
    lazy = da.from_array(image, chunks=(10, 64, 4)).map_blocks(record_block, dtype=image.dtype, meta=image[:0, :0, :0])
    assert table(lazy) is None
    assert 16 <= len(read) <= 24  # of 64 blocks, a fourth of which has as many values as there may be


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("n_bands", [1, 3, 4])
def test_floats_are_never_counted(dtype, n_bands):
    assert table(np.zeros((40, 40, n_bands), dtype)) is None


def test_either_all_images_of_a_list_are_counted_or_none():
    one, few, many = (
        Image.from_array(image, axes="YXC") for image in (np.zeros((9, 9, 4), "u2"), HALF[:, :80], noise())
    )
    assert len(count_images([one, few], learning=True)) == 2
    assert count_images([one, few, many], learning=True) is None
    assert count_images([one, few], learning=False) is None
    always = Image.from_array(CHINA[:9, :9], axes="YXC")
    assert len(count_images([always], learning=False)) == 1


def test_the_tables_of_several_images_have_a_joint_limit(monkeypatch):
    images = [Image.from_array(np.resize(np.arange(50, dtype=np.uint32), (40, 40)), axes="YX")] * 4
    monkeypatch.setattr(distinct_values, "LIMITS", replace(LIMITS, joint_distinct_values=200))
    assert len(count_images(images, learning=True)) == 4
    assert count_images([*images, images[0]], learning=True) is None


def test_several_images_are_fitted_like_one_image_of_all_side_by_side():
    image = IMAGES["8 bits, 4 bands"]
    parts = [image[:, :70], image[:, 70:]]
    segmentation, whole = (
        segment(given, 3, random_state=0, axes="YXC", scaling="standard") for given in (parts, image)
    )
    assert whole._statistics is not None and all(one._statistics is not None for one in segmentation)
    np.testing.assert_array_equal(np.concatenate([one.labels for one in segmentation], axis=1), whole.labels)
    np.testing.assert_array_equal(segmentation[1].model.means_, whole.model.means_)
    np.testing.assert_array_equal(sum(one.table["pixels"] for one in segmentation), whole.table["pixels"])


def test_counted_and_streamed_images_are_fitted_together():
    flat = np.full((60, 60, 4), 40_000, np.uint16)
    flat[:, 30:] = 20_000
    segmentation = ignore_warnings(segment, [flat, noise((60, 60))], 3, random_state=0, axes="YXC", max_iter=5)
    rows = np.concatenate([flat.reshape(-1, 4), noise((60, 60)).reshape(-1, 4)])
    np.testing.assert_array_equal(
        np.concatenate([one.labels.ravel() for one in segmentation]), segmentation[0].model.predict(rows) + 1
    )


def test_fewer_distinct_values_than_segments_are_refused():
    with pytest.raises(InputError, match="the same value everywhere"):
        segment(np.full((9, 9, 4), 3, np.uint8), 2, axes="YXC")
    with pytest.raises(InputError, match="has 2 distinct values, of which 3 segments cannot be made"):
        segment(np.eye(9, dtype=np.int64), 3)
    with pytest.raises(InputError, match="Every pixel of the image is nodata"):
        segment(np.full((9, 9, 4), 3, np.uint8), 2, nodata=3, axes="YXC")
