"""The sample that a fit begins with: rows as likely as their weights, and standing for all of them."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.data import threads
from streamgmm.data.sources import as_source
from streamgmm.data.subsample import sample

ROWS = np.random.default_rng(0).normal(size=(5_000, 2))
SIZE = 200


@given(st.integers(1, 5_000), st.integers(1, 300), st.integers(0, 99))
def test_rows_of_one_weight_are_drawn_whatever_it_is_and_stand_for_as_many_each(n, size, seed):
    plain = sample(as_source(ROWS[:n]), size, seed)
    one, seven = (sample(as_source(ROWS[:n], np.full(n, weight)), size, seed) for weight in (1.0, 7.0))
    assert len(one.rows) == min(n, size)
    np.testing.assert_array_equal(one.rows, seven.rows)
    assert one.weights.min() == one.weights.max() >= 1.0
    np.testing.assert_allclose(seven.weights, 7.0 * one.weights, rtol=1e-12)
    drawn = set(map(tuple, one.rows))
    assert drawn >= set(map(tuple, plain.rows))  # of which there may be a few less


@given(st.integers(1, 5_000), st.integers(1, 300), st.integers(1, 3))
def test_neither_laziness_nor_threads_change_what_is_drawn(n, size, n_threads):
    expected = sample(as_source(ROWS[:n]), size, 7)
    with threads.limit(n_threads):
        again = sample(as_source(ROWS[:n]), size, 7)
        lazy = sample(as_source(da.from_array(ROWS[:n], (n, -1))), size, 7)
    np.testing.assert_array_equal(again.rows, expected.rows)
    np.testing.assert_array_equal(lazy.rows, expected.rows)


@given(st.data())
def test_chunks_do_not_change_what_is_drawn(data):
    """Some of them empty; rows are drawn by where they are among all."""
    n, size, seed = (data.draw(st.integers(low, high)) for low, high in ((1, 5_000), (1, 300), (0, 99)))
    cuts = data.draw(st.lists(st.integers(0, n), max_size=8).map(sorted))
    lengths = tuple(np.diff([0, *cuts, n]).tolist())
    weights = data.draw(st.sampled_from([None, heavy()[:n]]))
    with pytest.MonkeyPatch.context() as patch:
        # rows are drawn by blocks, and so few of them fit in one
        patch.setattr("streamgmm.data.subsample.OF_A_BLOCK", data.draw(st.sampled_from([1, 16, 1_024])))
        expected = sample(as_source(ROWS[:n], weights), size, seed)
        again = sample(as_source(da.from_array(ROWS[:n], (lengths, -1)), weights), size, seed)
    np.testing.assert_array_equal(again.rows, expected.rows)
    if weights is not None:
        np.testing.assert_array_equal(again.weights, expected.weights)


@pytest.mark.parametrize("chunks, of_a_block", [(1_000, 1_024), (300, 1_024), (300, 16)])
def test_every_row_is_as_likely_as_any_other_and_any_two_are(monkeypatch, chunks, of_a_block):
    """Counts of 1,000 samples: 5 standard errors of 1,000 rows and 1,000 pairs, by chance once in 800 times."""
    monkeypatch.setattr("streamgmm.data.sources.in_memory.CHUNK_ROWS", chunks)
    monkeypatch.setattr("streamgmm.data.subsample.OF_A_BLOCK", of_a_block)
    counts, pairs = np.zeros(1_000), np.zeros(1_000)
    source, other = as_source(np.arange(1_000.0)[:, None]), np.random.default_rng(3).permutation(1_000)
    for seed in range(1_000):
        drawn = np.zeros(1_000, bool)
        drawn[sample(source, 200, seed).rows[:, 0].astype(int)] = True
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
def test_what_weighs_most_is_drawn_always(chunks):
    weights = heavy()
    most = weights.sum() / SIZE * 10
    for seed in range(20):
        drawn = sample(as_source(da.from_array(ROWS, (chunks, -1)), weights), SIZE, seed)
        assert set(map(tuple, drawn.rows)) >= set(map(tuple, ROWS[weights > most]))


def test_sums_over_the_sample_are_those_over_all_rows_but_for_a_factor_and_chance():
    weights = heavy()
    truth = weights @ ROWS / weights.sum()
    spread = np.sqrt(weights @ (ROWS - truth) ** 2 / weights.sum() / SIZE)
    errors = []
    for seed in range(200):
        drawn = sample(as_source(ROWS, weights), SIZE, seed)
        errors.append((drawn.weights @ drawn.rows / drawn.weights.sum() - truth) / spread)
    assert np.sqrt(np.mean(np.square(errors))) < 1.0  # rows drawn with replacement, by their weights, have 1
    assert np.abs(np.mean(errors)) < 4 / np.sqrt(200)


def test_rows_that_all_fit_are_kept_as_they_are():
    weights = heavy(100)
    drawn = sample(as_source(ROWS[:100], weights), 100, 3)
    np.testing.assert_array_equal(drawn.rows, ROWS[:100])
    np.testing.assert_array_equal(drawn.weights, weights)


@pytest.mark.parametrize("n_some", [3, 199, 200, 201, 900])
def test_rows_that_weigh_nothing_are_drawn_where_nothing_else_is_left(n_some):
    weights = np.zeros(5_000)
    weights[np.random.default_rng(2).permutation(5_000)[:n_some]] = 2.5
    drawn = sample(as_source(ROWS, weights), SIZE, 0)
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
def test_sums_over_a_sample_with_weights_are_on_average_those_over_all_rows(monkeypatch, chunks):
    monkeypatch.setattr("streamgmm.data.sources.in_memory.CHUNK_ROWS", chunks)
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
