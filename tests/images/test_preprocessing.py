import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image

from streamgmm import GaussianMixture, load, segment
from streamgmm.errors import CheckpointError, InputError
from streamgmm.images.features import Features, Scaling
from streamgmm.images.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(
    "uint8", Features((3, 2)), ("red", "green"), 0, ((0.1, -2.0), (0.1, 0.0)), "brightness", ((1, 2, 3),)
)
PHOTOGRAPH = load_sample_image("flower.jpg")[100:140, 200:250]


@settings(max_examples=50)
@given(
    dtype=st.sampled_from(["uint8", "int16", "float32"]),
    bands=st.none() | st.lists(st.integers(0, 99)).map(tuple),
    names=st.none() | st.lists(st.text()).map(tuple),
    nodata=st.none() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False),
    palette=st.lists(st.tuples(*[st.integers(0, 255)] * 3)).map(tuple),
    window=st.none() | st.integers(1, 127).map(lambda half: 2 * half + 1),
    coordinates=st.none() | st.floats(1e-9, 1e9),
    moments=st.none() | st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9)), min_size=1),
)
def test_preprocessing_survives_json(dtype, bands, names, nodata, palette, window, coordinates, moments):
    scaling = moments and Scaling(*zip(*moments, strict=True))
    features = Features(bands, "lab" if window is None else None, window, coordinates, scaling)
    recipe = Preprocessing(dtype, features, names, nodata, None, "weight", palette)
    assert Preprocessing.from_json(recipe.to_json()) == recipe
    assert recipe.to_json().isascii()


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"dtype": 1}', PREPROCESSING.to_json().replace("bands", "b")])
def test_invalid_preprocessing_is_refused_in_one_sentence(text):
    with pytest.raises(InputError, match="cannot be read"):
        Preprocessing.from_json(text)


def test_a_mismatch_of_dtype_bands_or_scale_is_one_error_that_names_both():
    byte = np.dtype(np.uint8)
    PREPROCESSING.check(byte, ("red", "green"), ((0.1, -2.0), (0.1, 0.0)))
    PREPROCESSING.check(byte, None, None)
    with pytest.raises(InputError, match="fitted to bands red, green, and the image has green, red; convert"):
        PREPROCESSING.check(byte, ("green", "red"), None)
    with pytest.raises(
        InputError, match=r"pixels of uint8, and the image has uint16; to bands of factors and offs.*1\.0"
    ):
        PREPROCESSING.check(np.dtype(">u2"), None, ((1.0, 0.0), (1.0, 0.0)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_saved_model_labels_to_the_same_bits_without_further_arguments(tmp_path, dtype):
    image = PHOTOGRAPH.astype(dtype) * (1 if dtype == "uint8" else 3)
    image[:9] = 7
    segmentation = segment(image, 4, bands=[2, 0], nodata=7, random_state=0, tol=0.01)
    segmentation.save(tmp_path / "m.safetensors")
    again = segment(image, model=tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.labels, segmentation.labels)
    np.testing.assert_array_equal(again.table["band_mean"], segmentation.table["band_mean"])
    valid = (image[:, :, [2, 0]] != 7).all(axis=2)
    np.testing.assert_array_equal(again.labels > 0, valid)
    loaded = load(tmp_path / "m.safetensors")
    labels = loaded.predict(image[valid][:, [2, 0]])  # an ordinary model
    np.testing.assert_array_equal(labels + 1, segmentation.labels[valid])
    loaded.save(tmp_path / "n.safetensors")
    assert (tmp_path / "n.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()
    assert Preprocessing.from_model(loaded) == Preprocessing.from_model(segmentation.model)


def test_arguments_take_precedence_over_the_preprocessing_of_a_model():
    image = PHOTOGRAPH.copy()
    image[0] = 0
    segmentation = segment(image, 3, bands=[0, 1], nodata=0, random_state=0)
    turned = np.where(image == 0, 255, image)[:, :, ::-1]
    again = segment(turned, model=segmentation.model, bands=[2, 1], nodata=255)
    np.testing.assert_array_equal(again.labels[0], 0)
    same = ((image != 0) & (image != 255)).all(axis=2)
    np.testing.assert_array_equal(again.labels[same], segmentation.labels[same])


def test_colours_of_labels_stay_those_of_the_first_image(tmp_path):
    from PIL import Image

    segmentation = segment(PHOTOGRAPH, 3, output=tmp_path / "a.png", random_state=0)
    segment(PHOTOGRAPH[:40], model=segmentation.model, output=tmp_path / "b.png")
    palettes = [Image.open(tmp_path / f"{name}.png").getpalette()[:12] for name in "ab"]
    assert palettes[0] == palettes[1]
    assert palettes[0][3:] == np.ravel(Preprocessing.from_model(segmentation.model).palette).tolist()


def test_a_new_fit_drops_the_preprocessing_of_a_model():
    model = segment(PHOTOGRAPH, 3, random_state=0).model
    assert Preprocessing.from_model(model) is not None
    model.partial_fit(PHOTOGRAPH[0])
    assert Preprocessing.from_model(model) is not None  # more of the same
    assert Preprocessing.from_model(model.fit(np.random.default_rng(0).normal(size=(50, 3)))) is None


def test_a_model_passed_by_the_caller_is_not_changed(tmp_path):
    model = GaussianMixture(2, random_state=0).fit(PHOTOGRAPH.reshape(-1, 3))
    segmentation = segment(PHOTOGRAPH, model=model, nodata=0)
    assert Preprocessing.from_model(model) is None
    assert (
        Preprocessing.from_model(segmentation.model).order is None
        and Preprocessing.from_model(segmentation.model).nodata == 0
    )


def test_a_file_whose_preprocessing_is_no_text_is_refused(tmp_path):
    from streamgmm.estimator.saved_model import SavedModel
    from streamgmm.persistence.container import to_bytes
    from streamgmm.persistence.session import encode_content

    manifest, arrays = encode_content(
        SavedModel.from_model(segment(PHOTOGRAPH, 2, random_state=0, max_iter=5, tol=1.0).model)
    )
    fields = manifest["content"]["fields"]["fitted"]["fields"]
    assert json.loads(fields["preprocessing"])["dtype"] == "uint8"
    fields["preprocessing"] = 3
    (tmp_path / "m").write_bytes(to_bytes(manifest, arrays))
    with pytest.raises(CheckpointError, match="is not valid"):
        load(tmp_path / "m")
