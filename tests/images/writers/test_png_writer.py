import sys

import dask.array as da
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from streamgmm import segment
from streamgmm.errors import InputError
from streamgmm.images.writers import png_writer


@pytest.fixture(scope="module")
def photograph():
    return load_sample_image("flower.jpg")[100:180, 200:300]


@pytest.mark.parametrize("kind", [np.asarray, da.from_array])
def test_png_values_are_labels_and_its_palette_the_mean_colours(tmp_path, photograph, kind):
    mask = np.zeros(photograph.shape[:2], bool)
    mask[:9] = True
    segmentation = segment(kind(photograph), 4, mask=mask, output=tmp_path / "labels.png", random_state=0)
    assert isinstance(segmentation.labels, np.ndarray)
    with Image.open(tmp_path / "labels.png") as written:
        assert written.mode == "P"
        np.testing.assert_array_equal(np.asarray(written), segmentation.labels)
        colours = np.asarray(written.convert("RGBA"))
    assert not colours[:9, :, 3].any() and (colours[9:, :, 3] == 255).all()
    expected = segmentation.table["mean"].round()[segmentation.labels[9:].astype(int) - 1]
    np.testing.assert_array_equal(colours[9:, :, :3], expected)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.png"]


def test_labels_of_fewer_than_three_bands_have_a_grey_palette(tmp_path, photograph):
    segment(photograph, 3, bands=[1], output=tmp_path / "labels.png", random_state=0)
    with Image.open(tmp_path / "labels.png") as written:
        assert set(np.unique(np.asarray(written.convert("RGB")))) == {85, 170, 255}


def test_a_png_is_replaced_only_with_overwrite(tmp_path, photograph):
    segment(photograph, 2, output=tmp_path / "labels.png", random_state=0)
    with pytest.raises(FileExistsError):
        segment(photograph, 3, output=tmp_path / "labels.png", random_state=0)
    segmentation = segment(photograph, 3, output=tmp_path / "labels.png", random_state=0, overwrite=True)
    with Image.open(tmp_path / "labels.png") as written:
        np.testing.assert_array_equal(np.asarray(written), segmentation.labels)


def test_labels_too_large_for_a_png_are_refused_before_the_work(tmp_path, photograph, monkeypatch):
    with pytest.raises(InputError, match=r"1 to 255, cannot be a picture.*write them to \.zarr"):
        segment(photograph, 255, output=tmp_path / "labels.png")
    monkeypatch.setattr(png_writer, "MAX_PIXELS", 1000)
    with pytest.raises(InputError, match=r"100 x 80 pixels.*write them to \.zarr"):
        segment(photograph, 2, output=tmp_path / "labels.png")


def test_without_pillow_the_remedy_is_named_before_the_work(tmp_path, photograph, monkeypatch):
    (tmp_path / "image.png").touch()
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for image, output in [(photograph, tmp_path / "labels.png"), (tmp_path / "image.png", None)]:
        with pytest.raises(ImportError, match=r"pip install 'streamgmm\[demo\]'"):
            segment(image, 2, output=output)
