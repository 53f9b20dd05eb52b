import pickle

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_sample_image

from streamgmm import GaussianMixture
from streamgmm.images.counting import Counted, countable, distinct
from streamgmm.sources import as_source

SMALL = [("uint8", 1), ("uint8", 2), ("uint8", 3), ("int8", 3), ("uint16", 1), ("int16", 1)]


def drawn(dtype, n_bands, n=5_000, seed=0):
    """Pixels with many repetitions."""
    normal = np.random.default_rng(seed).normal(size=(n, n_bands))
    centre = 20 if np.dtype(dtype).kind == "i" else 100
    return np.round(centre + 9 * normal + 40 * (normal[:, :1] > 0)).astype(dtype)


@pytest.mark.parametrize(("dtype", "n_bands"), SMALL)
def test_every_value_is_counted_as_often_as_it_is_there(dtype, n_bands):
    rows = drawn(dtype, n_bands)
    counted = Counted.of(as_source(rows))
    values, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.lexsort(counted.values.T[::-1])
    assert counted.values.dtype == rows.dtype
    np.testing.assert_array_equal(counted.values[order], values)
    np.testing.assert_array_equal(counted.counts[order], counts)
    assert counted.n_pixels == len(rows)


@given(arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 3))), st.data())
def test_any_chunks_in_any_order_are_counted_alike(rows, data):
    length = data.draw(st.integers(1, len(rows)))
    shuffled = rows[data.draw(st.permutations(range(len(rows))))]
    one = Counted.of(as_source(rows))
    other = Counted.of(as_source(da.from_array(shuffled, chunks=(length, -1))))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize(("dtype", "n_bands"), SMALL)
def test_what_is_looked_up_is_what_belongs_to_the_value(dtype, n_bands):
    rows = drawn(dtype, n_bands)
    counted = Counted.of(as_source(rows))
    sums = counted.values.astype(np.int64).sum(axis=1)
    np.testing.assert_array_equal(counted.table(sums)(rows), rows.astype(np.int64).sum(axis=1))


@pytest.mark.parametrize(("dtype", "n_bands"), SMALL)
def test_rows_are_their_distinct_values_at_their_places(dtype, n_bands):
    rows = drawn(dtype, n_bands)
    values, places = distinct(rows)
    assert values.dtype == rows.dtype and len(values) == len(np.unique(rows, axis=0))
    np.testing.assert_array_equal(values[places], rows)


def test_a_value_that_was_not_counted_looks_up_0():
    look_up = Counted.of(as_source(np.array([[3], [5]], np.uint8))).table(np.array([1, 2], np.uint8))
    np.testing.assert_array_equal(look_up(np.array([[5], [4], [3]], np.uint8)), [2, 0, 1])


def test_a_table_goes_to_another_process_without_what_is_not_there():
    rows = drawn("uint8", 3)
    look_up = Counted.of(as_source(rows)).table(np.full(len(np.unique(rows, axis=0)), 7, np.uint8))
    sent = pickle.dumps(look_up)
    assert len(sent) < 100_000
    np.testing.assert_array_equal(pickle.loads(sent).entries, look_up.entries)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_em_on_the_table_is_em_on_the_pixels(covariance_type):
    rows = load_sample_image("china.jpg")[::4, ::4].reshape(-1, 3)
    start = GaussianMixture(4, covariance_type=covariance_type, random_state=0, max_iter=1, tol=0, init_params="kmeans")
    with pytest.warns(UserWarning, match="converge"):
        start.fit(rows[::7])
    given = {
        "weights_init": start.weights_,
        "means_init": start.means_,
        "precisions_init": start.precisions_,
    }
    counted = Counted.of(as_source(rows))
    models = []
    for source in (as_source(rows), counted.source()):
        model = GaussianMixture(4, covariance_type=covariance_type, tol=0, max_iter=12, algorithm="batch", **given)
        with pytest.warns(UserWarning, match="converge"):
            models.append(model.fit(source))
    pixels, table = models
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        np.testing.assert_allclose(getattr(table, name), getattr(pixels, name), rtol=1e-9)
    assert table.criteria_["exact"].bic == pytest.approx(pixels.criteria_["exact"].bic, rel=1e-12)
    np.testing.assert_array_equal(
        counted.table(pixels.predict(counted.values).astype(np.uint8))(rows), pixels.predict(rows)
    )


@pytest.mark.parametrize(
    ("dtype", "n_bands", "small"),
    [("uint8", 4, False), ("uint16", 2, False), ("int32", 1, False), ("float32", 1, False), ("int8", 3, True)],
)
def test_what_has_too_many_values_is_not_counted(dtype, n_bands, small):
    assert countable(np.dtype(dtype), n_bands) is small
