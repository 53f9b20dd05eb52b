"""Rows that come once, learnt as if they could be read again: what a sample of them makes of what was learnt before."""

import warnings
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm import GaussianMixture, load
from streamgmm.algorithms import variance_reduced
from streamgmm.algorithms.schedules import PowerDecay
from streamgmm.algorithms.variance_reduced import VarianceReducedState, replace_noise
from streamgmm.errors import DegenerateError, OrderWarning
from streamgmm.kernels.e_step import expect
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.statistics import Statistics, reduce_products
from streamgmm.testing.examples import law

FAMILIES = list(STRUCTURES)
LEAST_RATIO = variance_reduced.SETTINGS.least_ratio


def set_constants(monkeypatch, **constants):
    """Set tuned constants: the subsample of a stream is large beside what a test may read."""
    monkeypatch.setattr(variance_reduced, "SETTINGS", replace(variance_reduced.SETTINGS, **constants))


def rows_of(n, seed=0):
    """Three overlapping clusters in the plane."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, size=n, p=[0.5, 0.3, 0.2])
    return np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])[labels] + random.normal(size=(n, 2))


@cache
def start_of(n, **settings):
    rows = rows_of(n, 2)
    model = GaussianMixture(3, random_state=0, tol=1e-3, **settings).fit(rows)
    names = ("weights_init", "means_init", "precisions_init")
    return dict(zip(names, (model.weights_, model.means_, model.precisions_), strict=True), **settings)


def learnt(parts, weights=None, **settings):
    model = GaussianMixture(3, random_state=0, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrderWarning)
        for place, part in enumerate(parts):
            model.partial_fit(part, sample_weight=None if weights is None else weights[place])
    return model


@law
@given(
    st.sampled_from(FAMILIES),
    st.lists(st.integers(1, 1999), max_size=12, unique=True),
    st.booleans(),
    st.sampled_from([50, 700]),
)
def test_as_long_as_all_rows_are_in_the_sample_the_statistics_are_those_of_all(family, cuts, weighted, batch_size):
    rows = np.sort(rows_of(2000), axis=0)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, 2000) if weighted else None
    edges = [0, *sorted(cuts), 2000]
    parts = [rows[a:b] for a, b in pairwise(edges)]
    shares = None if weights is None else [weights[a:b] for a, b in pairwise(edges)]
    model = learnt(parts, shares, batch_size=batch_size, **start_of(500, covariance_type=family))
    state = model._state.stream.state
    assert sum(len(one.rows) for one in (state.sample, state.fresh) if one is not None) == state.n_rows == 2000
    (whole,) = expect(rows, state.anchor, weights=weights)
    there = state.statistics.recentred(state.anchor.means)
    for name in ("counts", "sums", "products"):
        scale = np.abs(getattr(whole.statistics, name)).max()
        np.testing.assert_allclose(getattr(there, name), getattr(whole.statistics, name), rtol=0, atol=1e-9 * scale)
    assert model.criteria_["bound"].log_likelihood <= np.sum(
        (1 if weights is None else weights) * model.score_samples(rows)
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_a_sample_is_no_larger_than_it_may_be_and_every_row_as_likely_in_it(monkeypatch, weighted):
    """Means of 200 rows, in units of their standard error: the largest of 2 is above 5 once in 10^6 times."""
    set_constants(monkeypatch, sample_rows=200)
    rows = np.sort(rows_of(20_000), axis=0)
    weights = np.full(20_000, 2.0) if weighted else None
    parts = np.array_split(rows, 37)
    shares = None if weights is None else np.array_split(weights, 37)
    model = learnt(parts, shares, **start_of(500))
    sample = model._state.stream.state.sample
    assert len(sample.rows) == 200 + weighted
    errors = (sample.rows.mean(axis=0) - rows.mean(axis=0)) / (rows.std(axis=0) / np.sqrt(200))
    assert np.abs(errors).max() < 5
    assert {tuple(row) for row in sample.rows} <= {tuple(row) for row in rows}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("order", ["random", "sorted", "strips"])
def test_rows_in_any_order_end_no_lower_than_they_began_and_near_batch_em(monkeypatch, family, order):
    set_constants(monkeypatch, sample_rows=5000)
    rows = rows_of(20_000)
    if order == "sorted":
        rows = rows[np.argsort(rows[:, 0])]
    if order == "strips":  # as lines of a picture: first all that is above, then what is below, each from left to right
        rows = rows[np.lexsort((rows[:, 0], rows[:, 1] < 1.0))]
    settings = start_of(1000, covariance_type=family)
    model = learnt(np.array_split(rows, 61), **settings)
    begun = GaussianMixture(3, max_iter=0, **settings).fit(rows).score(rows)
    best = GaussianMixture(3, tol=1e-6, max_iter=100, algorithm="batch", **settings).fit(rows).score(rows)
    # of rows like none before, the last thirtieth were read but not yet come back to
    assert model.score(rows) >= max(begun, best - (3e-4 if order == "random" else 1e-2))


def test_what_was_led_astray_begins_again_where_that_explains_the_rows_better(monkeypatch):
    set_constants(monkeypatch, sample_rows=3000, start_share=0.0)
    random = np.random.default_rng(0)
    first, then = random.normal([0.0, 0.0], 0.1, (3000, 2)), rows_of(9000)
    settings = start_of(1000)
    model = learnt([*np.array_split(first, 5), *np.array_split(then, 9)], **settings)
    rows = np.concatenate([first, then])
    assert model.score(rows) >= GaussianMixture(3, max_iter=0, **settings).fit(rows).score(rows)


def test_a_sample_too_small_to_tell_changes_nothing(monkeypatch):
    """Then it is a plain sum over the batches, each under the parameters of its time."""
    set_constants(monkeypatch, sample_rows=12)
    model = learnt(np.array_split(rows_of(20_000), 40), **start_of(1000))
    state = model._state.stream.state
    covered = state.accumulated.statistics
    np.testing.assert_allclose(state.statistics.recentred(covered.origin).counts, covered.counts, rtol=1e-9)
    assert (
        model.score(rows_of(20_000))
        > GaussianMixture(3, random_state=0).fit(rows_of(20_000)).score(rows_of(20_000)) - 1e-2
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_correction_that_leaves_no_variance_is_not_believed(family):
    structure = STRUCTURES[family]
    shape = structure.shape(2, 2)

    def statistics(counts, variances):
        products = reduce_products(
            np.array(counts)[:, None, None] * np.array(variances)[:, None, None] * np.eye(2), shape
        )
        if len(shape) == 2:
            products = (
                np.array(counts)[:, None] * np.array(variances)[:, None] * np.ones((2, shape[1])) * (3 - shape[1])
            )
        return Statistics(np.zeros((2, 2)), np.array(counts), np.zeros((2, 2)), products)

    own = statistics([50.0, 50.0], [1.0, 1.0])
    good = statistics([60.0, 40.0], [1.2, 0.5])
    assert replace_noise(good, own, structure, 1e-6, LEAST_RATIO) is good
    for wrong in (statistics([60.0, 40.0], [1.2, -5.0]), statistics([99.0, 1.0], [1.0, 1.0])):
        kept = replace_noise(wrong, own, structure, 1e-6, LEAST_RATIO)
        assert kept.counts[1] == 50.0
        assert kept.counts[0] == (50.0 if family == "tied" else wrong.counts[0])
        assert (structure.estimate(kept) > 0).any()


def test_another_algorithm_continues_a_stream():
    parts = np.array_split(rows_of(6000), 12)
    model = learnt(parts[:6], **start_of(1000))
    assert isinstance(model._state.stream.state, VarianceReducedState)
    before = model.score(rows_of(6000))
    model.set_params(step_size=PowerDecay(0.7)).partial_fit(parts[6])
    assert not isinstance(model._state.stream.state, VarianceReducedState)
    model.set_params(step_size=None).partial_fit(parts[7])
    assert isinstance(model._state.stream.state, VarianceReducedState) and model.n_samples_seen_ == 4000
    assert model.score(rows_of(6000)) > before - 1e-2


def test_batches_with_weights_and_without_are_of_one_sample(monkeypatch):
    set_constants(monkeypatch, sample_rows=500)
    rows = rows_of(6000)
    parts = np.array_split(rows, 6)
    model = learnt(parts, [None, np.ones(1000), None, np.full(1000, 1.0), None, None], **start_of(1000))
    plain = learnt(parts, **start_of(1000))
    assert abs(model.score(rows) - plain.score(rows)) < 1e-2
    assert model._state.stream.state.weight == plain._state.stream.state.weight == 6000


def test_a_stepwise_stream_becomes_variance_reduced_once_nothing_is_forgotten():
    model = load(Path(__file__).parents[1] / "persistence" / "golden" / "format-1-stream-half-life.safetensors")
    model.set_params(half_life=None)
    seen = model.n_samples_seen_
    assert not isinstance(model._state.stream.state, VarianceReducedState)
    model.partial_fit(rows_of(300))
    assert isinstance(model._state.stream.state, VarianceReducedState) and model.n_samples_seen_ == seen + 300


@pytest.mark.parametrize("batch_size", [100, 5000])
def test_the_sample_is_of_what_the_arrays_were_when_they_came(batch_size):
    rows = rows_of(3000)
    kept = learnt(np.array_split(rows, 3), batch_size=batch_size, **start_of(1000))
    model = GaussianMixture(3, random_state=0, batch_size=batch_size, **start_of(1000))
    room = np.empty((1000, 2))
    for part in np.array_split(rows, 3):
        room[:] = part
        model.partial_fit(room)
        room[:] = np.nan
    np.testing.assert_array_equal(model.means_, kept.means_)
    np.testing.assert_array_equal(model._state.stream.state.sample.rows, kept._state.stream.state.sample.rows)


def strips(n=40_000):
    """Lines of a picture, of which the first are like few others."""
    rows = rows_of(n)
    return rows[np.lexsort((rows[:, 0], rows[:, 1] < 1.5))]


@cache
def learnt_from_strips():
    return learnt(np.array_split(strips(), 40))


def test_a_stream_begins_again_where_its_first_rows_were_unlike_the_others():
    rows = strips()
    model = learnt_from_strips()
    assert "restart" in [record.stage for record in model.history_]
    best = GaussianMixture(3, random_state=0, tol=1e-7, max_iter=300).fit(rows).score(rows)
    assert model.score(rows) >= best - 0.02
    first = learnt([rows[:1000]])
    begun = {"weights_init": first.weights_, "means_init": first.means_, "precisions_init": first.precisions_}
    kept = learnt(np.array_split(rows, 40), **begun)  # a start that was given is kept
    assert best - model.score(rows) <= 0.5 * (best - kept.score(rows))
    assert model.criteria_["bound"].log_likelihood <= model.score(rows) * len(rows)
    given = learnt(np.array_split(rows, 40), **start_of(1000))
    assert "restart" not in [record.stage for record in given.history_]
    shuffled = learnt(np.array_split(rows_of(40_000), 40))
    assert "restart" not in [record.stage for record in shuffled.history_]
    assert model._state.stream.state.monitor.has_drifted and not shuffled._state.stream.state.monitor.has_drifted


def test_a_restarted_stream_is_saved_and_resumes_to_the_same_bits(tmp_path):
    parts = np.array_split(strips(), 40)
    whole = learnt_from_strips()
    learnt(parts[:32]).save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrderWarning)
        for part in parts[32:]:
            again.partial_fit(part)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


def test_a_stream_continues_when_no_new_start_can_be_computed(monkeypatch):
    def degenerate(*_):
        raise DegenerateError("nothing to start from")

    rows = strips()
    model = GaussianMixture(3, random_state=0).partial_fit(rows[:2000])
    monkeypatch.setattr("streamgmm.initialization.find_starts.find_starts", degenerate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrderWarning)
        for part in np.array_split(rows[2000:], 20):
            model.partial_fit(part)
    assert model._state.stream.state.restart_tried > 0 and model.n_samples_seen_ == len(rows)


@pytest.mark.parametrize("batch_size", [300, 5000])
def test_lazy_rows_are_computed_once(batch_size):
    rows, read = rows_of(2000), []

    def chunk(block, block_info=None):
        if block_info:
            read.append(block_info[0]["chunk-location"][0])
        return block

    lazy = da.from_array(rows, chunks=(500, -1)).map_blocks(chunk, dtype=rows.dtype)
    model = learnt([lazy], batch_size=batch_size, **start_of(1000))
    assert sorted(read) == [0, 1, 2, 3] and model.n_samples_seen_ == 2000
