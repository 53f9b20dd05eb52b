import dask.array as da
import numpy as np
import pytest

from streamgmm import segment
from streamgmm.errors import InputError
from streamgmm.images.reading.lazy_arrays import LazyArray
from streamgmm.images.reading.raster import Georeference, Raster

VALUES = np.random.default_rng(0).integers(1, 200, (20, 30, 3)).astype(np.uint8)


def test_axes_of_the_user_win_and_drop_metadata_of_other_axes():
    grid = Georeference(spacing=(("Z", 3.0), ("Y", 2.0), ("X", 1.0)), unit="micrometer")
    stack = Raster(np.zeros((4, 5, 6)), "ZYX", georeference=grid)
    assert stack.with_axes("CYX").georeference.spacing == (("Y", 2.0), ("X", 1.0))
    assert stack.with_axes("zyx") is stack and stack.with_axes(None) is stack
    assert Raster(VALUES, "YXC", ("r", "g", "b")).with_axes("CYX").bands is None
    with pytest.raises(InputError, match="to which its nodata mask belongs; leave axes out"):
        Raster(VALUES, "YXC", mask=VALUES[:, :, 0] == 0).with_axes("CYX")


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
def test_pixel_size_is_an_area_or_a_volume_with_its_unit(grid, size):
    assert grid.pixel_size == size


def read_lazily(array):
    """Return an array whose reader refuses keys that no reader has to support."""

    def read(key):
        assert all(
            one.step in (None, 1) and 0 <= one.start < one.stop <= n for one, n in zip(key, array.shape, strict=True)
        )
        return array[key]

    return LazyArray(array.shape, array.dtype, (1, *array.shape[1:]), read)


@pytest.mark.parametrize("axes", ["YXC", "CYX"])
@pytest.mark.parametrize("kind", [read_lazily, np.asarray, lambda array: da.from_array(array, chunks=7)])
def test_scale_and_offset_are_applied_on_request(axes, kind):
    values = np.moveaxis(VALUES, 2, axes.index("C"))
    scale = ((0.5, 0.0), (2.0, -10.0), (1.0, 3.0))
    raster = Raster(kind(values), axes, nodata=9, scale=scale)
    for nodata, missing in ((None, 9), (11, 11)):
        scaled = raster.apply_scale(nodata)
        factors, offsets = (
            np.reshape(each, (3, 1, 1) if axes == "CYX" else (1, 1, 3)) for each in zip(*scale, strict=True)
        )
        expected = np.where(values == missing, np.nan, values * factors + offsets).astype("float32")
        assert scaled.array.dtype == np.float32 and scaled.nodata is None and scaled.scale is None
        np.testing.assert_array_equal(np.asarray(scaled.array), expected)
        np.testing.assert_array_equal(np.asarray(scaled.array[1:3, 2:5]), expected[1:3, 2:5])
    labels = segment(raster, 2, scaled=True, random_state=0, tol=1).labels
    np.testing.assert_array_equal(np.asarray(labels) == 0, (values == 9).any(axis=axes.index("C")))
    with pytest.raises(InputError, match="scaled=True was asked for, but the image has no factors"):
        segment(VALUES, 2, scaled=True)
