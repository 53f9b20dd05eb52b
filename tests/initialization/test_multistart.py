"""Many starts, tried on a sample: what they lead to, and what is restarts of them."""

import pickle
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import sklearn.mixture
from numpy.random import RandomState
from threadpoolctl import threadpool_limits

from streamgmm import GaussianMixture, load
from streamgmm.data import threads
from streamgmm.data.source import Chunk
from streamgmm.data.subsample import Subsample
from streamgmm.errors import StreamGMMError
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.initialization import find_starts as finding
from streamgmm.initialization import multistart
from streamgmm.initialization.multistart import Restarts, measure_disagreement, run_multistart
from streamgmm.initialization.search_settings import SearchBudget, choose_budget
from streamgmm.initialization.start_methods import MULTISTART_METHODS, estimate_start, whiten
from streamgmm.initialization.user_start import UserStart
from streamgmm.initialization.validation import ValidationSplit
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import n_parameters
from streamgmm.model.em import make_parameters

FAMILIES = list(STRUCTURES)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def never_little(patch):
    patch.setattr(finding, "is_small_problem", lambda *shape: False)
    patch.setattr("streamgmm.fitting.plan.is_small_problem", lambda *shape: False)


@pytest.fixture
def many(monkeypatch):
    """Run multi-start however few the rows are."""
    never_little(monkeypatch)


@cache
def searched_fit(draw, k):
    """Fit by multi-start; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        never_little(patch)
        return GaussianMixture(k, random_state=0).fit(draw())


def drawn(means, n, random, scales=1.0, weights=None):
    means = np.asarray(means, float)
    labels = random.choice(len(means), size=n, p=weights)
    scales = np.broadcast_to(scales, means.shape)
    return means[labels] + scales[labels] * random.normal(size=(n, means.shape[1]))


def easy(seed=0, n=1500):
    """Four clusters, 12 standard deviations from each other."""
    return drawn(12.0 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]]), n, np.random.default_rng(seed))


def hard(seed=0, n=2000):
    """Eight clusters on top of each other."""
    random = np.random.default_rng(seed)
    return drawn(1.5 * random.normal(size=(8, 2)), n, random)


def unequal(seed):
    random = np.random.default_rng(seed)
    weights = [0.6, 0.25, 0.1, 0.04, 0.01]
    return drawn(4.0 * random.normal(size=(5, 3)), 1500, random, random.uniform(0.5, 1.5, size=(5, 3)), weights)


def crossing(seed):
    """Three long clusters that cross each other."""
    random = np.random.default_rng(seed)
    angles = random.uniform(0.0, np.pi, size=3)[random.integers(3, size=3000)]
    along, across = 4.0 * random.normal(size=3000), 0.2 * random.normal(size=3000)
    turned = [along * np.cos(angles) - across * np.sin(angles), along * np.sin(angles) + across * np.cos(angles)]
    return np.stack(turned, axis=1)


def on_a_grid(seed):
    """Nine clusters, each beside others."""
    centres = np.stack(np.meshgrid(*[4.0 * np.arange(3)] * 2), axis=-1).reshape(-1, 2)
    return drawn(centres, 1500, np.random.default_rng(seed))


def given(k=4):
    return {"weights_init": np.full(k, 1 / k), "means_init": easy()[:k], "precisions_init": np.stack([np.eye(2)] * k)}


def search_starts(rows, k, n_init=1, seed=0, weights=None, family="full", moved=True):
    """Run multi-start, with moves after it if `moved`: they do not change the restarts."""
    budget = choose_budget(STRUCTURES[family], k, rows.shape[1], len(rows))
    budget = budget if moved else budget._replace(move_rounds=0)
    return run_multistart(Subsample(rows, weights), STRUCTURES[family], k, n_init, RandomState(seed), 1e-6, budget)


def fitted(model):
    return [getattr(model, name).tobytes() for name in ("weights_", "means_", "covariances_")]


def assert_valid(parameters, k, d):
    assert parameters.means.shape == (k, d)
    assert parameters.weights.min() >= 0.0
    assert parameters.weights.sum() == pytest.approx(1.0, abs=1e-9)
    for array in (parameters.weights, parameters.means, parameters.covariances, parameters.precision_factors):
        assert np.isfinite(array).all()


# ---------------------------------------------------------------------- reproducibility


def test_calls_and_threads_give_the_same_bits(many, monkeypatch):
    # scikit-learn's k-means adds up in the order in which its threads are done
    methods = {name: method for name, method in MULTISTART_METHODS.items() if not name.startswith("kmeans")}
    monkeypatch.setattr(multistart, "MULTISTART_METHODS", methods)
    rows, found = hard(n=6000), []
    for n_threads in (1, 2, 2, 3):
        with threads.limit(n_threads), threadpool_limits(n_threads):
            found.append(GaussianMixture(6, random_state=0, max_iter=5).fit(rows))
    assert all(fitted(one) == fitted(found[0]) for one in found)
    assert all(one.restarts_ == found[0].restarts_ for one in found)


def test_the_same_seed_gives_the_same_scores(many):
    one, other = (search_starts(easy(), 4, n_init=2)[1] for _ in range(2))
    assert one.methods == other.methods
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)


def test_another_seed_gives_other_starts():
    one, other = (search_starts(hard(), 6, seed=seed, moved=False)[1] for seed in (0, 1))
    assert one.scores != other.scores


# ---------------------------------------------------------------------- number of starts


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("init_params", ["auto", "kmeans", "split"])
@pytest.mark.parametrize("n_init", [1, 3])
def test_one_component_is_the_mean_of_the_rows(family, init_params, n_init, many):
    settings = {"covariance_type": family, "n_init": n_init, "init_params": init_params, "random_state": 0}
    model = GaussianMixture(1, **settings).fit(hard())
    np.testing.assert_allclose(model.means_[0], hard().mean(axis=0), atol=1e-9)
    assert model.converged_


def test_n_init_starts_are_fitted_and_the_best_fit_is_kept(many):
    rows = hard(1)
    mixtures, _ = finding.find_starts(
        Subsample(rows, None), UserStart(STRUCTURES["full"], None, None, None), 6, "auto", 3, RandomState(0), 1e-6
    )
    assert len(mixtures) == 3
    ends = []
    for one in mixtures:
        precisions = one.precision_factors @ one.precision_factors.transpose(0, 2, 1)
        begin = {"weights_init": one.weights, "means_init": one.means, "precisions_init": precisions}
        ends.append(GaussianMixture(6, max_iter=1000, **begin).fit(rows).lower_bound_)
    model = GaussianMixture(6, max_iter=1000, n_init=3, random_state=0).fit(rows)
    # precisions that are given are rounded, and a fit leaves up to 1.8e-4 to gain; the next best is 7e-4 below
    assert model.lower_bound_ == pytest.approx(max(ends), abs=1e-5)


def test_every_start_that_is_kept_scores_above_the_median():
    rows = hard()
    mixtures, restarts = search_starts(rows, 6, n_init=3)
    split = ValidationSplit.from_all_rows(Subsample(rows, None), STRUCTURES["full"], 1e-6)
    assert split.score_on_validation(mixtures).min() > np.median(restarts.scores) - 0.01


def test_starts_are_scored_on_all_rows_even_if_the_first_round_learns_from_few(tune):
    tune(training_rows=300)
    for seed in range(3):
        rows = unequal(seed)
        (best,), restarts = search_starts(rows, 5, seed=seed)
        (score,) = ValidationSplit.from_all_rows(Subsample(rows, None), STRUCTURES["full"], 1e-6).score_on_validation(
            [best]
        )
        assert score == pytest.approx(max(restarts.scores) + sum(restarts.gains), abs=1e-9)
        assert not restarts.is_held_out


def test_starts_are_scored_on_validation_rows_where_rows_per_parameter_are_few(tune):
    tune(training_rows=300)
    tune(uncertain_rows_per_parameter=2000 / n_parameters(STRUCTURES["full"], 6, 2))
    assert not search_starts(hard(n=2000), 6, moved=False)[1].is_held_out
    assert search_starts(hard(n=1999), 6, moved=False)[1].is_held_out


def test_fewer_starts_are_tried_on_very_large_input(many, tune):
    rows = hard()
    before = len(searched_fit(hard, 6).restarts_.methods)
    tune(large_rows=len(rows))
    model = GaussianMixture(6, random_state=0, max_iter=1).fit(rows)
    assert len(model.restarts_.methods) <= len(MULTISTART_METHODS) < before
    assert model.restarts_.gains == ()


# ---------------------------------------------------------------------- restarts


def test_every_start_that_was_tried_has_a_method_and_a_score():
    model = searched_fit(hard, 6)
    restarts = model.restarts_
    assert len(restarts.methods) == len(restarts.scores) > 1
    assert set(restarts.methods) <= set(MULTISTART_METHODS)
    assert np.isfinite(restarts.scores).all()
    assert not restarts.is_held_out
    assert max(restarts.scores) + sum(restarts.gains) <= model.lower_bound_ + 1e-9
    assert repr(restarts).startswith(f"Restarts({len(restarts.methods)} starts, best by ")
    assert "\n" not in repr(restarts)


def test_restarts_survive_files_and_pickles(tmp_path):
    model = deepcopy(searched_fit(hard, 6))
    model.restarts_ = replace(model.restarts_, scores=(-np.inf, *model.restarts_.scores[1:]))
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").restarts_ == model.restarts_
    assert pickle.loads(pickle.dumps(model)).restarts_ == model.restarts_


@pytest.mark.parametrize("n_rows", [60, 1500])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_restarts_are_finite_however_few_starts_were_tried(n_rows, k, many):
    restarts = getattr(GaussianMixture(k, random_state=0).fit(easy(n=n_rows)), "restarts_", None)
    assert k == 1 or restarts is not None
    if restarts is not None:
        assert np.isfinite(restarts.scores).all()
        assert "nan" not in repr(restarts)


@pytest.mark.parametrize(
    "settings",
    [
        given(),
        {"init_params": "kmeans"},
        {"init_params": "split"},
        {"means_init": easy()[:4]},
        {"warm_start": True},
    ],
    ids=lambda settings: ", ".join(settings),
)
def test_a_fit_without_multistart_has_no_restarts(settings, many):
    model = deepcopy(searched_fit(easy, 4))
    assert isinstance(model.restarts_, Restarts)
    model.set_params(**settings).fit(easy())
    assert not hasattr(model, "restarts_")


def test_a_fit_to_an_iterator_replaces_the_restarts_of_the_fit_before(many):
    model = deepcopy(searched_fit(easy, 4))
    before = model.restarts_
    model.fit(iter([hard(), hard(1)]))
    assert getattr(model, "restarts_", None) != before


def test_the_parts_of_a_start_that_are_not_given_come_from_k_means():
    settings = {"means_init": easy()[:4], "random_state": 0}
    models = [GaussianMixture(4, init_params=method, **settings) for method in ("auto", "kmeans")]
    np.testing.assert_allclose(*(model.fit(easy()).means_ for model in models), atol=1e-6)


def test_degenerate_starts_are_left_out(monkeypatch):
    def on_one_row(subsample, k, random):
        responsibilities = np.zeros((len(subsample.rows), k))
        responsibilities[:, 0] = 1.0
        responsibilities[: k - 1] = np.eye(k)[1:]
        return responsibilities

    monkeypatch.setattr(
        multistart, "MULTISTART_METHODS", {"on one row": (on_one_row, False), "kmeans": MULTISTART_METHODS["kmeans"]}
    )
    settings = Subsample(hard(), None), STRUCTURES["full"], 4, 1, RandomState(0), 0.0, SearchBudget(12, 1)
    assert set(run_multistart(*settings)[1].methods) == {"kmeans"}
    monkeypatch.setattr(multistart, "MULTISTART_METHODS", {"on one row": (on_one_row, False)})
    with pytest.raises(StreamGMMError):
        run_multistart(*settings)


@pytest.mark.parametrize("n_starts, runs", [(2, [2]), (6, [6, 2]), (12, [12, 4, 2])])
def test_a_halving_round_that_would_drop_no_start_is_skipped(monkeypatch, n_starts, runs):
    ran, run = [], ValidationSplit.run_em

    def noted(split, starts, passes, **how):
        ran.append(len(starts))
        return run(split, starts, passes, **how)

    monkeypatch.setattr(ValidationSplit, "run_em", noted)
    run_multistart(Subsample(hard(), None), STRUCTURES["full"], 4, 1, RandomState(0), 1e-6, SearchBudget(n_starts, 0))
    assert ran == runs


# ---------------------------------------------------------------------- moves


def test_moves_are_tried_even_if_all_starts_reach_one_optimum(monkeypatch):
    # k-means halves what is long, and takes two that are small and near each other for one
    random = np.random.default_rng(0)
    long, small = [20.0, 2.0] * random.normal(size=(1400, 2)), 0.1 * random.normal(size=(600, 2))
    rows = np.concatenate([long, small + [100.0, 0.0] + [0.0, 1.0] * (np.arange(600) % 2)[:, None]])
    monkeypatch.setattr(multistart, "MULTISTART_METHODS", {"kmeans": MULTISTART_METHODS["kmeans"]})
    (best,), restarts = search_starts(rows, 3)
    assert restarts.disagreement < 0.05
    assert sum(restarts.gains) > 0.1
    np.testing.assert_allclose(sorted(best.weights), [0.15, 0.15, 0.7], atol=0.01)


# ---------------------------------------------------------------------- disagreement


def at(middles):
    means = np.array(middles, float)[:, None]
    k = len(means)
    return make_parameters(np.full(k, 1 / k), means, np.full((k, 1, 1), 0.01), STRUCTURES["full"])


def test_disagreement_is_measured_after_matching_components():
    rows = np.linspace(0.0, 1.0, 1001)[:, None]
    split = Subsample(rows, None)
    assert measure_disagreement(at([0.1, 0.5, 0.9]), at([0.9, 0.1, 0.5]), split) == 0.0
    assert measure_disagreement(at([0.25, 0.75]), at([0.85, 0.35]), split) == pytest.approx(0.1, abs=0.002)
    one, other = at([0.1, 0.5, 0.9]), at([0.1, 0.6, 5.0])  # bounds 0.3, 0.7 and 0.35, none
    assert measure_disagreement(one, other, split) == pytest.approx(0.05 + 0.3, abs=0.002)
    assert measure_disagreement(one, other, split) == measure_disagreement(other, one, split)


def test_starts_agree_on_separated_clusters_only(many):
    for seed in range(4):
        assert search_starts(easy(seed), 4, seed=seed, moved=False)[1].disagreement == 0.0
        assert search_starts(hard(seed), 8, seed=seed, moved=False)[1].disagreement > 0.01


def test_the_last_round_has_two_starts_to_compare(many):
    # a square of clusters is two columns or two rows, which are as good where the rows are symmetric
    squares = [np.concatenate([easy(seed), easy(seed)[:, ::-1]]) for seed in range(8)]
    restarts = [search_starts(square, 2, seed=seed, moved=False)[1].disagreement for seed, square in enumerate(squares)]
    assert max(restarts) == pytest.approx(0.5, abs=0.05)
    assert min(restarts) < 0.01


# ---------------------------------------------------------------------- start methods on any rows


def peculiar():
    random = np.random.default_rng(0)
    rows = drawn([[0, 0], [5, 0], [0, 5]], 120, random)
    zeros = (random.random(120) < 0.5).astype(float)
    return {
        "as many as components": (rows[:3], None),
        "a constant column": (np.column_stack([rows, np.full(120, 7.0)]), None),
        "repeated": (np.repeat(rows[:5], 24, axis=0), None),
        "all equal": (np.ones((60, 2)), None),
        "float32, far off": ((rows + 1e6).astype(np.float32), None),
        "weights of 0": (rows, zeros),
        "one of weight": (rows, np.eye(120)[3]),
        "integers": ((100 * rows).astype(np.int16), None),
        "bytes": (random.integers(0, 255, size=(120, 2)).astype(np.uint8), None),
        "tiny": (1e-160 * rows, None),
        "huge": (1e148 * rows, None),
    }


@pytest.mark.parametrize("method", MULTISTART_METHODS)
@pytest.mark.parametrize("name", peculiar())
def test_every_start_method_gives_a_start_on_any_rows(method, name):
    rows, weights = peculiar()[name]
    subsample = Subsample(rows, weights)
    function, is_whitened = MULTISTART_METHODS[method]
    responsibilities = function(whiten(subsample) if is_whitened else subsample, 3, RandomState(0))
    assert responsibilities.shape == (len(rows), 3)
    np.testing.assert_allclose(responsibilities.sum(axis=1), 1.0)
    for structure in STRUCTURES.values():
        assert_valid(estimate_start(subsample, responsibilities, structure, 1e-6), 3, rows.shape[1])


# ---------------------------------------------------------------------- passes


class CountingSource:
    """Rows in chunks of 500 that count how often each is read."""

    n_features, dtype, feature_names, weighted, repeatable = 2, np.dtype(float), None, False, True

    def __init__(self, rows):
        self.rows, self.n_rows, self.reads = rows, len(rows), Counter()

    def chunks(self):
        for index, first in enumerate(range(0, self.n_rows, 500)):
            self.reads[index] += 1
            part = self.rows[first : first + 500]
            yield Chunk(index, part, None, first, len(part))

    def map(self, function, dtype, n_columns):
        raise NotImplementedError


@pytest.mark.parametrize("init_params", ["auto", "split"])
@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("max_iter", [0, 2, 100])
def test_starts_are_computed_in_one_pass(many, init_params, n_init, max_iter):
    source = CountingSource(easy())
    settings = {"init_params": init_params, "n_init": n_init, "max_iter": max_iter}
    model = GaussianMixture(4, random_state=0, **settings).fit(source)
    assert set(source.reads) == {0, 1, 2}
    if n_init == 1:
        assert set(source.reads.values()) == {1 + model.n_iter_ + 1}
    else:
        (reads,) = set(source.reads.values())
        assert 1 + model.n_iter_ + 1 <= reads <= 1 + max_iter + 1


# ---------------------------------------------------------------------- extremes


def extremes():
    random = np.random.default_rng(0)
    rows = drawn([[0, 0], [5, 0], [0, 5]], 200, random)
    return {
        "as many rows as components": (rows[:3], 3),
        "two rows": (rows[:2], 2),
        "all rows equal": (np.full((50, 2), 3.0), 3),
        "fewer centres than components": (np.repeat(rows[:2], 30, axis=0), 3),
        "as large as can be squared": (rows / np.abs(rows).max() * 1e150, 3),
        "too large": (1e160 * rows, 3),
        "too small to be squared": (1e-200 * rows, 3),
        "one row far off": (np.vstack([rows, [[1e12, -1e12]]]), 3),
        "far from zero": (rows + 1e9, 3),
        "one constant column": (np.column_stack([rows, np.full(200, -2.0)]), 3),
        "one column": (rows[:, :1], 3),
        "more columns than rows": (random.normal(size=(5, 9)), 2),
    }


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", extremes())
def test_extreme_rows_are_fitted_or_refused_with_a_message(family, name, many):
    rows, k = extremes()[name]
    model = GaussianMixture(k, covariance_type=family, random_state=0)
    if name == "too large":
        with pytest.raises(StreamGMMError, match="too large to be squared"):
            model.fit(rows)
        return
    model.fit(rows)
    assert_valid(get_parameters(model), k, rows.shape[1])
    assert np.isfinite(model.score_samples(rows)).all()
    assert np.isfinite(model.lower_bounds_).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", [hard(n=30), hard().round()], ids=["few", "rounded"])
def test_few_distinct_rows_are_fitted_by_many_components_without_a_warning(rows, family, many):
    assert_valid(get_parameters(GaussianMixture(8, covariance_type=family, random_state=0).fit(rows)), 8, 2)


def test_fewer_rows_with_weight_than_components_are_fitted_or_refused_with_a_message(many):
    weights = np.zeros(200)
    weights[:3] = 1.0
    try:
        model = GaussianMixture(8, random_state=0).fit(hard(n=200), sample_weight=weights)
    except StreamGMMError:
        return
    assert_valid(get_parameters(model), 8, 2)


# ---------------------------------------------------------------------- beside the best of ten starts of scikit-learn


SETS = {"overlapping": (hard, 8), "unequal": (unequal, 5), "crossing": (crossing, 3), "on a grid": (on_a_grid, 9)}


@cache
def leads():
    """Nats a row that the default is above the best of ten of scikit-learn's."""
    found = {}
    for name, (draw, k) in SETS.items():
        for seed in range(4):
            rows = draw(seed)
            # added to every variance, and enough that no fit can win by collapsing
            settings = {"n_components": k, "reg_covar": 1e-3 * rows.var(axis=0).mean(), "random_state": seed}
            ours = GaussianMixture(**settings).fit(rows).score(rows)
            with threadpool_limits(1):  # threads that wait for each other spinning take for ever on a busy machine
                theirs = sklearn.mixture.GaussianMixture(**settings, n_init=10).fit(rows).score(rows)
            found[name, seed] = ours - theirs
    return found


@pytest.mark.long
def test_the_default_is_as_good_as_the_best_of_ten_of_scikit_learns():
    assert sum(lead >= -1e-3 for lead in leads().values()) >= 0.9 * len(leads()), leads()


@pytest.mark.long
def test_the_default_is_never_far_below():
    assert min(leads().values()) >= -0.1, leads()
