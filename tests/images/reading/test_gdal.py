import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest

from streamgmm import segment
from streamgmm.errors import InputError
from streamgmm.images.reading import open_image
from streamgmm.images.reading import raster as raster_module
from streamgmm.images.reading.gdal import WindowReader

rasterio = pytest.importorskip("rasterio")
from rasterio.enums import ColorInterp  # noqa: E402
from rasterio.transform import Affine  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of rasterio with a newer affine

UTM = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0)


def scene(dtype="uint16", shape=(3, 75, 98), seed=0):
    return np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)


def write(path, values, *, crs="EPSG:32633", transform=UTM, dress=lambda file: None, **options):
    count, height, width = values.shape
    options = {"driver": "GTiff", "dtype": values.dtype, "crs": crs, "transform": transform} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", count=count, height=height, width=width, **options) as file:
            dress(file)
            file.write(values)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tiled": True, "blockxsize": 32, "blockysize": 16},
        {"tiled": True, "blockxsize": 32, "blockysize": 32, "interleave": "band", "compress": "deflate"},
        {"tiled": True, "blockxsize": 32, "blockysize": 32, "interleave": "pixel", "compress": "zstd", "predictor": 2},
        {"compress": "lzw", "BIGTIFF": "YES"},
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_every_geotiff_layout_reads_as_the_written_array(tmp_path, options, dtype):
    if dtype == "float32":
        options.pop("predictor", None)
    values = scene(dtype)
    raster = open_image(write(tmp_path / "scene.tif", values, **options))
    assert isinstance(raster.array.read, WindowReader)
    assert (raster.axes, raster.array.shape, raster.array.dtype) == ("CYX", values.shape, np.dtype(dtype))
    np.testing.assert_array_equal(raster.array[:], values)
    for part in (np.s_[1:3, 3:40, 2:9], np.s_[..., 5], np.s_[2], np.s_[::-1, 60:7:-3, ::2], np.s_[:, 0:0]):
        np.testing.assert_array_equal(raster.array[part], values[part])
    np.testing.assert_array_equal(da.from_array(raster.array, chunks=(3, 20, 30)).compute(scheduler="threads"), values)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(raster.array))[1, 2:3], values[1, 2:3])
    if "blockxsize" in options:
        assert raster.array.chunks == (3, options["blockysize"], options["blockxsize"])


def test_georeference_has_crs_transform_and_pixel_size(tmp_path):
    grid = open_image(write(tmp_path / "scene.tif", scene())).georeference
    assert grid.crs == "EPSG:32633" and grid.transform == (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0)
    assert grid.spacing == (("Y", 10.0), ("X", 10.0)) and grid.pixel_size == (100.0, "m²")
    degrees = open_image(
        write(tmp_path / "b.tif", scene(), crs="EPSG:4326", transform=Affine(0.1, 0.0, 5, 0.0, -0.1, 50))
    ).georeference
    assert degrees.unit == "degree" and degrees.pixel_size is None
    turned = open_image(write(tmp_path / "c.tif", scene(), transform=UTM @ Affine.rotation(30))).georeference
    assert turned.pixel_size[0] == pytest.approx(100.0)
    assert dict(turned.spacing)["X"] == pytest.approx(10.0)


def test_band_descriptions_are_names_and_scales_are_not_applied(tmp_path):
    def dress(file):
        file.descriptions = ("blue", "green", "red")
        file.scales, file.offsets = (1e-4, 1e-4, 2e-4), (0.0, -0.1, 0.0)

    values = scene()
    raster = open_image(write(tmp_path / "scene.tif", values, dress=dress))
    assert raster.bands == ("blue", "green", "red")
    assert raster.scale == ((1e-4, 0.0), (1e-4, -0.1), (2e-4, 0.0))
    np.testing.assert_array_equal(raster.array[:], values)
    quantities = values * np.reshape([1e-4, 1e-4, 2e-4], (3, 1, 1)) + np.reshape([0.0, -0.1, 0.0], (3, 1, 1))
    np.testing.assert_array_equal(raster.apply_scale().array[:], quantities.astype("float32"))
    plain = open_image(write(tmp_path / "plain.tif", values))
    assert plain.bands is None and plain.scale is None


@pytest.mark.parametrize(
    ("dtype", "nodata", "known"),
    [("uint8", 7, 7), ("int16", -9999, -9999), ("float32", -9999.0, -9999.0), ("float32", np.nan, None)],
)
def test_nodata_is_the_value_of_the_file_unless_the_caller_passes_one(tmp_path, dtype, nodata, known):
    values = scene(dtype)
    values[1, 10:20] = nodata
    path = write(tmp_path / "scene.tif", values, nodata=nodata)
    raster = open_image(path)
    assert raster.nodata == known and raster.mask is None
    segmentation = segment(path, 2, random_state=0, tol=1, max_iter=30)
    is_nodata = np.isnan(values).any(axis=0) if known is None else (values == known).any(axis=0)
    np.testing.assert_array_equal(np.asarray(segmentation.labels) == 0, is_nodata)
    if known == 7:  # what a caller says is meant
        segmentation = segment(path, 2, random_state=0, tol=1, max_iter=30, nodata=9)
        np.testing.assert_array_equal(np.asarray(segmentation.labels) == 0, (values == 9).any(axis=0))


def test_nodata_values_that_differ_by_band_become_a_mask_by_band(tmp_path):
    values = scene("uint8")
    for band, (nodata, rows) in enumerate([(201, slice(0, 9)), (202, slice(5, 20)), (None, slice(0))]):
        write(tmp_path / f"{band}.tif", values[[band]], nodata=nodata)
        values[band, rows] = nodata or 0
        write(tmp_path / f"{band}.tif", values[[band]], nodata=nodata)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band + 1}">{f"<NoDataValue>{nodata}</NoDataValue>" if nodata else ""}'
        f'<SimpleSource><SourceFilename relativeToVRT="1">{band}.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for band, nodata in enumerate([201, 202, None])
    )
    path = tmp_path / "scene.vrt"
    path.write_text(f'<VRTDataset rasterXSize="98" rasterYSize="75">{bands}</VRTDataset>')
    raster = open_image(path)
    assert raster.nodata is None and raster.mask.shape == values.shape
    is_nodata = np.stack([values[0] == 201, values[1] == 202, np.zeros((75, 98), bool)])
    np.testing.assert_array_equal(raster.mask[:], is_nodata)
    for used in ([0, 1, 2], [1], [2, 0], [2]):
        segmentation = segment(path, 2, bands=used, random_state=0, tol=1, max_iter=30)
        np.testing.assert_array_equal(np.asarray(segmentation.labels) == 0, is_nodata[used].any(axis=0))


def test_alpha_bands_and_internal_masks_are_nodata_masks(tmp_path):
    values = scene("uint8", (4, 75, 98))
    values[3] = 255 * (np.arange(98) > 20)

    def alpha(file):
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]

    def mask(file):
        file.write_mask(values[3] > 0)

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        paths = [write(tmp_path / "a.tif", values, dress=alpha), write(tmp_path / "b.tif", values[:3], dress=mask)]
    for path in paths:
        raster = open_image(path)
        assert raster.array.shape == (3, 75, 98)
        np.testing.assert_array_equal(raster.array[:], values[:3])
        np.testing.assert_array_equal(raster.mask[:], values[3] == 0)
        assert not np.asarray(segment(path, 2, random_state=0, tol=1).labels)[:, :21].any()


def test_a_geotiff_palette_becomes_colours(tmp_path):
    colours = np.random.default_rng(1).integers(0, 256, (256, 3))
    numbers = scene("uint8", (1, 75, 98))

    def dress(file):
        file.write_colormap(1, {number: tuple(map(int, colour)) for number, colour in enumerate(colours)})

    raster = open_image(write(tmp_path / "classes.tif", numbers, dress=dress, nodata=5))
    assert raster.axes == "YXC"
    np.testing.assert_array_equal(raster.array[:], colours[numbers[0]])
    np.testing.assert_array_equal(raster.mask[:], numbers[0] == 5)


@pytest.mark.parametrize(("name", "options"), [("a.jp2", {"QUALITY": "100", "REVERSIBLE": "YES"}), ("a.img", {})])
def test_jpeg_2000_and_erdas_imagine_are_read(tmp_path, name, options):
    values = scene("uint8", (3, 128, 160))
    driver = {".jp2": "JP2OpenJPEG", ".img": "HFA"}[name[1:]]
    if driver not in rasterio.drivers.raster_driver_extensions().values():
        pytest.skip("this GDAL has no such driver")
    raster = open_image(write(tmp_path / name, values, driver=driver, **options))
    np.testing.assert_array_equal(raster.array[:], values)
    assert raster.georeference.transform == tuple(UTM)[:6]


def test_overviews_are_levels(tmp_path):
    values = scene("uint8", (3, 128, 160))
    path = write(tmp_path / "scene.tif", values, tiled=True, blockxsize=32, blockysize=32)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    assert open_image(path).array.shape == (3, 128, 160)
    for level, factor in ((1, 2), (2, 4)):
        raster = open_image(path, level=level)
        with rasterio.open(path, overview_level=level - 1) as file:
            np.testing.assert_array_equal(raster.array[:], file.read())
        assert dict(raster.georeference.spacing)["X"] == 10.0 * factor
    with pytest.raises(InputError, match=r"level=3 was asked for, but .* has 3 levels"):
        open_image(path, level=3)


def test_every_thread_and_process_opens_the_dataset_itself(tmp_path):
    values = scene("uint16", (2, 60, 210))
    array = open_image(write(tmp_path / "scene.tif", values, tiled=True, blockxsize=16, blockysize=16)).array
    with ThreadPoolExecutor(8) as pool:
        for index, rows in enumerate(pool.map(lambda number: array[:, number], range(60))):
            np.testing.assert_array_equal(rows, values[:, index])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array))[:, 20:30], values[:, 20:30])


def test_only_the_requested_window_is_read(tmp_path, monkeypatch):
    array = open_image(write(tmp_path / "scene.tif", scene(), tiled=True, blockxsize=16, blockysize=16)).array
    read = []
    monkeypatch.setattr(WindowReader, "__call__", lambda self, key: read.append(key) or np.zeros((1, 2, 3)))
    array[1, 10:12, 20:23]
    assert read == [(slice(1, 2), slice(10, 12), slice(20, 23))]


def test_undecodable_datasets_and_large_blocks_are_refused_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "broken.vrt").write_text("<VRT")
    write(tmp_path / "scene.tif", scene(), compress="deflate", blockysize=75)
    monkeypatch.setattr(raster_module, "MAX_DECODED_BYTES", 40_000)
    for name, message in [
        ("broken.vrt", "cannot be opened as an image"),
        ("scene.tif", r"a block of 98 x 75 pixels, which would have to be decoded whole.*gdal_translate -co TILED=YES"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            open_image(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_damaged_geotiff_tile_raises_an_error_that_names_the_file(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = write(tmp_path / "scene.tif", scene(), tiled=True, blockxsize=16, blockysize=16, compress="deflate")
    with tifffile.TiffFile(path) as file:
        start, length = file.pages[0].dataoffsets[9], file.pages[0].databytecounts[9]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(length))
    with pytest.raises(InputError, match=r"A part of .*scene.tif' cannot be read .*damaged or incomplete") as error:
        open_image(path).array[:]
    assert "\n" not in str(error.value)


def test_without_rasterio_a_geotiff_is_read_as_a_tiff(tmp_path, monkeypatch):
    pytest.importorskip("tifffile")
    values = scene()
    path = write(tmp_path / "scene.tif", values, nodata=3, interleave="band")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    raster = open_image(path)
    assert raster.nodata == 3 and raster.georeference is None
    np.testing.assert_array_equal(raster.array[:], values)


def test_without_tifffile_every_tiff_is_read_by_rasterio(tmp_path, monkeypatch):
    values = scene()
    path = write(tmp_path / "scene.tif", values, crs=None, transform=None)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    raster = open_image(path)
    assert raster.georeference is None
    np.testing.assert_array_equal(raster.array[:], values)
