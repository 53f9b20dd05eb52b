"""One reading serves every candidate, and the choice is that of fits made one by one."""

import os
import pickle
from collections import Counter
from copy import copy
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import sklearn.mixture
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from streamgmm import GaussianMixture, load, select
from streamgmm.algorithms.settings import EMSettings
from streamgmm.data.source import Chunk
from streamgmm.data.sources import as_source
from streamgmm.errors import DegenerateError, InputError, SinglePassError
from streamgmm.initialization.starts_per_size import StartsOfSize
from streamgmm.iteration.run import Trajectory, start_run
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import make_parameters
from streamgmm.model.information_criteria import CRITERIA
from streamgmm.selection import context as context_module
from streamgmm.selection import racing, selecting
from streamgmm.selection.comparison import find_lead, score_held_out
from streamgmm.selection.context import SelectionContext
from streamgmm.selection.race_state import RaceState
from streamgmm.selection.racing import GAIN_ALLOWANCE, RacePhase, estimate_remaining_gain
from streamgmm.testing.examples import law

FITS = int(os.environ.get("STREAMGMM_BOUNDS", "40"))  # 1,000 are promised: STREAMGMM_BOUNDS=1000
MIXTURES = int(os.environ.get("STREAMGMM_SELECTIONS", "3"))

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def blobs(k=3, n=600, d=2, apart=4.0, seed=0):
    """Rows of k overlapping, correlated components."""
    random = np.random.default_rng(seed)
    means, roots = apart * random.normal(size=(k, d)) / np.sqrt(d), random.normal(size=(k, d, d)) / np.sqrt(d)
    labels = random.integers(k, size=n)
    noise = random.normal(size=(n, d))
    return means[labels] + 0.7 * noise + 0.7 * np.einsum("nij,nj->ni", roots[labels], noise)


def faithful():
    return np.loadtxt(Path(__file__).parents[1] / "reference" / "faithful.csv", delimiter=",", skiprows=1)


class CountingSource:
    """Rows in chunks of 500 that count how often each is read."""

    n_features, dtype, feature_names, weighted, repeatable = 2, np.dtype(float), None, False, True

    def __init__(self, rows):
        self.rows, self.n_rows, self.reads = rows, len(rows), Counter()

    def chunks(self):
        for index, start in enumerate(range(0, self.n_rows, 500)):
            self.reads[index] += 1
            part = self.rows[start : start + 500]
            yield Chunk(index, part, None, start, len(part))

    def map(self, function, dtype, n_columns):
        raise NotImplementedError


STARTS = {}


@pytest.fixture(autouse=True)
def starts_found_once(monkeypatch):
    """Nearly all of a selection's time is its search for starts: the same rows, sizes and draws are searched once."""
    find = context_module.find_starts

    def find_once(subsample, context):
        key = pickle.dumps((subsample, replace(context, source=None)))
        if key not in STARTS:
            STARTS[key] = find(subsample, context)
        return STARTS[key]

    monkeypatch.setattr(context_module, "find_starts", find_once)


# ---------------------------------------------------------------------- the numbers


def test_criteria_are_scikit_learns_from_the_same_starts():
    rows, families = blobs(), list(STRUCTURES)
    found = select(rows, [1, 3, 4], families, criterion="icl", init_params="kmeans", tol=1e-3, random_state=0)
    table = found.table
    for place, (k, family) in enumerate(zip(table["n_components"], table["covariance_type"], strict=True)):
        theirs = sklearn.mixture.GaussianMixture(k, covariance_type=family, tol=1e-3, random_state=0).fit(rows)
        log_responsibilities = np.log(theirs.predict_proba(rows).max(axis=1)).sum()
        np.testing.assert_allclose(table["bic"][place], theirs.bic(rows), rtol=1e-9)
        np.testing.assert_allclose(table["aic"][place], theirs.aic(rows), rtol=1e-9)
        np.testing.assert_allclose(table["icl"][place], theirs.bic(rows) - 2 * log_responsibilities, rtol=1e-7)
        assert (table["n_iter"][place], table["converged"][place]) == (theirs.n_iter_, theirs.converged_)
        assert table["n_parameters"][place] == theirs._n_parameters()


# Published for R's mclust 6.1.3, whose BIC is the negative of ours; the log-likelihoods are those EM converges to.
@pytest.mark.parametrize(
    ("table", "k", "family", "log_likelihood", "bic"),
    [
        ("faithful", 3, "tied", -1126.315928, 2314.2957),
        ("faithful", 2, "full", -1130.263960, 2322.1917),
        ("iris", 3, "full", -180.185477, 580.8389),
    ],
)
def test_converged_criteria_are_those_of_mclust(table, k, family, log_likelihood, bic):
    rows = load_iris().data if table == "iris" else faithful()
    settings = {"criterion": "icl", "tol": 1e-9, "max_iter": 3000, "reg_covar": 0.0, "random_state": 0}
    found = select(rows, range(1, 4), [family], n_init=3, **settings).table
    assert found["log_likelihood"][k - 1] >= log_likelihood - 1e-4
    np.testing.assert_allclose(found["log_likelihood"][k - 1], log_likelihood, atol=1e-4)
    np.testing.assert_allclose(found["bic"][k - 1], bic, atol=3e-4)


def test_old_faithful_has_three_clusters_that_share_one_matrix_as_mclust_says():
    found = select(faithful(), range(1, 7), list(STRUCTURES), random_state=0)
    assert (found.best.n_components, found.best.covariance_type) == (3, "tied")


def test_gain_is_what_a_size_adds_to_the_next_smaller_of_its_family():
    table = select(blobs(), [4, 1, 2], ["full", "diag"], random_state=0).table
    means = table["log_likelihood"] / 600
    expected = [means[0] - means[2], np.nan, means[2] - means[1], means[3] - means[5], np.nan, means[5] - means[4]]
    np.testing.assert_allclose(table["gain"], expected, rtol=1e-12)


# ---------------------------------------------------------------------- the readings


def test_twelve_sizes_read_each_chunk_hardly_more_often_than_the_longest_of_them_has_passes():
    source = CountingSource(blobs(k=4, n=3000))
    found = select(source, range(1, 13), random_state=0)
    (readings,) = set(source.reads.values())
    longest = found.table["n_iter"].max()
    assert readings == longest + 2  # one for the sample, one for the exact likelihoods
    assert readings <= 1.3 * longest


def test_a_selection_reads_no_more_often_than_its_largest_candidate_does_alone():
    rows = blobs(k=4, n=3000)
    together, alone = CountingSource(rows), CountingSource(rows)
    select(together, range(1, 7), criterion="icl", max_iter=15, tol=0.0, random_state=0)
    GaussianMixture(6, max_iter=15, tol=0.0, random_state=0).fit(alone)
    assert together.reads == alone.reads


# ---------------------------------------------------------------------- rows that are worth fewer


def test_criteria_of_as_many_rows_as_there_are_are_those_of_the_rows():
    rows = blobs()
    expected = select(rows, range(1, 5), criterion="icl", random_state=0).table
    found = select(rows, range(1, 5), criterion="icl", random_state=0, effective_n=600).table
    for name in ("bic", "aic", "icl"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


def test_effective_n_discounts_rows_that_occur_ten_times():
    rows = blobs(k=3, n=400, apart=2.5, seed=5)
    once_each = select(rows, range(1, 7), random_state=0, tol=1e-7, init_params="kmeans")
    copies = np.repeat(rows, 10, axis=0)
    fooled = select(copies, range(1, 7), random_state=0, tol=1e-7, init_params="kmeans")
    told = select(copies, range(1, 7), random_state=0, tol=1e-7, init_params="kmeans", effective_n=400)
    assert told.best.n_components == once_each.best.n_components < fooled.best.n_components
    best = int(np.nanargmin(told.table["bic"]))
    np.testing.assert_allclose(told.table["bic"][best], once_each.table["bic"][best], rtol=1e-2)


def test_early_dropping_depends_on_the_effective_number_of_rows():
    rows = blobs(k=3, n=4000, apart=9.0)
    few, many = (select(rows, range(1, 9), random_state=0, effective_n=n) for n in (40, None))
    assert few.table["dropped"][-1] and few.best.n_components <= many.best.n_components
    everyone = select(rows, range(1, 9), criterion="icl", random_state=0, effective_n=40).table["bic"]
    assert few.best.n_components == 1 + int(everyone.argmin())


# ---------------------------------------------------------------------- who is dropped


@pytest.mark.parametrize("criterion", ["bic", "aic"])
@pytest.mark.parametrize("seed", range(MIXTURES))
def test_dropping_changes_no_choice(seed, criterion, monkeypatch):
    random = np.random.default_rng(seed)
    k, d, apart = int(random.integers(1, 7)), int(random.integers(1, 5)), random.uniform(2.0, 8.0)
    rows = blobs(k, 1500, d, apart, seed)
    found = select(rows, range(1, 9), criterion=criterion, random_state=0)

    monkeypatch.setattr(racing, "_drop_candidates", lambda state, *_: state)
    everyone = select(rows, range(1, 9), criterion=criterion, random_state=0)
    assert not everyone.table["dropped"].any()
    assert found.best.n_components == everyone.best.n_components
    worse = everyone.table[criterion] - everyone.table[criterion].min()
    assert (worse[found.table["dropped"]] > 0.0).all()  # nobody who would have won


def test_candidates_that_cannot_win_are_dropped_and_say_so():
    table = select(blobs(k=3, n=4000, apart=9.0), range(1, 9), random_state=0).table
    assert table["dropped"].any()
    assert not (table["dropped"] & table["converged"]).any()
    assert table["n_iter"][table["dropped"]].min() >= 7
    assert np.isfinite(table["bic"]).all()


def test_candidates_clearly_worse_on_held_out_rows_are_dropped_after_one_pass():
    rows = blobs(k=4, n=20_000, apart=6.0)
    found = select(rows, range(1, 7), random_state=0)
    hopeless = found.table["dropped"] & (found.table["n_iter"] == 1)
    assert hopeless.tolist() == [True, True, True, False, False, False] and found.best.n_components == 4
    exact = [-2.0 * model.score(rows) * len(rows) for model in found.models]
    np.testing.assert_allclose(found.table["bic"], exact + np.log(len(rows)) * found.table["n_parameters"], rtol=1e-12)
    behind = found.table["heldout"].max() - found.table["heldout"]
    assert (behind[hopeless] > 5.0 * found.table["heldout_error"][hopeless]).all()


@pytest.mark.parametrize(
    ("n", "how"),
    [(4_000, {}), (17_000, {"sample_weight": np.ones(17_000)}), (17_000, {"init_params": "kmeans", "max_iter": 6})],
)
def test_rows_that_are_few_or_have_weights_or_gave_the_starts_are_not_held_out(n, how):
    table = select(blobs(k=3, n=n, apart=9.0), range(1, 4), random_state=0, **how).table
    assert np.isnan(table["heldout"]).all() and not (table["dropped"] & (table["n_iter"] < 7)).any()


@law
@given(st.data())
def test_a_lead_is_never_larger_than_the_difference_of_scores(data):
    m = data.draw(st.integers(1, 6))
    numbers = st.floats(-1e6, 1e6)
    judged = np.array(data.draw(st.lists(st.tuples(numbers, st.floats(0, 1e3)), min_size=m, max_size=m)))
    judged[data.draw(st.lists(st.booleans(), min_size=m, max_size=m))] = np.nan
    free = np.array(data.draw(st.lists(st.integers(1, 500), min_size=m, max_size=m)))
    lead = find_lead(judged, free, 8192)
    if lead is None:
        assert np.isnan(judged).all()
    else:
        seen = judged[lead.leader, 0] - judged[:, 0]
        assert (lead.by >= 0.0).all() and lead.by[lead.leader] == 0.0
        assert (lead.by[np.isnan(seen)] == 0.0).all() and (lead.by <= np.maximum(seen, 0.0))[~np.isnan(seen)].all()


def test_a_lead_has_to_be_worth_the_parameters_that_it_takes():
    """One nat a row pays for six more parameters, unless the rows are worth three: then they cost log(3) nats a row."""
    rows = blobs(k=2, n=17_000, apart=2.0)
    for worth, hopeless in ((None, [True, False]), (3, [False, False])):
        table = select(rows, [1, 2], random_state=0, effective_n=worth).table
        assert (table["dropped"] & (table["n_iter"] == 1)).tolist() == hopeless


@pytest.mark.parametrize("criterion", ["icl", "heldout"])
def test_no_candidate_is_dropped_by_a_criterion_without_early_dropping(criterion):
    found = select(blobs(k=3, n=3000, apart=9.0), range(1, 5), criterion=criterion, random_state=0)
    assert not found.table["dropped"].any()


def test_the_remaining_gain_is_infinite_in_the_first_passes_and_never_below_the_recent_gain():
    means = -3.0 - 0.5 ** np.arange(12)
    unknown = [estimate_remaining_gain(Trajectory(None, tuple(means[:passes]))) for passes in range(7)]
    assert unknown == [np.inf] * 7
    for passes in range(7, 13):
        left = estimate_remaining_gain(Trajectory(None, tuple(means[:passes])))
        assert left >= means[passes - 1] - means[passes - 7]
        assert GAIN_ALLOWANCE * left >= -3.0 - means[passes - 1]
    rising = -4.0 + 0.01 * 1.1 ** np.arange(12)
    assert estimate_remaining_gain(Trajectory(None, tuple(rising))) == np.inf


# ---------------------------------------------------------------------- the choice


def test_any_chunks_give_the_same_choice_and_numbers():
    rows = blobs(k=3, n=2000, apart=8.0)
    expected = select(rows, range(2, 5), random_state=0)
    for chunks in (700, 64):
        found = select(da.from_array(rows, chunks=(chunks, 2)), range(2, 5), random_state=0)
        assert found.best.n_components == expected.best.n_components == 3
        np.testing.assert_allclose(found.table["bic"], expected.table["bic"], rtol=1e-7)


def test_a_weight_of_two_is_the_row_twice():
    rows = blobs(k=3, n=1000, apart=8.0)
    doubled = select(np.repeat(rows, 2, axis=0), range(2, 5), random_state=0)
    weighted = select(rows, range(2, 5), sample_weight=np.full(1000, 2.0), random_state=0)
    assert weighted.best.n_components == doubled.best.n_components == 3
    np.testing.assert_allclose(weighted.table["bic"][1], doubled.table["bic"][1], atol=0.5)


def test_batches_of_unknown_number_may_be_given_if_they_can_be_read_again():
    rows = blobs(k=3, n=1000, apart=8.0)
    assert select(lambda: iter(np.split(rows, 4)), range(2, 5), random_state=0).best.n_components == 3


def test_held_out_rows_prefer_the_right_number_and_say_how_sure_they_are():
    found = select(blobs(k=3, n=3000, apart=8.0), range(1, 5), criterion="heldout", random_state=0)
    means, errors = found.table["heldout"], found.table["heldout_error"]
    place = int(np.argmax(means))
    assert found.best is found.models[place]
    assert errors[place] == 0.0 and (np.delete(errors, place) > 0.0).all()
    assert (means[2] - means[:2] > 6 * errors[:2]).all()
    assert np.isnan(select(blobs(), [1, 2], random_state=0).table["heldout"]).all()


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_held_out_rows_count_as_often_as_they_weigh(data):
    n = data.draw(st.integers(1, 12))
    numbers = st.floats(-9.0, 9.0)
    densities = {key: np.array(data.draw(st.lists(numbers, min_size=n, max_size=n))) for key in "abc"}
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any)))
    weighted = score_held_out("abcd", densities, weights.astype(float))
    repeated = score_held_out("abcd", {key: np.repeat(values, weights) for key, values in densities.items()}, None)
    np.testing.assert_allclose(weighted, repeated, atol=1e-12)
    assert np.isnan(weighted[3]).all() and 0.0 in weighted[:3, 1]


def test_candidates_are_scored_with_the_weights_of_held_out_rows():
    rows, random = blobs(k=3, n=900, apart=8.0), np.random.default_rng(0)
    plain, same, other = (
        select(rows, [1, 2, 3], criterion="heldout", random_state=0, sample_weight=weights, init_params="kmeans").table
        for weights in (None, np.full(900, 4.0), random.choice([1.0, 9.0], 900))
    )
    np.testing.assert_allclose(same["heldout"], plain["heldout"], atol=0.02)
    np.testing.assert_allclose(2.0 * same["heldout_error"], plain["heldout_error"], rtol=0.1)
    assert (other["heldout"] != plain["heldout"]).all()


def test_more_starts_are_no_worse_and_only_the_best_of_them_is_shown():
    rows = blobs(k=5, n=900, apart=3.0, seed=3)
    settings = {"init_params": "random_from_data", "criterion": "icl", "random_state": 0, "max_iter": 40}
    one, many = (select(rows, [4, 5], n_init=n_init, **settings).table for n_init in (1, 5))
    assert len(many["bic"]) == 2
    assert (many["log_likelihood"] >= one["log_likelihood"] - 1e-6).all()
    assert (many["log_likelihood"] > one["log_likelihood"] + 1e-3).any()


# ---------------------------------------------------------------------- the model


def test_the_best_is_a_fitted_model_with_everything_that_belongs_to_one(tmp_path):
    rows = blobs(k=3, apart=8.0)
    found = select(rows, range(1, 5), ["full", "diag"], random_state=0)
    model = found.best
    place = found.models.index(model)
    given = {f"{name}_init": getattr(model, f"{name}_") for name in ("weights", "means", "precisions")}
    again = GaussianMixture(model.n_components, covariance_type=model.covariance_type, max_iter=0, **given).fit(rows)
    assert model.criteria_["exact"].bic == pytest.approx(again.criteria_["exact"].bic, rel=1e-12)
    assert model.criteria_["exact"].bic == found.table["bic"][place] == pytest.approx(model.bic(rows), rel=1e-12)
    np.testing.assert_array_equal(model.predict(rows), again.predict(rows))
    fitted = GaussianMixture(model.n_components, covariance_type=model.covariance_type, random_state=0).fit(rows)
    assert [name for name in dir(fitted) if name[0] != "_" and name.endswith("_") and not hasattr(model, name)] == []
    assert model.n_samples_seen_ == 600 and model.n_iter_ == len(model.lower_bounds_) == len(model.history_)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").predict(rows), model.predict(rows))
    assert model.partial_fit(rows[:50]).n_samples_seen_ == 650


def random_fit(seed):
    """A fit by any algorithm, converged or not, in part of rows that arrive; and the rows that its bound covers."""
    random = np.random.default_rng([seed, 9])
    k, d, n = (int(random.integers(*limits)) for limits in ((1, 6), (1, 5), (60, 500)))
    rows = blobs(int(random.integers(1, 6)), n, d, random.uniform(1.0, 8.0), seed) + random.choice([0.0, 1e3])
    algorithm = random.choice(["batch", "stepwise", "incremental", "auto"])
    settings = {"max_iter": int(random.integers(1, 12)), "batch_size": int(random.integers(20, 100))}
    family = random.choice(list(STRUCTURES))
    model = GaussianMixture(
        k, covariance_type=family, algorithm=algorithm, reg_covar=1e-3, random_state=seed, **settings
    )
    begun = rows[: n // 2] if seed % 2 else rows
    model.fit(begun)
    if seed % 2:
        model.partial_fit(rows[n // 2 :])
    return model, rows


@pytest.mark.filterwarnings("ignore::streamgmm.errors.OrderWarning")
@pytest.mark.parametrize("part", range(10))
def test_the_bound_is_never_above_the_exact_log_likelihood(part):
    for seed in range(part, FITS, 10):
        model, rows = random_fit(seed)
        bound, exact = model.criteria_["bound"], model.score(rows) * len(rows)
        assert bound.n_samples == len(rows), seed
        assert bound.log_likelihood <= exact + 1e-9 * abs(exact), seed


def test_the_bound_meets_the_exact_value_at_convergence():
    model = select(blobs(k=2, apart=8.0), [2], tol=1e-10, max_iter=1000, random_state=0).best
    bound, exact = (model.criteria_[name].log_likelihood for name in ("bound", "exact"))
    assert exact - 1e-3 <= bound <= exact + 1e-6


# ---------------------------------------------------------------------- rows that arrive


def test_every_candidate_learns_what_arrives_as_it_would_by_itself_from_one_reading():
    rows = blobs(k=3, n=3000, apart=8.0)
    found = select(rows[:1000], [2, 3, 4], criterion="icl", random_state=0)
    alone = [copy(model) for model in found.models]
    source = CountingSource(rows[1000:])
    assert found.partial_fit(source, token="monday") is found
    assert set(source.reads.values()) == {1}
    for model, other in zip(found.models, alone, strict=True):
        other.partial_fit(rows[1000:])
        np.testing.assert_array_equal(model.means_, other.means_)
    scores = [other.criteria_["prequential"].mean for other in alone]
    np.testing.assert_array_equal(found.table["prequential"], scores)
    evidence = found.table["bic_at_first"] - 2.0 * 2000 * np.array(scores)
    np.testing.assert_allclose(found.table["evidence"], evidence, rtol=1e-12)
    assert found.best is found.models[int(np.argmin(evidence))] and found.criterion == "evidence"
    before = found.best
    assert found.partial_fit(rows[1000:], token="monday").best is before  # no work


def test_rows_that_cannot_be_used_leave_the_selection_as_it_was():
    rows = blobs(k=3, n=2000, apart=8.0)
    found = select(rows[:1000], [2, 3], random_state=0)
    before = dict(vars(found)), [model.means_.copy() for model in found.models]
    rows[1700, 0] = np.inf
    with pytest.raises(InputError):
        found.partial_fit(da.from_array(rows[1000:], chunks=(500, 2)))
    assert vars(found) == before[0]
    for model, means in zip(found.models, before[1], strict=True):
        np.testing.assert_array_equal(model.means_, means)


def test_what_arrives_is_weighted_and_shown():
    from matplotlib.figure import Figure

    rows = blobs(k=3, n=2000, apart=8.0)
    found = select(rows[:1000], [2, 3], random_state=0).partial_fit(rows[1000:], sample_weight=np.full(1000, 2.0))
    assert found.best.criteria_["prequential"].n_samples == 2000.0
    assert "by evidence" in repr(found)
    assert found.plot(ax=Figure().subplots()).get_ylabel() == "criterion, nats x 2"


def test_rows_that_arrive_are_worth_as_much_as_those_before():
    rows = blobs(k=3, n=2000, apart=8.0)
    found = select(rows[:1000], [2, 3], random_state=0, effective_n=100).partial_fit(rows[1000:]).partial_fit(rows)
    sums = [model.criteria_["prequential"].log_likelihood for model in found.models]
    expected = found.table["bic_at_first"] - 2.0 * 0.1 * np.array(sums)
    np.testing.assert_allclose(found.table["evidence"], expected, rtol=1e-12)
    with pytest.raises(InputError, match="effective_n counts all rows"):
        select(iter([rows]), [2, 3], effective_n=100)


def test_a_few_new_rows_do_not_overturn_the_choice_of_many():
    rows = blobs(k=3, n=3000, apart=8.0)
    found = select(rows[:2990], [1, 2, 3, 4], random_state=0)
    first = found.best.n_components
    lone = rows[np.argsort(np.linalg.norm(rows - rows.mean(axis=0), axis=1))[:2]]  # such as one component expects best
    assert first == found.partial_fit(lone).best.n_components == 3


def test_a_selection_by_aic_scores_new_rows_by_their_prequential_likelihood():
    from matplotlib.figure import Figure

    rows = blobs(k=3, n=2000, apart=8.0)
    found = select(rows[:1000], [2, 3], criterion="aic", random_state=0).partial_fit(rows[1000:])
    assert found.criterion == "prequential"
    assert found.best is found.models[int(np.argmax(found.table["prequential"]))]
    assert found.plot(ax=Figure().subplots()).get_ylabel() == "log-density, nats a row"


# ---------------------------------------------------------------------- rows that come by once


def once(rows, number=10):
    """Batches that can be read once, and a list of how many were."""
    read = []

    def batches():
        for part in np.split(rows, number):
            read.append(len(part))
            yield part

    return batches(), read


def test_few_rows_of_an_iterator_are_learnt_as_an_array_is():
    rows = blobs(k=3, n=2000, apart=8.0)
    batches, read = once(rows)
    found, expected = select(batches, range(1, 5), random_state=0), select(rows, range(1, 5), random_state=0)
    assert read == [200] * 10
    assert found.criterion == "bic"
    for name, column in expected.table.items():
        np.testing.assert_array_equal(found.table[name], column)


def test_many_rows_of_an_iterator_are_learnt_as_they_come_by_and_none_is_kept(monkeypatch):
    monkeypatch.setattr(selecting, "choose_subsample_size", lambda k, d: 1000)
    rows = blobs(k=3, n=8000, apart=8.0)
    batches, read = once(rows, 16)
    found = select(batches, range(2, 5), ["full", "diag"], random_state=0)
    assert read == [500] * 16
    assert (found.best.n_components, found.criterion) == (3, "evidence")
    assert {model.n_samples_seen_ for model in found.models} == {8000}
    assert not found.table["dropped"].any()  # that could not yet be known
    first = select(rows[:1000], range(2, 5), ["full", "diag"], criterion="icl", random_state=0)
    np.testing.assert_array_equal(found.table["bic_at_first"], first.table["bic"])


def test_weights_of_batches_are_numbers_of_rows(monkeypatch):
    monkeypatch.setattr(selecting, "choose_subsample_size", lambda k, d: 1000)
    rows, twos = blobs(k=3, n=4000, apart=8.0), np.full(4000, 2.0)
    found = select(once(rows)[0], [2, 3], sample_weight=iter(np.split(twos, 10)), random_state=0)
    assert {model.criteria_["bound"].n_samples for model in found.models} == {8000.0}
    assert found.best.criteria_["prequential"].n_samples == 2.0 * 2800  # but for the first batches


def test_a_row_of_a_late_batch_that_is_not_finite_is_named(monkeypatch):
    monkeypatch.setattr(selecting, "choose_subsample_size", lambda k, d: 1000)
    rows = blobs(k=3, n=4000, apart=8.0)
    rows[3317, 1] = np.inf
    with pytest.raises(InputError, match="row 3317, column 1"):
        select(once(rows)[0], [2, 3], random_state=0)


def test_a_candidate_that_degenerates_on_new_rows_leaves_the_others(monkeypatch):
    rows = blobs(k=3, n=2000, apart=8.0)
    found = select(rows[:1000], [2, 3, 4], random_state=0)
    learn = GaussianMixture.partial_fit

    def degenerating(model, *arguments, **settings):
        if model.n_components >= least:
            raise DegenerateError("cannot be inverted")
        return learn(model, *arguments, **settings)

    monkeypatch.setattr(GaussianMixture, "partial_fit", degenerating)
    least, before = 2, dict(vars(found))
    with pytest.raises(DegenerateError):
        found.partial_fit(rows[1000:])
    assert vars(found) == before
    least = 3
    found.partial_fit(rows[1000:])
    assert [model is None for model in found.models] == [False, True, True]
    assert np.isnan(found.table["evidence"][1:]).all() and found.best is found.models[0]


def test_columns_of_batches_keep_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(blobs(n=400), columns=["length", "width"])
    found = select(iter([frame[:200], frame[200:]]), [1, 2], random_state=0)
    assert list(found.best.feature_names_in_) == ["length", "width"]


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": []}, r"n_components is \[\]; give integers of at least 1"),
        ({"n_components": 3}, "n_components is 3; give integers of at least 1"),
        ({"n_components": [0, 1]}, r"n_components is \[0, 1\]"),
        ({"n_components": [1.5]}, r"n_components is \[1.5\]"),
        ({"covariance_types": "full"}, "covariance_types is 'full'; give a sequence"),
        ({"covariance_types": ["fill"]}, r"covariance_types is \['fill'\]"),
        ({"criterion": "BIC"}, f"criterion is 'BIC'; choose one of {', '.join(map(repr, CRITERIA))}"),
        ({"n_components": [700]}, "n_components = 700, n_samples = 600"),
        ({"max_iter": -1}, "max_iter"),
        ({"effective_n": 0.5}, "effective_n is 0.5; give the number of independent rows, at least 1"),
        ({"effective_n": "all"}, "effective_n is 'all'"),
        ({"resume": "maybe"}, "resume is 'maybe'; choose one of 'auto', 'never', 'must'"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        select(blobs(), **arguments)


def test_a_selection_from_an_iterator_cannot_resume(tmp_path):
    with pytest.raises(SinglePassError, match="Pass a function that returns a fresh iterator"):
        select(iter(np.split(blobs(), 4)), [1, 2], checkpoint=tmp_path / "choice.ckpt")
    with pytest.raises(InputError, match="n_components = 700"):
        select(iter(np.split(blobs(), 4)), [700])


def test_a_candidate_that_degenerates_does_not_take_the_others_with_it():
    rows = np.repeat([[0.0, 0.0], [9.0, 1.0], [1.0, 9.0]], 50, axis=0)
    found = select(rows, [1, 2, 3], reg_covar=0.0, init_params="kmeans", random_state=0)
    assert found.best.n_components == 1
    assert np.isnan(found.table["bic"][1:]).all() and found.models[1:] == (None, None)
    with pytest.raises(DegenerateError):
        select(rows, [3], reg_covar=0.0, init_params="kmeans", random_state=0)


def test_a_candidate_that_degenerates_while_it_learns_leaves_the_others():
    rows = np.repeat([[0.0, 0.0], [9.0, 9.0]], 50, axis=0)  # of which a matrix is singular, variances are not
    full, diag = STRUCTURES["full"], STRUCTURES["diag"]
    collapsing = make_parameters(np.ones(1), np.zeros((1, 2)), np.eye(2)[None], full)
    one = make_parameters(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)), diag)
    keys, starts = (("diag", 1), ("full", 1), ("diag", 1)), [one, collapsing, one]
    context = SelectionContext(
        as_source(rows), EMSettings(full, 0.0), keys, 1, "auto", 50, CRITERIA["bic"], None, True, 0, None
    )
    begin = RaceState(
        tuple(StartsOfSize((start,)) for start in starts), np.full((3, 2), np.nan), (0, 1, 2), start_run(starts)
    )
    seen = []
    race = RacePhase(context).run(begin, lambda event, state: seen.append(event)).race
    assert race.degenerate == (1,) and race.active == ()
    assert list(race.trajectories) == [0, 2]
    assert race.trajectories[0].converged
    np.testing.assert_allclose(race.trajectories[0].parameters.means[0], rows.mean(axis=0), rtol=1e-12)
    assert len(seen) < 10


def test_a_row_that_is_not_finite_is_named():
    rows = blobs()
    rows[317, 1] = np.nan
    with pytest.raises(InputError, match="row 317"):
        select(rows, [1, 2])


# ---------------------------------------------------------------------- what is shown


def test_the_table_becomes_a_data_frame():
    pandas = pytest.importorskip("pandas")
    found = select(blobs(), [1, 2], random_state=0)
    frame = found.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame) == list(found.table) and len(frame) == 2


def test_it_says_what_was_chosen_and_by_what():
    found = select(blobs(k=3, apart=8.0), [2, 3], ["diag", "full"], random_state=0)
    assert repr(found).startswith(f"Selection(3 components, {found.best.covariance_type}, by bic ")
    assert "4 candidates" in repr(found)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_picture_has_the_criteria_of_every_family_and_marks_the_choice(criterion):
    from matplotlib.figure import Figure

    drawn = [entry.name for entry in CRITERIA.values() if entry.allows_early_dropping or entry.name == criterion]
    lines = 2 * (1 if CRITERIA[criterion].from_held_out else len(drawn))
    found = select(blobs(), [3, 1, 2], ["full", "diag"], criterion=criterion, random_state=0)
    ax = found.plot(ax=Figure().subplots())
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(labels) == lines + 1 and labels[-1] == f"chosen: {found.best.n_components} components"
    curve = next(line for line in ax.lines if line.get_label().endswith("full"))
    column = found.table["heldout" if criterion == "heldout" else "bic"]
    np.testing.assert_array_equal(curve.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(curve.get_ydata(), column[[1, 2, 0]])
    assert len(ax.containers) == (2 if criterion == "heldout" else 0)  # error bars
