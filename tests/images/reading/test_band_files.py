import warnings

import numpy as np
import pytest
from PIL import Image

from streamgmm import segment
from streamgmm.errors import InputError
from streamgmm.images.reading import is_band_list, open_image

rasterio = pytest.importorskip("rasterio")
from rasterio.transform import Affine  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of rasterio with a newer affine

VALUES = np.random.default_rng(0).integers(1, 200, (3, 60, 70)).astype("uint16")
UTM = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0)


def band(path, values, *, crs="EPSG:32633", transform=UTM, **options):
    height, width = values.shape
    options |= {"crs": crs, "transform": transform, "dtype": values.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", count=1, height=height, width=width, **options) as file:
            file.write(values, 1)
    return path


def test_files_of_one_band_each_are_stacked_to_one_image(tmp_path):
    paths = [band(tmp_path / f"B0{number}.tif", values, nodata=0) for number, values in enumerate(VALUES)]
    for image in (paths, [str(path) for path in paths], tuple(paths)):
        assert is_band_list(image)
        raster = open_image(image)
        assert (raster.axes, raster.bands, raster.nodata, raster.mask) == ("CYX", ("B00", "B01", "B02"), 0, None)
        assert raster.georeference.crs == "EPSG:32633"
        np.testing.assert_array_equal(raster.array[:], VALUES)
        np.testing.assert_array_equal(raster.array[2, 5:9, ::2], VALUES[2, 5:9, ::2])
    segmentation = segment(paths, 3, bands=[2, 0], random_state=0, tol=1)
    expected = segment(VALUES, 3, bands=[2, 0], random_state=0, tol=1, axes="CYX")
    np.testing.assert_array_equal(segmentation.labels.compute(), expected.labels)


def test_bands_may_differ_in_format_and_dtype(tmp_path):
    grey = VALUES[0].astype("uint8")
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", VALUES[1])
    raster = open_image([tmp_path / "a.png", tmp_path / "b.npy"])
    assert raster.array.dtype == np.uint16 and raster.bands == ("a", "b")
    np.testing.assert_array_equal(raster.array[:], [grey, VALUES[1]])


def test_bands_are_named_by_path_if_file_names_repeat(tmp_path):
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "red.npy", VALUES[0])
    paths = [str(tmp_path / folder / "red.npy") for folder in ("one", "other")]
    assert open_image(paths).bands == tuple(paths)


def test_every_band_has_its_own_nodata_value_and_only_used_bands_count(tmp_path):
    values = VALUES.copy()
    values[0, :5], values[1, 3:9], values[2, :, :4] = 0, 7777, 0  # 0 is nodata in the first alone
    nodata = (0, 7777, None)
    paths = [
        band(tmp_path / f"{n}.tif", one, nodata=value)
        for n, (one, value) in enumerate(zip(values, nodata, strict=True))
    ]
    raster = open_image(paths)
    assert raster.nodata is None
    is_nodata = np.stack([values[0] == 0, values[1] == 7777, np.zeros((60, 70), bool)])
    np.testing.assert_array_equal(raster.mask[:], is_nodata)
    for used in ([0, 1, 2], [0], [2], [2, 1]):
        segmentation = segment(paths, 2, bands=used, random_state=0, tol=1)
        np.testing.assert_array_equal(np.asarray(segmentation.labels) == 0, is_nodata[used].any(axis=0))


@pytest.mark.parametrize(
    ("values", "options", "why"),
    [
        (
            VALUES[0, :30, :35],
            {"transform": Affine(20, 0.0, 500_000, 0.0, -20, 4_600_000)},
            r"it has shape \(30, 35\), not \(60, 70\)",
        ),
        (VALUES[0], {"crs": "EPSG:32634"}, "its CRS is EPSG:32634, not EPSG:32633"),
        (VALUES[0], {"crs": None, "transform": None}, "its CRS is not known, not EPSG:32633"),
        (
            VALUES[0],
            {"transform": Affine(10, 0.0, 500_005, 0.0, -10, 4_600_000)},
            r"its transform is \(10.0, 0.0, 500005.0",
        ),
        (VALUES[0], {"transform": Affine(20, 0.0, 500_000, 0.0, -20, 4_600_000)}, r"its transform is \(20.0"),
    ],
)
def test_a_different_georeference_is_refused_with_the_resampling_command(tmp_path, values, options, why):
    paths = [band(tmp_path / "B02.tif", VALUES[0]), band(tmp_path / "B11.tif", values, **options)]
    command = (
        r"gdalwarp -t_srs EPSG:32633 -te 500000 4599400 500700 4600000 -ts 70 60 -r bilinear .*B11.tif resampled.tif, "
        "or rasterio.warp.reproject"
    )
    with pytest.raises(InputError, match=f"do not lie on one grid: {why}.*{command}") as error:
        open_image(paths)
    assert "\n" not in str(error.value)


def test_a_resampled_band_has_the_same_georeference(tmp_path):
    from rasterio.warp import reproject

    coarse = Affine(20, 0.0, 499_980, 0.0, -20, 4_600_020)
    path = band(tmp_path / "B11.tif", VALUES[0, :40, :45], transform=coarse)
    resampled = np.zeros((60, 70), "uint16")
    with rasterio.open(path) as file:
        reproject(rasterio.band(file, 1), resampled, dst_transform=UTM, dst_crs="EPSG:32633")
    paths = [band(tmp_path / "B02.tif", VALUES[0]), band(tmp_path / "resampled.tif", resampled)]
    assert open_image(paths).array.shape == (2, 60, 70)


def test_files_of_several_bands_are_several_images(tmp_path):
    for name in ("a", "b"):
        Image.fromarray(np.moveaxis(VALUES, 0, 2).astype("uint8")).save(tmp_path / f"{name}.png")
    Image.fromarray(VALUES[0].astype("uint8")).save(tmp_path / "grey.png")
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    assert not is_band_list(images)
    for other in (
        [VALUES, VALUES],
        VALUES,
        [],
        "a.png",
        tmp_path / "a.png",
        VALUES.tolist(),
        [tmp_path / "a.png", VALUES],
    ):
        assert not is_band_list(other)
    with pytest.raises(InputError, match=r"'.*grey.png' has one band, and '.*a.png' has several"):
        is_band_list([*images, tmp_path / "grey.png"])
    with pytest.raises(InputError, match="is one of several files, which are bands of one image, but it has shape"):
        open_image(images)
