"""Data that breaks mixtures: a valid model or one clear error, never NaN and no stray warning."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from streamgmm import GaussianMixture
from streamgmm.model.covariances import STRUCTURES

FAMILIES = list(STRUCTURES)
N = 300


def two_clusters(random, n=N):
    return random.normal(size=(n, 2)) + 8.0 * random.integers(0, 2, (n, 1))


HARD = {
    "an offset of 1e8": lambda random: two_clusters(random) + 1e8,
    "an offset of 1e8 in one feature": lambda random: two_clusters(random) + np.array([1e8, 0]),
    "scales 1e-6 and 1e6": lambda random: two_clusters(random) * [1e-6, 1e6],
    "a constant feature": lambda random: two_clusters(random) * [1, 0] + [0, 3.3],
    "only constant features": lambda random: np.full((N, 2), 0.1),
    "duplicated rows": lambda random: np.repeat(two_clusters(random, 30), 10, axis=0),
    "fewer distinct rows than components": lambda random: np.repeat([[0.0, 1.0], [1.0, 0.0]], 150, axis=0),
    "values near 1e200": lambda random: two_clusters(random) * 1e200,
    "values near 1e149": lambda random: two_clusters(random) * 1e148,
    "values near 1e20": lambda random: two_clusters(random) * 1e19,
    "values near 1e-20": lambda random: two_clusters(random) * 1e-20,
    "values near 1e-200": lambda random: two_clusters(random) * 1e-200,
    "a cluster of two rows": lambda random: np.vstack([two_clusters(random), [[500, 500], [500.1, 500]]]),
    "one row far away": lambda random: np.vstack([two_clusters(random), [[1e9, -1e9]]]),
    "two rows": lambda random: two_clusters(random, 2),
    "as many rows as components": lambda random: two_clusters(random, 4),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_components", [2, 4])
def test_a_valid_model_or_one_clear_error(name, family, dtype, n_components):
    with np.errstate(over="ignore"):
        X = np.asarray(HARD[name](np.random.default_rng(0))).astype(dtype)
    for reg_covar in (1e-6, 0.0):
        model = GaussianMixture(n_components, covariance_type=family, reg_covar=reg_covar, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ConvergenceWarning)  # scikit-learn's k-means has fewer distinct rows, too
            try:
                model.fit(X)
            except ValueError as error:
                assert is_clear(str(error)), error
                continue
            assert_valid(model, X)


def is_clear(message):
    """It says what the user can do."""
    remedies = ("scale the input", "increase reg_covar", "drop or impute", "expected n_samples >= n_components")
    return any(remedy in message.lower() for remedy in remedies)


def assert_valid(model, X):
    k, d = model.means_.shape
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert np.isfinite(getattr(model, name)).all(), name
    single = model.means_.dtype == np.float32
    np.testing.assert_allclose(model.weights_.sum(dtype=float), 1.0, rtol=1e-6 if single else 1e-12)
    assert np.all(model.weights_ >= 0)
    # rounding a matrix to float32 may move a tiny eigenvalue below zero by rounding of the largest
    slack = np.finfo(model.means_.dtype).eps * d
    for covariance in matrices(model.covariances_, model.covariance_type, k, d):
        np.testing.assert_array_equal(covariance, covariance.T)
        values = np.linalg.eigvalsh(covariance / np.abs(covariance).max())
        assert values.min() >= -slack
    assert np.isfinite(model.lower_bound_)
    assert np.isfinite([model.score(X), model.bic(X), model.aic(X), model.icl(X)]).all()
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    # means lie among the rows, to rounding
    low, high = X.min(axis=0).astype(float), X.max(axis=0).astype(float)
    slack = 1e-5 * np.maximum(np.abs(low), np.abs(high))
    assert np.all((model.means_ >= low - slack) & (model.means_ <= high + slack))


def matrices(covariances, family, k, d):
    if family == "tied":
        return [covariances.astype(float)]
    if family == "full":
        return list(covariances.astype(float))
    return [np.diag(np.broadcast_to(row, (d,))).astype(float) for row in covariances]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_offset_of_1e8_changes_nothing_but_the_means(family):
    near = np.round(two_clusters(np.random.default_rng(1), 2000) * 64) / 64  # numbers that 1e8 can hold beside itself
    start = {"means_init": np.array([[0.0, 0.0], [8.0, 8.0]]), "weights_init": [0.5, 0.5]}
    there = {"means_init": np.array([[0.0, 0.0], [8.0, 8.0]]) + 1e8, "weights_init": [0.5, 0.5]}
    settings = {"covariance_type": family, "random_state": 0, "tol": 0, "max_iter": 10}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        one = GaussianMixture(2, **settings, **start).fit(near)
        other = GaussianMixture(2, **settings, **there).fit(near + 1e8)
    np.testing.assert_allclose(other.means_ - 1e8, one.means_, atol=1e-6)
    np.testing.assert_allclose(other.covariances_, one.covariances_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(other.lower_bounds_, one.lower_bounds_, rtol=1e-7)


@pytest.mark.parametrize("family", ["full", "tied", "diag"])
def test_scales_twelve_orders_apart_are_fitted_as_if_they_were_equal(family):
    X = two_clusters(np.random.default_rng(2))
    scales = np.array([2.0**-20, 2.0**20])
    settings = {"covariance_type": family, "reg_covar": 0, "init_params": "random", "random_state": 0, "tol": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        one = GaussianMixture(2, max_iter=15, **settings).fit(X)
        other = GaussianMixture(2, max_iter=15, **settings).fit(X * scales)
    np.testing.assert_allclose(other.means_ / scales, one.means_, rtol=1e-9)
    squared = scales**2 if family == "diag" else np.outer(scales, scales)
    np.testing.assert_allclose(other.covariances_ / squared, one.covariances_, rtol=1e-8, atol=1e-8)


def test_attributes_stay_float64_where_float32_cannot_hold_them():
    X = (two_clusters(np.random.default_rng(3)) * 1e20).astype(np.float32)
    model = GaussianMixture(2, random_state=0).fit(X)
    assert model.covariances_.dtype == np.float64
    assert np.all(model.covariances_[:, 0, 0] > 1e38)
