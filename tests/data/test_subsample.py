"""The random subsample: rows drawn by their weights, standing for all rows."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.data import threads
from streamgmm.data.sources import as_source
from streamgmm.data.subsample import draw_subsample

ROWS = np.random.default_rng(0).normal(size=(5_000, 2))
SIZE = 200


@given(st.integers(1, 5_000), st.integers(1, 300), st.integers(0, 99))
def test_equal_weights_draw_the_same_rows_whatever_the_weight_is(n, size, seed):
    plain = draw_subsample(as_source(ROWS[:n]), size, seed)
    one, seven = (draw_subsample(as_source(ROWS[:n], np.full(n, weight)), size, seed) for weight in (1.0, 7.0))
    assert len(one.rows) == min(n, size)
    np.testing.assert_array_equal(one.rows, seven.rows)
    assert one.weights.min() == one.weights.max() >= 1.0
    np.testing.assert_allclose(seven.weights, 7.0 * one.weights, rtol=1e-12)
    drawn = set(map(tuple, one.rows))
    assert drawn >= set(map(tuple, plain.rows))  # of which there may be a few less


@given(st.integers(1, 5_000), st.integers(1, 300), st.integers(1, 3))
def test_dask_and_threads_do_not_change_the_subsample(n, size, n_threads):
    expected = draw_subsample(as_source(ROWS[:n]), size, 7)
    with threads.limit(n_threads):
        again = draw_subsample(as_source(ROWS[:n]), size, 7)
        lazy = draw_subsample(as_source(da.from_array(ROWS[:n], (n, -1))), size, 7)
    np.testing.assert_array_equal(again.rows, expected.rows)
    np.testing.assert_array_equal(lazy.rows, expected.rows)


@given(st.data())
def test_chunks_do_not_change_the_subsample(data):
    """Some of them empty; rows are drawn by where they are among all."""
    n, size, seed = (data.draw(st.integers(low, high)) for low, high in ((1, 5_000), (1, 300), (0, 99)))
    cuts = data.draw(st.lists(st.integers(0, n), max_size=8).map(sorted))
    lengths = tuple(np.diff([0, *cuts, n]).tolist())
    weights = data.draw(st.sampled_from([None, heavy()[:n]]))
    with pytest.MonkeyPatch.context() as patch:
        # rows are drawn by blocks, and so few of them fit in one
        patch.setattr("streamgmm.data.subsample.KEYS_PER_BLOCK", data.draw(st.sampled_from([1, 16, 1_024])))
        expected = draw_subsample(as_source(ROWS[:n], weights), size, seed)
        again = draw_subsample(as_source(da.from_array(ROWS[:n], (lengths, -1)), weights), size, seed)
    np.testing.assert_array_equal(again.rows, expected.rows)
    if weights is not None:
        np.testing.assert_array_equal(again.weights, expected.weights)


@pytest.mark.parametrize("chunks, of_a_block", [(1_000, 1_024), (300, 1_024), (300, 16)])
def test_all_rows_and_all_pairs_of_rows_are_equally_likely(monkeypatch, chunks, of_a_block):
    """Counts of 1,000 samples: 5 standard errors of 1,000 rows and 1,000 pairs, by chance once in 800 times."""
    monkeypatch.setattr("streamgmm.data.sources.in_memory.CHUNK_ROWS", chunks)
    monkeypatch.setattr("streamgmm.data.subsample.KEYS_PER_BLOCK", of_a_block)
    counts, pairs = np.zeros(1_000), np.zeros(1_000)
    source, other = as_source(np.arange(1_000.0)[:, None]), np.random.default_rng(3).permutation(1_000)
    for seed in range(1_000):
        drawn = np.zeros(1_000, bool)
        drawn[draw_subsample(source, 200, seed).rows[:, 0].astype(int)] = True
        counts += drawn
        pairs += drawn & drawn[other]
    share = counts.mean() / 1_000
    assert 0.96 * 0.2 < share <= 0.2  # as many as fit, or a few less
    assert np.abs(counts - 1_000 * share).max() < 5 * np.sqrt(1_000 * share * (1 - share))
    apart = other != np.arange(1_000)
    assert np.abs(pairs[apart] - 1_000 * share**2).max() < 5 * np.sqrt(1_000 * share**2)


def heavy(n=5_000, seed=1):
    """Weights of which a few are most: colours of a photograph."""
    return np.random.default_rng(seed).pareto(0.7, n) + 1e-3


@pytest.mark.parametrize("chunks", [5_000, 700])
def test_rows_with_most_weight_are_always_drawn(chunks):
    weights = heavy()
    most = weights.sum() / SIZE * 10
    for seed in range(20):
        drawn = draw_subsample(as_source(da.from_array(ROWS, (chunks, -1)), weights), SIZE, seed)
        assert set(map(tuple, drawn.rows)) >= set(map(tuple, ROWS[weights > most]))


def test_weighted_means_over_a_subsample_are_unbiased():
    weights = heavy()
    truth = weights @ ROWS / weights.sum()
    spread = np.sqrt(weights @ (ROWS - truth) ** 2 / weights.sum() / SIZE)
    errors = []
    for seed in range(200):
        drawn = draw_subsample(as_source(ROWS, weights), SIZE, seed)
        errors.append((drawn.weights @ drawn.rows / drawn.weights.sum() - truth) / spread)
    assert np.sqrt(np.mean(np.square(errors))) < 1.0  # rows drawn with replacement, by their weights, have 1
    assert np.abs(np.mean(errors)) < 4 / np.sqrt(200)


def test_rows_that_fit_are_kept_as_they_are():
    weights = heavy(100)
    drawn = draw_subsample(as_source(ROWS[:100], weights), 100, 3)
    np.testing.assert_array_equal(drawn.rows, ROWS[:100])
    np.testing.assert_array_equal(drawn.weights, weights)


@pytest.mark.parametrize("n_some", [3, 199, 200, 201, 900])
def test_rows_without_weight_are_drawn_only_to_fill_the_subsample(n_some):
    weights = np.zeros(5_000)
    weights[np.random.default_rng(2).permutation(5_000)[:n_some]] = 2.5
    drawn = draw_subsample(as_source(ROWS, weights), SIZE, 0)
    assert len(drawn.rows) == SIZE
    assert np.count_nonzero(drawn.weights) == min(n_some, SIZE)
    stood_for = drawn.weights[drawn.weights > 0]
    assert stood_for.min() == stood_for.max() and (stood_for[0] == 2.5 or n_some > SIZE)
    there = set(map(tuple, ROWS[weights > 0]))
    assert {tuple(row) for row, weight in zip(drawn.rows, drawn.weights, strict=True) if weight} <= there


def skewed(n=5_000, seed=0):
    """Rows of which a few have nearly all the weight, as few colours are most of an image."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 2)), np.exp(random.normal(scale=3, size=n))


@pytest.mark.parametrize("chunks", [5_000, 700])
def test_weighted_sums_over_a_subsample_estimate_those_over_all_rows(monkeypatch, chunks):
    monkeypatch.setattr("streamgmm.data.sources.in_memory.CHUNK_ROWS", chunks)
    rows, weights = skewed()
    source = as_source(rows, weights)
    wholes = np.array([weights.sum(), *(weights @ rows), *(weights @ rows**2)])
    sums = []
    for seed in range(100):
        kept = draw_subsample(source, 300, seed)
        assert len(kept.rows) == 300
        sums.append([kept.weights.sum(), *(kept.weights @ kept.rows), *(kept.weights @ kept.rows**2)])
    errors = (np.mean(sums, axis=0) - wholes) / (np.std(sums, axis=0) / np.sqrt(len(sums)))
    assert np.abs(errors).max() < 4
    assert np.std(sums, axis=0)[0] < 0.02 * wholes[0]  # of rows that were as likely one as another, it is about half


def test_the_heaviest_rows_are_in_every_subsample():
    rows, weights = skewed()
    heavy = np.argsort(weights)[-20:]
    for seed in range(5):
        kept = draw_subsample(as_source(rows, weights), 300, seed)
        assert {tuple(row) for row in rows[heavy]} <= {tuple(row) for row in kept.rows}


def test_rows_without_weight_add_none_to_a_subsample():
    rows, weights = skewed(100)
    weights[10:] = 0
    kept = draw_subsample(as_source(rows, weights), 20, 0)
    assert np.count_nonzero(kept.weights) == 10 and kept.weights.sum() == pytest.approx(weights.sum())
    np.testing.assert_array_equal(np.sort(kept.weights)[-10:], np.sort(weights)[-10:])
