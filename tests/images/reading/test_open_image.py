import sys

import dask.array as da
import numpy as np
import pytest
import zarr
from PIL import Image

from streamgmm.errors import InputError
from streamgmm.images.reading import FORMATS, find_path, open_image
from streamgmm.images.reading import raster as raster_module

VALUES = np.random.default_rng(0).integers(1, 200, (20, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".png"])
def test_a_path_is_opened_by_its_suffix(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, VALUES)
    elif suffix == ".zarr":
        zarr.create_group(path).create_array("only", shape=VALUES.shape, dtype="uint8")[:] = VALUES
    else:
        Image.fromarray(VALUES).save(path)
    for path_ in (path, str(path)):
        raster = open_image(path_)
        np.testing.assert_array_equal(raster.array[:], VALUES)
        assert raster.axes == ("YXC" if suffix == ".png" else None)  # a picture says which axis is of bands
    assert find_path(path) == path


def test_a_npy_file_is_memory_mapped(tmp_path):
    np.save(tmp_path / "image.npy", VALUES)
    assert isinstance(open_image(tmp_path / "image.npy").array, np.memmap)


def test_an_array_is_kept_as_it_is_without_metadata():
    for array in (VALUES, da.from_array(VALUES), VALUES.tolist()):
        raster = open_image(array)
        assert raster.array is array
        assert (raster.axes, raster.bands, raster.nodata, raster.mask, raster.georeference) == (None,) * 5
    assert open_image(VALUES, "yxc").axes == "YXC"
    assert find_path(VALUES) is None


def test_images_that_cannot_be_opened_are_refused_in_one_sentence(tmp_path, monkeypatch):
    Image.fromarray(np.dstack([VALUES, VALUES[:, :, 0]]), "CMYK").save(tmp_path / "cmyk.jpg")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "broken.zarr").mkdir()
    Image.fromarray(np.repeat(VALUES, 2, axis=0)).save(tmp_path / "large.png")
    np.save(tmp_path / "image.npy", VALUES)
    Image.fromarray(VALUES).save(tmp_path / "small.png")
    monkeypatch.setattr(raster_module, "MAX_DECODED_BYTES", 1800)
    for name, level, message in [
        ("cmyk.jpg", None, "of mode CMYK; convert it to RGB"),
        ("broken.png", None, "cannot be opened as an image"),
        ("broken.zarr", None, "cannot be opened as an image"),
        ("large.png", None, "30 x 40 pixels, which would have to be decoded whole .*; convert it to a tiled TIFF"),
        ("scan.scn", None, "ends in none of .zarr, .npy, .tif"),
        ("missing.png", None, "there is nothing"),
        ("small.png", 1, "level=1 was asked for, but .*small.png' holds no other resolutions"),
        ("image.npy", 2, "level=2 was asked for, but .*image.npy' holds no other resolutions"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            open_image(tmp_path / name, level=level)
        assert "\n" not in str(error.value)
    open_image(tmp_path / "small.png")  # 1,800 bytes
    with pytest.raises(InputError, match="level=1 was asked for, but 'a ndarray' holds no"):
        open_image(VALUES, level=1)


@pytest.mark.parametrize(
    ("library", "name", "extra"),
    [("tifffile", "a.tif", "tiff"), ("rasterio", "a.vrt", "geo"), ("PIL.Image", "a.png", "demo")],
)
def test_a_missing_library_raises_an_error_that_names_the_extra(tmp_path, monkeypatch, library, name, extra):
    (tmp_path / name).touch()
    for hidden in {library, "rasterio"}:
        monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(ImportError, match=rf"pip install 'streamgmm\[{extra}\]'"):
        open_image(tmp_path / name)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_refuses_missing_and_undecodable_files_in_one_sentence(tmp_path, suffix):
    with pytest.raises(InputError, match=r"there is nothing; check it"):
        open_image(tmp_path / f"missing{suffix}")
    (tmp_path / f"broken{suffix}").write_bytes(b"not an image")
    with pytest.raises(InputError, match="cannot be opened as an image") as error:
        open_image(tmp_path / f"broken{suffix}")
    assert "\n" not in str(error.value)
