"""fit in one pass, partial_fit, forgetting and windows, as a user sees them."""

import signal
import sys
import tempfile
import threading
import warnings
from copy import copy, deepcopy
from functools import cache
from itertools import pairwise
from pathlib import Path
from time import monotonic

import dask.array as da
import numpy as np
import pytest
import zarr
from fitted_attributes import fitted_attributes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sklearn.exceptions import NotFittedError

from streamgmm import GaussianMixture, load
from streamgmm.algorithms.schedules import Constant, PowerDecay, Reciprocal
from streamgmm.data.partitions import Partitions
from streamgmm.data.shuffling import iter_shuffled_batches
from streamgmm.data.sources import as_source
from streamgmm.errors import InputError, OrderWarning
from streamgmm.model.covariances import STRUCTURES

FAMILIES = list(STRUCTURES)


def overlapping(n, seed=0, d=3):
    """Three clusters, close enough that responsibilities are soft."""
    random = np.random.default_rng(seed)
    means = np.array([[0.0] * d, [2.5] * d, [-3.0] + [2.0] * (d - 1)])
    labels = random.choice(3, size=n, p=[0.5, 0.3, 0.2])
    return means[labels] + random.normal(size=(n, d)) * np.array([1.0, 1.3, 0.7])[labels, None]


@cache
def start_of(first, of=None, **settings):
    """Settings of a start fitted on the first rows, of as many as are said."""
    model = GaussianMixture(3, random_state=0, **settings).fit(overlapping(of or first)[:first])
    return {"weights_init": model.weights_, "means_init": model.means_, "precisions_init": model.precisions_}


@cache
def converged_score(n, first=5000, **settings):
    """Mean log-likelihood, after batch EM, of rows that are read in whatever order."""
    model = GaussianMixture(3, **{"tol": 1e-6, **start_of(first), **settings})
    return model.fit(overlapping(n)).score(overlapping(n))


@pytest.mark.parametrize("make", [np.asarray, lambda X: da.from_array(X, chunks=(3001, -1)), lambda X: X[::-1][::-1]])
@pytest.mark.parametrize("size", [1, 7, 1000, 2999, 50_000])
def test_batches_hold_every_row_once_in_another_order_each_pass(make, size):
    X = np.arange(10_000.0 if size > 7 else 500.0).reshape(-1, 1)
    orders = []
    for number in (1, 2, 2):
        chunk_groups = list(iter_shuffled_batches(as_source(make(X)), size, 0, number))
        rows = [
            part.rows if isinstance(part.rows, np.ndarray) else part.rows.compute()
            for chunk_group in chunk_groups
            for part in chunk_group.chunks
        ]
        orders.append(np.concatenate(rows).ravel())
        np.testing.assert_array_equal(np.sort(orders[-1]), X.ravel())
        assert [chunk_group.ends_pass for chunk_group in chunk_groups] == [False] * (len(chunk_groups) - 1) + [True]
        if size < len(X):
            assert len(chunk_groups) == round(len(X) / size)
            assert max(map(len, rows)) - min(map(len, rows)) <= 5
    assert np.array_equal(orders[1], orders[2])
    assert size >= len(X) or not np.array_equal(orders[0], orders[1])


def test_a_batch_of_sorted_rows_spans_all_of_them():
    X = np.arange(100_000.0).reshape(-1, 1)
    for chunk_group in iter_shuffled_batches(as_source(da.from_array(X, chunks=(7777, -1))), 1000, 0, 1):
        rows = np.sort(chunk_group.chunks[0].rows.ravel())
        # a row from every run of 100 of each of the 13 chunks: no gap of more than two runs and a chunk's end
        assert np.diff(rows, prepend=0.0, append=1e5).max() <= 300


@pytest.mark.parametrize("chunks", [100, 3001, 10_000])
def test_partitions_are_the_same_every_pass_and_visited_in_another_order(chunks):
    source = as_source(da.from_array(np.arange(10_000.0).reshape(-1, 1), chunks=(chunks, -1)))
    partitions, seen = Partitions.from_source(source, 500, 4096), []
    for number in (1, 2):
        chunk_groups = list(partitions.iter_chunk_groups(source, 1500, 0, number))
        visits = [
            (partition, part.rows.tobytes())
            for chunk_group in chunk_groups
            for partition, part in zip(chunk_group.partitions, chunk_group.chunks, strict=True)
        ]
        assert sorted(partition for partition, _ in visits) == list(range(partitions.n_partitions))
        assert [chunk_group.ends_pass for chunk_group in chunk_groups] == [False] * (len(chunk_groups) - 1) + [True]
        assert max(len(chunk_group.chunks) for chunk_group in chunk_groups) <= -(
            -partitions.n_partitions // len(chunk_groups)
        )
        seen.append(visits)
    assert dict(seen[0]) == dict(seen[1])
    assert seen[0] != seen[1]
    assert sum(len(rows) for _, rows in seen[0]) == 80_000
    for partition, rows in seen[0]:
        assert [(int(first), int(stop)) for first, stop in partitions.row_ranges(partition)] == [
            (int(np.frombuffer(rows)[0]), int(np.frombuffer(rows)[-1]) + 1)
        ]


def test_partitions_never_exceed_their_limit():
    source = as_source(da.zeros((2_100, 1), chunks=(5, 1)))
    partitions = Partitions.from_source(source, 5, 300)
    chunk_groups = list(partitions.iter_chunk_groups(source, 12, 0, 1))
    visited = {partition for chunk_group in chunk_groups for partition in chunk_group.partitions}
    assert len(visited) == partitions.n_partitions <= 300
    assert sum(sum(chunk.length for chunk in chunk_group.chunks) for chunk_group in chunk_groups) == 2_100


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(any), st.integers(1, 40))
def test_coarser_partitions_hold_the_same_rows_and_growth_changes_the_last_only(lengths, rows):
    X = da.from_array(np.arange(float(sum(lengths))).reshape(-1, 1), chunks=(tuple(lengths), 1))
    partitions = Partitions.from_source(as_source(X), rows, 10**9)
    for _ in range(4):
        held = {place: partitions.row_ranges(place) for place in range(partitions.n_partitions)}
        assert sorted(row for spans in held.values() for first, stop in spans for row in range(first, stop)) == [
            *range(sum(lengths))
        ]
        longer = da.from_array(np.zeros((sum(lengths) + 7, 1)), chunks=((*lengths[:-1], lengths[-1] + 3, 4), 1))
        grown = partitions.extend(as_source(longer))
        changed = grown.find_overlapping(partitions.n_rows, grown.n_rows)
        same = [place for place in range(grown.n_partitions) if place not in changed]
        assert all(grown.row_ranges(place) == held.get(place) for place in same)
        coarser, places = partitions.coarsen()
        merged = {}
        for place, spans in held.items():
            merged.setdefault(int(places[place]), set()).update(row for span in spans for row in range(*span))
        for place, expected in merged.items():
            assert {row for span in coarser.row_ranges(place) for row in range(*span)} == expected
        partitions = coarser


def counting(X, rows):
    """A dask array that counts how often each chunk is made."""
    reads = np.zeros(-(-len(X) // rows), int)

    def read(block_info=None):
        place = block_info[None]["chunk-location"][0]
        reads[place] += 1
        return X[place * rows : (place + 1) * rows]

    chunks = (tuple(len(X[i : i + rows]) for i in range(0, len(X), rows)), (X.shape[1],))
    return da.map_blocks(read, dtype=X.dtype, chunks=chunks, meta=np.empty((0, 0), X.dtype)), reads


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("algorithm", ["stepwise", "incremental"])
@pytest.mark.parametrize("passes", [1, 3])
def test_a_pass_reads_every_chunk_once(algorithm, passes, monkeypatch):
    monkeypatch.setattr("streamgmm.data.shuffling.GROUP_BYTES", 100_000)  # several groups
    X = overlapping(20_000)
    lazy, reads = counting(X, 1713)
    settings = start_of(2000, 20_000)
    GaussianMixture(3, algorithm=algorithm, max_iter=passes, tol=0.0, **settings).fit(lazy)
    np.testing.assert_array_equal(reads, passes + 1)  # and one for the exact likelihood


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_is_as_good_as_three_of_batch_em(family):
    """Held out, from the same start. The seed is fixed; with others the worst of 20 was better as well."""
    X, held_out = overlapping(60_000), overlapping(50_000, seed=1)
    settings = start_of(3000, 60_000, covariance_type=family)

    def score(algorithm, passes):
        model = GaussianMixture(3, covariance_type=family, algorithm=algorithm, max_iter=passes, tol=0.0, **settings)
        return model.fit(X).score(held_out)

    third, converged = score("batch", 3), score("batch", 60)
    for algorithm in ("stepwise", "incremental"):
        assert score(algorithm, 1) >= min(third, converged - 2e-4) - 1e-5


def test_a_step_of_one_on_all_rows_is_an_iteration_of_batch_em():
    X = overlapping(5000)
    settings = start_of(500, 5000)
    one = GaussianMixture(3, algorithm="stepwise", step_size=1.0, batch_size=5000, max_iter=1, **settings).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = GaussianMixture(3, algorithm="batch", max_iter=1, **settings).fit(X)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-13, atol=1e-14)


def test_large_input_is_learnt_in_stages_and_ends_where_batch_em_does(monkeypatch):
    monkeypatch.setattr("streamgmm.fitting.plan.LARGE", 10_000)
    X = overlapping(50_000)
    slow = GaussianMixture(3, algorithm="batch", tol=1e-12, max_iter=5000, **start_of(50_000)).fit(X)
    for rows in (X, da.from_array(X, chunks=(7919, -1))):
        model = GaussianMixture(3, random_state=0).fit(rows)
        assert model.algorithm_ == "staged"
        assert [stage for stage, _ in _runs(model.history_)] == ["stepwise", "incremental", "accelerated"]
        assert model.converged_
        exact = model.criteria_["exact"].log_likelihood
        assert exact == pytest.approx(model.score_samples(X).sum(), rel=1e-12)
        assert slow.criteria_["exact"].log_likelihood - exact <= 1.0  # the bound is 0.29 nats of an extrapolated rest


def _runs(history):
    runs = []
    for record in history:
        if not runs or runs[-1][0] != record.stage:
            runs.append((record.stage, 0))
        runs[-1] = (record.stage, runs[-1][1] + record.updates)
    return runs


def test_an_iterator_is_learnt_in_one_pass():
    X = overlapping(80_000)
    model = GaussianMixture(3, random_state=0).fit(iter(np.array_split(X, 37)))
    assert (model.algorithm_, model.n_iter_, model.n_samples_seen_) == ("stepwise", 1, 80_000)
    assert "exact" not in model.criteria_
    assert model.criteria_["bound"].n_samples == 80_000
    assert model.criteria_["prequential"].n_samples < 80_000
    best = GaussianMixture(3, random_state=0).fit(X)
    assert model.score(X) >= best.score(X) - 1e-3
    assert model.criteria_["bound"].log_likelihood <= model.score(X) * 80_000


def test_an_iterator_of_sorted_rows_is_noticed_and_a_window_is_for_partial_fit():
    X = overlapping(60_000)
    X = X[np.argsort(X[:, 0])]
    with pytest.warns(OrderWarning, match="in an order that matters") as caught:
        model = GaussianMixture(3, random_state=0).fit(iter(np.array_split(X, 60)))
    assert len(caught) == 1
    with pytest.warns(OrderWarning):
        windowed = GaussianMixture(3, random_state=0, window=1000).fit(iter(np.array_split(X, 60)))
    np.testing.assert_array_equal(windowed.means_, model.means_)
    assert windowed.partial_fit(X[:2000]).criteria_["bound"].n_samples <= 1100
    windowed.set_params(window=None).partial_fit(X[:3000])
    assert windowed.n_samples_seen_ == 65_000


@cache
def score_from_its_own_start(n):
    return GaussianMixture(3, random_state=0, tol=1e-6).fit(overlapping(n)).score(overlapping(n))


@pytest.mark.parametrize(
    "make", [np.asarray, lambda X: da.from_array(X, chunks=(97, -1)), lambda X: iter(np.array_split(X, 3))]
)
def test_batches_of_any_kind_and_size_are_learnt(make):
    X = overlapping(20_000)
    cuts = np.unique(np.random.default_rng(0).integers(1, 20_000, 40))
    model = GaussianMixture(3, random_state=0)
    for part in np.split(X, cuts):
        model.partial_fit(make(part))
    assert model.n_samples_seen_ == 20_000
    assert model.score(X) >= score_from_its_own_start(20_000) - 2e-3
    exact = model.score(X) * 20_000
    assert model.criteria_["bound"].n_samples == 20_000
    assert exact - 200 <= model.criteria_["bound"].log_likelihood <= exact + 1e-6


def test_rows_one_by_one_wait_until_there_are_enough_and_the_error_says_so():
    X = overlapping(400)
    model = GaussianMixture(3, random_state=0)
    for number, row in enumerate(X[:289]):
        model.partial_fit(row[None])
        assert model.n_samples_seen_ == number + 1
    with pytest.raises(NotFittedError, match="289 of the 290 rows"):
        model.predict(X)
    for row in X[289:]:
        model.partial_fit(row[None])
    assert model.n_samples_seen_ == 400
    assert model.predict(X).shape == (400,)
    assert model.criteria_["prequential"].n_samples == 110


def test_rows_that_wait_survive_a_restart(tmp_path):
    X = overlapping(1200)
    model, straight = GaussianMixture(3, random_state=0), GaussianMixture(3, random_state=0)
    for number, part in enumerate(np.array_split(X, 12)):
        model.partial_fit(part, token=number)
        straight.partial_fit(part, token=number)
        model.save(tmp_path / "model")
        model = load(tmp_path / "model").partial_fit(part, token=number)
        assert model.n_samples_seen_ == 100 * (number + 1)
        if number == 0:
            with pytest.raises(NotFittedError, match="100 of the"):
                model.predict(X)
    np.testing.assert_array_equal(model.means_, straight.means_)


def test_zarr_batches_are_learnt(tmp_path):
    X = overlapping(5000)
    array = zarr.create_array(str(tmp_path / "x.zarr"), shape=X.shape, chunks=(512, 3), dtype="f8")
    array[:] = X
    assert GaussianMixture(3, random_state=0).partial_fit(array).n_samples_seen_ == 5000


def test_partial_fit_continues_from_a_fit_and_counts_its_rows():
    X, more = overlapping(20_000), overlapping(20_000, seed=1)
    model = GaussianMixture(3, random_state=0, tol=1e-6).fit(X)
    means = model.means_.copy()
    model.partial_fit(more[:10])
    assert model.n_samples_seen_ == 20_010
    assert abs(model.means_ - means).max() < 0.01
    model.partial_fit(more[10:])
    both = GaussianMixture(3, random_state=0, tol=1e-6).fit(np.concatenate([X, more]))
    assert model.score(more) >= both.score(more) - 1e-3
    assert "exact" not in model.criteria_
    assert model.criteria_["bound"].n_samples == 40_000


def state(model):
    return deepcopy(fitted_attributes(model))


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]) if isinstance(one[name], np.ndarray) else one[name] == other[name]


@cache
def begun(n):
    """A model that has learnt so many rows; to be copied."""
    return GaussianMixture(3, random_state=0).partial_fit(overlapping(n))


@cache
def begun_and_gone_on(n):
    return deepcopy(begun(n)).partial_fit(overlapping(3000, seed=2), token="broken")


@pytest.mark.parametrize(
    "broken",
    [
        np.array([[0.0, np.nan, 0.0]]),
        np.ones((3, 2)),
        [["a", "b", "c"]],
        np.full((2, 3), 1e200),
        da.from_array(np.r_[np.zeros((50, 3)), np.full((1, 3), np.inf)], chunks=(10, 3)),
    ],
)
@pytest.mark.parametrize("n", [20, 2000])
def test_a_call_that_fails_leaves_the_model_as_it_was(broken, n):
    model = deepcopy(begun(n))
    before = state(model)
    with pytest.raises(ValueError):
        model.partial_fit(broken, token="broken")
    same(state(model), before)
    with pytest.raises(ValueError):
        model.partial_fit(overlapping(5), sample_weight=[1.0, -1.0, 1.0, 1.0, 1.0])
    same(state(model), before)
    model.partial_fit(overlapping(3000, seed=2), token="broken")
    same(state(model), state(begun_and_gone_on(n)))


def test_a_token_seen_before_is_no_work(tmp_path):
    X = overlapping(4000)
    model = GaussianMixture(3, random_state=0)
    for number, part in enumerate(np.array_split(X, 8)):
        model.partial_fit(part, token=number)
        model.partial_fit(part, token=f"name {number}")
        model.partial_fit(part, token=number)
    assert model.n_samples_seen_ == 8000
    before = state(model)
    model.partial_fit(X, token="name 3")
    same(state(model), before)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m").partial_fit(X, token=7)
    assert again.n_samples_seen_ == 8000
    with pytest.raises(TypeError, match="give an integer"):
        model.partial_fit(X, token=1.5)


@pytest.mark.parametrize("settings", [{}, {"half_life": 500.0}, {"window": 3000}, {"step_size": PowerDecay(0.7)}])
def test_a_saved_model_learns_on_to_the_same_bits(settings, tmp_path):
    parts = np.array_split(overlapping(6000), 11)
    model = GaussianMixture(3, random_state=0, **settings)
    for number, part in enumerate(parts):
        if number == 6:
            model.save(tmp_path / "model")
            again = load(tmp_path / "model")
        model.partial_fit(part, token=number)
    for number, part in enumerate(parts[6:]):
        again.partial_fit(part, token=number + 6)
    same(state(again), state(model))


def test_a_weight_of_two_is_the_row_twice():
    X = overlapping(6000)
    settings = start_of(500, 6000) | {"batch_size": 100_000}
    twice, weighted = GaussianMixture(3, **settings), GaussianMixture(3, **settings)
    for part in np.array_split(X, 6):
        twice.partial_fit(np.repeat(part, 2, axis=0))
        weighted.partial_fit(part, sample_weight=np.full(len(part), 2.0))
    # the clock counts rows, so that the path differs; the sum over all batches agrees
    assert weighted.criteria_["bound"].n_samples == twice.criteria_["bound"].n_samples == 12_000
    assert weighted.score(X) == pytest.approx(twice.score(X), abs=2e-3)


def shifting(n, seed=0):
    """Two clusters that walk three deviations while the rows come."""
    random = np.random.default_rng(seed)
    labels = random.choice(2, size=n)
    return random.normal(size=(n, 2)) + 8.0 * labels[:, None] + np.linspace(0.0, 3.0, n)[:, None]


@pytest.mark.parametrize("settings", [{"half_life": 1000.0}, {"window": 2000}, {"step_size": 0.1, "batch_size": 250}])
def test_forgetting_follows_a_drift_without_a_warning_where_it_was_asked_for(settings):
    X = shifting(30_000)
    model = GaussianMixture(2, random_state=0, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if "step_size" in settings else "error", OrderWarning)
        for part in np.array_split(X, 150):
            model.partial_fit(part)
    assert np.sort(model.means_[:, 0]) == pytest.approx([3.0, 11.0], abs=0.3)
    seen = model.criteria_["bound"].n_samples
    if "half_life" in settings:
        assert seen == pytest.approx(1000 / np.log(2), rel=0.1)
    if "window" in settings:
        assert 2000 <= seen <= 2000 * (1 + 1 / 16)
    assert model.n_samples_seen_ == 30_000


@pytest.mark.parametrize(("size", "n"), [(30, 15_000), (1000, 60_000), (7000, 60_000)])
def test_rows_in_sorted_order_are_noticed_once(size, n):
    X = overlapping(n)
    X = X[np.argsort(X[:, 0])]
    model = GaussianMixture(3, **start_of(5000))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for start in range(0, len(X), size):
            model.partial_fit(X[start : start + size])
    assert [warning.category for warning in seen] == [OrderWarning]
    assert "half_life or window" in str(seen[0].message)
    assert model.score(X) >= converged_score(n) - 3e-2


def in_regions(X, rows):
    """Regions of so many rows, of one cluster each."""
    labels = GaussianMixture(3, **start_of(5000)).fit_predict(X)
    regions = np.array_split(np.argsort(labels, kind="stable"), len(X) // rows)
    return X[np.concatenate([regions[place] for place in np.random.default_rng(0).permutation(len(regions))])]


@pytest.mark.parametrize("order", ["image", "sorted"])
def test_what_was_learnt_before_the_order_was_noticed_does_not_stay(order):
    X = overlapping(60_000)
    X = in_regions(X, 500) if order == "image" else X[np.argsort(X[:, 0])]
    model = GaussianMixture(3, random_state=0, **start_of(5000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrderWarning)
        for part in np.array_split(X, 77):
            model.partial_fit(part)
            covered = model._state.stream.state.accumulated
            if covered is not None:  # every row is in the sum once, whatever was replaced in it
                n_waiting = sum(held.likelihood.rows for _, held in model._state.stream.state.partial_sums)
                assert covered.likelihood.rows + n_waiting == model.n_samples_seen_
                np.testing.assert_allclose(covered.statistics.counts.sum(), covered.likelihood.rows, rtol=1e-12)
    assert model._state.stream.state.monitor.has_drifted == (order == "sorted")
    exact = np.sum(model.score_samples(X))
    assert model.criteria_["bound"].log_likelihood <= exact
    assert model.score(X) >= converged_score(60_000) - 5e-4


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 10))])
def test_rows_in_random_order_are_not_called_sorted(seed):
    """The rule's own false-alarm rate is far below 1e-6 a stream."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = GaussianMixture(3, random_state=seed)
        for part in np.array_split(overlapping(20_000, seed), 41):
            model.partial_fit(part)
        GaussianMixture(3, algorithm="stepwise", max_iter=1, random_state=seed).fit(overlapping(20_000, seed))


@pytest.mark.parametrize("make", [np.asarray, lambda X: da.from_array(X, chunks=(4999, -1))])
def test_one_pass_over_sorted_storage_warns_and_is_as_good(make):
    X = overlapping(60_000)
    X = X[np.argsort(X[:, 0])]
    with pytest.warns(OrderWarning, match="algorithm='auto'"):
        model = GaussianMixture(3, algorithm="stepwise", max_iter=1, **start_of(5000)).fit(make(X))
    assert model.score(X) >= converged_score(60_000) - 1e-3


def test_contradicting_settings_are_refused():
    X = overlapping(100)
    with pytest.raises(InputError, match="half_life and step_size"):
        GaussianMixture(2, half_life=10.0, step_size=0.1).partial_fit(X)
    with pytest.raises(InputError, match="half_life and window"):
        GaussianMixture(2, half_life=10.0, window=10).partial_fit(X)


def test_steps_of_one_over_t_are_accepted_as_a_value():
    X = overlapping(9000)
    model = GaussianMixture(3, random_state=0, step_size=Reciprocal())
    for part in np.array_split(X, 9):
        model.partial_fit(part)
    assert model.score(X) >= GaussianMixture(3, random_state=0).fit(X).score(X) - 5e-3
    assert Constant(0.1) == Constant(0.1)


class LedgerMachine(RuleBasedStateMachine):
    """Rows and tokens are counted exactly, whatever fails and however often the model is restarted."""

    def __init__(self):
        super().__init__()
        self.model = GaussianMixture(2, random_state=0)
        self.rows, self.tokens, self.random = 0, set(), np.random.default_rng(0)

    @rule(n=st.integers(1, 60), token=st.none() | st.integers(0, 20) | st.sampled_from(["a", "b"]))
    def learn(self, n, token):
        self.model.partial_fit(self.random.normal(size=(n, 2)), token=token)
        if token is None or token not in self.tokens:
            self.rows += n
        self.tokens |= {token} - {None}

    @rule(n=st.integers(1, 30), token=st.integers(0, 20))
    def fail(self, n, token):
        X = self.random.normal(size=(n, 2))
        X[-1, -1] = np.nan
        if token not in self.tokens and hasattr(self.model, "means_"):
            with pytest.raises(ValueError):
                self.model.partial_fit(X, token=token)

    @rule()
    def restart(self):
        if hasattr(self.model, "n_samples_seen_"):
            with tempfile.TemporaryDirectory() as folder:
                self.model.save(Path(folder) / "model")
                self.model = load(Path(folder) / "model")

    @invariant()
    def every_row_counts_once(self):
        assert getattr(self.model, "n_samples_seen_", 0) == self.rows
        if hasattr(self.model, "means_"):
            assert self.model.criteria_["bound"].n_samples == self.rows


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)


@given(st.lists(st.integers(-50, 50), max_size=60))
def test_tokens_are_a_set_of_integers(numbers):
    from streamgmm.fitting.tokens import Tokens

    tokens = Tokens()
    for number in numbers:
        tokens = tokens.add(number)
    assert [number in tokens for number in range(-52, 53)] == [number in set(numbers) for number in range(-52, 53)]
    assert all(before[1] < after[0] for before, after in pairwise(tokens.numbers.intervals))


@pytest.mark.parametrize("settings", [{"window": 1000}, {"half_life": 100.0}, {"step_size": 0.1, "batch_size": 10}])
def test_what_is_forgotten_is_the_oldest_also_within_one_call(settings):
    random = np.random.default_rng(0)
    X = np.concatenate([random.normal(size=(2000, 1)), 100 + random.normal(size=(1000, 1))])
    many = GaussianMixture(1, random_state=0, **settings)
    for part in np.array_split(X, 300):
        many.partial_fit(part)
    calls = [X, iter(np.array_split(X, 100)), da.from_array(X, chunks=(777, 1))]
    for model in (many, *(GaussianMixture(1, random_state=0, **settings).partial_fit(rows) for rows in calls)):
        assert model.means_[0, 0] == pytest.approx(100.0, abs=3.5)  # a window may have rows before it, 1 in 28
        assert model.n_samples_seen_ == 3_000
        if "window" in settings:
            assert 1000 <= model.criteria_["bound"].n_samples <= 1050


def test_a_window_is_exact_to_a_20th_of_it_whatever_the_calls():
    X = overlapping(1000)
    for window, length in ((100, 900), (100, 7), (640, 300), (640, 1000)):
        model = GaussianMixture(3, window=window, **start_of(500, 1000))
        for part in np.split(X, range(length, 1000, length)):
            model.partial_fit(part)
        assert window <= model.criteria_["bound"].n_samples <= window * 1.05


@pytest.mark.parametrize(
    "make",
    [
        lambda X: (iter([X]), iter([np.zeros(len(X))])),
        lambda X: (da.from_array(X, chunks=(100, 3)), da.zeros(len(X), chunks=100)),
        lambda X: (X, np.zeros(len(X))),
    ],
)
def test_rows_without_weight_are_refused_by_a_model_that_has_learnt_nothing(make):
    X = overlapping(500)
    model = GaussianMixture(3, **start_of(500))
    with pytest.raises(InputError, match="at least one non-zero"):
        model.partial_fit(*make(X)[:1], sample_weight=make(X)[1])
    with pytest.raises(NotFittedError):
        model.predict(X)
    assert not hasattr(model, "means_") and model._state.stream is None


def test_an_array_that_turns_out_to_be_empty_is_no_work():
    X = da.from_array(overlapping(500), chunks=(100, 3))
    model = GaussianMixture(3, **start_of(500)).partial_fit(X[X[:, 0] > 1e9])
    assert not hasattr(model, "means_")
    model.partial_fit(X).partial_fit(X[X[:, 0] > 1e9])
    assert model.n_samples_seen_ == 500


def test_batches_have_the_same_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(overlapping(1000), columns=["a", "b", "c"])

    def batches_of():
        return iter([frame[:500], frame[500:][["c", "b", "a"]]])

    for learn in (GaussianMixture(2).partial_fit, GaussianMixture(2).fit):
        with pytest.raises(InputError, match="Batch 1 of X has the columns c, b, a, but batch 0 has a, b, c"):
            learn(batches_of())
    with pytest.raises(InputError, match="Batch 1"):
        GaussianMixture(2).fit(batches_of)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"n_components": 5}, "n_components=5"),
        ({"covariance_type": "diag"}, "covariance_type='diag'"),
        ({"covariance_type": "foo"}, "covariance_type"),
        ({"batch_size": 0}, "batch_size"),
        ({"window": 0}, "window"),
        ({"averaging": "no"}, "averaging"),
        ({"reg_covar": -1.0}, "reg_covar"),
        ({"step_size": lambda *_: 0.1}, "step_size"),
        ({"step_size": PowerDecay}, "step_size"),
    ],
)
def test_settings_that_were_changed_are_checked_before_anything_is_learnt(changed, error, tmp_path):
    X = overlapping(2000)
    model = deepcopy(begun(2000))
    before = deepcopy({**vars(model), **state(model)})
    model.set_params(**changed)
    with pytest.raises(ValueError, match=error):
        model.partial_fit(X)
    if "step_size" not in changed:
        with pytest.raises(ValueError, match=error):
            model.save(tmp_path / "model")
    model.set_params(**{name: before[name] for name in changed})
    np.testing.assert_equal(model.means_, before["means_"])
    assert model.n_samples_seen_ == before["n_samples_seen_"]


def test_a_warning_that_is_an_error_leaves_the_model_as_it_was():
    X = overlapping(20_000)
    X = X[np.argsort(X[:, 0])]
    model = GaussianMixture(3, **start_of(2000))
    seen = 0
    with warnings.catch_warnings(), pytest.raises(OrderWarning):
        warnings.simplefilter("error")
        for number, part in enumerate(np.array_split(X, 40)):
            model.partial_fit(part, token=str(number))
            seen += len(part)
    assert model.n_samples_seen_ == model.criteria_["bound"].n_samples == seen
    with pytest.warns(OrderWarning):
        model.partial_fit(part, token=str(number))
    assert model.n_samples_seen_ == seen + len(part)


def test_an_interrupted_call_has_happened_wholly_or_not_at_all():
    """Interrupted at every line that partial_fit itself runs, one after the other."""
    X = overlapping(300)
    fresh = GaussianMixture(3, **start_of(500)).partial_fit(X)
    point = 0
    while True:
        model, lines = deepcopy(fresh), 0

        def interrupt(frame, event, argument, point=point):
            nonlocal lines
            if "streamgmm/estimator/updates" not in frame.f_code.co_filename.replace("\\", "/"):
                return None
            if event == "line":
                lines += 1
                if lines > point:
                    raise KeyboardInterrupt
            return interrupt

        before = sys.gettrace()
        try:
            sys.settrace(interrupt)
            model.partial_fit(X, token="x")
            finished = True
        except KeyboardInterrupt:
            finished = False
        finally:
            sys.settrace(before)
        learnt = model.n_samples_seen_ == 600
        assert ("x" in model._state.tokens) == learnt
        assert model._state.stream.n_rows == model.criteria_["bound"].n_samples == model.n_samples_seen_
        if finished:
            break
        point += 1
    assert learnt and point > 20


def test_an_iterator_that_waits_for_rows_can_be_interrupted():
    def endless():
        yield from np.array_split(overlapping(3000), 3)
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        threading.Event().wait(60)

    def stop(signum, frame):
        raise KeyboardInterrupt

    model = GaussianMixture(3, **start_of(500))
    handler = signal.signal(signal.SIGALRM, stop)
    before = monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(endless())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
    assert monotonic() - before < 30
    assert not hasattr(model, "means_")


def test_an_iterator_is_refused_where_it_would_be_read_twice_and_a_warm_start_continues():
    X = overlapping(4000)

    def parts():
        return iter(np.array_split(X, 4))

    for named in ({"algorithm": "batch", "max_iter": 0}, {"algorithm": "incremental"}, {"max_iter": 0}):
        with pytest.raises(ValueError, match="only once"):
            GaussianMixture(3, **named).fit(parts())
    with pytest.raises(ValueError, match="fit_predict"):
        GaussianMixture(3).fit_predict(parts())
    model = GaussianMixture(3, random_state=0, warm_start=True).fit(X)
    before = model.means_
    np.testing.assert_allclose(model.fit(parts()).means_, before, atol=0.2)


@pytest.mark.parametrize("weight", [1e-250, 1e200])
def test_extreme_weights_are_learnt_without_a_warning(weight):
    X = overlapping(3000)
    model = GaussianMixture(3, random_state=0).partial_fit(X, sample_weight=np.full(3000, weight))
    np.testing.assert_allclose(model.means_, begun(3000).means_, atol=1e-6)


def test_tokens_that_cannot_be_kept_are_refused_and_copies_are_apart():
    X = overlapping(2000)
    model = GaussianMixture(3, random_state=0).partial_fit(X, token="a\ud800")
    with pytest.raises(InputError, match="64 bits"):
        model.partial_fit(X, token=10**30)
    other = copy(model)
    other.partial_fit(X[:10], token="b")
    assert model.partial_fit(X[:10], token="b").n_samples_seen_ == 2010


def test_the_bound_is_that_of_the_attributes_also_in_float32():
    X = (np.random.default_rng(0).normal(size=(50_000, 2)) * 0.05 + 1000).astype(np.float32)
    model = GaussianMixture(1).partial_fit(X)
    assert model.means_.dtype == np.float32
    assert model.criteria_["bound"].log_likelihood <= model.score(X) * len(X) + 1e-3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_is_to_be_forgotten_by_partial_fit_does_not_slow_a_fit_down():
    X = overlapping(4000)
    for algorithm in ("stepwise", "incremental"):
        fit = GaussianMixture(3, algorithm=algorithm, max_iter=1, random_state=0, **start_of(4000))
        plain = fit.fit(X).history_
        assert len(fit.set_params(window=10).fit(X).history_) == len(plain)
    assert len(fit.set_params(window=None, half_life=20.0).fit(X).history_) == len(plain)
