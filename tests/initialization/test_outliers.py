"""Components too rare for the sample that a fit starts from are found, and nothing else is taken for one."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from streamgmm import Checkpoint, GaussianMixture
from streamgmm.algorithms.accelerated import Accelerated
from streamgmm.data import execution
from streamgmm.data.sources import as_source
from streamgmm.errors import DegenerateError
from streamgmm.estimator.saved_model import SavedModel
from streamgmm.fitting.context import FitContext
from streamgmm.fitting.em_phase import LEAST_PASSES, EMPhase
from streamgmm.initialization.outliers import OutlierSampler, compute_outlier_radius, compute_squared_distances
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import make_parameters
from streamgmm.persistence.container import to_bytes
from streamgmm.persistence.session import CheckpointSession, encode_content
from streamgmm.testing.examples import law

FAMILIES = list(STRUCTURES)
NAME = "repair: rows that no component explained"
CENTRES = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
KEPT = 1_000  # rows of the sample that a fit starts from

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def _small(tune):
    tune(subsample_rows=KEPT)


def clusters(seed=0, n=40_000, d=2):
    random = np.random.default_rng(seed)
    centres = np.zeros((3, d))
    centres[:, :2] = CENTRES
    return centres[random.integers(3, size=n)] + random.normal(size=(n, d))


def with_rare(mean, seed=0, n=40_000, size=30, width=0.7):
    """Three clusters, and a few rows elsewhere: fewer than one of them is expected in the sample."""
    rows, random = clusters(seed, n, len(mean)), np.random.default_rng([seed, 1])
    rows[random.choice(n, size, replace=False)] = mean + width * random.normal(size=(size, len(mean)))
    return rows


def found(model, mean, size):
    """Whether there is a component of about so many rows at a place."""
    distances = np.linalg.norm(model.means_ - mean, axis=1)
    nearest = distances.argmin()
    return distances[nearest] < 1.0 and abs(model.weights_[nearest] * model.n_samples_seen_ / size - 1.0) < 0.3


def repairs(model):
    return [record_.stage for record_ in model.history_ if record_.rows == 0]


def of_unit_variance(means, family="full"):
    structure, means = STRUCTURES[family], np.asarray(means, float)
    k, d = means.shape
    shape = structure.shape(k, d)
    covariances = np.broadcast_to(np.eye(d) if len(shape) == 3 else 1.0, shape).copy()
    return make_parameters(np.full(k, 1 / k), means, covariances, structure)


def without_relocation(monkeypatch, rows, *arguments, **settings):
    """Fit without drawing outliers."""
    with monkeypatch.context() as patch:
        patch.setattr(FitContext, "samples_outliers", property(lambda context: False))
        return GaussianMixture(*arguments, **settings).fit(rows)


# ---------------------------------------------------------------------- rare components


def test_a_component_too_rare_for_the_subsample_is_recovered(monkeypatch):
    hits = misses = 0
    for seed in range(20):
        mean = [(9.0, 7.5), (60.0, -40.0)][seed % 2]  # moderately far, and far
        rows = with_rare(mean, seed)
        hits += found(GaussianMixture(4, random_state=seed).fit(rows), mean, 30)
        if seed < 6:
            misses += not found(without_relocation(monkeypatch, rows, 4, random_state=seed, max_iter=20), mean, 30)
    assert hits >= 19
    assert misses >= 2  # or the sample would have been enough


@pytest.mark.parametrize("family", FAMILIES)
def test_rare_components_are_recovered_in_every_family(family, monkeypatch):
    mean = (9.0, 8.0, 6.0)
    rows = with_rare(mean, seed=3)
    model = GaussianMixture(4, covariance_type=family, random_state=0).fit(rows)
    assert found(model, mean, 30)
    whole = without_relocation(monkeypatch, rows, 4, covariance_type=family, random_state=0, max_iter=20)
    assert model.lower_bound_ >= whole.lower_bound_ - 1e-9


def test_several_rare_components_are_recovered_in_one_relocation():
    rows, random = clusters(5), np.random.default_rng(6)
    means = np.array([[30.0, 30.0], [-25.0, 10.0], [9.0, -12.0]])
    for place, mean in enumerate(means):
        rows[40 * place : 40 * place + 40] = mean + 0.8 * random.normal(size=(40, 2))
    model = GaussianMixture(6, init_params="kmeans", random_state=2).fit(random.permutation(rows))
    assert all(found(model, mean, 40) for mean in means)
    assert repairs(model) == [NAME]
    assert len(model.lower_bounds_) == model.n_iter_
    assert sum(one.rows for one in model.history_) == model.n_iter_ * len(rows)


@pytest.mark.parametrize("settings", [{"n_init": 2}, {"algorithm": "batch", "tol": 1e-4}, {"max_iter": 9}])
def test_rare_components_are_recovered_with_other_settings(settings):
    mean = (40.0, -20.0)
    model = GaussianMixture(4, random_state=1, **settings).fit(with_rare(mean, 1))
    assert found(model, mean, 30)
    assert model.n_iter_ <= settings.get("max_iter", 100)


def test_rare_components_are_recovered_in_staged_fits(monkeypatch):
    monkeypatch.setattr("streamgmm.fitting.plan.LARGE", 20_000)
    mean = (9.0, 8.0)
    model = GaussianMixture(4, random_state=2).fit(with_rare(mean, 2))
    assert model.algorithm_ == "staged"
    assert found(model, mean, 30)


def test_weights_count_as_repeated_rows():
    rows = with_rare((30.0, 0.0), 4)
    weights = np.full(len(rows), 3.0)
    model = GaussianMixture(4, random_state=0).fit(rows, sample_weight=weights)
    assert found(model, (30.0, 0.0), 30)
    weights[rows[:, 0] > 20.0] = 0.0  # of no weight they are nothing
    assert not found(GaussianMixture(4, random_state=0).fit(rows, sample_weight=weights), (30.0, 0.0), 30)


# ---------------------------------------------------------------------- rows that are no component


def sentinels(rows, random):
    rows[:200] = [-99.0, -99.0]


def a_wild_row(rows, random):
    rows[7] = [3e4, -1e4]


def a_handful(rows, random):
    rows[:9] = 60.0 * random.normal(size=(9, 2))


def scattered(rows, random):
    rows[:25] = 80.0 * random.normal(size=(25, 2))


def nothing(rows, random):
    pass


@pytest.mark.parametrize("spoil", [nothing, sentinels, a_wild_row, a_handful, scattered])
def test_rows_that_are_no_component_change_no_bit(spoil, monkeypatch):
    for seed in range(2):
        rows = clusters(seed)
        spoil(rows, np.random.default_rng(seed))
        model = GaussianMixture(4, random_state=seed, max_iter=10).fit(rows)
        assert repairs(model) == []
        whole = without_relocation(monkeypatch, rows, 4, random_state=seed, max_iter=10)
        assert to_bytes(*encode_content(SavedModel.from_model(model))) == to_bytes(
            *encode_content(SavedModel.from_model(whole))
        )


@pytest.mark.parametrize("size", [1e20, 1e60, 1e140])
def test_rows_that_can_hardly_be_squared_make_no_difference(size, monkeypatch):
    rows, random = clusters(1), np.random.default_rng(1)
    rows[:40] = size * random.normal(size=(40, 2))

    def outcome(fit):
        try:
            return fit().lower_bound_
        except DegenerateError as error:
            return str(error)

    settings = {"random_state": 0, "max_iter": 3}
    sampled = outcome(lambda: GaussianMixture(4, **settings).fit(rows))
    assert sampled == outcome(lambda: without_relocation(monkeypatch, rows, 4, **settings))


def test_given_and_warm_starts_and_complete_subsamples_are_not_relocated(monkeypatch):
    def never(*arguments):
        raise AssertionError

    monkeypatch.setattr("streamgmm.fitting.em_phase.propose_relocation", never)
    rows = with_rare((30.0, 0.0))
    means = np.vstack([CENTRES, [4.0, 4.0]])
    GaussianMixture(4, means_init=means, random_state=0).fit(rows)
    GaussianMixture(1).fit(rows)
    GaussianMixture(4, max_iter=1, random_state=0).fit(rows)  # it is seen when there is no pass left
    GaussianMixture(4, random_state=0).fit(rows[:KEPT])
    GaussianMixture(4, algorithm="stepwise", random_state=0).fit(rows)
    model = GaussianMixture(4, means_init=means, warm_start=True, random_state=0).fit(rows)
    model.set_params(means_init=None).fit(rows)


# ---------------------------------------------------------------------- cost and determinism


class ValueCounts:
    """Rows that count how often they are read."""

    feature_names, weighted, repeatable = None, False, True

    def __init__(self, rows):
        self.rows, self.reads = as_source(rows), Counter()
        self.n_rows, self.n_features, self.dtype = len(rows), rows.shape[1], rows.dtype

    def chunks(self):
        self.reads["passes"] += 1
        yield from self.rows.chunks()

    def map(self, function, dtype, n_columns):
        raise NotImplementedError


@pytest.mark.parametrize("rows", [clusters(1), with_rare((30.0, 0.0), 1)], ids=["nothing", "rare"])
def test_outliers_cost_no_additional_pass(rows):
    source = ValueCounts(rows)
    model = GaussianMixture(4, random_state=0).fit(source)
    assert repairs(model) == [NAME] * int(found(model, (30.0, 0.0), 30))
    assert source.reads["passes"] == 1 + model.n_iter_ + 1  # a sample, the passes, and the exact likelihood


def draw_outliers(source, parameters, seed=3, most=50):
    second = OutlierSampler(seed, source.n_features, size=most)
    for chunk_group in execution.iter_chunk_groups(source):
        execution.expect(replace(chunk_group, row_tap=second), [parameters])
    return second


@law
@given(st.integers(0, 2**31), st.lists(st.integers(1, 400), min_size=1, max_size=6), st.booleans())
def test_chunks_do_not_change_which_outliers_are_drawn(seed, lengths, weighted):
    random = np.random.default_rng(seed)
    n = sum(lengths)
    rows = random.normal(size=(n, 2)) * random.choice([1.0, 8.0], size=(n, 1))
    weights = random.integers(0, 3, n).astype(float) if weighted else None
    parameters = of_unit_variance([[0.0, 0.0], [3.0, 0.0]])
    lazy = da.from_array(rows, (tuple(lengths), 2))
    kinds = [as_source(rows, weights), as_source(lazy, None if weights is None else da.from_array(weights, chunks=n))]
    kinds += [as_source(zarr.array(rows, chunks=(37, 2)), weights)]
    ways = [draw_outliers(kind, parameters, seed) for kind in kinds]
    for way in ways[1:]:
        np.testing.assert_array_equal(way.subsample(parameters).rows, ways[0].subsample(parameters).rows)
        np.testing.assert_allclose(way.subsample(parameters).weights, ways[0].subsample(parameters).weights)


@law
@given(st.integers(0, 2**31), st.sampled_from(FAMILIES), st.integers(1, 6), st.integers(1, 4))
def test_squared_distancesare_those_from_the_nearest_component(seed, family, d, k):
    random = np.random.default_rng(seed)
    parameters = of_unit_variance(4.0 * random.normal(size=(k, d)), family)
    rows = 5.0 * random.normal(size=(500, d))
    expected = ((rows[:, None] - parameters.means) ** 2).sum(axis=2).min(axis=1)
    np.testing.assert_allclose(compute_squared_distances(rows, parameters), expected, rtol=1e-9, atol=1e-9)


def test_a_component_without_weight_explains_no_row():
    structure = STRUCTURES["full"]
    parameters = make_parameters(np.array([1.0, 0.0]), np.array([[0.0], [50.0]]), np.ones((2, 1, 1)), structure)
    np.testing.assert_allclose(compute_squared_distances(np.array([[2.0], [50.0]]), parameters), [4.0, 2500.0])


def test_weights_of_drawn_outliers_estimate_the_weight_of_all_outliers():
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(size=(3_000, 2)), 30.0 + 10.0 * random.normal(size=(800, 2))])
    weights = random.integers(1, 4, len(rows)).astype(float)
    parameters = of_unit_variance([[0.0, 0.0]])
    far = compute_squared_distances(rows, parameters) > compute_outlier_radius(2)
    totals = [
        draw_outliers(as_source(rows, weights), parameters, seed, most=100).subsample(parameters).weights.sum()
        for seed in range(60)
    ]
    error = np.std(totals) / np.sqrt(len(totals))
    assert np.std(totals) > 0.0
    assert abs(np.mean(totals) - weights[far].sum()) < 5.0 * error


def test_few_outliers_are_all_kept_with_their_own_weights():
    rows = with_rare((30.0, 0.0))
    parameters = of_unit_variance(CENTRES)
    found_ = draw_outliers(as_source(rows), parameters, most=8_192).subsample(parameters)
    far = compute_squared_distances(rows, parameters) > compute_outlier_radius(2)
    np.testing.assert_array_equal(found_.rows, rows[far])
    np.testing.assert_allclose(found_.weights, 1.0)


# ---------------------------------------------------------------------- resuming


class Killed(BaseException):
    """In the place of SIGKILL."""


def killed_after(patch, chunk_groups):
    """Kill a fit after some chunk groups, None for never; return a list that gets the outliers drawn at each."""
    seen, watch = [], CheckpointSession.watch

    def watched(self, fit_state):
        watch(self, fit_state)
        seen.append(getattr(fit_state, "outliers", None))
        if chunk_groups is not None and len(seen) > chunk_groups:
            raise Killed

    patch.setattr(CheckpointSession, "watch", watched)
    return seen


@pytest.mark.parametrize("kind", ["array", "dask", "batches"])
def test_a_fit_killed_while_outliers_are_drawn_or_relocated_resumes_to_the_same_bits(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.data.sources.in_memory.CHUNK_ROWS", 6_000)
    monkeypatch.setattr("streamgmm.data.execution.CHUNKS_PER_GROUP", 2)
    rows = with_rare((30.0, 0.0), 1, n=24_000, size=16)

    def again():
        if kind == "array":
            return rows
        return da.from_array(rows, (3_000, 2)) if kind == "dask" else lambda: iter(np.split(rows, 4))

    settings = {"n_components": 4, "random_state": 1, "max_iter": 5, "algorithm": "batch", "tol": 1e-4}
    with monkeypatch.context() as patch:
        seen = killed_after(patch, None)
        whole = GaussianMixture(**settings).fit(again())
    assert repairs(whole) == [NAME]
    looking = [chunk_group for chunk_group, drawn in enumerate(seen) if drawn is not None]
    assert len(looking) == 3  # the fourth chunk group ends it
    for chunk_group in (looking[1], looking[-1] + 3):
        checkpoint = Checkpoint(tmp_path / str(chunk_group), batches=1)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_after(patch, chunk_group)
            GaussianMixture(**settings, checkpoint=checkpoint).fit(again())
        model = GaussianMixture(**settings, checkpoint=checkpoint, resume="must").fit(again())
        model.set_params(checkpoint=None, resume="auto")
        assert to_bytes(*encode_content(SavedModel.from_model(model))) == to_bytes(
            *encode_content(SavedModel.from_model(whole))
        )


# ---------------------------------------------------------------------- competition with the first start


def test_a_relocation_that_is_worse_on_all_rows_is_dropped(monkeypatch):
    rows = clusters(2)
    worse = of_unit_variance([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]])
    whole = without_relocation(monkeypatch, rows, 4, random_state=0)
    monkeypatch.setattr("streamgmm.fitting.em_phase.propose_relocation", lambda *arguments: worse)
    model = GaussianMixture(4, random_state=0).fit(rows)
    assert repairs(model) == []
    np.testing.assert_allclose(model.means_, whole.means_, rtol=1e-9, atol=1e-9)


def test_a_dropped_candidate_does_not_win_the_fit(monkeypatch):
    """Though its bound may be the higher in the end: what is added to variances can lower that of what goes on."""

    def last(run):
        return len(run.trajectories) - 1

    of_equals = of_unit_variance(np.zeros((4, 2)))  # and never more than one component
    monkeypatch.setattr("streamgmm.fitting.em_phase.propose_relocation", lambda *arguments: of_equals)
    monkeypatch.setattr(
        EMPhase,
        "_drop_worse",
        lambda _, run: run.only([one for one in run.candidates if one == len(run.trajectories) - 1]),
    )
    monkeypatch.setattr("streamgmm.fitting.refinement.find_redundant_components", lambda trajectory: iter(()))
    model = GaussianMixture(4, random_state=0).fit(clusters(2))
    assert repairs(model) == [NAME]
    assert model.converged_
    np.testing.assert_allclose(model.means_, model.means_[:1].repeat(4, axis=0))


@pytest.mark.parametrize(
    "active, converged, kept", [((0, 1), False, [0]), ((1,), True, []), ((1,), False, None), ((0,), False, None)]
)
def test_the_worse_of_two_candidates_is_dropped(active, converged, kept):
    """Also where the first was dropped when it was the worse, and is the better since."""
    trajectories = [SimpleNamespace(lower_bound=bound, converged=converged) for bound in (-1.0, -1.1)]
    bounds = [(0.0,) * LEAST_PASSES] * 2
    run = SimpleNamespace(trajectories=trajectories, bounds=bounds, candidates=list(active), only=lambda left: left)
    after = EMPhase._drop_worse(SimpleNamespace(context=SimpleNamespace(n_init=1)), run)
    assert after is run if kept is None else after == kept


def test_a_relocation_that_degenerates_is_dropped(monkeypatch):
    rows = clusters(2)
    whole = without_relocation(monkeypatch, rows, 4, random_state=0)
    other = of_unit_variance(np.vstack([CENTRES, [4.0, 4.0]]))
    monkeypatch.setattr("streamgmm.fitting.em_phase.propose_relocation", lambda *arguments: other)
    update, calls = Accelerated.update, Counter()

    def degenerate(self, state, expectations, chunk_group):
        calls[state.parameters.version] += 1
        if state.parameters is other:
            raise DegenerateError("on purpose")
        return update(self, state, expectations, chunk_group)

    monkeypatch.setattr(Accelerated, "update", degenerate)
    model = GaussianMixture(4, random_state=0).fit(rows)
    assert calls[other.version] == 1
    assert repairs(model) == []
    np.testing.assert_array_equal(model.means_, whole.means_)
