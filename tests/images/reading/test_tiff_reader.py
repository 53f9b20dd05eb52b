import itertools
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm import segment
from streamgmm.errors import InputError
from streamgmm.images.reading import open_image
from streamgmm.images.reading import raster as raster_module
from streamgmm.images.reading.tiff_reader import SegmentReader, read_mapped

tifffile = pytest.importorskip("tifffile")


def scene(dtype, shape=(75, 98, 3), seed=0):
    values = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    return values / np.asarray(7, dtype) if np.dtype(dtype).kind == "f" else values


LAYOUTS = {
    "one strip": {},
    "strips": {"rowsperstrip": 11},
    "tiles": {"tile": (32, 48)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("planar", "dtype", "compression", "bigtiff"),
    [
        *itertools.product([False, True], ["uint8", "uint16", "float32"], [None, "zlib"], [False]),
        (False, "uint8", "lzw", True),
        (False, "uint16", "zstd", True),
        (True, "int16", None, True),
        (True, ">u2", "packbits", False),
    ],
)
def test_every_tiff_layout_reads_as_the_written_array(tmp_path, layout, planar, dtype, compression, bigtiff):
    values = scene(dtype)
    stored = np.moveaxis(values, 2, 0) if planar else values
    big_endian = np.dtype(dtype).byteorder == ">"
    tifffile.imwrite(
        tmp_path / "image.tif",
        stored,
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
        compression=compression,
        bigtiff=bigtiff,
        byteorder=">" if big_endian else "<",
        **LAYOUTS[layout],
    )
    raster = open_image(tmp_path / "image.tif")
    assert raster.axes == ("CYX" if planar else "YXC")
    assert raster.array.shape == stored.shape and raster.array.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(raster.array[:], stored)
    for part in (np.s_[3:40, 2:9], np.s_[..., 1], np.s_[2], np.s_[1:2, 60:7:-3, ::2], np.s_[0:0]):
        np.testing.assert_array_equal(raster.array[part], stored[part])
    lazy = da.from_array(raster.array, chunks=20)
    np.testing.assert_array_equal(lazy.compute(scheduler="threads"), stored)
    again = pickle.loads(pickle.dumps(raster.array))
    np.testing.assert_array_equal(again[:, 7:9], stored[:, 7:9])


@settings(max_examples=20)
@given(st.data())
def test_any_part_of_any_tiling_equals_that_part_of_the_array(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("drawn") / "image.tif"
    values = scene(data.draw(st.sampled_from(["uint8", "uint16", "float32"])), (37, 41, data.draw(st.integers(1, 5))))
    planar = values.shape[2] > 1 and data.draw(st.booleans())
    values = np.moveaxis(values, 2, 0) if planar else values.squeeze()
    tiled = {"tile": (16 * data.draw(st.integers(1, 3)), 16 * data.draw(st.integers(1, 3)))}
    layout = tiled if data.draw(st.booleans()) else {"rowsperstrip": data.draw(st.integers(1, 40))}
    options = {"compression": data.draw(st.sampled_from([None, "zlib"])), "photometric": "minisblack"}
    planarconfig = {} if values.ndim == 2 else {"planarconfig": "separate" if planar else "contig"}
    tifffile.imwrite(path, values, **options, **layout, **planarconfig)
    array = open_image(path).array
    part = tuple(
        slice(first, first + data.draw(st.integers(1, n - first)))
        for n in values.shape
        for first in [data.draw(st.integers(0, n - 1))]
    )
    np.testing.assert_array_equal(array[part], values[part])


def test_only_the_requested_tiles_are_decoded(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "image.tif", scene("uint8", (320, 320, 3)), tile=(32, 32), compression="zlib")
    array = open_image(tmp_path / "image.tif").array
    decoded = []
    array[:1]  # opened
    cache = type(array.read._array.store._filecache)
    read = cache.read
    monkeypatch.setattr(cache, "read", lambda *args: decoded.append(args[2]) or read(*args))
    array[40:50, 100:110]
    assert len(decoded) == 1
    array[40:70, 100:110]
    assert len(decoded) == 3


def test_threads_read_concurrently(tmp_path):
    values = scene("uint16", (60, 210))
    tifffile.imwrite(tmp_path / "image.tif", values, tile=(16, 16), compression="zlib")
    array = open_image(tmp_path / "image.tif").array
    with ThreadPoolExecutor(8) as pool:
        for index, line in enumerate(pool.map(lambda number: array[number], range(60))):
            np.testing.assert_array_equal(line, values[index])


def test_uncompressed_images_are_memory_mapped_and_others_are_chunked_by_tiles(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", scene("uint8"))
    tifffile.imwrite(tmp_path / "tiles.tif", scene("uint8"), tile=(32, 32), compression="zlib")
    plain, tiles = (open_image(tmp_path / name).array for name in ("plain.tif", "tiles.tif"))
    assert plain.read.func is read_mapped and isinstance(tiles.read, SegmentReader)
    assert tiles.chunks == (32, 32, 3) and plain.chunks == (1, 98, 3)
    tifffile.imwrite(tmp_path / "grey.tif", scene("uint8", (75, 98)))
    assert open_image(tmp_path / "grey.tif").array.chunks == (1, 98)  # any row can be read alone


@pytest.mark.parametrize(
    ("shape", "metadata", "axes"),
    [
        ((4, 40, 50), {"axes": "ZYX"}, "ZYX"),
        ((4, 2, 40, 50), {"axes": "TCYX"}, "TCYX"),
        ((5, 4, 3, 40, 50), {"axes": "TZCYX"}, "TZCYX"),
        ((4, 40, 50), {}, None),
    ],
)
@pytest.mark.parametrize("ome", [True, False])
def test_stacks_have_the_axes_of_the_file(tmp_path, shape, metadata, axes, ome):
    values = scene("uint16", shape)
    if ome and not metadata:
        metadata, axes = {"axes": "CYX"}, "CYX"
    tifffile.imwrite(
        tmp_path / "stack.tif", values, metadata=metadata, ome=ome, photometric="minisblack", tile=(16, 16)
    )
    raster = open_image(tmp_path / "stack.tif")
    assert raster.axes == axes
    np.testing.assert_array_equal(raster.array[:], values)
    np.testing.assert_array_equal(raster.array[-1, ..., 3:20], values[-1, ..., 3:20])


def test_axes_of_the_user_replace_those_of_the_file(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", scene("uint8", (5, 40, 50)), metadata={"axes": "ZYX"})
    assert open_image(tmp_path / "stack.tif", "cyx").axes == "CYX"


def test_ome_tiff_states_pixel_sizes_and_channel_names(tmp_path):
    tifffile.imwrite(
        tmp_path / "cells.ome.tif",
        scene("uint16", (3, 2, 40, 50)),
        metadata={
            "axes": "ZCYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeY": 0.5,
            "PhysicalSizeZ": 2.0,
            "Channel": {"Name": ["nuclei", "membrane"]},
        },
    )
    raster = open_image(tmp_path / "cells.ome.tif")
    assert raster.axes == "ZCYX" and raster.bands == ("nuclei", "membrane")
    assert dict(raster.georeference.spacing) == {"Z": 2.0, "Y": 0.5, "X": 0.25}
    assert raster.georeference.unit == "micrometer" and raster.georeference.pixel_size == (0.25, "µm³")


def test_imagej_states_pixel_sizes(tmp_path):
    tifffile.imwrite(
        tmp_path / "cells.tif",
        scene("uint16", (3, 40, 50)),
        imagej=True,
        resolution=(4.0, 2.0),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 1.5},
    )
    grid = open_image(tmp_path / "cells.tif").georeference
    assert dict(grid.spacing) == {"Z": 1.5, "Y": 0.5, "X": 0.25} and grid.unit == "micrometer"


def test_a_print_resolution_is_no_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "photo.tif", scene("uint8"), resolution=(72, 72), resolutionunit="inch")
    assert open_image(tmp_path / "photo.tif").georeference is None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planar", [True, False])
def test_pixels_with_alpha_0_are_nodata(tmp_path, layout, planar):
    values = scene("uint8", (75, 98, 4))
    values[10:20, 30:40, 3] = 0
    values[values[:, :, 3] == 0] = 0
    stored = np.moveaxis(values, 2, 0) if planar else values
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"], "planarconfig": "separate" if planar else "contig"}
    tifffile.imwrite(tmp_path / "image.tif", stored, **options, **LAYOUTS[layout])
    raster = open_image(tmp_path / "image.tif")
    axis = raster.axes.index("C")
    assert raster.array.shape[axis] == 3
    np.testing.assert_array_equal(np.moveaxis(raster.array[:], axis, 2), values[:, :, :3])
    np.testing.assert_array_equal(raster.mask[:], values[:, :, 3] == 0)
    segmentation = segment(tmp_path / "image.tif", 2, random_state=0, max_iter=5, tol=100)
    np.testing.assert_array_equal(np.asarray(segmentation.labels) == 0, values[:, :, 3] == 0)


@pytest.mark.parametrize("bands", [1, 3])
def test_a_mask_page_is_the_nodata_mask(tmp_path, bands):
    values, valid = scene("uint8", (75, 98, bands)).squeeze(), scene("uint8", (75, 98)) > 50
    with tifffile.TiffWriter(tmp_path / "image.tif") as file:
        file.write(values, tile=(32, 32), photometric="rgb" if bands == 3 else "minisblack", metadata=None)
        file.write(valid, tile=(32, 32), subfiletype=4, metadata=None)
    raster = open_image(tmp_path / "image.tif")
    np.testing.assert_array_equal(raster.array[:], values)
    np.testing.assert_array_equal(raster.mask[:], ~valid)


def test_samples_without_alpha_are_bands(tmp_path):
    values = scene("uint8", (40, 50, 5))
    tifffile.imwrite(tmp_path / "image.tif", values, photometric="minisblack", planarconfig="contig")
    raster = open_image(tmp_path / "image.tif")
    assert raster.axes == "YXC" and raster.array.shape[2] == 5 and raster.mask is None


def test_a_tiff_palette_becomes_colours(tmp_path):
    numbers = scene("uint8", (40, 50))
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "image.tif", numbers, photometric="palette", colormap=colours * 257, tile=(16, 16))
    raster = open_image(tmp_path / "image.tif")
    assert raster.axes == "YXC" and raster.array.dtype == np.uint8
    np.testing.assert_array_equal(raster.array[:], colours.T[numbers])


def test_levels_of_a_pyramid_scale_the_pixel_size(tmp_path):
    values = scene("uint8", (128, 160, 3))
    with tifffile.TiffWriter(tmp_path / "slide.ome.tif", ome=True) as file:
        lengths = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        file.write(values, subifds=2, tile=(32, 32), metadata=lengths)
        for step in (2, 4):
            file.write(values[::step, ::step], subfiletype=1, tile=(32, 32))
    for level, step in ((None, 1), (0, 1), (1, 2), (2, 4)):
        raster = open_image(tmp_path / "slide.ome.tif", level=level)
        np.testing.assert_array_equal(raster.array[:], values[::step, ::step])
        assert dict(raster.georeference.spacing) == {"Y": 0.5 * step, "X": 0.5 * step}
    with pytest.raises(InputError, match=r"level=3 was asked for, but .* has 3 levels, counted from 0, the finest"):
        open_image(tmp_path / "slide.ome.tif", level=3)


def test_one_large_strip_or_tile_is_refused_with_the_remedy(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "strip.tif", scene("uint8"), compression="zlib", rowsperstrip=75)
    tifffile.imwrite(tmp_path / "tile.tif", scene("uint8"), compression="zlib", tile=(80, 112))
    tifffile.imwrite(tmp_path / "plain.tif", scene("uint8"))
    monkeypatch.setattr(raster_module, "MAX_DECODED_BYTES", 20_000)
    for name, piece in (("strip", "strip"), ("tile", "tile")):
        with pytest.raises(
            InputError, match=rf"a {piece} of shape .* decoded whole.*gdal_translate -co TILED=YES"
        ) as e:
            open_image(tmp_path / f"{name}.tif")
        assert "\n" not in str(e.value)
    open_image(tmp_path / "plain.tif")  # of which any part can be had


def test_a_file_of_several_images_is_refused_unless_the_first_is_the_largest(tmp_path):
    with tifffile.TiffWriter(tmp_path / "thumbnail.tif") as file:
        file.write(scene("uint8"))
        file.write(scene("uint8", (9, 12, 3)))
    assert open_image(tmp_path / "thumbnail.tif").array.shape == (75, 98, 3)
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(scene("uint8", (9, 12, 3)))
        file.write(scene("uint8"))
    with pytest.raises(InputError, match=r"holds 2 images, of shapes .*; save the one you mean by itself"):
        open_image(tmp_path / "two.tif")


def test_the_nodata_tag_of_gdal_is_read(tmp_path):
    for name, value, expected in (("a", "0", 0), ("b", "-9999", None), ("c", "nan", None), ("d", "what", None)):
        tag = (42113, "s", 0, value, True)
        tifffile.imwrite(tmp_path / f"{name}.tif", scene("uint8", (40, 50)), extratags=[tag])
        assert open_image(tmp_path / f"{name}.tif").nodata == expected


@pytest.mark.parametrize(("name", "axes"), [("multipage.tif", None), ("multipage_rgb.tif", None)])
def test_stacks_of_scikit_image_read_as_tifffile_reads_them(name, axes):
    skimage = pytest.importorskip("skimage")
    path = Path(skimage.__file__).parent / "data" / name
    raster = open_image(path)
    assert raster.axes == axes
    np.testing.assert_array_equal(raster.array[:], tifffile.imread(path))


def test_a_tiff_is_segmented_like_its_array(tmp_path):
    from sklearn.datasets import load_sample_image

    photograph = load_sample_image("flower.jpg")[100:180, 200:300]
    tifffile.imwrite(tmp_path / "photo.tif", photograph, tile=(32, 32), compression="zlib")
    segmentation, expected = (segment(image, 4, random_state=0) for image in (tmp_path / "photo.tif", photograph))
    np.testing.assert_array_equal(segmentation.labels.compute(), expected.labels)


def test_damaged_tiffs_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"II*\0 nothing")
    (tmp_path / "text.tif").write_bytes(b"not a picture")
    values = scene("uint8", (400, 500))
    tifffile.imwrite(tmp_path / "cut.tif", values, tile=(16, 16), compression="zlib")
    whole_file = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole_file[: len(whole_file) // 3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("broken.tif", "text.tif", "cut.tif"):
            with pytest.raises(InputError, match=r"cannot be opened as an image|ends before its image does") as error:
                open_image(tmp_path / name)
            assert "\n" not in str(error.value)


def test_a_damaged_tiff_tile_raises_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, scene("uint8", (400, 500)), tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path) as file:
        start, length = file.pages[0].dataoffsets[40], file.pages[0].databytecounts[40]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(length))
    array = open_image(path).array
    np.testing.assert_array_equal(array[100:120, 100:], scene("uint8", (400, 500))[100:120, 100:])
    with pytest.raises(InputError, match=r"A part of .*image.tif' cannot be read .*damaged or incomplete") as error:
        array[20:22, 130:140]
    assert "\n" not in str(error.value)
