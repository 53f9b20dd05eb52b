import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from streamgmm import segment
from streamgmm.errors import InputError
from streamgmm.images.reading import open_image

tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")
Image = pytest.importorskip("PIL.Image")

from synthetic import slides  # noqa: E402  (which imports these)

PHOTOGRAPH = np.ascontiguousarray(load_sample_image("flower.jpg")[100:290, 200:440])
WRITERS = {".svs": slides.write_svs, ".ndpi": slides.write_ndpi}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_slide_opens_at_its_finest_level_or_at_any_other(tmp_path, suffix):
    path = tmp_path / f"slide{suffix}"
    levels = WRITERS[suffix](path, PHOTOGRAPH)
    assert open_image(path).array.shape == PHOTOGRAPH.shape
    for level, (expected, step) in enumerate(zip(levels, slides.STEPS, strict=True)):
        raster = open_image(path, level=level)
        assert raster.axes == "YXC"
        np.testing.assert_array_equal(raster.array[:], expected)
        near = np.abs(expected.astype(int) - PHOTOGRAPH[::step, ::step])
        assert near.mean() < 12  # of a picture of the glass, or of luma for red, it is about 60
        np.testing.assert_array_equal(raster.array[5:40, 7:33], expected[5:40, 7:33])
        assert raster.georeference.unit == "micrometer"
        assert dict(raster.georeference.spacing) == pytest.approx({"Y": 0.5 * step, "X": 0.5 * step}, rel=0.02)
    with pytest.raises(InputError, match=r"level=3 was asked for, but .* has 3 levels, counted from 0, the finest"):
        open_image(path, level=3)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_level_of_a_slide_is_segmented_like_its_array(tmp_path, suffix):
    path = tmp_path / f"slide{suffix}"
    levels = WRITERS[suffix](path, np.ascontiguousarray(PHOTOGRAPH[:90, :140]))  # some tiles, and parts of others
    for level in (0, 2):
        segmentation = segment(path, 3, level=level, random_state=0, output=tmp_path / f"labels{level}.tif")
        expected = segment(levels[level], 3, random_state=0, axes="YXC")
        np.testing.assert_array_equal(np.asarray(segmentation.labels), expected.labels)
        np.testing.assert_array_equal(segmentation.table["band_mean"], expected.table["band_mean"])
        (y, x), unit = (
            (length for _, length in segmentation.georeference.spacing),
            segmentation.georeference.pixel_size[1],
        )
        assert unit == "µm²"
        np.testing.assert_allclose(segmentation.table["area"], segmentation.table["pixels"] * x * y)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"labels{level}.tif"), expected.labels)


def test_only_the_tiles_of_the_chosen_level_are_decoded(tmp_path, monkeypatch):
    slides.write_svs(tmp_path / "slide.svs", PHOTOGRAPH)
    array = open_image(tmp_path / "slide.svs", level=1).array
    array[:1]
    cache, decoded = type(array.read._array.store._filecache), []
    read = cache.read
    monkeypatch.setattr(cache, "read", lambda *args: decoded.append(args[2]) or read(*args))
    assert array[70:80, 10:30].shape == (10, 20, 3)
    assert len(decoded) == 1


@pytest.mark.parametrize("codec", ["jpeg2000", "deflate"])
def test_luma_and_chroma_convert_to_the_colours_of_pillow(tmp_path, codec):
    luma = np.asarray(Image.fromarray(PHOTOGRAPH[:128, :192]).convert("YCbCr"))
    options = {"tile": (64, 64), "photometric": "ycbcr", "subsampling": (1, 1), "metadata": None}
    if codec == "deflate":
        tifffile.imwrite(tmp_path / "slide.svs", luma, compression="zlib", **options)
    else:
        tiles = (
            imagecodecs.jpeg2k_encode(np.ascontiguousarray(luma[top : top + 64, left : left + 64]), codecformat="j2k")
            for top in range(0, 128, 64)
            for left in range(0, 192, 64)
        )
        tifffile.imwrite(
            tmp_path / "slide.svs", tiles, shape=luma.shape, dtype=luma.dtype, compression=33003, **options
        )
    expected = np.asarray(Image.fromarray(luma, "YCbCr").convert("RGB")).astype(int)
    array = open_image(tmp_path / "slide.svs").array
    assert array.dtype == np.uint8 and np.abs(array[:] - expected).max() <= 1
    np.testing.assert_array_equal(array[30:99, 11:70, 1:], array[:][30:99, 11:70, 1:])


@pytest.mark.parametrize("description", ["MPP = what", "MPP = 0", "AppMag = 20", "MPP = nan", "|MPP|=|"])
def test_a_slide_without_a_pixel_size_has_no_georeference(tmp_path, description):
    tifffile.imwrite(
        tmp_path / "slide.svs", PHOTOGRAPH, description=f"{slides.APERIO}|{description}", tile=(64, 64), metadata=None
    )
    assert open_image(tmp_path / "slide.svs").georeference is None


def test_damaged_slides_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "empty.svs").write_bytes(b"")
    slides.write_ndpi(tmp_path / "cut.ndpi", PHOTOGRAPH)
    (tmp_path / "cut.ndpi").write_bytes((tmp_path / "cut.ndpi").read_bytes()[:5_000])
    for name in ("empty.svs", "cut.ndpi"):
        with pytest.raises(InputError, match=r"cannot be opened as an image|holds no image") as error:
            open_image(tmp_path / name)
        assert "\n" not in str(error.value)
