from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from PIL import Image

from streamgmm import segment
from streamgmm.images.reading import open_image

VALUES = np.random.default_rng(0).integers(1, 200, (20, 30, 3)).astype(np.uint8)
ALPHA = np.where(np.arange(30) < 7, 0, 255).astype(np.uint8) + np.zeros((20, 1), np.uint8)
GREY = VALUES[:, :, 0]
PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)


def _palette_picture():
    picture = Image.fromarray(GREY)
    picture.putpalette(PALETTE.tobytes())
    return picture


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(GREY), GREY),
        (Image.fromarray(GREY.astype(np.uint16) * 200), GREY.astype(np.uint16) * 200),
        (Image.fromarray(GREY > 99), 255 * (GREY > 99).astype(np.uint8)),
        (Image.fromarray(np.dstack([GREY, ALPHA])), GREY),
        (Image.fromarray(VALUES), VALUES),
        (Image.fromarray(np.dstack([VALUES, ALPHA])), VALUES),
        (_palette_picture(), PALETTE[GREY]),
    ],
    ids=["L", "I;16", "1", "LA", "RGB", "RGBA", "P"],
)
def test_pictures_of_every_mode_become_colours_and_a_nodata_mask(tmp_path, picture, expected):
    picture.save(tmp_path / "image.png")
    raster = open_image(tmp_path / "image.png")
    assert raster.axes == ("YX" if expected.ndim == 2 else "YXC")
    np.testing.assert_array_equal(raster.array, expected)
    assert raster.array.dtype == expected.dtype
    if picture.mode.endswith("A"):
        np.testing.assert_array_equal(raster.mask, ALPHA == 0)
        segmentation = segment(tmp_path / "image.png", 2, random_state=0)
        np.testing.assert_array_equal(segmentation.labels == 0, ALPHA == 0)
    else:
        assert raster.mask is None


@pytest.mark.parametrize("factor", [np.uint8(1), np.uint16(200)], ids=["L", "I;16"])
def test_a_grey_picture_has_the_segments_of_its_values(tmp_path, factor):
    values = GREY.astype(factor.dtype) * factor
    Image.fromarray(values).save(tmp_path / "grey.png")
    segmentation = segment(tmp_path / "grey.png", 2, random_state=0)
    np.testing.assert_array_equal(segmentation.labels, segment(values, 2, random_state=0).labels)


@pytest.mark.parametrize("colour", [5, (5, 6, 7)], ids=["L", "RGB"])
def test_a_transparent_colour_is_nodata(tmp_path, colour):
    values = (VALUES if isinstance(colour, tuple) else GREY).copy()
    values[3, 4] = colour
    Image.fromarray(values).save(tmp_path / "image.png", transparency=colour)
    raster = open_image(tmp_path / "image.png")
    transparent = (values == colour).all(axis=2) if values.ndim == 3 else values == colour
    np.testing.assert_array_equal(raster.mask, transparent)
    np.testing.assert_array_equal(raster.array, values)


def test_a_jpeg_has_the_values_that_pillow_decodes():
    sklearn = pytest.importorskip("sklearn")
    path = Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"
    np.testing.assert_array_equal(open_image(path).array, np.asarray(Image.open(path)))


@pytest.mark.parametrize("name", ["camera.png", "astronaut.png", "logo.png", "motorcycle_left.png", "retina.jpg"])
def test_pictures_of_scikit_image_read_as_imread_reads_them(name):
    skimage = pytest.importorskip("skimage")
    from skimage.io import imread

    path = Path(skimage.__file__).parent / "data" / name
    expected, raster = imread(path), open_image(path)
    alpha = expected.ndim == 3 and expected.shape[2] == 4
    np.testing.assert_array_equal(raster.array, expected[:, :, :3] if alpha else expected)
    assert raster.mask is None or alpha


@pytest.mark.parametrize("kind", [np.asarray, da.from_array])
def test_the_mask_of_the_caller_is_combined_with_that_of_the_file(tmp_path, kind):
    Image.fromarray(np.dstack([VALUES, ALPHA])).save(tmp_path / "image.png")
    caller_mask = np.arange(20)[:, None] + np.zeros((1, 30)) < 3
    segmentation = segment(tmp_path / "image.png", 2, mask=kind(caller_mask), random_state=0)
    np.testing.assert_array_equal(np.asarray(segmentation.labels) == 0, caller_mask | (ALPHA == 0))
