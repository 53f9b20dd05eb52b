import warnings
from copy import copy
from functools import cache

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from streamgmm import GaussianMixture, load, segment
from streamgmm.errors import InputError, InputTypeError, NonFiniteError
from streamgmm.images.pixel_mixture import order_components, reorder_components
from streamgmm.model.covariances import STRUCTURES
from streamgmm.results.stored_array import check


@pytest.fixture(scope="module")
def photograph():
    return load_sample_image("china.jpg")[100:180, 100:200]


@pytest.fixture(scope="module")
def photograph_segmentation(photograph):
    return segment(photograph, 4, random_state=0)


def scene(dtype="uint8", shape=(40, 50), n_bands=3, seed=0):
    """Three regions side by side, of different brightness in all bands."""
    random = np.random.default_rng(seed)
    region = np.minimum(np.arange(shape[1]) * 3 // shape[1], 2)
    centre = np.array([30, 90, 160])[np.broadcast_to(region, shape)]
    values = centre[:, :, None] + random.normal(scale=6, size=(*shape, n_bands))
    return values.astype(dtype), np.broadcast_to(region + 1, shape)


@cache
def segment_scene(dtype, shape=(40, 50)):
    """Segment a scene in one chunk, as the expected result."""
    return segment(scene(dtype, shape)[0], 3, random_state=0, axes="YXC")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_segments_are_numbered_by_brightness(dtype):
    _, regions = scene(dtype)
    segmentation = segment_scene(dtype)
    assert isinstance(segmentation.labels, np.ndarray) and segmentation.labels.dtype == np.uint8
    np.testing.assert_array_equal(segmentation.labels, regions)
    np.testing.assert_array_equal(segmentation.table["label"], [1, 2, 3])
    np.testing.assert_array_equal(segmentation.table["pixels"], np.bincount(regions.ravel())[1:])
    assert segmentation.table["mean"].shape == segmentation.table["standard_deviation"].shape == (3, 3)
    assert (np.diff(segmentation.table["mean"].mean(axis=1)) > 0).all()


def test_segments_are_ordered_by_weight_on_request():
    image, _ = scene()
    segmentation = segment(
        image, 3, random_state=0, order="weight", axes="YXC", nodata=None, mask=_left(image.shape[:2], 10)
    )
    assert (np.diff(segmentation.table["weight"]) <= 0).all()
    assert segmentation.table["mean"][2].mean() < 60  # the darkest lost ten of its columns


def _left(shape, n):
    mask = np.zeros(shape, bool)
    mask[:, :n] = True
    return mask


@pytest.mark.parametrize("covariance_type", STRUCTURES)
def test_labels_equal_the_predictions_of_the_model(photograph, covariance_type):
    segmentation = segment(photograph, 4, random_state=0, covariance_type=covariance_type)
    labels = segmentation.model.predict(photograph.reshape(-1, 3)).reshape(photograph.shape[:2])
    np.testing.assert_array_equal(segmentation.labels, labels + 1)
    np.testing.assert_array_equal(
        segmentation.table["pixels"], np.bincount(segmentation.labels.ravel(), minlength=5)[1:]
    )


@pytest.mark.parametrize("covariance_type", STRUCTURES)
def test_components_in_another_order_are_the_same_fit(photograph, covariance_type):
    rows = photograph.reshape(-1, 3)
    model = GaussianMixture(4, covariance_type=covariance_type, random_state=0, max_iter=20, tol=1e-3).fit(rows)
    indices = np.array([2, 0, 3, 1])
    other = reorder_components(model, indices)
    np.testing.assert_array_equal(other.predict(rows), np.argsort(indices)[model.predict(rows)])
    np.testing.assert_allclose(other.score_samples(rows), model.score_samples(rows), rtol=1e-12)
    one, two = (each.partial_fit(rows[::3]) for each in (model, other))
    np.testing.assert_allclose(two.means_, one.means_[indices], rtol=1e-9)
    np.testing.assert_allclose(two.weights_, one.weights_[indices], rtol=1e-9)


def test_equal_brightness_is_ordered_by_the_bands():
    model = GaussianMixture(2, random_state=0).fit([[1.0, 9.0], [1.1, 8.9], [9.0, 1.0], [8.9, 1.1]])
    model.means_ = np.array([[9.0, 1.0], [1.0, 9.0]])
    brightness = model.means_.mean(axis=1)
    assert model.means_[order_components(model, "brightness", brightness)[0], -1] == 1.0


@settings(max_examples=10)
@given(st.data())
def test_chunks_change_no_label_and_no_parameter_of_a_counted_image(data):
    image, _ = scene(shape=(33, 34))
    whole = segment_scene("uint8", (33, 34))
    chunks = [data.draw(st.integers(least, length)) for least, length in ((7, 33), (7, 34), (1, 3))]
    cut = segment(da.from_array(image, chunks=tuple(chunks)), 3, random_state=0)
    np.testing.assert_array_equal(whole.labels, cut.labels)
    np.testing.assert_array_equal(whole.model.means_, cut.model.means_)
    np.testing.assert_array_equal(whole.table["pixels"], cut.table["pixels"])


@pytest.mark.parametrize("chunks", [(40, 50, 1), (7, 50, 3), (13, 11, 2)])
def test_chunks_change_no_label_of_a_streamed_image(chunks):
    image, regions = scene("float32")
    image[5, 7] = np.nan
    segmentation = segment(da.from_array(image, chunks=chunks), 3, random_state=0)
    assert isinstance(segmentation.labels, da.Array)
    labels = segmentation.labels.compute()
    assert labels[5, 7] == 0
    regions = regions.copy()
    regions[5, 7] = 0
    np.testing.assert_array_equal(labels, regions)
    np.testing.assert_array_equal(segmentation.table["pixels"], np.bincount(regions.ravel())[1:])


@pytest.mark.parametrize("axes", ["YXC", "CYX", "YCX"])
def test_permuted_pixels_have_permuted_labels(axes):
    image, _ = scene()
    lines, columns = np.random.default_rng(1).permutation(40), np.random.default_rng(2).permutation(50)
    shuffled = image[lines][:, columns].transpose(*("YXC".index(name) for name in axes))
    one, other = segment_scene("uint8"), segment(shuffled, 3, axes=axes, random_state=0)
    np.testing.assert_array_equal(one.labels[lines][:, columns], other.labels)
    np.testing.assert_array_equal(one.model.covariances_, other.model.covariances_)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("way", ["value", "mask", "nan"])
def test_nodata_changes_no_other_label(dtype, way):
    image, _ = scene(dtype)
    image, margin = np.concatenate([image, image[:7]]), np.s_[40:]
    options = {"random_state": 0, "axes": "YXC"}
    if way == "mask":
        options["mask"] = np.zeros(image.shape[:2], bool)
        options["mask"][margin] = True
    elif way == "value" or dtype == "uint8":
        image[margin][..., 1], options["nodata"] = 255, 255
    else:
        image[margin][..., 2] = np.nan
    segmentation = segment(image, 3, **options)
    alone = segment_scene(dtype)
    assert not segmentation.labels[margin].any()
    np.testing.assert_array_equal(segmentation.labels[:40], alone.labels)
    np.testing.assert_allclose(segmentation.model.means_, alone.model.means_, rtol=1e-9)
    assert segmentation.table["pixels"].sum() == 2000


def test_variances_of_integers_have_a_floor():
    image = np.repeat(np.array([10, 200], np.uint8), 600).reshape(30, 40)
    segmentation = segment(image, 2, random_state=0)
    np.testing.assert_allclose(segmentation.model.covariances_.ravel(), 1 / 12)
    assert segment(image, 2, random_state=0, reg_covar=4.0).model.covariances_[0, 0, 0] == pytest.approx(4.0)


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "path"])
def test_written_labels_are_complete_and_verified(tmp_path, kind, photograph, photograph_segmentation):
    stored = zarr.create_array(tmp_path / "image.zarr", shape=photograph.shape, chunks=(32, 32, 3), dtype="uint8")
    stored[:] = photograph
    given = {
        "numpy": photograph,
        "dask": da.from_array(photograph, chunks=(30, 35, 3)),
        "zarr": stored,
        "path": tmp_path / "image.zarr",
    }[kind]
    segmentation = segment(given, 4, output=tmp_path / "labels.zarr", random_state=0)
    assert isinstance(segmentation.labels, zarr.Array)
    check(tmp_path / "labels.zarr")
    assert segmentation.labels.fill_value == 255
    np.testing.assert_array_equal(segmentation.labels, photograph_segmentation.labels)
    np.testing.assert_array_equal(
        segmentation.table["pixels"], np.bincount(np.ravel(segmentation.labels[:]), minlength=5)[1:]
    )


def test_interrupted_labels_resume(tmp_path):
    image, regions = scene("float32")
    with dask.config.set(scheduler="synchronous"):
        lazy = da.from_array(image, chunks=(10, 50, 3))
        segment(lazy, 3, output=tmp_path / "whole.zarr", random_state=0)
        (tmp_path / "whole.zarr").rename(tmp_path / "labels.zarr.partial")
        (tmp_path / "labels.zarr.partial" / "c" / "2" / "0").unlink()
        before = (tmp_path / "labels.zarr.partial" / "c" / "1" / "0").stat().st_mtime_ns
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            segmentation = segment(lazy, 3, output=tmp_path / "labels.zarr", random_state=0)
    assert (tmp_path / "labels.zarr" / "c" / "1" / "0").stat().st_mtime_ns == before
    np.testing.assert_array_equal(segmentation.labels, regions)


def test_a_fitted_model_keeps_the_meaning_of_labels(tmp_path):
    image, regions = scene()
    segmentation = segment(image, 3, random_state=0)
    segmentation.model.save(tmp_path / "model.safetensors")
    bright = image[:, 17:]  # without the darkest region
    for model in (segmentation.model, load(tmp_path / "model.safetensors"), tmp_path / "model.safetensors"):
        again = segment(bright, model=model)
        np.testing.assert_array_equal(again.labels, regions[:, 17:])
        np.testing.assert_array_equal(again.table["pixels"], np.bincount(regions[:, 17:].ravel(), minlength=4)[1:])
    with pytest.raises(InputError, match="fitted to pixels of uint8, and the image has float32; convert the image"):
        segment(bright.astype(np.float32), 3, model=segmentation.model)
    plain = copy(segmentation.model)
    del plain._preprocessing  # a mixture that knows nothing of images takes any pixels
    np.testing.assert_array_equal(segment(bright.astype(np.float32), 3, model=plain).labels, regions[:, 17:])


def test_more_than_254_segments_have_16_bit_labels():
    image = np.arange(24 * 24, dtype=np.uint16).reshape(24, 24)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        segmentation = segment(image, 255, random_state=0, max_iter=1)
    assert segmentation.labels.dtype == np.uint16 and segmentation.labels.max() == 255


IMAGE, _ = scene()
MODEL = GaussianMixture(2, random_state=0).fit(IMAGE.reshape(-1, 3))


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (IMAGE, {}, "n_segments is None; pass how many"),
        (IMAGE, {"n_segments": "many"}, "n_segments is 'many'; pass how many"),
        (IMAGE, {"n_segments": range(0, 3)}, "an integer from 1, or numbers to choose from"),
        (IMAGE, {"n_segments": 3, "probabilities": "all"}, "probabilities='all' is not known"),
        ([IMAGE, IMAGE[:, :, 0]], {"n_segments": 3}, "Image 1 has 1 bands of uint8, and image 0 has 3 of uint8"),
        ([IMAGE, IMAGE], {"n_segments": 3, "output": "labels.zarr"}, "output is for one image, and 2 are given"),
        ([IMAGE, IMAGE], {"n_segments": 3, "mask": [None]}, "mask is for one image, and 2 are given"),
        (IMAGE, {"n_segments": 0}, "an integer from 1"),
        (IMAGE, {"n_segments": 2.5}, "an integer from 1"),
        (IMAGE, {"n_segments": 3, "order": "size"}, "order='size' is not known; pass one of 'brightness', 'weight'"),
        (IMAGE, {"n_segments": 3, "overwrite": True}, "of output, which is not given"),
        (
            IMAGE,
            {"n_segments": 3, "output": "labels.jpg"},
            "ends in none of .zarr, .ome.zarr, .tif, .tiff, .png, and",
        ),
        (IMAGE, {"n_segments": 3, "model": MODEL}, "The model has 2 components and n_segments is 3"),
        (IMAGE, {"model": MODEL, "order": "weight", "n_init": 2}, "nothing is fitted; leave out order, n_init"),
        (IMAGE, {"model": MODEL, "bands": [0]}, "The model is of 3 bands, and the image has 1 that are used"),
        (IMAGE, {"n_segments": 2, "mask": np.ones((40, 50), bool)}, "Every pixel of the image is nodata"),
        (np.full((9, 9), np.nan), {"n_segments": 2}, "Every pixel of the image is nodata"),
        (np.full((9, 9), 3, np.uint8), {"n_segments": 2}, "has the same value everywhere"),
        (np.eye(9, dtype=np.uint8), {"n_segments": 3}, "has 2 distinct values, of which 3 segments cannot be made"),
        ("image.jpeg2000", {"n_segments": 2}, "ends in none of .zarr"),
        ("nothing.zarr", {"n_segments": 2}, "there is nothing"),
    ],
)
def test_invalid_arguments_are_refused_in_one_sentence(image, options, message):
    with pytest.raises(InputError, match=message) as raised:
        segment(image, **options)
    assert "\n" not in str(raised.value)


def test_a_model_of_another_kind_or_unfitted_is_refused():
    with pytest.raises(InputTypeError, match=r"pass a streamgmm\.GaussianMixture"):
        segment(IMAGE, model=3)
    with pytest.raises(NotFittedError):
        segment(IMAGE, model=GaussianMixture(2))


def test_an_infinite_pixel_is_named_by_row_and_column():
    image = scene("float32")[0]
    image[21, 33, 1] = np.inf
    with pytest.raises(NonFiniteError, match="infinite"):
        segment(image, 3, random_state=0)
    with pytest.raises(NonFiniteError, match="at row 21, column 33; make it NaN"):
        segment(da.from_array(image, chunks=(16, 16, 3)), model=MODEL).labels.compute()
    image[21, 33, 1] = np.nan
    assert segment(image, model=MODEL).labels[21, 33] == 0


def test_neither_the_image_nor_other_labels_are_replaced(tmp_path, photograph):
    stored = zarr.create_array(tmp_path / "image.zarr", shape=photograph.shape, chunks=(32, 32, 3), dtype="uint8")
    stored[:] = photograph
    for image in (stored, tmp_path / "image.zarr"):
        with pytest.raises(InputError, match="is the image"):
            segment(image, 2, output=tmp_path / "image.zarr", overwrite=True)
    segment(stored, 2, output=tmp_path / "labels.zarr", random_state=0)
    with pytest.raises(FileExistsError):
        segment(stored, 2, output=tmp_path / "labels.zarr")
    segmentation = segment(stored, 3, output=tmp_path / "labels.zarr", overwrite=True, random_state=0)
    assert np.max(segmentation.labels) == 3


def test_a_larger_image_of_the_same_pixels_is_the_same_fit(photograph, photograph_segmentation):
    one, four = photograph_segmentation, segment(np.tile(photograph, (2, 2, 1)), 4, random_state=0)
    np.testing.assert_allclose(four.model.means_, one.model.means_, rtol=1e-9)
    np.testing.assert_array_equal(four.labels, np.tile(one.labels, (2, 2)))
    np.testing.assert_array_equal(four.table["pixels"], 4 * one.table["pixels"])
    assert four.model.n_iter_ == one.model.n_iter_
