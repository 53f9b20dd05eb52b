import tracemalloc
from dataclasses import replace
from itertools import permutations

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from streamgmm.errors import InputError, NonFiniteError
from streamgmm.images.features import Features, Scaling, compute_features, feature_images, fit_scaling
from streamgmm.images.image import Image
from streamgmm.images.image_limits import LIMITS

SCALING = Scaling((3.0, 0.1, 2.0) * 3, (0.3, 7.0, 11.0) * 3)


def scene(dtype, shape, seed=0):
    """Return noise with an offset; floats are between 0 and 1, so that they may be colours."""
    values = np.random.default_rng(seed).integers(1, 120, shape)
    return (values / 120 if np.dtype(dtype).kind == "f" else values).astype(dtype)


def compute_rows(array, features, **options):
    return compute_features(Image.from_array(array, **options), features).values.compute(scheduler="synchronous")


def assert_equal_features(one, other):
    """Raise unless features are equal to the bit, NaN included."""
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()


def stored(values, chunks):
    array = zarr.create_array({}, shape=values.shape, chunks=chunks, dtype=values.dtype)
    array[:] = values
    return array


@st.composite
def wholes(draw):
    """Draw an image, its axes, its mask and its features."""
    axes = draw(st.sampled_from(["YX", "XY", "YXC", "CYX", "ZYX", "XYZC", "TYXC", "TCZYX"]))
    most = {"C": 3, "T": 2, "Z": 4, "Y": 10, "X": 11}
    shape = tuple(3 if name == "C" else draw(st.integers(1, most[name])) for name in axes)
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32", "float64"]))
    values = scene(dtype, shape, draw(st.integers(0, 9)))
    space = [length for name, length in zip(axes, shape, strict=True) if name != "C"]
    mask = np.random.default_rng(1).random(space) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    features = Features(
        colour=draw(st.sampled_from([None, "lab"])) if "C" in axes else None,
        window=draw(st.sampled_from([None, 3, 5, 9])),
        coordinates=draw(st.sampled_from([None, 2.5])),
    )
    if "C" in axes and draw(st.booleans()):
        n_scaled = features.n_scaled(3)
        features = Features(
            colour=features.colour,
            window=features.window,
            coordinates=features.coordinates,
            scaling=Scaling(SCALING.means[:n_scaled], SCALING.deviations[:n_scaled]),
        )
    return values, axes, mask if mask.any() else None, features


@settings(deadline=None, max_examples=15)
@given(wholes(), st.data())
def test_no_chunking_changes_a_bit_of_any_feature(whole, data):
    values, axes, mask, features = whole
    options = {"axes": axes, "mask": mask, "nodata": 7 if values.dtype.kind == "u" else None}
    expected = compute_rows(values, features, **options)
    chunks = tuple(data.draw(st.integers(1, length)) for length in values.shape)
    assert_equal_features(compute_rows(da.from_array(values, chunks=chunks), features, **options), expected)
    room = data.draw(st.sampled_from([1, 500, 10_000]))
    with pytest.MonkeyPatch.context() as patch:
        limits = replace(LIMITS, feature_block_bytes=room, memory_block_bytes=room)
        patch.setattr(feature_images, "LIMITS", limits)
        assert_equal_features(compute_rows(stored(values, chunks), features, **options), expected)
        assert_equal_features(compute_rows(values, features, **options), expected)


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_windows_hold_the_valid_pixels_only(data):
    shape = tuple(data.draw(st.integers(1, most)) for most in (4, 7, 8))
    window = data.draw(st.sampled_from([3, 5]))
    values = scene("float64", shape, data.draw(st.integers(0, 9)))
    mask = np.random.default_rng(2).random(shape) < data.draw(st.sampled_from([0.0, 0.4]))
    found = compute_rows(values, Features(window=window), axes="ZYX", mask=mask)
    r = window // 2
    for place in np.ndindex(shape):
        around = tuple(slice(max(0, at - r), at + r + 1) for at in place)
        neighbours = values[around][~mask[around]]
        if mask[place]:
            assert np.isnan(found[place]).all()
        else:
            np.testing.assert_allclose(
                found[place], [values[place], neighbours.mean(), neighbours.std()], rtol=1e-12, atol=1e-14
            )


@pytest.mark.parametrize("axes", ["YX", "ZYX"])
@pytest.mark.parametrize("window", [3, 7])
def test_local_means_are_those_of_a_uniform_filter(axes, window):
    values = scene("float64", (11, 17, 23)[-len(axes) :])
    found = compute_rows(values, Features(window=window), axes=axes)
    inside = (slice(window // 2, -(window // 2)),) * len(axes)
    mean = uniform_filter(values, window)
    deviation = np.sqrt(uniform_filter(values**2, window) - mean**2)
    np.testing.assert_allclose(found[inside][..., 1], mean[inside], rtol=1e-12)
    np.testing.assert_allclose(found[inside][..., 2], deviation[inside], rtol=1e-9)


def test_local_deviations_do_not_cancel():
    values = 1e8 + np.random.default_rng(0).normal(size=(20, 20))
    found = compute_rows(values, Features(window=5))
    np.testing.assert_allclose(found[2, 2, 2], values[:5, :5].std(), rtol=1e-7)
    assert compute_rows(np.full((9, 9), 0.1), Features(window=3))[..., 2].max() < 1e-16


def test_local_means_of_integers_are_correctly_rounded():
    values = scene("uint16", (19, 23)) * np.uint16(541)
    found = compute_rows(values.astype(np.float64), Features(window=3))
    sums = sum(np.roll(values.astype(np.int64), (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1))
    np.testing.assert_array_equal(found[1:-1, 1:-1, 1], (sums / 9)[1:-1, 1:-1])


def test_windows_do_not_extend_over_time():
    values = scene("float32", (3, 9, 10))
    features = Features(window=3, coordinates=1.0)
    series = compute_rows(values, features, axes="TYX")
    for time in range(3):
        assert_equal_features(np.ascontiguousarray(series[time]), compute_rows(values[time], features))


def test_permuted_axes_give_permuted_features():
    values = scene("float32", (2, 4, 7, 6))
    features = Features(window=3, coordinates=2.0)
    expected = compute_rows(values, features, axes="TZYX")
    for order in permutations(range(4)):
        turned = compute_rows(values.transpose(order), features, axes="".join("TZYX"[axis] for axis in order))
        np.testing.assert_array_equal(turned, expected.transpose(*order, 4))


def test_coordinates_do_not_depend_on_the_resolution():
    features = Features(coordinates=8.0)
    coarse, fine = compute_rows(np.zeros((2, 4)), features), compute_rows(np.zeros((4, 8)), features)
    np.testing.assert_array_equal(coarse[0, :, 2], [1, 3, 5, 7])
    np.testing.assert_array_equal(coarse[:, 0, 1], [1, 3])
    np.testing.assert_array_equal(fine.reshape(2, 2, 4, 2, 3).mean(axis=(1, 3)), coarse)
    planes = compute_rows(np.zeros((2, 3, 4)), features, axes="ZYX")
    np.testing.assert_array_equal(planes[:, 0, 0, 1], [2, 6])


def test_features_of_nodata_are_nodata():
    values = scene("uint8", (9, 8, 3))
    values[4, 5, 1] = 0
    image = compute_features(Image.from_array(values, axes="YXC", nodata=0), Features(window=3))
    rows = image.to_rows()
    assert rows.n_rows == 71 and not np.isnan(rows.array.compute()).any()
    labels = image.map(lambda rows: np.ones(len(rows)), np.uint8).compute()
    assert labels.sum() == 71 and labels[4, 5] == 0


def test_identity_features_return_the_same_image():
    image = Image.from_array(scene("uint8", (5, 6)))
    assert compute_features(image, Features()) is image


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_standardized_features_have_mean_0_and_deviation_1(dtype):
    values = scene(dtype, (40, 50, 3))
    mask = np.zeros((40, 50), bool)
    mask[:5] = True
    image = Image.from_array(da.from_array(values, chunks=(7, 50, 2)), axes="YXC", mask=mask)
    features = Features(window=3, coordinates=5.0)
    features = replace(features, scaling=fit_scaling([image], features))
    found = compute_rows(values, features, axes="YXC", mask=mask)[5:].reshape(-1, 11).astype(np.float64)
    np.testing.assert_allclose(found[:, :9].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found[:, :9].std(axis=0), 1, rtol=1e-5)
    assert found[:, 9:].max() < 5  # coordinates keep their weight
    assert features.scaling == fit_scaling([image], Features(window=3))


def test_an_infinite_pixel_is_named_by_its_position_from_any_block():
    values = scene("float32", (3, 12, 13))
    values[1, 7, 9] = np.inf
    image = Image.from_array(stored(values, (1, 4, 4)), axes="TYX")
    with pytest.raises(NonFiniteError, match="at time 1, row 7, column 9; make it NaN"):
        compute_features(image, Features(window=5)).values.compute()
    with pytest.raises(NonFiniteError, match="at time 1, row 7, column 9; make it NaN"):
        fit_scaling([image], Features(window=5))
    values[1, 7, 9] = np.nan
    assert np.isfinite(compute_rows(values, Features(window=5), axes="TYX")).sum() == 3 * (values.size - 1)


def test_colours_out_of_range_are_named_by_their_position():
    values = scene("float32", (6, 7, 3))
    values[2, 3] = [0, 1.5, 0]
    with pytest.raises(InputError, match=r"holds 0, 1\.5, 0 at row 2, column 3; divide it"):
        compute_rows(values, Features(colour="lab"), axes="YXC")
    mask = np.zeros((6, 7), bool)
    mask[2, 3] = True
    assert np.isfinite(compute_rows(values, Features(colour="lab"), axes="YXC", mask=mask)).sum() == 41 * 3


def test_surroundings_are_read_at_most_1_6_times():
    class Counting:
        """Stored array that counts the pixels of the chunks it would decode."""

        shape, chunks, dtype, ndim = (4096, 4096), (256, 256), np.dtype(np.float32), 2

        def __init__(self):
            self.read = 0

        def __getitem__(self, key):
            touched = [range(part.start // 256, -(-part.stop // 256)) for part in key]
            self.read += len(touched[0]) * len(touched[1]) * 256**2
            return np.zeros([part.stop - part.start for part in key], np.float32)

    array = Counting()
    image = compute_features(Image.from_array(array), Features(window=5))
    assert max(np.prod(block) for block in zip(*[map(max, image.chunks)], strict=True)) <= LIMITS.feature_block_bytes
    array.read = 0
    image.map(lambda rows: np.ones(len(rows)), np.uint8).sum().compute()
    assert array.read / 4096**2 < 1.6


def test_dask_chunks_are_split_if_their_features_are_too_large():
    lazy = da.zeros((3000, 2500, 3), chunks=-1, dtype=np.float32)
    image = compute_features(Image.from_array(lazy), Features(window=5))
    assert 2**24 < np.prod(image.values.chunksize) * 4 <= LIMITS.feature_block_bytes
    thin = compute_features(Image.from_array(da.zeros((40, 300), chunks=(1, 3))), Features(window=9))
    assert min(map(min, thin.chunks)) >= 4


def test_images_in_memory_are_split_for_all_threads():
    image = compute_features(Image.from_array(np.zeros((900, 1000), np.float32)), Features(window=5))
    assert len(image.chunks[0]) * len(image.chunks[1]) >= 2
    held = image.persist()
    assert len(image.values.dask) > len(held.values.dask) == held.values.npartitions


class Endless:
    """Stored image of noise, generated when it is read."""

    chunks, ndim = (128, 128, 3), 3

    def __init__(self, lines, dtype):
        self.shape, self.dtype = (lines, 512, 3), np.dtype(dtype)

    def __getitem__(self, key):
        lines, columns, bands = (np.arange(part.stop)[part] for part in key)
        return ((lines[:, None, None] * 977 + columns[:, None] * 331 + bands) % 101).astype(self.dtype)


@pytest.mark.long
@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 50), ("float32", None)])
def test_memory_does_not_grow_with_the_image(dtype, nodata, monkeypatch):
    monkeypatch.setattr(feature_images, "LIMITS", replace(LIMITS, feature_block_bytes=2**20))

    def peak(lines):
        learnt = compute_features(
            Image.from_array(Endless(lines, dtype), axes="YXC", nodata=nodata), Features(window=5)
        )
        with dask.config.set(scheduler="synchronous"):
            tracemalloc.start()
            Scaling.from_source(learnt.to_rows())
            learnt.map(lambda rows: np.ones(len(rows)), np.uint8).sum().compute()
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return found

    peak(64)  # what is compiled and imported
    more = (1280 - 256) * 512 * 9 * 4  # bytes of features
    assert peak(1280) - peak(256) < more / 10
