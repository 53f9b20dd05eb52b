"""What is kept of rows that are too many, and what it stands for."""

import numpy as np
import pytest

from streamgmm.initialization import WAYS, Reservoir, sample
from streamgmm.sources import as_source


def skewed(n=5_000, seed=0):
    """Rows of which a few have nearly all the weight, as few colours are most of an image."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 2)), np.exp(random.normal(scale=3, size=n))


@pytest.mark.parametrize("chunks", [5_000, 700])
def test_sums_over_a_sample_with_weights_are_on_average_those_over_all_rows(monkeypatch, chunks):
    monkeypatch.setattr("streamgmm.sources.arrays.CHUNK_ROWS", chunks)
    rows, weights = skewed()
    source = as_source(rows, weights)
    wholes = np.array([weights.sum(), *(weights @ rows), *(weights @ rows**2)])
    found = []
    for seed in range(100):
        kept = sample(source, 300, seed)
        assert len(kept.rows) == 300
        found.append([kept.weights.sum(), *(kept.weights @ kept.rows), *(kept.weights @ kept.rows**2)])
    errors = (np.mean(found, axis=0) - wholes) / (np.std(found, axis=0) / np.sqrt(len(found)))
    assert np.abs(errors).max() < 4
    assert np.std(found, axis=0)[0] < 0.02 * wholes[0]  # of rows that were as likely one as another, it is about half


def test_the_heaviest_rows_are_in_every_sample():
    rows, weights = skewed()
    heavy = np.argsort(weights)[-20:]
    for seed in range(5):
        kept = sample(as_source(rows, weights), 300, seed)
        assert {tuple(row) for row in rows[heavy]} <= {tuple(row) for row in kept.rows}


def test_rows_without_weight_are_in_a_sample_only_if_there_are_no_others():
    rows, weights = skewed(100)
    weights[10:] = 0
    kept = sample(as_source(rows, weights), 20, 0)
    assert np.count_nonzero(kept.weights) == 10 and kept.weights.sum() == pytest.approx(weights.sum())
    np.testing.assert_array_equal(np.sort(kept.weights)[-10:], np.sort(weights)[-10:])


def test_rows_that_all_fit_are_all_kept_with_their_weights():
    rows, weights = skewed(300)
    kept = sample(as_source(rows, weights), 300, 0)
    np.testing.assert_array_equal(kept.rows, rows)
    np.testing.assert_array_equal(kept.weights, weights)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32"])
def test_rows_far_from_each_other_are_found_in_any_dtype(dtype):
    rows = np.random.default_rng(0).integers(0, 120, (400, 3))
    found, expected = (
        WAYS["k-means++"](Reservoir(one, None), 5, np.random.RandomState(0)) for one in (rows.astype(dtype), rows * 1.0)
    )
    np.testing.assert_array_equal(found, expected)
