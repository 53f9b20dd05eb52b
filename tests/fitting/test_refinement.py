"""After convergence: components without use are repaired, and split_merge looks for a better optimum."""

from collections import Counter
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from streamgmm import GaussianMixture
from streamgmm.algorithms.batch import Batch
from streamgmm.algorithms.stopping import Tolerance
from streamgmm.data import execution
from streamgmm.data.sources import as_source
from streamgmm.data.subsample import Subsample
from streamgmm.errors import InputError
from streamgmm.fitting import refinement as finishing
from streamgmm.fitting.plan import EMSettings
from streamgmm.fitting.refinement import RefinementPhase, RefinementState
from streamgmm.iteration.run import Stage, run_stages, start_run
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import make_parameters

FAMILIES = list(STRUCTURES)

CENTRES = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def clusters(seed=0, n=600):
    random = np.random.default_rng(seed)
    return CENTRES[random.integers(4, size=n)] + random.normal(size=(n, 2))


def ring(seed=0, n=1600):
    random = np.random.default_rng(seed)
    angles = 2 * np.pi * np.arange(8) / 8
    centres = 10.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return centres[random.integers(8, size=n)] + random.normal(size=(n, 2)), centres


def begun(means, family="full"):
    """Settings of a start with these means, and variances of 1."""
    k, d = np.shape(means)
    shape = STRUCTURES[family].public_shape(k, d)
    is_matrix = len(STRUCTURES[family].shape(k, d)) == 3
    precisions = np.broadcast_to(np.eye(d) if is_matrix else 1.0, shape).copy()
    settings = {"covariance_type": family, "weights_init": np.full(k, 1 / k), "means_init": np.array(means, float)}
    return {**settings, "precisions_init": precisions}


def stuck(family="full"):
    """Two components on one cluster, and one on two."""
    return begun([[-0.5, 0.0], [0.5, 0.0], [0.0, 9.0], [9.0, 4.5]], family)


STARVED = [[0.0, 0.0], [9.0, 4.5], [0.0, 9.0], [1e4, 1e4]]
TWINS = [[0.0, 0.0], [9.0, 4.5], [0.0, 9.0], [0.0, 9.0]]


def all_found(model, centres=CENTRES):
    """Whether every centre is near the mean of a component of its own."""
    distances = np.linalg.norm(centres[:, None] - model.means_, axis=2)
    return distances.min(axis=1).max() < 0.6 and len(set(distances.argmin(axis=1))) == len(centres)


def events(model):
    return [record.stage for record in model.history_ if record.rows == 0]


def assert_consistent(model, max_iter=100):
    assert len(model.lower_bounds_) == model.n_iter_ <= max_iter
    assert model.lower_bound_ == model.lower_bounds_[-1]
    assert model.weights_.sum() == pytest.approx(1.0, abs=1e-9)
    columns = model.history_.columns()
    assert len(columns["stage"]) == len(model.history_)
    assert np.isfinite(columns["log_likelihood"]).all()
    assert sum(record.rows for record in model.history_) == model.n_iter_ * model.n_samples_seen_


# ---------------------------------------------------------------------- split and merge


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(8, 20))])
def test_components_move_from_where_two_are_to_where_one_is_missing(seed):
    rows = clusters(seed)
    without, moved = (GaussianMixture(4, split_merge=wanted, **stuck()).fit(rows) for wanted in (False, True))
    assert not all_found(without)
    assert events(without) == []
    assert all_found(moved)
    assert events(moved)[0] == "split and merge"
    assert moved.lower_bound_ > without.lower_bound_ + 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("algorithm", ["auto", "batch"])
def test_whatever_was_tried_the_fit_is_no_worse(family, algorithm):
    for seed in range(2):
        random = np.random.default_rng(seed)
        rows = 2.0 * random.normal(size=(5, 2))[random.integers(5, size=600)] + random.normal(size=(600, 2))
        start = begun(rows[:5], family)
        without, moved = (
            GaussianMixture(5, split_merge=wanted, algorithm=algorithm, **start).fit(rows) for wanted in (False, True)
        )
        assert moved.lower_bound_ >= without.lower_bound_
        assert_consistent(without)
        assert_consistent(moved)
        exact = moved.criteria_["exact"].log_likelihood / len(rows)
        assert exact == pytest.approx(moved.score(rows), rel=1e-9)
        assert exact >= moved.lower_bound_ - 1e-9


@pytest.mark.parametrize("max_iter", [0, 1, 2, 4, 6, 9])
@pytest.mark.parametrize("split_merge", [False, True])
def test_no_more_passes_are_spent_than_are_allowed(max_iter, split_merge):
    for means in (stuck()["means_init"], STARVED, TWINS, [[4.0, 4.0]] * 4):
        start = begun(means)
        model = GaussianMixture(4, split_merge=split_merge, max_iter=max_iter, **start).fit(clusters())
        assert len(model.lower_bounds_) == model.n_iter_ <= max_iter
        if max_iter:
            assert_consistent(model, max_iter)


@pytest.mark.parametrize("k", [1, 2])
def test_few_components_have_nothing_to_move(k):
    one, other = (GaussianMixture(k, split_merge=wanted, random_state=0).fit(clusters()) for wanted in (False, True))
    np.testing.assert_array_equal(one.means_, other.means_)


@pytest.mark.parametrize(("means", "split_merge"), [(stuck()["means_init"], True), (TWINS, False)])
def test_a_fit_in_stages_ends_with_it_too(means, split_merge, monkeypatch):
    monkeypatch.setattr("streamgmm.fitting.plan.LARGE", 2_000)
    model = GaussianMixture(4, split_merge=split_merge, **begun(means)).fit(clusters(n=4_000))
    assert model.algorithm_ == "staged"
    assert len(events(model)) == 1
    assert all_found(model)


@pytest.mark.parametrize("split_merge", [False, True])
def test_lazy_rows_give_what_rows_at_hand_give(split_merge):
    for start in (stuck(), begun(TWINS)):
        model = GaussianMixture(4, split_merge=split_merge, **start)
        mine = model.fit(clusters())
        means, history = mine.means_.copy(), events(mine)
        lazy = model.fit(da.from_array(clusters(), chunks=(130, -1)))
        np.testing.assert_allclose(lazy.means_, means, rtol=0, atol=1e-6)
        assert events(lazy) == history


@pytest.mark.parametrize("algorithm", ["stepwise", "incremental"])
def test_moves_without_batch_em_are_refused(algorithm):
    model = GaussianMixture(4, algorithm=algorithm, split_merge=True)
    with pytest.raises(InputError, match=f"split_merge .*algorithm='{algorithm}'.*split_merge=False") as caught:
        model.fit(clusters())
    assert str(caught.value).count(". ") == 0
    assert not hasattr(model, "means_")


def test_moves_of_rows_that_can_be_read_only_once_are_refused():
    with pytest.raises(InputError, match="split_merge"):
        GaussianMixture(4, split_merge=True).fit(iter([clusters(), clusters()]))


@pytest.mark.parametrize("seed", range(3))
def test_moves_have_passes_left_where_em_is_too_slow_to_settle(seed):
    random, places = np.random.default_rng(seed), np.array([[0.0, 0.0], [9.0, 0.0], [9.0, 5.0]])
    rows = places[random.integers(3, size=3000)] + random.normal(size=(3000, 2))
    start = begun([[-0.5, 0.0], [0.5, 0.0], [9.0, 2.5]])
    slow = GaussianMixture(3, max_iter=24, reg_covar=0, **start).fit(rows)
    assert not slow.converged_
    model = GaussianMixture(3, max_iter=24, reg_covar=0, split_merge=True, **start).fit(rows)
    assert all_found(model, places)
    assert_consistent(model, 24)


@pytest.mark.parametrize(("algorithm", "tol"), [("auto", "auto"), ("batch", 1e-9)])
def test_em_continues_from_its_last_parameters_if_no_move_helps(algorithm, tol, monkeypatch):
    monkeypatch.setattr(finishing, "propose_moves", lambda *_: iter(()))
    rows, _ = ring(n=4000)
    random = np.random.default_rng(0)
    rows = 0.25 * rows + random.normal(size=rows.shape)
    settings = {"n_components": 3, "algorithm": algorithm, "init_params": "random_from_data", "random_state": 0}
    settings |= {"max_iter": 40, "tol": tol}
    model = GaussianMixture(**settings, split_merge=True).fit(rows)
    assert_consistent(model, 40)
    assert "further EM" in events(model)
    half = GaussianMixture(**settings | {"max_iter": 20}).fit(rows)
    assert model.lower_bound_ > half.lower_bound_


def test_a_try_that_collapses_leaves_the_fit_as_it_was(monkeypatch):
    for seed in range(6):
        random = np.random.default_rng(seed)
        rows = random.normal(size=(6000, 2))
        rows[3000:, 0] += 8.0
        rows[3000:3300] = [8.0, 0.0] + 0.5 * random.normal(size=2)  # a tenth of a cluster at one place
        start = begun([[-0.5, 0.0], [0.5, 0.0], [8.0, 0.0]])
        moved = GaussianMixture(3, reg_covar=0, split_merge=True, **start).fit(rows)
        with monkeypatch.context() as patch:
            patch.setattr(finishing, "propose_moves", lambda *_: iter(()))
            without = GaussianMixture(3, reg_covar=0, split_merge=True, **start).fit(rows)
        assert moved.lower_bound_ >= without.lower_bound_


# ---------------------------------------------------------------------- another number of components


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_continued_mixture_grows_to_the_clusters(k, seed):
    rows, centres = ring(seed)
    model = GaussianMixture(k, warm_start=True, split_merge=True, random_state=0).fit(rows)
    small = model.lower_bound_
    model.set_params(n_components=8).fit(rows)
    assert all_found(model, centres)
    assert model.lower_bound_ > small + 0.1
    assert_consistent(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_continued_mixture_shrinks(family):
    rows, _ = ring()
    model = GaussianMixture(8, covariance_type=family, warm_start=True, split_merge=True, random_state=0).fit(rows)
    large = model.lower_bound_
    model.set_params(n_components=3).fit(rows)
    fresh = GaussianMixture(3, covariance_type=family, random_state=0).fit(rows)
    assert model.weights_.shape == (3,)
    np.testing.assert_allclose(model.weights_ @ model.means_, rows.mean(axis=0), atol=1e-6)
    assert fresh.lower_bound_ - 0.1 < model.lower_bound_ < large
    assert_consistent(model)
    model.set_params(n_components=8).fit(rows)
    assert model.lower_bound_ > large - 0.05


def test_a_continued_mixture_of_the_same_size_starts_from_its_parameters():
    rows, _ = ring()
    model = GaussianMixture(8, warm_start=True, split_merge=True, random_state=0).fit(rows)
    before = model.lower_bound_
    assert model.fit(rows).lower_bound_ >= before - 1e-9


def test_another_number_of_components_needs_split_merge():
    model = GaussianMixture(3, warm_start=True, random_state=0).fit(clusters())
    with pytest.raises(InputError, match="warm_start"):
        model.set_params(n_components=4).fit(clusters())
    assert model.means_.shape == (3, 2)


def test_another_family_is_refused_in_words_also_where_the_size_changes():
    model = GaussianMixture(3, warm_start=True, split_merge=True, random_state=0).fit(clusters())
    with pytest.raises(InputError, match="covariance_type"):
        model.set_params(n_components=4, covariance_type="diag").fit(clusters())


# ---------------------------------------------------------------------- repair


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("algorithm", ["auto", "batch"])
@pytest.mark.parametrize(
    ("means", "told"),
    [(STARVED, "repair: component 3 had no rows"), (TWINS, "repair: components 2 and 3 were the same")],
    ids=["starved", "twins"],
)
def test_a_component_without_use_is_put_where_it_is_needed(family, algorithm, means, told):
    model = GaussianMixture(4, algorithm=algorithm, tol=1e-5, **begun(means, family)).fit(clusters())
    assert told in events(model)
    assert all_found(model)
    assert model.weights_.min() > 0.1
    assert_consistent(model)
    place = [record.stage for record in model.history_].index(told)
    assert 0 < place < len(model.history_) - 1
    assert model.history_[place].log_likelihood == model.lower_bounds_[place - 1] < model.lower_bound_ - 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_components_that_are_all_the_same_are_repaired_one_by_one(family):
    model = GaussianMixture(4, **begun([[4.0, 4.0]] * 4, family)).fit(clusters())
    repairs = events(model)
    assert len(repairs) >= 2
    assert all("were the same" in event for event in repairs)
    assert len(np.unique(model.means_.round(2), axis=0)) == 4
    single = GaussianMixture(1, covariance_type=family).fit(clusters())
    assert model.lower_bound_ > single.lower_bound_ + 0.1


def test_several_starved_components_are_repaired_together():
    model = GaussianMixture(4, **begun([[0, 0], [9, 4.5], [1e4, 0], [0, 1e4]])).fit(clusters())
    assert events(model)[0] == "repair: components 2, 3 had no rows"
    assert all_found(model)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("split_merge", [False, True])
@pytest.mark.parametrize("start", ["found", "twins", "starved"])
def test_where_nothing_helps_the_fit_ends_as_it_was(family, split_merge, start):
    rows = np.full((60, 2), 3.0)
    given = {
        "found": {"covariance_type": family, "random_state": 0},
        "twins": begun([[3.0, 3.0]] * 3, family),
        "starved": begun([[3.0, 3.0], [3.0, 3.0], [1e5, 1e5]], family),
    }[start]
    model = GaussianMixture(3, split_merge=split_merge, **given).fit(rows)
    np.testing.assert_allclose(model.weights_ @ model.means_, [3.0, 3.0], atol=1e-6)
    assert model.converged_
    assert_consistent(model)


def test_weights_of_all_sizes_are_repaired_alike():
    found = []
    for weight in (1.0, 1e-6, 1e6):
        model = GaussianMixture(4, **begun(TWINS)).fit(clusters(), sample_weight=np.full(600, weight))
        found.append((events(model), model.lower_bound_))
    for told, bound in found:
        assert told == found[0][0]
        assert bound == pytest.approx(found[0][1], abs=1e-3)


# ---------------------------------------------------------------------- what it costs


class Asked:
    """A sample, and how often it was asked for."""

    def __init__(self, rows):
        self.rows, self.times = rows, 0

    def __call__(self):
        self.times += 1
        return Subsample(self.rows, None)


def ended(means, split_merge, passes=60):
    """Trajectory of a fit before and after its refinement, and how often a subsample was drawn."""
    rows, structure = clusters(), STRUCTURES["full"]
    k = len(means)
    source, sample = as_source(rows), Asked(rows)
    stage = Stage("batch", Batch(structure, 1e-6), execution.plan_passes(source), Tolerance(1e-6))
    start = make_parameters(np.full(k, 1 / k), np.array(means, float), np.stack([np.eye(2)] * k), structure)
    (before,) = run_stages(start_run([start]), [stage], max_iter=60)
    context = SimpleNamespace(
        settings=EMSettings(structure, 1e-6), split_merge=split_merge, draw_subsample=sample, plan=lambda: [stage]
    )
    after = RefinementPhase(context).run(RefinementState(before, passes), lambda *_: None)
    return before, after.winner, sample.times


@pytest.mark.parametrize("means", [CENTRES, CENTRES[:2], stuck()["means_init"]], ids=["good", "two", "stuck"])
def test_where_nothing_is_wanting_no_sample_is_asked_for(means):
    before, after, times = ended(means, split_merge=False)
    assert after is before
    assert times == 0


@pytest.mark.parametrize("means", [CENTRES, TWINS, STARVED, [[4.0, 4.0]] * 4], ids=["good", "twins", "starved", "same"])
@pytest.mark.parametrize("split_merge", [False, True])
def test_a_sample_is_asked_for_once_at_most(means, split_merge):
    before, after, times = ended(means, split_merge)
    assert times == (split_merge or means is not CENTRES)
    assert after.lower_bound >= before.lower_bound
    assert after.lower_bounds[: len(before.lower_bounds)] == before.lower_bounds


@pytest.mark.parametrize("split_merge", [False, True])
def test_what_is_better_on_the_sample_only_is_not_taken(split_merge, monkeypatch):
    worse = ended(stuck()["means_init"], split_merge=False)[1].parameters
    proposed = []

    def try_moves(candidates, score, split, whole):
        proposed.append(candidates)
        return [(np.inf, worse)]

    monkeypatch.setattr("streamgmm.fitting.refinement.try_moves", try_moves)
    before, after, _ = ended(CENTRES, split_merge)
    assert after is before
    assert len(proposed) == split_merge


def test_without_passes_left_nothing_is_tried():
    before, after, times = ended(TWINS, split_merge=True, passes=0)
    assert after is before
    assert times == 0


def test_a_good_fit_is_read_for_no_repair():
    reads = Counter()

    class Counting:
        n_features, dtype, feature_names, weighted, repeatable, n_rows = 2, np.dtype(float), None, False, True, 600

        def chunks(self):
            reads["passes"] += 1
            yield from as_source(clusters()).chunks()

        def map(self, function, dtype, n_columns):
            raise NotImplementedError

    model = GaussianMixture(4, **begun(CENTRES)).fit(Counting())
    assert reads["passes"] == model.n_iter_ + 1


def test_a_repair_that_runs_out_of_passes_says_so():
    with pytest.warns(ConvergenceWarning):
        model = GaussianMixture(4, tol=0.0, max_iter=12, **begun(STARVED)).fit(clusters())
    assert not model.converged_
