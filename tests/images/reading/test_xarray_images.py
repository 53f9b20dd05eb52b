import dask.array as da
import numpy as np
import pytest

from streamgmm import segment
from streamgmm.errors import InputError, InputTypeError
from streamgmm.images.reading import open_image

xr = pytest.importorskip("xarray")

VALUES = np.random.default_rng(0).integers(1, 200, (3, 40, 50)).astype("uint8")


@pytest.mark.parametrize(
    ("dims", "axes"),
    [
        (("band", "y", "x"), "CYX"),
        (("wavelength", "lat", "lon"), "CYX"),
        (("time", "Latitude", "Longitude"), "TYX"),
        (("z", "row", "col"), "ZYX"),
        (("y", "x", "channel"), "YXC"),
        (("line", "c", "column"), "YCX"),
    ],
)
def test_dims_name_the_axes(dims, axes):
    raster = open_image(xr.DataArray(VALUES, dims=dims))
    assert raster.axes == axes
    np.testing.assert_array_equal(raster.array, VALUES)


def test_dask_arrays_and_files_stay_lazy(tmp_path):
    lazy = xr.DataArray(da.from_array(VALUES, chunks=(3, 10, 50)), dims=("band", "y", "x"))
    assert open_image(lazy).array is lazy.data
    xr.Dataset({"scene": (("band", "y", "x"), VALUES)}).to_zarr(tmp_path / "scene.zarr", zarr_format=2)
    with xr.open_dataset(tmp_path / "scene.zarr", engine="zarr", chunks=None, consolidated=True) as stored:
        raster = open_image(stored["scene"])
        assert isinstance(raster.array, da.Array) and not stored["scene"]._in_memory
        np.testing.assert_array_equal(raster.array, VALUES)


def test_coordinates_and_attributes_give_band_names_and_nodata():
    coords = {"band": ["blue", "green", "red"]}
    image = xr.DataArray(VALUES, dims=("band", "y", "x"), coords=coords, attrs={"_FillValue": 7})
    raster = open_image(image)
    assert raster.bands == ("blue", "green", "red") and raster.nodata == 7
    assert open_image(image.drop_vars("band").assign_attrs(long_name=("b", "g", "r"))).bands == ("b", "g", "r")
    for attrs, nodata in (
        ({"nodata": -9999}, None),
        ({"nodata": np.float64("nan")}, None),
        ({"missing_value": 3}, 3),
        ({}, None),
    ):
        assert open_image(xr.DataArray(VALUES, dims=("band", "y", "x"), attrs=attrs)).nodata == nodata
    segmentation = segment(image, 2, random_state=0, tol=1)
    np.testing.assert_array_equal(segmentation.labels == 0, (VALUES == 7).any(axis=0))


def test_undecoded_scale_and_offset_are_kept():
    attrs = {"scale_factor": 0.5, "add_offset": -1.0}
    assert open_image(xr.DataArray(VALUES, dims=("band", "y", "x"), attrs=attrs)).scale == ((0.5, -1.0),) * 3
    assert open_image(xr.DataArray(VALUES[0], dims=("y", "x"), attrs=attrs)).scale == ((0.5, -1.0),)
    assert open_image(xr.DataArray(VALUES[0], dims=("y", "x"))).scale is None


def test_coordinates_give_the_georeference():
    coords = {"y": 100.0 - 2.0 * np.arange(40), "x": 5.0 + np.arange(50)}
    plain = xr.DataArray(VALUES, dims=("band", "y", "x"), coords=coords)
    assert open_image(plain).georeference.spacing == (("Y", 2.0), ("X", 1.0))
    plain["x"].attrs["units"] = plain["y"].attrs["units"] = "m"
    assert open_image(plain).georeference.pixel_size == (2.0, "m²")
    projected = plain.assign_coords(spatial_ref=xr.DataArray(0, attrs={"crs_wkt": "EPSG:32633"}))
    assert open_image(projected).georeference.transform == (
        1.0,
        0.0,
        4.5,
        0.0,
        -2.0,
        101.0,
    )  # from centres
    assert open_image(projected).georeference.crs == "EPSG:32633"
    projected["spatial_ref"].attrs["GeoTransform"] = "4.5 1.0 0.0 101.0 0.0 -2.0"
    assert open_image(projected).georeference.transform == (1.0, 0.0, 4.5, 0.0, -2.0, 101.0)
    uneven = plain.assign_coords(x=np.arange(50.0) ** 2)
    assert open_image(uneven).georeference.spacing == (("Y", 2.0),)
    assert open_image(xr.DataArray(VALUES, dims=("band", "y", "x"))).georeference is None


def test_unknown_dims_need_axes():
    strange = xr.DataArray(VALUES, dims=("polarization", "y", "x"))
    with pytest.raises(
        InputError, match=r"dims \('polarization', 'y', 'x'\), of which not all are known by name; pass"
    ):
        open_image(strange)
    assert open_image(strange, "CYX").axes == "CYX"
    with pytest.raises(InputError, match="not all are known by name"):
        open_image(xr.DataArray(VALUES, dims=("band", "y", "row")))
    with pytest.raises(InputTypeError, match=r"xarray Dataset; pass one of its variables, or .to_dataarray"):
        open_image(strange.to_dataset(name="scene"))


def test_a_data_array_is_segmented_like_its_values():
    image = xr.DataArray(VALUES, dims=("band", "y", "x"))
    np.testing.assert_array_equal(segment(image, 3, random_state=0).labels, segment(VALUES, 3, random_state=0).labels)
