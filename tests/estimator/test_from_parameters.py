"""Models made from numbers: every family predicts, learns and is saved as a fitted model."""

import numpy as np
import pytest
import sklearn.mixture

from streamgmm import GaussianMixture, load
from streamgmm.errors import InputError
from streamgmm.model.covariances import STRUCTURES

WEIGHTS, MEANS = np.array([0.3, 0.7]), np.array([[0.0, 0.0, 0.0], [4.0, 1.0, -2.0]])
ROOTS = np.random.default_rng(0).normal(size=(2, 3, 3))
MATRICES = ROOTS @ ROOTS.transpose(0, 2, 1) + np.eye(3)


def covariances_of(family):
    """Return covariances of two components in the public shape of a family, whatever that is."""
    structure = STRUCTURES[family]
    model = GaussianMixture(2, covariance_type=family, max_iter=0, random_state=0, weights_init=WEIGHTS)
    model.set_params(means_init=MEANS).fit(np.random.default_rng(1).multivariate_normal(MEANS[0], MATRICES[0], 50))
    assert np.shape(model.covariances_) == tuple(structure.public_shape(2, 3))
    return model.covariances_


@pytest.fixture(params=list(STRUCTURES))
def model(request):
    return GaussianMixture.from_parameters(WEIGHTS, MEANS, covariances_of(request.param), request.param, random_state=0)


@pytest.fixture
def rows(model):
    return model.sample(400)[0]


def test_predictions_agree_with_scikit_learns_model_of_the_same_numbers(model, rows):
    theirs = sklearn.mixture.GaussianMixture(2, covariance_type=model.covariance_type)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        setattr(theirs, name, getattr(model, name))
    np.testing.assert_allclose(model.score_samples(rows), theirs.score_samples(rows), rtol=1e-10)
    np.testing.assert_allclose(model.predict_proba(rows), theirs.predict_proba(rows), atol=1e-10)
    np.testing.assert_array_equal(model.predict(rows), theirs.predict(rows))
    assert model.bic(rows) == pytest.approx(theirs.bic(rows), rel=1e-10)


def test_attributes_are_the_numbers(model):
    np.testing.assert_array_equal(model.weights_, WEIGHTS)
    np.testing.assert_array_equal(model.means_, MEANS)
    assert (model.n_features_in_, model.n_samples_seen_, model.n_iter_, model.converged_) == (3, 0, 0, False)
    assert model.algorithm_ == "none" and model.criteria_ == {} and model.lower_bounds_ == []
    assert model.get_params()["n_components"] == 2


def test_samples_have_the_moments_of_the_numbers(model):
    rows, labels = model.sample(20_000)
    for component, mean in enumerate(MEANS):
        own = rows[labels == component]
        assert np.all(np.abs(own.mean(axis=0) - mean) < 6 * own.std(axis=0) / np.sqrt(len(own)))


def test_a_saved_model_comes_back_to_the_bit(model, rows, tmp_path):
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score_samples(rows), model.score_samples(rows))
    np.testing.assert_array_equal(loaded.partial_fit(rows).means_, model.partial_fit(rows).means_)


def test_a_stream_begins_at_the_numbers_and_learns_the_rows(model, rows):
    before = model.score(rows)
    for batch in np.array_split(np.random.default_rng(0).permutation(rows), 8):
        model.partial_fit(batch)
    assert model.n_samples_seen_ == model.criteria_["bound"].n_samples == 400
    assert model.score(rows) > before - 1e-3
    np.testing.assert_allclose(model.means_, MEANS, atol=1.0)


def test_a_warm_start_begins_at_the_numbers(model, rows):
    start = {"weights_init": WEIGHTS, "means_init": MEANS, "precisions_init": model.precisions_}
    settings = {"covariance_type": model.covariance_type, "algorithm": "batch"}
    expected = GaussianMixture(2, **settings, **start).fit(rows)
    fitted = model.set_params(algorithm="batch", warm_start=True).fit(rows)
    np.testing.assert_allclose(fitted.means_, expected.means_, rtol=1e-9)


def test_float32_numbers_give_float32_attributes():
    numbers = (np.float32([0.25, 0.75]), np.float32([[0.0], [1.0]]), np.float32([1.0, 2.0]))
    model = GaussianMixture.from_parameters(*numbers, "spherical")
    assert model.means_.dtype == model.precisions_.dtype == np.float32
    assert GaussianMixture.from_parameters([1.0], numbers[1][:1], [[[1.0]]]).means_.dtype == np.float64


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": [0.5, 0.6]}, "weights have sum 1.1"),
        ({"weights": [-0.5, 1.5]}, "minimum -0.5"),
        ({"weights": [1.0]}, r"weights of shape \(1,\) and means of shape \(2, 3\)"),
        ({"weights": [np.nan, 1.0]}, "weights contain NaN or infinity"),
        ({"means": [0.0, 1.0]}, r"means of shape \(2,\)"),
        ({"covariances": np.ones((2, 3))}, r"covariances have shape \(2, 3\).*it has to be \(2, 3, 3\)"),
        ({"covariances": MATRICES + np.triu(np.ones((3, 3)), 1)}, "not symmetric"),
        ({"covariances": -MATRICES}, "not positive definite"),
        ({"covariance_type": "round"}, "covariance_type"),
        ({"tol": -1.0}, "tol"),
    ],
)
def test_numbers_that_are_no_mixture_are_refused_in_one_sentence(changed, message):
    numbers = {"weights": WEIGHTS, "means": MEANS, "covariances": MATRICES, **changed}
    with pytest.raises(ValueError, match=message):
        GaussianMixture.from_parameters(**numbers)
    if not {"covariance_type", "tol"} & changed.keys():
        with pytest.raises(InputError, match=message):
            GaussianMixture.from_parameters(**numbers)


@pytest.mark.parametrize("family", STRUCTURES)
def test_covariances_without_positive_variances_are_refused_for_every_family(family):
    with pytest.raises(InputError, match="not positive definite"):
        GaussianMixture.from_parameters(WEIGHTS, MEANS, -covariances_of(family), family)


def test_attributes_that_a_user_sets_are_used(model, rows):
    with pytest.raises(AttributeError, match="has no attribute 'means_'"):
        _ = GaussianMixture(2).means_
    shifted = model.score_samples(rows)
    model.means_ = MEANS + 1.0
    np.testing.assert_allclose(model.score_samples(rows + 1.0), shifted, rtol=1e-9)
    other = GaussianMixture(2, covariance_type=model.covariance_type)
    for name in ("weights_", "means_", "precisions_cholesky_"):
        setattr(other, name, getattr(model, name))
    np.testing.assert_array_equal(other.predict(rows), model.predict(rows))
    del model.means_
    assert not hasattr(model, "means_")
