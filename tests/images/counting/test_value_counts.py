import pickle

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_sample_image

from streamgmm import GaussianMixture
from streamgmm.data.sources import as_source
from streamgmm.images.counting import ValueCounts, ValueLookup, find_unique_pixels
from streamgmm.images.counting.value_counts import is_countable, is_hashable
from streamgmm.model.covariances import STRUCTURES

SMALL = [("uint8", 1), ("uint8", 2), ("uint8", 3), ("int8", 3), ("uint16", 1), ("int16", 1)]
HASHED = [("uint8", 4), ("int8", 8), ("uint16", 2), ("int16", 4), ("uint32", 1), ("int32", 2), ("int64", 1)]


def drawn(dtype, n_bands, n=5_000, seed=0):
    """Pixels with many repetitions."""
    normal = np.random.default_rng(seed).normal(size=(n, n_bands))
    centre = 20 if np.dtype(dtype).kind == "i" else 100
    return np.round(centre + 9 * normal + 40 * (normal[:, :1] > 0)).astype(dtype)


@pytest.mark.parametrize(("dtype", "n_bands"), SMALL + HASHED)
def test_counts_equal_those_of_numpy_unique(dtype, n_bands):
    rows = drawn(dtype, n_bands)
    counted = ValueCounts.from_source(as_source(rows))
    values, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.lexsort(counted.values.T[::-1])
    assert counted.values.dtype == rows.dtype
    np.testing.assert_array_equal(counted.values[order], values)
    np.testing.assert_array_equal(counted.counts[order], counts)
    assert counted.n_pixels == len(rows)


@settings(max_examples=40)
@given(st.sampled_from(SMALL + HASHED), st.integers(1, 60), st.data())
def test_chunks_and_their_order_change_no_count(kind, n, data):
    dtype, n_bands = kind
    limits = np.iinfo(dtype)
    some = st.integers(-2, 2) if limits.min < 0 else st.integers(0, 4)
    rows = data.draw(arrays(dtype, (n, n_bands), elements=some | st.sampled_from([limits.min, limits.max])))
    length = data.draw(st.integers(1, len(rows)))
    shuffled = rows[data.draw(st.permutations(range(len(rows))))]
    one = ValueCounts.from_source(as_source(rows))
    other = ValueCounts.from_source(as_source(da.from_array(shuffled, chunks=(length, -1))))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.counts, other.counts)
    values, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.lexsort(one.values.T[::-1])
    np.testing.assert_array_equal(one.values[order], values)
    np.testing.assert_array_equal(one.counts[order], counts)


@settings(max_examples=30)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(20, 400))
def test_more_than_the_maximum_of_values_gives_no_table_for_any_chunks(n_values, most, length):
    rows = np.random.default_rng(0).permutation(np.tile(np.arange(n_values), 3)).astype(np.uint16)[:, None].repeat(2, 1)
    counted = ValueCounts.from_source(as_source(da.from_array(rows, chunks=(length, -1))), most)
    assert (counted is None) == (n_values > most)


@pytest.mark.parametrize("kind", [("uint8", 3), ("uint8", 4), ("uint16", 4)])
def test_joined_tables_are_the_table_of_all_pixels(kind):
    parts = [drawn(*kind, n=n, seed=seed) for seed, n in enumerate((5_000, 20, 3_000))]
    together = ValueCounts.join([ValueCounts.from_source(as_source(part)) for part in parts])
    whole = ValueCounts.from_source(as_source(np.concatenate(parts)))
    np.testing.assert_array_equal(together.values, whole.values)
    np.testing.assert_array_equal(together.counts, whole.counts)


@pytest.mark.parametrize(("dtype", "n_bands"), SMALL + HASHED)
def test_look_up_returns_the_result_of_each_value(dtype, n_bands):
    rows = drawn(dtype, n_bands)
    counted = ValueCounts.from_source(as_source(rows))
    sums = counted.values.astype(np.int64).sum(axis=1)
    np.testing.assert_array_equal(ValueLookup(counted.values, sums)(rows), rows.astype(np.int64).sum(axis=1))


@pytest.mark.parametrize(("dtype", "n_bands"), SMALL)
def test_unique_pixels_and_their_indices_restore_the_rows(dtype, n_bands):
    rows = drawn(dtype, n_bands)
    values, indices = find_unique_pixels(rows)
    assert values.dtype == rows.dtype and len(values) == len(np.unique(rows, axis=0))
    np.testing.assert_array_equal(values[indices], rows)


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "int64"])
def test_an_unknown_value_looks_up_0(dtype):
    take_entries = ValueLookup(np.array([[3], [5]], dtype), np.array([1, 2], np.uint8))
    asked = np.arange(100, dtype=dtype)[:, None]  # among them what says of a slot that it is free
    np.testing.assert_array_equal(take_entries(asked), np.where(asked == 5, 2, asked == 3).ravel())


@pytest.mark.parametrize("kind", [("uint8", 3), ("uint8", 4)])
def test_a_lookup_is_pickled_without_its_empty_slots(kind):
    rows = drawn(*kind)
    counted = ValueCounts.from_source(as_source(rows))
    take_entries = ValueLookup(counted.values, np.arange(len(counted.values)).astype(np.uint16))
    sent = pickle.dumps(take_entries)
    assert len(sent) < 100_000
    np.testing.assert_array_equal(pickle.loads(sent)(rows), take_entries(rows))


@pytest.mark.parametrize("covariance_type", STRUCTURES)
def test_em_on_value_counts_equals_em_on_pixels_for_every_family(covariance_type):
    rows = load_sample_image("china.jpg")[::4, ::4].reshape(-1, 3)
    start = GaussianMixture(4, covariance_type=covariance_type, random_state=0, max_iter=1, tol=0, init_params="kmeans")
    with pytest.warns(UserWarning, match="converge"):
        start.fit(rows[::7])
    given = {
        "weights_init": start.weights_,
        "means_init": start.means_,
        "precisions_init": start.precisions_,
    }
    counted = ValueCounts.from_source(as_source(rows))
    models = []
    for source in (as_source(rows), counted.to_source()):
        model = GaussianMixture(4, covariance_type=covariance_type, tol=0, max_iter=12, algorithm="batch", **given)
        with pytest.warns(UserWarning, match="converge"):
            models.append(model.fit(source))
    pixels, table = models
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        np.testing.assert_allclose(getattr(table, name), getattr(pixels, name), rtol=1e-9)
    assert table.criteria_["exact"].bic == pytest.approx(pixels.criteria_["exact"].bic, rel=1e-12)
    np.testing.assert_array_equal(
        ValueLookup(counted.values, pixels.predict(counted.values).astype(np.uint8))(rows), pixels.predict(rows)
    )


@pytest.mark.parametrize(
    ("dtype", "n_bands", "small"),
    [
        ("uint8", 4, False),
        ("uint16", 2, False),
        ("int32", 1, False),
        ("float32", 1, False),
        ("float16", 1, False),
        ("int8", 3, True),
    ],
)
def test_only_pixels_of_few_bits_are_countable(dtype, n_bands, small):
    assert is_countable(np.dtype(dtype), n_bands) is small


@pytest.mark.parametrize(
    ("dtype", "n_bands", "few"),
    [
        ("uint8", 8, True),
        ("uint8", 9, False),
        ("uint16", 5, False),
        ("int64", 1, True),
        ("int64", 2, False),
        ("float32", 1, False),
        ("float64", 1, False),
        ("complex64", 1, False),
    ],
)
def test_only_integers_of_up_to_64_bits_are_hashable(dtype, n_bands, few):
    assert is_hashable(np.dtype(dtype), n_bands) is few
