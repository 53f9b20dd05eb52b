"""The mixture of one or several images, from value counts or pixels, and the number of its components."""

from functools import cache

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image

from streamgmm import GaussianMixture, segment
from streamgmm.errors import InputError
from streamgmm.images.counting import ValueCounts, ValueLookup
from streamgmm.images.image import Image
from streamgmm.images.image_limits import LIMITS
from streamgmm.images.labels import make_labeller
from streamgmm.images.pixel_mixture import AUTO_SIZES, check_sizes

CHINA, FLOWER = (load_sample_image(name)[50:210, 150:350] for name in ("china.jpg", "flower.jpg"))


def sixteen_bits(photograph):
    """Return a photograph of one band that uses all 16 bits."""
    noise = np.random.default_rng(0).integers(0, 256, photograph.shape[:2])
    return (photograph.astype(np.uint16).mean(axis=2).astype(np.uint16) * 256 + noise).astype(np.uint16)


@pytest.mark.parametrize("nodata", [None, 1])
@pytest.mark.parametrize("photograph", [CHINA, FLOWER], ids=["china", "flower"])
@pytest.mark.parametrize("bits", [8, 16])
def test_em_on_value_counts_equals_em_on_pixels_to_rounding_with_identical_labels(bits, photograph, nodata):
    image = photograph.copy() if bits == 8 else sixteen_bits(photograph)
    if nodata is not None:
        image[:, 30:50] = nodata
    pixels = Image.from_array(da.from_array(image, 64), nodata=nodata, axes="YXC"[: image.ndim])
    counted = ValueCounts.from_source(pixels.to_rows(counted=False))
    valid = image.reshape(-1, pixels.n_bands)
    valid = valid if nodata is None else valid[(valid != nodata).all(axis=1)]
    assert counted.n_pixels == len(valid) > len(counted.values) * (2 if bits == 16 and nodata is None else 1) / 2
    start = np.quantile(valid.astype(float), [0.2, 0.5, 0.8], axis=0)
    settings_ = {"means_init": start, "algorithm": "batch", "max_iter": 25, "tol": 0.0, "reg_covar": 1 / 12}
    settings_ |= {"weights_init": np.full(3, 1 / 3)}
    settings_["precisions_init"] = np.tile(
        np.linalg.inv(np.cov(valid.T.astype(float)).reshape(2 * (valid.shape[1],))), (3, 1, 1)
    )
    with np.errstate(all="raise"), pytest.warns(match="converge"):
        one = GaussianMixture(3, **settings_).fit(counted.to_source())
        other = GaussianMixture(3, **settings_).fit(valid)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-10)
    looked_up = ValueLookup(counted.values, make_labeller(one, np.dtype(np.uint8))(counted.values))
    np.testing.assert_array_equal(looked_up(valid), other.predict(valid) + 1)


SMALL = CHINA[:80, 50:150]


@cache
def small_whole():
    return segment(SMALL, 3, random_state=0, axes="YXC")


@settings(max_examples=4)
@given(st.integers(10, 70))
def test_several_images_are_fitted_like_one_image_of_all_side_by_side(column):
    parts = [SMALL[:, :column], SMALL[:, column:]]
    segmentation, whole = segment(parts, 3, random_state=0, axes="YXC"), small_whole()
    assert [one.labels.shape for one in segmentation] == [(80, column), (80, 100 - column)]
    np.testing.assert_array_equal(np.concatenate([one.labels for one in segmentation], axis=1), whole.labels)
    for one in segmentation:
        np.testing.assert_array_equal(one.model.means_, whole.model.means_)
    np.testing.assert_array_equal(sum(one.table["pixels"] for one in segmentation), whole.table["pixels"])


def test_streamed_images_share_a_mixture_and_have_outputs_of_their_own(tmp_path):
    image = levels(3, np.float32)
    image[50:] += 0.5
    parts = [da.from_array(image[:50], 40), image[50:]]
    segmentation = segment(parts, 3, random_state=0, output=[tmp_path / "a.zarr", tmp_path / "b.zarr"])
    whole = segment(image, 3, random_state=0)
    np.testing.assert_allclose(segmentation[0].model.means_, whole.model.means_, rtol=1e-5)
    assert segmentation[0].model.n_samples_seen_ == image.size
    np.testing.assert_array_equal(np.concatenate([one.labels[:] for one in segmentation]), whole.labels)


def test_paths_are_several_images_and_a_list_of_numbers_is_one(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", CHINA[:50, :50])
    segmentation = segment([tmp_path / "a.npy", tmp_path / "b.npy"], 2, random_state=0, axes="YXC")
    np.testing.assert_array_equal(segmentation[0].labels, segmentation[1].labels)
    assert segment([[1, 2, 90], [2, 1, 91]], 2, random_state=0).labels.tolist() == [[1, 1, 2], [1, 1, 2]]
    with pytest.raises(InputError, match="same output"):
        segment([CHINA, CHINA], 2, output=[tmp_path / "x.zarr", tmp_path / "x.zarr"])


def test_no_input_of_a_list_is_replaced_by_an_output(tmp_path):
    for name in ("a", "labels_probabilities"):
        zarr.create_array(tmp_path / f"{name}.zarr", shape=(40, 40), dtype="uint8", fill_value=1)
    options = {"overwrite": True, "random_state": 0}
    with pytest.raises(InputError, match=r"a\.zarr is the image"):
        segment([CHINA[:, :, 0], tmp_path / "a.zarr"], 2, output=[tmp_path / "a.zarr", tmp_path / "b.zarr"], **options)
    with pytest.raises(InputError, match=r"labels_probabilities\.zarr is the image"):
        path = tmp_path / "labels_probabilities.zarr"
        segment(path, 2, output=tmp_path / "labels.zarr", probabilities="largest", **options)
    mask = zarr.create_array(tmp_path / "mask.zarr", shape=(40, 40), dtype=bool)
    with pytest.raises(InputError, match=r"mask\.zarr is the image"):
        segment(CHINA[:40, :40], 2, mask=mask, output=tmp_path / "mask.zarr", axes="YXC", **options)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_an_image_without_a_pixel_may_be_among_others_but_not_alone(dtype):
    empty, image = np.zeros((40, 40, 3), dtype), CHINA[:40, :40].astype(dtype)
    segmentation = segment([empty, image], 2, nodata=0, random_state=0)
    assert not segmentation[0].labels.any() and not segmentation[0].table["pixels"].any()
    np.testing.assert_array_equal(segmentation[1].labels, segment(image, model=segmentation[1].model).labels)
    assert not segment(empty, model=segmentation[1].model).labels.any()
    for images in (empty, [empty, empty]):
        with pytest.raises(InputError, match="Every pixel of the image is nodata"):
            segment(images, 2, nodata=0)


def test_sizes_are_limited_by_the_number_of_distinct_values():
    segmentation = segment(np.array([[1, 2], [60, 61]], np.uint8), "auto", random_state=0)
    assert segmentation.selection.table["n_components"].tolist() == [1, 2, 3, 4]
    with pytest.raises(InputError, match="the same value everywhere"):
        segment(np.full((9, 9), 3, np.uint8), "auto")


def levels(n, dtype=np.uint8):
    """Return an image of n grey levels, far apart."""
    random = np.random.default_rng(0)
    return (random.integers(1, n + 1, (90, 90)) * 30 + random.normal(0, 2, (90, 90))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_auto_finds_the_true_number_of_segments(dtype):
    segmentation = segment(levels(4, dtype), "auto", random_state=0, covariance_type="diag")
    assert len(segmentation.model.means_) == 4 == segmentation.labels.max()
    assert segmentation.selection.table["n_components"].tolist() == list(AUTO_SIZES)
    assert segmentation.selection.best is segmentation.model or np.array_equal(
        segmentation.selection.best.means_, segmentation.model.means_
    )
    gains = segmentation.selection.table["gain"]
    assert gains[4] < LIMITS.minimum_gain <= gains[1:4].min()
    assert not segmentation.selection.table["dropped"].any()
    np.testing.assert_allclose(segmentation.model.means_.ravel(), [30, 60, 90, 120], atol=1)


def test_choosing_the_largest_size_warns():
    with pytest.warns(UserWarning, match=r"3 segments, the most that were tried.*range\(3, 6\)"):
        segmentation = segment(levels(5), range(2, 4), random_state=0)
    assert segmentation.labels.max() == 3
    assert segment(levels(2), [2], random_state=0).selection.table["n_components"].tolist() == [2]


def test_sizes_are_sorted_and_unique():
    assert check_sizes([5, 2, np.int64(2)]) == (2, 5)
    assert check_sizes(np.int64(7)) == 7
    for refused in ("4", [], [2, 0], 2.0, True and [1.5], None):
        with pytest.raises(InputError, match="n_segments is"):
            check_sizes(refused)
