"""The estimator among scikit-learn's tools, and what it adds: kinds of input, shared readings, criteria, files."""

from collections import Counter
from copy import deepcopy

import dask.array as da
import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from fitted_attributes import fitted_attributes
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from streamgmm import GaussianMixture, load
from streamgmm.data.sources import Chunk
from streamgmm.errors import InputError, SinglePassError
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.kernels.e_step import expect
from streamgmm.model.covariances import STRUCTURES

FAMILIES = list(STRUCTURES)


def blobs(n=300, seed=0, dtype="float64"):
    random = np.random.default_rng(seed)
    return (random.normal(size=(n, 2)) + 6.0 * random.integers(0, 3, (n, 1))).astype(dtype)


def state(model):
    """Fitted attributes, arrays as bytes."""
    fitted = fitted_attributes(model)
    return {
        name: (value.dtype.str, value.tobytes())
        if isinstance(value, np.ndarray) and value.dtype != object
        else list(value)
        if isinstance(value, np.ndarray)
        else value
        for name, value in fitted.items()
    }


class CountingSource:
    """Rows in chunks of 50 that count how often each is read."""

    n_features, dtype, feature_names, weighted, repeatable = 2, np.dtype(float), None, False, True

    def __init__(self, rows):
        self.rows, self.n_rows, self.reads = rows, len(rows), Counter()

    def chunks(self):
        for index, start in enumerate(range(0, self.n_rows, 50)):
            self.reads[index] += 1
            part = self.rows[start : start + 50]
            yield Chunk(index, part, None, start, len(part))

    def map(self, function, dtype, n_columns):
        raise NotImplementedError


# ---------------------------------------------------------------------- scikit-learn's manners


def expected_failures(estimator):
    if estimator.n_components == 1 or estimator.covariance_type == "full":
        return {}  # 'full': of ten starts the best is the same
    reason = "scikit-learn's k-means, which finds the start, draws other rows where there are more of them"
    return {"check_sample_weight_equivalence_on_dense_data": reason}


@parametrize_with_checks(
    [GaussianMixture(), *(GaussianMixture(2, covariance_type=family) for family in FAMILIES)],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_checks_of_estimators_pass(estimator, check):
    check(estimator)


def test_a_clone_has_the_settings_and_no_fit():
    model = GaussianMixture(2, covariance_type="diag", tol=1e-4, random_state=3).fit(blobs())
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "means_")


def test_settings_can_be_changed_by_name():
    model = GaussianMixture().set_params(n_components=3, covariance_type="tied", random_state=0)
    assert model.fit(blobs()).covariances_.shape == (2, 2)


def test_it_ends_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0))
    X = blobs()
    labels = pipeline.fit_predict(X)
    np.testing.assert_array_equal(labels, pipeline.predict(X))
    assert pipeline.score(X) == pytest.approx(pipeline.score_samples(X).mean())


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_grid_search_finds_the_three_blobs_on_any_backend(backend):
    search = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 3]}, cv=2)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        search.fit(blobs())
    alone = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 3]}, cv=2).fit(blobs())
    assert search.best_params_ == {"n_components": 3}
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_names_of_columns_are_remembered_and_checked():
    frame = pd.DataFrame(blobs(), columns=["a", "b"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    assert list(model.feature_names_in_) == ["a", "b"]
    model.predict(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"a": "z"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(blobs())


def test_another_number_of_features_is_refused():
    model = GaussianMixture(2, random_state=0).fit(blobs())
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixture is expecting 2"):
        model.predict(np.zeros((4, 3)))


# ---------------------------------------------------------------------- readings


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_init", [1, 5])
@pytest.mark.parametrize("max_iter", [0, 1, 4])
def test_a_pass_reads_each_chunk_once_whatever_n_init(n_init, max_iter):
    source = CountingSource(blobs())
    GaussianMixture(3, n_init=n_init, init_params="random", tol=0, max_iter=max_iter, random_state=0).fit(source)
    # one reading for the starts, one a pass, one for the exact log-likelihood of what is returned
    assert source.reads == dict.fromkeys(range(6), 1 + max_iter + 1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_start_that_is_given_is_not_read_for():
    source = CountingSource(blobs())
    given = {"weights_init": [0.5, 0.5], "means_init": [[0, 0], [9, 9]], "precisions_init": [np.eye(2)] * 2}
    GaussianMixture(2, **given, tol=0, max_iter=3).fit(source)
    assert source.reads == dict.fromkeys(range(6), 3 + 1)


def test_starts_that_have_converged_cause_no_more_passes():
    source = CountingSource(blobs())
    model = GaussianMixture(1, n_init=3, random_state=0).fit(source)
    assert source.reads == dict.fromkeys(range(6), 1 + model.n_iter_ + 1)


def test_score_and_criteria_are_one_reading():
    model = GaussianMixture(2, random_state=0).fit(blobs())
    for method in (model.score, model.bic, model.aic, model.icl):
        source = CountingSource(blobs())
        method(source)
        assert source.reads == dict.fromkeys(range(6), 1)


# ---------------------------------------------------------------------- failures


def broken(index):
    X = blobs()
    X[17, 1] = np.nan
    return [X, np.zeros((1, 2)), np.full((5, 2), 1e200), iter([blobs(), X]), [["a", "b"]]][index]


@pytest.mark.parametrize("index", range(5))
def test_a_fit_that_fails_leaves_the_fitted_model_as_it_was(index):
    model = GaussianMixture(2, random_state=0).fit(blobs())
    before = deepcopy(state(model))
    with pytest.raises(ValueError):
        model.fit(broken(index))
    assert state(model) == before


def test_a_fit_that_fails_leaves_a_new_model_without_attributes():
    model = GaussianMixture(2, init_params="random", random_state=0, reg_covar=0)
    with pytest.raises(ValueError, match="increase reg_covar"):
        model.fit(np.zeros((5, 2)))
    assert state(model) == {}


class Stopping(CountingSource):
    """Interrupted at the end of a reading."""

    def __init__(self, rows, reading):
        super().__init__(rows)
        self.reading = reading

    def chunks(self):
        yield from super().chunks()
        if self.reads[0] == self.reading:
            raise KeyboardInterrupt


def test_a_fit_that_is_interrupted_in_its_first_pass_leaves_the_fitted_model_as_it_was():
    model = GaussianMixture(2, random_state=0).fit(blobs())
    before = deepcopy(state(model))
    with pytest.raises(KeyboardInterrupt):
        model.fit(Stopping(blobs(), 2))
    assert state(model) == before


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_fit_that_is_interrupted_is_what_its_last_complete_pass_has_made_of_it(passes):
    left = GaussianMixture(2, random_state=0, algorithm="batch", tol=0, init_params="random_from_data")
    whole = clone(left).set_params(max_iter=passes)
    with pytest.raises(KeyboardInterrupt):
        left.fit(Stopping(blobs(), passes + 2))  # the first reading finds the start
    with pytest.warns(ConvergenceWarning):
        whole.fit(CountingSource(blobs()))
    np.testing.assert_array_equal(left.means_, whole.means_)
    assert (left.n_iter_, left.converged_, left.lower_bounds_) == (passes, False, whole.lower_bounds_)
    assert left.n_samples_seen_ == len(blobs())


def test_batches_that_can_be_read_only_once_are_refused_with_the_remedy():
    with pytest.raises(SinglePassError, match="Pass a function that returns a fresh iterator for each pass"):
        GaussianMixture(2, algorithm="batch").fit(iter([blobs()]))


def test_too_few_rows_in_batches_are_refused():
    with pytest.raises(InputError, match="n_components = 5, n_samples = 3"):
        GaussianMixture(5).fit(lambda: iter([np.eye(2), np.ones((1, 2))]))


def test_the_chunk_row_and_column_of_a_nan_are_named():
    X = blobs()
    X[217, 1] = np.nan
    with pytest.raises(ValueError, match=r"Chunk 4 \(rows 200-249\).*row 217, column 1"):
        GaussianMixture(2).fit(da.from_array(X, chunks=(50, 2)))


# ---------------------------------------------------------------------- kinds


def kinds(X, tmp_path):
    """The same rows in every kind, with what reads the answer back."""
    stored = zarr.create_array(tmp_path / "X.zarr", shape=X.shape, chunks=(100, 2), dtype=X.dtype)
    stored[:] = X
    np.save(tmp_path / "X.npy", X)
    frame = pd.DataFrame(X, columns=["a", "b"])
    points = xr.DataArray(X.reshape(20, 15, 2), dims=("y", "x", "band"), coords={"band": ["a", "b"]})
    return {
        "array": X,
        "list": X.tolist(),
        "frame": frame,
        "dask array": da.from_array(X, chunks=(100, 2)),
        "dask frame": dd.from_pandas(frame, npartitions=3),
        "zarr array": stored,
        "path of zarr": tmp_path / "X.zarr",
        "path of npy": str(tmp_path / "X.npy"),
        "dataset": points.to_dataset(dim="band"),
        "batches": lambda: iter([X[:10], X[10:250], X[250:]]),
    }


KINDS = ["array", "list", "frame", "dask array", "dask frame", "zarr array", "path of zarr", "path of npy", "dataset",
         "batches"]  # fmt: skip


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_fit_and_the_predictions_of_the_array(kind, tmp_path):
    X = blobs()
    given = kinds(X, tmp_path)
    assert list(given) == KINDS
    reference = GaussianMixture(3, random_state=0).fit(X)
    model = GaussianMixture(3, random_state=0).fit(given[kind])
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(model, name), getattr(reference, name), rtol=1e-10, atol=1e-10)
    assert model.n_samples_seen_ == 300
    for method in ("predict", "predict_proba", "score_samples"):
        expected, answer = getattr(reference, method)(X), getattr(reference, method)(given[kind])
        if kind == "batches":
            answer = np.concatenate(list(answer))
        answer = np.asarray(answer)
        np.testing.assert_array_equal(answer.reshape(expected.shape), expected)
        assert answer.dtype == expected.dtype
    assert reference.score(given[kind]) == pytest.approx(reference.score(X), rel=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_prediction_on_dask_is_lazy_and_keeps_chunks_and_dtypes_to_the_bit(dtype):
    X = blobs(dtype=dtype)
    model = GaussianMixture(3, random_state=0).fit(X)
    lazy = da.from_array(X, chunks=((1, 99, 150, 50), 1))
    for method in ("predict", "predict_proba", "score_samples"):
        expected, answer = getattr(model, method)(X), getattr(model, method)(lazy)
        assert isinstance(answer, da.Array)
        assert answer.chunks[0] == (1, 99, 150, 50)
        assert answer.dtype == expected.dtype == answer.compute(scheduler="synchronous").dtype
        np.testing.assert_array_equal(answer.compute(scheduler="threads"), expected)


def test_labels_of_a_dataset_keep_dims_coordinates_and_attributes():
    image = xr.Dataset(
        {name: (("y", "x"), blobs(12, seed).reshape(4, 6)[:, :3]) for seed, name in enumerate(["red", "green"])},
        coords={"y": [3, 2, 1, 0]},
    )
    labels = GaussianMixture(2, random_state=0).fit(image).predict(image)
    assert labels.dims == ("y", "x")
    np.testing.assert_array_equal(labels.y, [3, 2, 1, 0])


def test_fit_predict_labels_with_the_fitted_parameters():
    X = blobs()
    model = GaussianMixture(3, random_state=0)
    np.testing.assert_array_equal(model.fit_predict(X), model.predict(X))


# ---------------------------------------------------------------------- weights, warm starts, criteria


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_repetition_from_start_to_end(family):
    X, copies = blobs(), np.random.default_rng(1).integers(0, 3, 300)
    settings = {"n_components": 2, "covariance_type": family, "means_init": [[0.0, 0.0], [9.0, 9.0]], "tol": 1e-6}
    settings |= {"weights_init": [0.5, 0.5], "random_state": 0}
    weighted = GaussianMixture(**settings).fit(X, sample_weight=copies)
    repeated = GaussianMixture(**settings).fit(np.repeat(X, copies, axis=0))
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-6, atol=1e-6)
    assert weighted.criteria_["exact"].n_samples == repeated.criteria_["exact"].n_samples == copies.sum()


def test_weights_may_come_lazily():
    X, weights = blobs(), np.random.default_rng(2).uniform(size=300)
    settings = {"n_components": 2, "random_state": 0}
    expected = GaussianMixture(**settings).fit(X, sample_weight=weights)
    lazy = GaussianMixture(**settings).fit(
        da.from_array(X, chunks=(70, 2)), sample_weight=da.from_array(weights, chunks=100)
    )
    np.testing.assert_allclose(lazy.means_, expected.means_, rtol=1e-10)


def test_a_warm_start_continues_from_the_last_fit():
    X = blobs()
    settings = {"n_components": 3, "init_params": "random", "random_state": 0, "tol": 0}
    with pytest.warns(ConvergenceWarning):
        whole = GaussianMixture(max_iter=6, **settings).fit(X)
    parts = GaussianMixture(max_iter=2, warm_start=True, **settings)
    for _ in range(3):
        with pytest.warns(ConvergenceWarning):
            parts.fit(X)
    np.testing.assert_allclose(parts.means_, whole.means_, rtol=1e-12)
    np.testing.assert_allclose(parts.lower_bound_, whole.lower_bound_, rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_exact_criterion_is_of_the_returned_parameters_over_all_rows(family):
    X = blobs()
    model = GaussianMixture(3, covariance_type=family, random_state=0, reg_covar=0).fit(X)
    criterion = model.criteria_["exact"]
    assert list(model.criteria_) == ["exact", "bound"]
    assert model.criteria_["bound"].log_likelihood == pytest.approx(criterion.log_likelihood, rel=1e-12)
    assert criterion.log_likelihood == pytest.approx(model.score_samples(X).sum(), rel=1e-12)
    assert criterion.bic == pytest.approx(model.bic(X), rel=1e-12)
    assert criterion.aic == pytest.approx(model.aic(X), rel=1e-12)
    largest = model.predict_proba(X).max(axis=1)
    assert criterion.icl == model.icl(X) == pytest.approx(model.bic(X) - 2 * np.log(largest).sum(), rel=1e-12)
    assert criterion.n_samples == 300
    assert criterion.log_likelihood / 300 >= model.lower_bound_ - 1e-12


def test_the_lower_bounds_never_fall():
    model = GaussianMixture(3, random_state=0, tol=1e-10, max_iter=500, reg_covar=0).fit(blobs())
    assert np.all(np.diff(model.lower_bounds_) >= -1e-12)


def test_a_large_sample_of_the_model_has_its_moments():
    # each statistic is compared at 6 standard errors: one false alarm in about 10^8 runs, and the seed is fixed
    model = GaussianMixture(3, random_state=0).fit(blobs())
    rows, labels = model.sample(50_000)
    for j in range(3):
        own = rows[labels == j]
        error = np.sqrt(np.diag(model.covariances_[j]) / len(own))
        assert np.all(np.abs(own.mean(axis=0) - model.means_[j]) < 6 * error)
        share = model.weights_[j]
        assert abs(len(own) / 50_000 - share) < 6 * np.sqrt(share * (1 - share) / 50_000)


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_saved_model_comes_back_to_the_bit(family, dtype, tmp_path):
    X = blobs(dtype=dtype)
    model = GaussianMixture(3, covariance_type=family, random_state=7, tol=1e-4, means_init=[[0, 0], [6, 6], [9, 12]])
    model.fit(pd.DataFrame(X, columns=["a", "b"])).save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert state(again) == state(model)
    assert repr(again.get_params()) == repr(model.set_params(means_init=np.array(model.means_init, float)).get_params())
    frame = pd.DataFrame(X, columns=["a", "b"])
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    np.testing.assert_array_equal(again.sample(5)[0], model.sample(5)[0])


def test_a_warm_start_from_another_shape_is_refused_with_the_remedy():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    model = GaussianMixture(2, warm_start=True, random_state=0).fit(rows)
    before = model.means_.copy()
    with pytest.raises(ValueError, match=r"2 components in 3 features, but .* X has 2 features; set warm_start=False"):
        model.fit(rows[:, :2])
    model.set_params(n_components=3)
    with pytest.raises(ValueError, match=r"n_components=3 .* warm_start=False"):
        model.fit(rows)
    assert np.array_equal(model.means_, before)


def test_rows_with_another_number_of_features_than_the_parameters_are_refused():
    model = GaussianMixture(1).fit(np.ones((4, 2)) + np.eye(4, 2))
    with pytest.raises(ValueError, match="X has 3 features, but the parameters have 2"):
        expect(np.ones((4, 3)), get_parameters(model))


def test_lazy_weights_that_are_all_zero_or_too_few_are_refused():
    rows = da.random.default_rng(0).normal(size=(60, 2), chunks=(20, 2))
    start = {"weights_init": [0.5, 0.5], "means_init": np.eye(2), "precisions_init": np.array([np.eye(2)] * 2)}
    for given in ({}, start):
        with pytest.raises(ValueError, match="at least one non-zero number"):
            GaussianMixture(2, **given).fit(rows, sample_weight=da.zeros(60, chunks=20))
    unknown = rows[rows[:, 0] > -np.inf]
    for given in ({}, start):
        with pytest.raises(ValueError, match="19 values for the 20 rows of chunk 1;"):
            GaussianMixture(2, **given).fit(unknown, sample_weight=da.ones(59, chunks=((20, 19, 20),)))
