"""Repeated k-means: the partitions are scikit-learn's, and the best end of EM decides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState
from sklearn.cluster import KMeans

from streamgmm import GaussianMixture, load
from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization import find_starts as finding
from streamgmm.initialization.multistart import run_multistart, run_repeated_kmeans
from streamgmm.initialization.start_methods import repeat_kmeans
from streamgmm.initialization.user_start import UserStart
from streamgmm.initialization.validation import ValidationSplit
from streamgmm.model.covariances import STRUCTURES

FULL = STRUCTURES["full"]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def drawn(seed, n, d, places=5, scale=2.0):
    random = np.random.default_rng(seed)
    return scale * random.normal(size=(places, d))[random.integers(places, size=n)] + random.normal(size=(n, d))


def named_by_first_rows(labels):
    _, firsts, names = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[names]


# ---------------------------------------------------------------------- partitions


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(12, 200),
    st.integers(1, 5),
    st.integers(2, 8),
    st.booleans(),
    st.sampled_from([0.0, -1e5]),
    st.sampled_from([1e-150, 1.0, 1e120]),
)
def test_partitions_are_those_of_scikit_learns_k_means(seed, n, d, k, weighted, offset, unit):
    rows = drawn(seed, n, d) + offset
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, size=n) if weighted else None
    random = RandomState(seed)
    theirs = [KMeans(k, n_init=1, random_state=random).fit(rows, sample_weight=weights).labels_ for _ in range(4)]
    kept, which = repeat_kmeans(Subsample(unit * rows, weights), k, RandomState(seed), 4)
    for place, labels in zip(which, theirs, strict=True):
        ours = kept[place].argmax(axis=1)
        np.testing.assert_array_equal(named_by_first_rows(ours), named_by_first_rows(labels))


@given(st.integers(0, 10**6), st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_every_partition_is_returned_once(seed, k):
    kept, which = repeat_kmeans(Subsample(drawn(seed, 40, 2), None), k, RandomState(seed), 10)
    assert set(which) == set(range(len(kept)))
    names = [tuple(named_by_first_rows(one.argmax(axis=1))) for one in kept]
    assert len(set(names)) == len(names)


def test_draws_continue_the_random_stream():
    rows = drawn(0, 100, 2)
    random = RandomState(0)
    halves = [repeat_kmeans(Subsample(rows, None), 6, random, 5) for _ in range(2)]
    whole = repeat_kmeans(Subsample(rows, None), 6, RandomState(0), 10)
    found = [kept[place] for kept, which in halves for place in which]
    for one, place in zip(found, whole[1], strict=True):
        names = (named_by_first_rows(responsibilities.argmax(axis=1)) for responsibilities in (one, whole[0][place]))
        np.testing.assert_array_equal(*names)


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((20, 2)),
        np.repeat([[0.0, 0.0], [1.0, 5.0]], 10, axis=0),
        np.arange(20)[:, None] % 3,
        np.array([[0.0], [1.0], [3.0]]),
    ],
    ids=["one place", "two places", "three places of integers", "as many as clusters"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_fewer_distinct_rows_than_clusters_give_partitions_too(rows, weighted):
    weights = (np.arange(len(rows)) % 2 + 0.0) if weighted else None
    kept, which = repeat_kmeans(Subsample(rows, weights), 3, RandomState(0), 10)
    assert len(which) == 10
    for one in kept:
        assert one.shape == (len(rows), 3)
        np.testing.assert_array_equal(np.sort(one, axis=1), np.tile([0.0, 0.0, 1.0], (len(rows), 1)))


# ---------------------------------------------------------------------- the best start


@pytest.mark.parametrize("seed", range(4))
def test_the_start_with_the_best_end_comes_first(seed):
    rows = drawn(seed, 120, 2)
    found, restarts = run_repeated_kmeans(Subsample(rows, None), FULL, 4, 3, RandomState(seed), 1e-3)
    assert 1 <= len(found) <= 3
    ends = [
        one.lower_bound
        for one in ValidationSplit.from_all_rows(Subsample(rows, None), FULL, 1e-3).run_em_until(found, 1e-3, 100)
    ]
    assert ends == sorted(ends, reverse=True)
    assert ends[0] == pytest.approx(max(restarts.scores), abs=1e-12)
    assert len(restarts.scores) == len(restarts.methods) == 10


def test_the_best_score_is_the_lower_bound_of_the_fit(tmp_path):
    rows = drawn(1, 120, 2)
    model = GaussianMixture(4, reg_covar=1e-3, random_state=1).fit(rows)
    assert max(model.restarts_.scores) == pytest.approx(model.lower_bound_, abs=1e-12)
    assert not model.restarts_.is_held_out
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").restarts_ == model.restarts_


def test_rounding_does_not_order_equal_starts(monkeypatch):
    rows, ends = drawn(2, 120, 2), ValidationSplit.run_em_until
    begun = []

    def rounded_up(split, starts, tol, passes):
        begun[:] = starts
        ended = ends(split, starts, tol, passes)
        bound = max(one.lower_bound for one in ended)
        return [replace(one, lower_bounds=(bound + 1e-15 * place,)) for place, one in enumerate(ended)]

    monkeypatch.setattr(ValidationSplit, "run_em_until", rounded_up)
    (found,), _ = run_repeated_kmeans(Subsample(rows, None), FULL, 4, 1, RandomState(2), 1e-3)
    assert found is begun[0]


def test_a_start_that_degenerates_is_dropped(monkeypatch):
    rows = drawn(2, 120, 2)
    subsample, ends = Subsample(rows, None), ValidationSplit.run_em_until
    found, restarts = run_repeated_kmeans(subsample, FULL, 4, 2, RandomState(2), 1e-3)

    def without_the_best(split, starts, tol, passes):
        ended = ends(split, starts, tol, passes)
        best = max(range(len(ended)), key=lambda place: ended[place].lower_bound)
        return [None if place == best else one for place, one in enumerate(ended)]

    monkeypatch.setattr(ValidationSplit, "run_em_until", without_the_best)
    second, less = run_repeated_kmeans(subsample, FULL, 4, 1, RandomState(2), 1e-3)
    np.testing.assert_array_equal(second[0].means, found[1].means)
    assert less.scores == tuple(-np.inf if score == max(restarts.scores) else score for score in restarts.scores)
    monkeypatch.setattr(ValidationSplit, "run_em_until", lambda split, starts, tol, passes: [None] * len(starts))
    with pytest.raises(DegenerateError):
        run_repeated_kmeans(subsample, FULL, 4, 1, RandomState(2), 1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_the_default_fits_wherever_one_k_means_start_does(seed):
    # of so few rows many starts collapse where nothing is added to variances
    rows = drawn(seed, 24, 2)
    try:
        GaussianMixture(4, init_params="kmeans", reg_covar=0.0, random_state=seed).fit(rows)
    except DegenerateError:
        pytest.skip("it cannot")
    assert np.isfinite(GaussianMixture(4, reg_covar=0.0, random_state=seed).fit(rows).lower_bound_)


def test_costly_starts_are_repeated_less_often(tune):
    rows = drawn(0, 100, 2)
    tune(max_repeat_work=5 * 100 * 23)
    for n_init, n_starts in ((1, 5), (7, 7)):
        assert (
            len(run_repeated_kmeans(Subsample(rows, None), FULL, 4, n_init, RandomState(0), 1e-3)[1].methods)
            == n_starts
        )


@pytest.mark.parametrize(
    ("n", "d", "k", "way"),
    [
        (75, 4, 3, run_repeated_kmeans),  # few rows
        (1500, 2, 3, None),  # little data, but many rows for each free parameter: one start, and no time
        (900, 10, 10, run_repeated_kmeans),  # fewer than two rows for each
        (900, 4, 8, run_repeated_kmeans),  # fewer than 20, and none to hold out
        (3000, 4, 8, run_multistart),
        (20_000, 4, 8, run_multistart),
    ],
)
def test_the_search_depends_on_the_number_of_rows(n, d, k, way, monkeypatch):
    called = []
    for name in ("run_repeated_kmeans", "run_multistart"):
        monkeypatch.setattr(finding, name, lambda *arguments, name=name: called.append(name) or ([], None))
    subsample = Subsample(RandomState(0).normal(size=(n, d)), None)
    starts, _ = finding.find_starts(subsample, UserStart(FULL), k, "auto", 1, RandomState(0), 1e-6)
    assert called == ([way.__name__] if way else []) and len(starts) == (way is None)
