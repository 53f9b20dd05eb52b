from dataclasses import replace

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm.data.sources import as_source
from streamgmm.errors import InputError, InputTypeError, NonFiniteError
from streamgmm.images.image import Image
from streamgmm.testing.source_laws import SourceLaws


class TestImageOfOneColumn(SourceLaws):
    """Chunks of whole image rows, so that rows are in order."""

    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        image = Image.from_array(da.from_array(rows[:, None], chunks=(17, 1, 2)), axes="YXC")
        return replace(image.to_rows(), weights=weights)


class TestImageOfBands(SourceLaws):
    dtypes = ("float32", "uint8")
    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        return replace(Image.from_array(np.ascontiguousarray(rows.T)[:, None], axes="CYX").to_rows(), weights=weights)


def scene(dtype="uint8", shape=(37, 41, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def stored(values, chunks):
    array = zarr.create_array({}, shape=values.shape, chunks=chunks, dtype=values.dtype)
    array[:] = values
    return array


def computed(source):
    return np.concatenate([chunk.rows.compute(scheduler="synchronous") for chunk in source.chunks()])


def sums(rows):
    return rows.astype(np.int64).sum(axis=1)


@pytest.mark.parametrize("axes", ["YXC", "CYX", "YCX"])
@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_the_band_axis_may_be_any_axis(axes, kind):
    values = scene()
    array = np.ascontiguousarray(values.transpose(*("YXC".index(name) for name in axes)))
    if kind == "dask":
        array = da.from_array(array, chunks=11)
    if kind == "zarr":
        stored = zarr.create_array({}, shape=array.shape, chunks=(11, 11, 11), dtype=array.dtype)
        stored[:] = array
        array = stored
    image = Image.from_array(array, axes=axes)
    assert (image.shape, image.n_bands, image.in_memory) == ((37, 41), 3, kind == "numpy")
    np.testing.assert_array_equal(image.map(sums, np.int64), values.astype(np.int64).sum(axis=2))


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
@pytest.mark.parametrize("axes", ["TZYXC", "CTZYX", "ZTXCY", "XYZ", "TYX"])
def test_labels_have_the_axes_of_the_image_in_its_order(axes, kind):
    lengths = {"T": 2, "Z": 5, "Y": 7, "X": 6, "C": 3}
    values = scene(shape=tuple(lengths[name] for name in axes))
    expected = values.sum(axis=axes.find("C")) if "C" in axes else values.astype(np.int64)
    mask = expected % 3 == 0
    array = {
        "numpy": lambda: values,
        "dask": lambda: da.from_array(values, chunks=4),
        "zarr": lambda: stored(values, (2,) * values.ndim),
    }[kind]()
    image = Image.from_array(array, axes=axes.lower(), mask=stored(mask, (3,) * mask.ndim) if kind == "zarr" else mask)
    assert image.axes == axes.replace("C", "") and image.shape == expected.shape
    np.testing.assert_array_equal(image.map(sums, np.int64), np.where(mask, 0, expected))
    assert image.to_rows().n_rows == np.count_nonzero(~mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (1, 1, 5), (5, 1, 1), (1, 5, 1), (1, 5, 4), (1, 1, 1)])
@pytest.mark.parametrize("n_bands", [1, 2])
def test_axes_of_length_one_lose_no_pixel(shape, n_bands):
    values = scene("float32", (*shape, n_bands))
    axes = "ZYX"[-len(shape) :]
    array = (values, axes + "C") if n_bands > 1 else (values[..., 0], axes)
    for mask in (None, np.zeros(shape, bool)):
        image = Image.from_array(da.from_array(array[0], chunks=2), axes=array[1], mask=mask)
        rows = computed(image.to_rows())
        assert rows.shape == (np.prod(shape), n_bands)
        np.testing.assert_array_equal(np.sort(rows.ravel()), np.sort(values.ravel()))
        np.testing.assert_array_equal(image.map(sums, np.int64), values.sum(axis=-1))


@pytest.mark.parametrize(
    ("chunks", "axes"), [((1, 512, 512), "ZYX"), ((64, 64, 64), "XYZ"), ((1, 100, 700), "TYX"), ((200, 8, 8), "ZYX")]
)
def test_chunks_of_volumes_are_large_and_hold_whole_storage_chunks(chunks, axes):
    array = zarr.create_array({}, shape=(300, 900, 1100), chunks=chunks, dtype="uint16")
    image = Image.from_array(array, axes=axes)
    for lengths, chunk, length in zip(image.chunks, chunks, array.shape, strict=True):
        assert sum(lengths) == length and not any(part % chunk for part in lengths[:-1])
    assert 2**22 < 2 * np.prod([lengths[0] for lengths in image.chunks]) <= 2**24


def test_unused_bands_are_not_read():
    class Reading:
        shape, chunks, dtype, ndim = (12, 40, 50), (1, 40, 50), np.dtype(np.uint16), 3

        def __getitem__(self, key):
            bands.append(key[0])
            return np.arange(12, dtype=np.uint16)[key[0], None, None] * np.ones((1, 40, 50), np.uint16)

    bands = []
    rows = computed(Image.from_array(Reading(), axes="CYX", bands=[5, 3]).to_rows())
    np.testing.assert_array_equal(np.unique(rows, axis=0), [[5, 3]])
    assert bands == [slice(3, 6)]


def test_an_infinite_pixel_is_named_by_its_position():
    values = scene("float32", (3, 8, 9, 10))
    values[2, 5, 1, 7] = np.inf
    image = Image.from_array(da.from_array(values, chunks=(1, 3, 4, 9)), axes="TXZY")
    with pytest.raises(NonFiniteError, match="at time 2, column 5, plane 1, row 7; make it NaN"):
        image.map(finite, np.uint8).compute()


def finite(rows):
    if not np.isfinite(rows).all():
        raise NonFiniteError("somewhere")
    return np.ones(len(rows))


@settings(max_examples=25)
@given(st.data())
def test_chunks_change_no_result_and_lose_no_pixel(data):
    values = scene("float32", (6, 7, 2))
    values[2, 3, 0] = 7
    values[data.draw(st.integers(0, 5)), :, 1] = np.nan
    hidden = np.zeros((6, 7), bool)
    hidden[:, data.draw(st.integers(0, 6))] = True
    chunks = (data.draw(st.integers(1, 6)), data.draw(st.integers(1, 7)), data.draw(st.integers(1, 2)))
    whole = Image.from_array(values, axes="YXC", mask=hidden, nodata=7)
    cut = Image.from_array(da.from_array(values, chunks=chunks), axes="YXC", mask=hidden, nodata=7)
    np.testing.assert_array_equal(whole.map(sums, np.int64), cut.map(sums, np.int64))
    valid = ~(hidden | np.isnan(values).any(axis=2) | (values == 7).any(axis=2))
    for image in (whole, cut):
        rows = image.to_rows()
        assert rows.n_rows == valid.sum()
        read = computed(rows)
        np.testing.assert_array_equal(read[np.lexsort(read.T)], values[valid][np.lexsort(values[valid].T)])


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 7), ("float32", 7), ("int16", 7.0), ("bool", 0)])
def test_a_pixel_is_nodata_if_a_used_band_is(dtype, nodata):
    values = scene(dtype)
    for bands in ([0, 1, 2], [2, 0], [1]):
        image = Image.from_array(values, axes="YXC", bands=bands, nodata=nodata)
        valid = (values[:, :, bands] != nodata).all(axis=2)
        np.testing.assert_array_equal(computed(image.to_rows()), values[:, :, bands][valid])
        np.testing.assert_array_equal(image.map(lambda rows: np.ones(len(rows)), np.uint8), valid)


def test_selected_bands_keep_their_order():
    values = scene()
    np.testing.assert_array_equal(
        computed(Image.from_array(values, bands=[2, 0]).to_rows()), values[:, :, [2, 0]].reshape(-1, 2)
    )


def test_small_storage_chunks_are_read_together():
    stored = zarr.create_array({}, shape=(5000, 3000, 3), chunks=(64, 64, 3), dtype="uint8")
    heights, widths, bands = Image.from_array(stored).values.chunks
    assert bands == (3,)
    assert not any(length % 64 for length in (*heights[:-1], *widths[:-1]))
    assert 2**22 < 3 * heights[0] * widths[0] <= 2**24


def test_masked_pixels_have_weight_zero():
    hidden = np.zeros((37, 41), bool)
    hidden[3] = True
    weights = np.concatenate(
        [c.weights.compute() for c in Image.from_array(scene(), mask=hidden).to_weighted_rows().chunks()]
    )
    np.testing.assert_array_equal(weights, ~hidden.ravel())


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (scene(), {"bands": [3]}, "different numbers from 0 to 2"),
        (scene(), {"bands": []}, "different numbers from 0 to 2"),
        (scene(), {"bands": [1, 1]}, "different numbers from 0 to 2"),
        (scene(), {"nodata": 256}, "nodata=256 is no value of an image of uint8"),
        (scene(), {"nodata": float("nan")}, "nodata=nan is no value of an image of uint8"),
        (scene(), {"nodata": 0.5}, "no value of an image of uint8"),
        (scene(), {"mask": np.zeros((37, 41), np.uint8)}, "pass booleans of shape"),
        (scene(), {"mask": np.zeros((41, 37), bool)}, "pass booleans of shape"),
        (scene(shape=(0, 40)), {}, "there is no pixel"),
        (scene().astype(complex), {}, "Complex data not supported"),
        (np.ma.masked_equal(scene(), 3), {}, "masked array; pass its .data"),
        (xr.DataArray(scene()), {}, "DataArray; pass its .data, and axes="),
        (da.from_array(scene())[da.from_array(scene())[:, 0, 0] > 9], {}, "of unknown shape"),
        (scene(shape=(4, 4, 4, 4)), {}, "name them by axes=, a letter each, such as 'TZYX'"),
    ],
)
def test_unusable_images_are_refused_in_one_sentence(image, options, message):
    with pytest.raises(InputError, match=message):
        Image.from_array(image, **options)


def test_text_is_refused():
    with pytest.raises(InputTypeError, match="does not hold numbers"):
        Image.from_array(np.array([["a"]]))


def test_an_image_of_nodata_only_is_refused():
    with pytest.raises(InputError, match="Every pixel of the image is nodata"):
        Image.from_array(np.full((4, 4), np.nan)).to_rows()


def test_rows_of_an_image_are_a_source():
    source = Image.from_array(scene()).to_rows()
    assert as_source(source) is source
    assert "37" not in repr(source) and "1,517 rows x 3 features, uint8" in repr(source)


def test_an_hdf5_dataset_is_an_image(tmp_path):
    with h5py.File(tmp_path / "image.h5", "w") as file:
        image = Image.from_array(file.create_dataset("image", data=scene(), chunks=(10, 10, 3)))
        assert not image.in_memory
        np.testing.assert_array_equal(image.map(sums, np.int64), scene().astype(np.int64).sum(axis=2))
