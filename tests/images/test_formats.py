import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from streamgmm import segment
from streamgmm.errors import InputError
from streamgmm.images.reading import find_path, open_image
from streamgmm.images.reading import raster as raster_module
from streamgmm.images.reading.lazy_arrays import (
    LazyArray,
    combine_masks,
    look_up,
    mask_equal,
    select_indices,
    stack_arrays,
    take_index,
)
from streamgmm.images.reading.raster import Georeference, Raster

VALUES = np.random.default_rng(0).integers(1, 200, (20, 30, 3)).astype(np.uint8)
ALPHA = np.where(np.arange(30) < 7, 0, 255).astype(np.uint8) + np.zeros((20, 1), np.uint8)


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".png"])
def test_what_is_stored_at_a_path_is_the_image(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, VALUES)
    elif suffix == ".zarr":
        zarr.create_group(path).create_array("only", shape=VALUES.shape, dtype="uint8")[:] = VALUES
    else:
        Image.fromarray(VALUES).save(path)
    for given_ in (path, str(path)):
        raster = open_image(given_)
        np.testing.assert_array_equal(raster.array[:], VALUES)
        assert raster.axes == ("YXC" if suffix == ".png" else None)  # a picture says which axis is of bands
    assert find_path(path) == path


def test_a_file_is_mapped_and_not_read(tmp_path):
    np.save(tmp_path / "image.npy", VALUES)
    assert isinstance(open_image(tmp_path / "image.npy").array, np.memmap)


def test_an_array_is_itself_and_nothing_is_known_of_it():
    for array in (VALUES, da.from_array(VALUES), VALUES.tolist()):
        raster = open_image(array)
        assert raster.array is array
        assert (raster.axes, raster.bands, raster.nodata, raster.mask, raster.georeference) == (None,) * 5
    assert open_image(VALUES, "yxc").axes == "YXC"
    assert find_path(VALUES) is None


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
def test_pictures_of_every_mode_are_their_colours_and_what_is_transparent_is_nodata(tmp_path, picture, expected):
    picture.save(tmp_path / "image.png")
    raster = open_image(tmp_path / "image.png")
    assert raster.axes == ("YX" if expected.ndim == 2 else "YXC")
    np.testing.assert_array_equal(raster.array, expected)
    assert raster.array.dtype == expected.dtype
    if picture.mode.endswith("A"):
        np.testing.assert_array_equal(raster.mask, ALPHA == 0)
        found = segment(tmp_path / "image.png", 2, random_state=0)
        np.testing.assert_array_equal(found.labels == 0, ALPHA == 0)
    else:
        assert raster.mask is None


@pytest.mark.parametrize("factor", [np.uint8(1), np.uint16(200)], ids=["L", "I;16"])
def test_pictures_of_grey_levels_have_the_segments_of_their_values(tmp_path, factor):
    values = GREY.astype(factor.dtype) * factor
    Image.fromarray(values).save(tmp_path / "grey.png")
    found = segment(tmp_path / "grey.png", 2, random_state=0)
    np.testing.assert_array_equal(found.labels, segment(values, 2, random_state=0).labels)


@pytest.mark.parametrize("colour", [5, (5, 6, 7)], ids=["L", "RGB"])
def test_one_colour_that_is_transparent_is_nodata(tmp_path, colour):
    values = (VALUES if isinstance(colour, tuple) else GREY).copy()
    values[3, 4] = colour
    Image.fromarray(values).save(tmp_path / "image.png", transparency=colour)
    raster = open_image(tmp_path / "image.png")
    transparent = (values == colour).all(axis=2) if values.ndim == 3 else values == colour
    np.testing.assert_array_equal(raster.mask, transparent)
    np.testing.assert_array_equal(raster.array, values)


def test_a_jpeg_is_as_pillow_decodes_it():
    sklearn = pytest.importorskip("sklearn")
    path = Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"
    np.testing.assert_array_equal(open_image(path).array, np.asarray(Image.open(path)))


@pytest.mark.parametrize("name", ["camera.png", "astronaut.png", "logo.png", "motorcycle_left.png", "retina.jpg"])
def test_pictures_of_scikit_image_are_read_as_it_reads_them(name):
    skimage = pytest.importorskip("skimage")
    from skimage.io import imread

    path = Path(skimage.__file__).parent / "data" / name
    expected, raster = imread(path), open_image(path)
    alpha = expected.ndim == 3 and expected.shape[2] == 4
    np.testing.assert_array_equal(raster.array, expected[:, :, :3] if alpha else expected)
    assert raster.mask is None or alpha


def test_what_cannot_be_opened_is_refused_in_a_sentence(tmp_path, monkeypatch):
    Image.fromarray(np.dstack([VALUES, GREY]), "CMYK").save(tmp_path / "cmyk.jpg")
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
def test_without_a_library_its_extra_is_named(tmp_path, monkeypatch, library, name, extra):
    (tmp_path / name).touch()
    for hidden in {library, "rasterio"}:
        monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(ImportError, match=rf"pip install 'streamgmm\[{extra}\]'"):
        open_image(tmp_path / name)


def test_axes_that_somebody_gives_are_believed_and_what_belonged_to_others_is_lost():
    grid = Georeference(spacing=(("Z", 3.0), ("Y", 2.0), ("X", 1.0)), unit="micrometer")
    stack = Raster(np.zeros((4, 5, 6)), "ZYX", georeference=grid)
    assert stack.with_axes("CYX").georeference.spacing == (("Y", 2.0), ("X", 1.0))
    assert stack.with_axes("zyx") is stack and stack.with_axes(None) is stack
    assert Raster(VALUES, "YXC", ("r", "g", "b")).with_axes("CYX").bands is None
    with pytest.raises(InputError, match="says by them where pixels are nodata; leave axes out"):
        Raster(VALUES, "YXC", mask=GREY == 0).with_axes("CYX")


@pytest.mark.parametrize(
    ("grid", "size"),
    [
        (Georeference(spacing=(("Y", 2.0), ("X", 0.5)), unit="micrometer"), (1.0, "µm²")),
        (Georeference(spacing=(("Z", 3.0), ("Y", 2.0), ("X", 0.5)), unit="micrometer"), (3.0, "µm³")),
        (Georeference("EPSG:3857", (3.0, 4.0, 0.0, 4.0, -3.0, 0.0), (("Y", 5.0), ("X", 5.0)), "metre"), (25.0, "m²")),
        (Georeference(spacing=(("Y", 2.0), ("X", 0.5)), unit="US survey foot"), (1.0, "US survey foot²")),
        (Georeference(spacing=(("Y", 2.0), ("X", 0.5)), unit="degree"), None),
        (Georeference(spacing=(("Y", 2.0), ("X", 0.5))), None),
        (Georeference(spacing=(("Z", 2.0),), unit="metre"), None),
    ],
)
def test_the_size_of_a_pixel_is_known_where_lengths_are(grid, size):
    assert grid.pixel_size == size


CUBE = np.random.default_rng(2).integers(0, 5, (5, 6, 7))


def _lazily(array):
    """What fails where it is asked for what a reader need not understand."""

    def read(key):
        assert all(
            one.step in (None, 1) and 0 <= one.start < one.stop <= n for one, n in zip(key, array.shape, strict=True)
        )
        return array[key]

    return LazyArray(array.shape, array.dtype, (1, *array.shape[1:]), read)


KEYS = st.one_of(
    st.integers(-5, 4),
    st.builds(
        slice, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9), st.sampled_from([None, 1, 2, -1, -3])
    ),
)


@given(st.tuples(KEYS, KEYS, KEYS), st.integers(0, 3), st.booleans())
def test_a_lazy_array_is_indexed_as_an_array(keys, length, ellipsis):
    key = (*keys[:length], ..., *keys[length:][:1]) if ellipsis else keys[:length]
    np.testing.assert_array_equal(_lazily(CUBE)[key], CUBE[key])


@settings(max_examples=15)
@given(st.tuples(KEYS, KEYS, KEYS), st.lists(st.integers(0, 4), min_size=1, unique=True))
def test_what_is_made_of_lazy_arrays_is_what_is_made_of_arrays(key, places):
    lazy = _lazily(CUBE)
    masks = [CUBE == 1, CUBE > 3]
    table = PALETTE[:5]
    for made, expected in [
        (select_indices(lazy, 0, places), CUBE[places]),
        (mask_equal(lazy, 3), CUBE == 3),
        (mask_equal(take_index(lazy, 1, 2), 3), CUBE[:, 2] == 3),
        (take_index(select_indices(lazy, 2, [1]), 2, 0), CUBE[:, :, 1]),
        (stack_arrays([lazy[0], _lazily(CUBE[1:])[0]], float), np.stack([CUBE[0], CUBE[1]]).astype(float)),
        (stack_arrays([None, masks[0]], bool), np.stack([np.zeros(CUBE.shape, bool), masks[0]])),
        (combine_masks(_lazily(masks[0]), None, masks[1]), masks[0] | masks[1]),
        (look_up(lazy, table), table[CUBE]),
    ]:
        assert made.shape == expected.shape and made.dtype == expected.dtype and made.ndim == len(made.chunks)
        part = tuple(k if isinstance(k, slice) else slice(k, None) for k in key[: expected.ndim])
        np.testing.assert_array_equal(made[part], expected[part])
        np.testing.assert_array_equal(np.asarray(da.from_array(made, chunks=3)), expected)


@pytest.mark.parametrize("axes", ["YXC", "CYX"])
@pytest.mark.parametrize("kind", [_lazily, np.asarray, lambda array: da.from_array(array, chunks=7)])
def test_factors_and_offsets_are_applied_when_it_is_asked_for(axes, kind):
    values = np.moveaxis(VALUES, 2, axes.index("C"))
    scale = ((0.5, 0.0), (2.0, -10.0), (1.0, 3.0))
    raster = Raster(kind(values), axes, nodata=9, scale=scale)
    for nodata, lacking in ((None, 9), (11, 11)):
        found = raster.apply_scale(nodata)
        factors, offsets = (
            np.reshape(each, (3, 1, 1) if axes == "CYX" else (1, 1, 3)) for each in zip(*scale, strict=True)
        )
        expected = np.where(values == lacking, np.nan, values * factors + offsets).astype("float32")
        assert found.array.dtype == np.float32 and found.nodata is None and found.scale is None
        np.testing.assert_array_equal(np.asarray(found.array), expected)
        np.testing.assert_array_equal(np.asarray(found.array[1:3, 2:5]), expected[1:3, 2:5])
    labels = segment(raster, 2, scaled=True, random_state=0, tol=1).labels
    np.testing.assert_array_equal(np.asarray(labels) == 0, (values == 9).any(axis=axes.index("C")))
    with pytest.raises(InputError, match="scaled=True was asked for, but the image says no factors"):
        segment(VALUES, 2, scaled=True)


@pytest.mark.parametrize("kind", [np.asarray, da.from_array])
def test_the_mask_of_a_caller_is_joined_with_that_of_a_file(tmp_path, kind):
    Image.fromarray(np.dstack([VALUES, ALPHA])).save(tmp_path / "image.png")
    given_ = np.arange(20)[:, None] + np.zeros((1, 30)) < 3
    found = segment(tmp_path / "image.png", 2, mask=kind(given_), random_state=0)
    np.testing.assert_array_equal(np.asarray(found.labels) == 0, given_ | (ALPHA == 0))
