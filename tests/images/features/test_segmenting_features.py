import copy
import warnings
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
from streamgmm.images.counting import ValueCounts
from streamgmm.images.features import Features, compute_features
from streamgmm.images.image import Image


@pytest.fixture(scope="module")
def photograph():
    return load_sample_image("china.jpg")[100:180, 100:200]


def textures(shape=(60, 80), seed=0):
    """Return an image of a smooth and a rough region of one mean, and their labels."""
    right = np.broadcast_to(np.arange(shape[1]) >= shape[1] // 2, shape)
    noise = np.random.default_rng(seed).normal(size=shape)
    return (100 + noise * np.where(right, 20, 1)).astype(np.float32), right + 1


def test_windows_tell_textures_apart():
    image, regions = textures()
    segmentation = segment(image, 2, window=9, random_state=0)
    inside = np.s_[:, np.r_[:35, 45:80]]
    agreement = (segmentation.labels == regions)[inside].mean()
    assert max(agreement, 1 - agreement) > 0.99
    assert segmentation.table["mean"].shape == (2, 3) and segmentation.features == Features(window=9)
    alone = (segment(image, 2, random_state=0).labels == regions).mean()
    assert max(alone, 1 - alone) < 0.9


def test_coordinates_tell_places_apart():
    image = np.random.default_rng(0).normal(size=(40, 60))
    segmentation = segment(image, 2, coordinates=50.0, random_state=0, covariance_type="spherical")
    halves = segmentation.labels[:, :20], segmentation.labels[:, 40:]
    assert all((half == half[0, 0]).all() for half in halves) and halves[0][0, 0] != halves[1][0, 0]


@cache
def two_halves():
    """Return an image of two halves with a hole, options, and its segmentation."""
    image = np.random.default_rng(0).normal(size=(23, 31, 2)).astype(np.float32)
    image[:, 15:] += 3
    image[4, 7] = np.nan
    options = {"axes": "YXC", "window": 5, "coordinates": 2.0}
    return image, options, segment(image, 2, random_state=0, **options)


@settings(deadline=None, max_examples=4)
@given(st.data())
def test_the_labels_of_an_image_in_chunks_are_those_of_the_whole(data):
    image, options, whole = two_halves()
    chunks = tuple(data.draw(st.integers(1, length)) for length in image.shape)
    cut = segment(da.from_array(image, chunks=chunks), model=whole.model, **options)
    np.testing.assert_array_equal(cut.labels.compute(), whole.labels)
    stored = zarr.create_array({}, shape=image.shape, chunks=chunks, dtype=image.dtype)
    stored[:] = image
    np.testing.assert_array_equal(segment(stored, model=whole.model, **options).labels.compute(), whole.labels)


@pytest.mark.parametrize(
    ("covariance_type", "scaling"),
    [("full", None), ("tied", None), ("diag", None), ("spherical", "standard"), ("full", "standard")],
)
def test_counted_colours_are_those_of_the_pixels(photograph, covariance_type, scaling):
    pytest.importorskip("skimage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        segmentation = segment(
            photograph, 4, colour="lab", scaling=scaling, covariance_type=covariance_type, random_state=0, max_iter=3
        )
        rows = compute_features(Image.from_array(photograph), segmentation.features).to_rows()
        counted = ValueCounts.from_source(Image.from_array(photograph).to_rows())
        models = []
        for source in (rows, counted.to_source(segmentation.features.transform(counted.values))):
            model = GaussianMixture(
                4,
                covariance_type=covariance_type,
                tol=0,
                max_iter=10,
                algorithm="batch",
                weights_init=segmentation.model.weights_,
                means_init=segmentation.model.means_,
                precisions_init=segmentation.model.precisions_,
            )
            models.append(model.fit(source))
    pixels, table = models
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        np.testing.assert_allclose(getattr(table, name), getattr(pixels, name), rtol=1e-10, atol=1e-10)
    labels = segmentation.model.predict(rows.array.compute()).reshape(photograph.shape[:2]) + 1
    np.testing.assert_array_equal(segmentation.labels, labels)
    assert segment(
        photograph, model=segmentation.model, colour="lab", scaling=segmentation.features.scaling
    ).labels.tobytes() == (segmentation.labels.tobytes())


def test_segments_of_colours_are_in_the_order_of_lightness(photograph):
    pytest.importorskip("skimage")
    for scaling in (None, "standard"):
        segmentation = segment(photograph, 4, colour="lab", scaling=scaling, random_state=0, max_iter=1000)
        assert (np.diff(segmentation.table["mean"][:, 0]) > 0).all()


def test_scaling_changes_no_mixture_but_its_units():
    image = np.random.default_rng(0).normal(size=(50, 60, 3)) * [1, 100, 1e4] + [0, 5, 1e5]
    image[:20] += [5, 500, 5e4]
    segmentation = segment(image, 2, scaling="standard", random_state=0)
    expected = np.broadcast_to(np.where(np.arange(50)[:, None] < 20, 2, 1), (50, 60))
    np.testing.assert_array_equal(segmentation.labels, expected)
    rows = image.reshape(-1, 3)
    np.testing.assert_allclose(segmentation.features.scaling.means, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(segmentation.features.scaling.deviations, rows.std(axis=0), rtol=1e-12)
    larger = segment(image * 1000, 2, scaling="standard", random_state=0)
    np.testing.assert_allclose(larger.model.means_, segmentation.model.means_, rtol=1e-9)


def test_a_second_image_is_scaled_like_the_first():
    image, _ = textures()
    segmentation = segment(image, 2, window=5, scaling="standard", random_state=0)
    again = segment(image[:30], model=segmentation.model, window=5, scaling=segmentation.features.scaling)
    np.testing.assert_array_equal(again.labels[:28], segmentation.labels[:28])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("options", [{}, {"window": 3}, {"coordinates": 3.0}])
def test_permuted_axes_give_permuted_labels(dtype, options):
    random = np.random.default_rng(0)
    image = (100 + random.normal(scale=5, size=(2, 4, 20, 15))).astype(dtype)
    image[..., :7] += 60
    one = segment(image, 2, axes="TZYX", random_state=0, **options)
    for axes in ("XYZT", "ZTXY"):
        order = ["TZYX".index(name) for name in axes]
        other = segment(image.transpose(order), model=one.model, axes=axes, **options)
        np.testing.assert_array_equal(other.labels, one.labels.transpose(order))


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize(
    ("dtype", "n_bands"), [("uint16", 4), ("float32", 1), ("float64", 2), ("uint8", 12), ("int32", 2)]
)
def test_uncountable_images_are_streamed(dtype, n_bands, window):
    random = np.random.default_rng(0)
    regions = np.broadcast_to(np.arange(48) // 16, (40, 48))
    image = (40 + 60 * regions[..., None] + random.normal(scale=3, size=(40, 48, n_bands))).astype(dtype)
    stored = zarr.create_array({}, shape=image.shape, chunks=(16, 16, 1), dtype=dtype)
    stored[:] = image
    segmentation = segment(stored, 3, axes="YXC", window=window, random_state=0)
    rows = compute_features(Image.from_array(image, axes="YXC"), Features(window=window)).to_rows().array.compute()
    np.testing.assert_array_equal(segmentation.labels.compute().ravel(), segmentation.model.predict(rows) + 1)
    if window is None:
        np.testing.assert_array_equal(segmentation.labels.compute(), regions + 1)


def test_labels_of_features_resume_only_with_the_same_features(tmp_path):
    image, _ = textures()
    lazy = da.from_array(image, chunks=(20, 80))
    segmentation = segment(lazy, 2, window=5, scaling="standard", random_state=0, output=tmp_path / "labels.zarr")
    np.testing.assert_array_equal(
        segmentation.labels[:],
        segment(image, model=segmentation.model, window=5, scaling=segmentation.features.scaling).labels,
    )
    (tmp_path / "labels.zarr").rename(tmp_path / "again.zarr.partial")
    with pytest.warns(UserWarning, match="is replaced, not resumed: it is of scaling"):
        # other features of the same image, though as many, by a model that does not say what it has learnt
        model = drop_preprocessing(segmentation.model)
        scaling = type(segmentation.features.scaling)((0.0,) * 3, (1.0,) * 3)
        segment(lazy, model=model, window=5, scaling=scaling, output=tmp_path / "again.zarr")


def drop_preprocessing(model):
    """Return the same mixture without its preprocessing."""
    bare = copy.copy(model)
    del bare._preprocessing
    return bare


def test_a_model_knows_its_features_and_refuses_others():
    image, _ = textures()
    segmentation = segment(image, 2, window=5, coordinates=3.0, scaling="standard", random_state=0)
    again = segment(image, model=segmentation.model)
    np.testing.assert_array_equal(again.labels, segmentation.labels)
    assert again.features == segmentation.features
    with pytest.raises(InputError, match=r"learnt with window=5, and window=7 was asked for; leave window out"):
        segment(image, model=segmentation.model, window=7)
    with pytest.raises(InputError, match=r"learnt with colour=None, and colour='lab' was asked for"):
        segment(image, model=segmentation.model, colour="lab")


IMAGE = load_sample_image("china.jpg")[:40, :50]
MODEL = GaussianMixture(2, random_state=0).fit(IMAGE.reshape(-1, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_segments": 2, "scaling": "robust"}, "scaling='robust' is not known; pass 'standard'"),
        ({"model": MODEL, "scaling": "standard"}, "may not be scaled anew"),
        ({"model": MODEL, "window": 3}, "The model is of 3 features, and 9 are made of the image"),
        ({"n_segments": 2, "bands": ["red"]}, "have no names, such as 'red'"),
        ({"n_segments": 2, "window": 3, "mask": np.ones((40, 50), bool)}, "Every pixel of the image is nodata"),
        (
            {"n_segments": 2, "window": 3, "scaling": "standard", "mask": np.ones((40, 50), bool)},
            "Every pixel of the image is nodata",
        ),
    ],
)
def test_unavailable_features_are_refused_in_one_sentence(options, message):
    with pytest.raises(InputError, match=message) as raised:
        segment(IMAGE, **options)
    assert "\n" not in str(raised.value)


def test_a_volume_is_refused_as_png(tmp_path):
    with pytest.raises(InputError, match="A picture has rows and columns only"):
        segment(np.zeros((4, 5, 6), np.uint8), 2, axes="ZYX", output=tmp_path / "labels.png")
