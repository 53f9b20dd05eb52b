import numpy as np
import pytest
import xarray as xr

from streamgmm.data.sources import as_source
from streamgmm.errors import InputError
from streamgmm.testing.source_laws import SourceLaws, materialize


class LabelledLaws(SourceLaws):
    result_type = xr.DataArray

    def make(self, rows, weights, tmp_path):
        array = xr.DataArray(rows, dims=("time", "band"), coords={"band": ["r", "g", "b"]})
        weights = None if weights is None else xr.DataArray(weights, dims="time")
        return as_source(self.stored(array), weights)

    def stored(self, array):
        return array


class TestDataArray(LabelledLaws):
    pass


class TestDaskDataArray(LabelledLaws):
    def stored(self, array):
        return array.chunk(time=20, band=2)


class TestDataset(LabelledLaws):
    def stored(self, array):
        return array.to_dataset(dim="band")


class TestDaskDataset(LabelledLaws):
    def stored(self, array):
        return array.to_dataset(dim="band").chunk(time=20)


def image():
    return xr.DataArray(
        np.arange(3 * 4 * 6.0).reshape(3, 4, 6),
        dims=("band", "y", "x"),
        coords={"band": ["r", "g", "b"], "y": [10, 20, 30, 40], "wavelength": ("band", [1, 2, 3]), "time": 7},
        attrs={"crs": "EPSG:4326"},
    )


@pytest.mark.parametrize("chunks", [None, {}, {"x": 4, "y": 3, "band": 2}])
@pytest.mark.parametrize("as_dataset", [False, True])
def test_results_have_the_sample_dims_coordinates_and_attributes(chunks, as_dataset):
    scene = image() if chunks is None else image().chunk(chunks)
    source = as_source(scene.to_dataset(dim="band")) if as_dataset else as_source(scene, feature_dim="band")
    assert list(source.feature_names) == ["r", "g", "b"]
    red = source.map(lambda rows: rows[:, 0], float, None)
    assert red.attrs == scene.attrs
    assert (red.chunks is None) == (chunks is None)
    expected = image().isel(band=0, drop=True)
    xr.testing.assert_equal(red.compute(), expected)
    both = source.map(lambda rows: rows[:, :2], float, 2)
    assert both.dims == ("y", "x", "component")
    xr.testing.assert_equal(both.isel(component=0).compute(), expected)


@pytest.mark.parametrize("weights", ["transposed", "flat", "lazy"])
def test_weights_of_a_chunked_image_stay_beside_their_points(weights):
    scene = image().chunk({"x": 4, "y": 3})
    plane = image().isel(band=0, drop=True)
    given = {"transposed": plane.T, "flat": plane.values.ravel(), "lazy": plane.chunk(x=1)}[weights]
    for chunk in as_source(scene, given, feature_dim="band").chunks():
        np.testing.assert_array_equal(materialize(chunk.rows)[:, 0], materialize(chunk.weights))


def test_an_image_with_bands_first_is_viewed_not_copied():
    scene = image()
    assert np.shares_memory(next(as_source(scene, feature_dim="band").chunks()).rows, scene.values)


def test_a_name_that_a_dataset_already_has_is_no_obstacle():
    scene = image().rename(x="variable").to_dataset(dim="band")
    assert as_source(scene).map(lambda rows: rows[:, 0], float, None).dims == ("y", "variable")


def test_what_cannot_be_read_as_samples_and_features_is_refused():
    with pytest.raises(InputError, match=r"X.to_dataset\(dim='x'\)"):
        as_source(image())
    with pytest.raises(InputError, match="needs the feature dim 'z'"):
        as_source(image(), feature_dim="z")
    with pytest.raises(InputError, match="Reshape your data"):
        as_source(image()[0, 0])
    with pytest.raises(InputError, match="without variables"):
        as_source(xr.Dataset())
    with pytest.raises(InputError, match="differ in dims"):
        as_source(xr.Dataset({"a": ("x", [1.0]), "b": (("x", "y"), [[1.0]])}))
    with pytest.raises(InputError, match=r"0 sample\(s\)"):
        as_source(image()[:, :0], feature_dim="band")
    with pytest.raises(InputError, match="does not hold numbers"):
        as_source(xr.Dataset({"a": ("x", ["one"])}))
    with pytest.raises(InputError, match="2 values for 24 points"):
        as_source(image(), [1, 1], feature_dim="band")
    with pytest.raises(InputError, match="sample_weight has dims"):
        as_source(image(), xr.DataArray(np.ones(24), dims="x"), feature_dim="band")
