import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_sample_image

from streamgmm.data.sources import as_source
from streamgmm.errors import InputError, InputTypeError
from streamgmm.images.features import Features, Scaling, colour, resolve_bands

UINT8, FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)


def test_lab_is_that_of_scikit_image():
    color = pytest.importorskip("skimage.color")
    photograph = load_sample_image("china.jpg")[:50, :60]
    for pixels in (photograph, photograph.astype(np.uint16) * 257, photograph / 255):
        found = Features(colour="lab").transform(pixels.reshape(-1, 3))
        np.testing.assert_allclose(found, color.rgb2lab(pixels).reshape(-1, 3), atol=2e-5)


def test_conversion_of_unique_colours_changes_no_bit(monkeypatch):
    pytest.importorskip("skimage")
    rows = load_sample_image("china.jpg")[:50, :60].reshape(-1, 3)
    one = colour.convert_to_lab(rows)
    monkeypatch.setattr(colour, "LIMITS", replace(colour.LIMITS, unique_colours_from=100))
    assert colour.convert_to_lab(rows).tobytes() == one.tobytes()


@given(arrays(np.uint8, st.tuples(st.integers(1, 70), st.just(3))), st.data())
def test_features_of_a_pixel_do_not_depend_on_other_rows(rows, data):
    pytest.importorskip("skimage")
    features = Features(colour="lab", scaling=Scaling((50.0, 1.0, 2.0), (3.0, 0.1, 7.0)))
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    assert features.transform(rows)[chosen].tobytes() == features.transform(rows[chosen]).tobytes()


def test_means_of_features_are_converted_back_to_bands():
    pytest.importorskip("skimage")
    rows = np.array([[10, 200, 30], [250, 0, 90]], np.uint8)
    scaling = Scaling((50.0, 1.0, 2.0), (3.0, 0.1, 7.0))
    for features in (
        Features(),
        Features(colour="lab"),
        Features(scaling=scaling),
        Features(colour="lab", scaling=scaling),
    ):
        np.testing.assert_allclose(features.to_bands(features.transform(rows), 3, UINT8), rows, atol=0.02)
    means = np.array([[10.0, 20.0, 30.0, 99.0, 99.0, 99.0]])
    np.testing.assert_array_equal(Features(coordinates=3.0).to_bands(means, 3, UINT8), [[10, 20, 30]])
    assert Features(window=3).brightness(means, 2) == 15


def test_features_survive_json():
    for features in (
        Features(),
        Features((2, 0, 1), "lab", 5, 2.5, Scaling((0.1, 1 / 3, 2.0) * 3, (1.0, 1e-7, 5e20) * 3)),
    ):
        assert Features.from_json(json.loads(json.dumps(features.to_json()))) == features
    with pytest.raises(KeyError):
        Features.from_json({"bands": None})


@given(arrays(np.float64, st.tuples(st.integers(1, 90), st.integers(1, 3)), elements=st.floats(-1e6, 1e6)))
def test_a_scaling_is_mean_and_deviation(rows):
    scaling = Scaling.from_source(as_source(rows))
    np.testing.assert_allclose(scaling.means, rows.mean(axis=0), rtol=1e-9, atol=1e-9)
    deviations = rows.std(axis=0)
    np.testing.assert_allclose(
        scaling.deviations, np.where(deviations < 1e-6, scaling.deviations, deviations), rtol=1e-6
    )


def test_scaling_of_weighted_values_equals_that_of_the_pixels():
    rows = np.random.default_rng(0).integers(0, 9, (500, 2)).astype(np.uint8)
    values, counts = np.unique(rows, axis=0, return_counts=True)
    one, other = Scaling.from_source(as_source(rows)), Scaling.from_source(as_source(values, counts.astype(np.float64)))
    np.testing.assert_allclose(one.means, other.means, rtol=1e-13)
    np.testing.assert_allclose(one.deviations, other.deviations, rtol=1e-13)


def test_constant_features_have_deviation_1():
    rows = np.full((1000, 1), 0.1) * [1, 1e6]
    scaling = Scaling.from_source(as_source(rows))
    assert scaling.deviations == (1.0, 1.0)


def test_the_default_regularization_is_the_rounding_variance():
    scaling = Scaling((0.0, 0.0), (4.0, 2.0))
    assert Features().rounding_variance(UINT8) == Features(window=3).rounding_variance(UINT8) == pytest.approx(1 / 12)
    assert Features(colour="lab").rounding_variance(UINT8) == pytest.approx((100 / 255) ** 2 / 12)
    assert Features(scaling=scaling).rounding_variance(UINT8) == pytest.approx(1 / 12 / 16)
    assert Features(scaling=Scaling((0.0,), (1e6,))).rounding_variance(np.dtype(np.uint16)) == 1e-6
    assert Features(scaling=scaling).rounding_variance(FLOAT32) is None


def test_bands_are_resolved_from_numbers_or_names():
    assert resolve_bands(None, None) is None
    assert resolve_bands([2, 0], None) == resolve_bands(np.array([2, 0]), None) == (2, 0)
    assert resolve_bands(1, None) == (1,)
    with pytest.raises(InputError, match=r"bands has 1\.5, which is neither a number"):
        resolve_bands([1.5], None)
    assert resolve_bands(["nir", "red"], ("red", "nir")) == (1, 0)
    assert resolve_bands("nir", ("red", "nir")) == (1,)
    with pytest.raises(InputError, match="have no names, such as 'nir'; pass numbers"):
        resolve_bands(["nir"], None)
    with pytest.raises(InputError, match="no band 'blue', but 'red', 'nir'; pass one of these"):
        resolve_bands(["blue"], ("red", "nir"))
    with pytest.raises(InputError, match="more than one band 'red'"):
        resolve_bands(["red"], ("red", "red"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": "hsv"}, "colour='hsv' is not known; pass 'lab'"),
        ({"window": 4}, "window=4 is no side of a window; pass an odd number"),
        ({"window": 1}, "from 3 to 255"),
        ({"window": 2.5}, "from 3 to 255"),
        ({"window": 257}, "from 3 to 255"),
        ({"coordinates": 0}, "coordinates=0 is no weight"),
        ({"coordinates": float("nan")}, "is no weight"),
        ({"coordinates": "3"}, "is no weight"),
    ],
)
def test_invalid_features_are_refused_in_one_sentence(options, message):
    with pytest.raises(InputError, match=message):
        Features(**options)


def test_a_scaling_of_another_type_is_refused():
    with pytest.raises(InputTypeError, match="pass a Scaling"):
        Features(scaling=3)


@pytest.mark.parametrize(
    ("features", "n_bands", "dtype", "message"),
    [
        (Features(colour="lab"), 4, "uint8", "red, green and blue, and 4 bands are used; choose three"),
        (Features(colour="lab"), 3, "int16", "needs uint8, uint16, or floats from 0 to 1, and the image is int16"),
        (Features(scaling=Scaling((0.0,), (1.0,))), 3, "uint8", "is of 1 features, and the image has 3"),
    ],
)
def test_pixels_without_the_needed_bands_or_dtype_are_refused(features, n_bands, dtype, message):
    if features.colour:
        pytest.importorskip("skimage")
    with pytest.raises(InputError, match=message):
        features.check(n_bands, np.dtype(dtype))


def test_without_scikit_image_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    with pytest.raises(ImportError, match=r"pip install 'streamgmm\[lab\]'"):
        Features(colour="lab").check(3, UINT8)
