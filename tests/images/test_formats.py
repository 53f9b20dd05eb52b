import numpy as np
import pytest
import zarr
from PIL import Image

from streamgmm import segment
from streamgmm.errors import InputError
from streamgmm.images import opening
from streamgmm.images.opening import opened, place

VALUES = np.random.default_rng(0).integers(0, 200, (20, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".png"])
def test_what_is_stored_at_a_path_is_the_image(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, VALUES)
    elif suffix == ".zarr":
        zarr.create_group(path).create_array("only", shape=VALUES.shape, dtype="uint8")[:] = VALUES
    else:
        Image.fromarray(VALUES).save(path)
    for given in (path, str(path)):
        array, axes = opened(given)
        np.testing.assert_array_equal(array[:], VALUES)
        assert axes == ("YXC" if suffix == ".png" else None)  # a picture says which axis is of bands
    assert place(path) == path


def test_a_file_is_mapped_and_not_read(tmp_path):
    np.save(tmp_path / "image.npy", VALUES)
    assert isinstance(opened(tmp_path / "image.npy")[0], np.memmap)


@pytest.mark.parametrize(("mode", "dtype"), [("L", "uint8"), ("I;16", "uint16")])
def test_pictures_of_grey_levels_are_one_band(tmp_path, mode, dtype):
    values = VALUES[:, :, 0].astype(dtype) * (1 if mode == "L" else 200)
    picture = Image.fromarray(values)
    assert picture.mode == mode
    picture.save(tmp_path / "grey.png")
    array, axes = opened(tmp_path / "grey.png")
    assert axes == "YX" and array.dtype == dtype
    np.testing.assert_array_equal(array, values)
    found = segment(tmp_path / "grey.png", 2, random_state=0)
    np.testing.assert_array_equal(found.labels, segment(values, 2, random_state=0).labels)


def test_what_cannot_be_opened_is_refused_in_a_sentence(tmp_path, monkeypatch):
    Image.fromarray(np.dstack([VALUES, VALUES[:, :, 0]])).save(tmp_path / "alpha.png")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "broken.zarr").mkdir()
    Image.fromarray(np.repeat(VALUES, 2, axis=0)).save(tmp_path / "large.png")
    monkeypatch.setattr(opening, "MOST_PIXELS", 600)
    for name, message in [
        ("alpha.png", "of mode RGBA; convert it to RGB"),
        ("broken.png", "cannot be opened as an image"),
        ("broken.zarr", "cannot be opened as an image"),
        ("large.png", "would have to be decoded whole .it has 30 x 40 pixels.*convert it to .zarr"),
        ("scan.tif", "ends in none of .zarr, .npy, .png"),
        ("missing.png", "there is nothing"),
    ]:
        with pytest.raises(InputError, match=message):
            opened(tmp_path / name)
    assert place(VALUES) is None
