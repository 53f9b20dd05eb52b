"""The numbers are scikit-learn's, after every iteration, and mclust's where EM has converged."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.mixture
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from streamgmm import GaussianMixture
from streamgmm.model.covariances import STRUCTURES

FAMILIES = list(STRUCTURES)
FITTED = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"]
DTYPES = ["float64", "float32", "int64", "uint8"]
REL = 1e-8

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def blobs(dtype="float64", n=400, seed=0):
    random = np.random.default_rng(seed)
    centres = np.array([[60.0, 120.0, 90.0], [80.0, 100.0, 140.0], [120.0, 130.0, 110.0]])
    return (centres[random.integers(0, 3, n)] + 12.0 * random.normal(size=(n, 3))).round(1).astype(dtype)


def start(family, seed=1):
    """A start that is given, so that both begin at the same numbers."""
    random = np.random.default_rng(seed)
    roots = random.normal(size=(3, 3, 3))
    matrices = 1e-3 * (roots @ roots.transpose(0, 2, 1) + np.eye(3))
    return {
        "weights_init": np.array([0.25, 0.5, 0.25]),
        "means_init": np.array([[70.0, 110.0, 100.0], [90.0, 110.0, 120.0], [110.0, 120.0, 100.0]]),
        "precisions_init": {
            "full": matrices,
            "tied": matrices[0],
            "diag": np.diagonal(matrices, axis1=1, axis2=2).copy(),
            "spherical": matrices[:, 0, 0].copy(),
        }[family],
    }


def both(n_components=3, **arguments):
    arguments = {"tol": 1e-3, **arguments}
    return GaussianMixture(n_components, **arguments), sklearn.mixture.GaussianMixture(n_components, **arguments)


def assert_same_fit(ours, theirs, rel=REL):
    for name in FITTED:
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=rel, atol=rel * np.abs(other).max(), err_msg=name)
    assert (ours.n_iter_, ours.converged_) == (theirs.n_iter_, theirs.converged_)
    np.testing.assert_allclose(ours.lower_bound_, theirs.lower_bound_, rtol=rel)
    np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=rel)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float64", "int64", "uint8"])
def test_parameters_agree_after_every_iteration(family, dtype):
    X = blobs(dtype)
    for max_iter in range(1, 21):
        # scikit-learn computes integers in the float64 that it converts them to
        ours, theirs = both(covariance_type=family, max_iter=max_iter, tol=0, **start(family))
        assert_same_fit(ours.fit(X), theirs.fit(X))


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_rows_give_the_parameters_of_the_same_numbers_in_float64(family):
    # scikit-learn rounds to float32 on the way, we only at the end: the float64 fit is the reference
    X = blobs("float32")
    for max_iter in (1, 5, 20):
        ours, theirs = both(covariance_type=family, max_iter=max_iter, tol=0, **start(family))
        ours.fit(X), theirs.fit(X.astype(np.float64))
        for name in FITTED:
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert mine.dtype == np.float32
            np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-6 * np.abs(other).max(), err_msg=name)
        np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=REL)


@pytest.mark.parametrize("family", FAMILIES)
def test_warm_starts_of_one_iteration_each_agree(family):
    X = blobs()
    ours, theirs = both(covariance_type=family, max_iter=1, warm_start=True, **start(family))
    for _ in range(8):
        assert_same_fit(ours.fit(X), theirs.fit(X))


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_repetition(family):
    X, copies = blobs(), np.random.default_rng(2).integers(0, 4, 400)
    weighted, theirs = both(covariance_type=family, max_iter=10, tol=0, **start(family))
    repeated = np.repeat(X, copies, axis=0)
    assert_same_fit(weighted.fit(X, sample_weight=copies), theirs.fit(repeated))
    assert weighted.criteria_["exact"].bic == pytest.approx(theirs.bic(repeated), rel=REL)


# Where every component begins on one row, its first variances are 0 and only reg_covar is left. scikit-learn takes them
# as mean(x²) - mean(x)², which cancels, and for 'tied' adds rows that belong to no component, so that the covariance
# depends on where zero is. Ours are exact, so 'full' alone can agree.
@pytest.mark.parametrize(
    ("init_params", "family"),
    [
        *((way, family) for way in ("kmeans", "random") for family in FAMILIES),
        ("k-means++", "full"),
        ("random_from_data", "full"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_starts_are_drawn_as_scikit_learn_draws_them(init_params, family, seed):
    X = blobs()
    # begun on single rows, scikit-learn's very first weights do not sum to 1, which the first E-step makes up for
    for max_iter in (0, 1, 3) if init_params in ("kmeans", "random") else (1, 3):
        arguments = {"covariance_type": family, "init_params": init_params, "random_state": seed, "tol": 0}
        ours, theirs = both(**arguments, max_iter=max_iter)
        ours.fit(X), theirs.fit(X)
        for name in FITTED:
            mine, other = getattr(ours, name), getattr(theirs, name)
            np.testing.assert_allclose(mine, other, rtol=REL, atol=REL * np.abs(other).max(), err_msg=name)


@pytest.mark.parametrize("init_params", ["k-means++", "random_from_data"])
@pytest.mark.parametrize("family", FAMILIES)
def test_components_that_begin_on_one_row_begin_on_scikit_learns_rows(init_params, family):
    ours, theirs = both(covariance_type=family, init_params=init_params, random_state=3, max_iter=0)
    np.testing.assert_allclose(ours.fit(blobs()).means_, theirs.fit(blobs()).means_, rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_best_of_several_starts_is_scikit_learns(family):
    X = blobs()
    ours, theirs = both(covariance_type=family, init_params="random", n_init=4, random_state=5)
    assert_same_fit(ours.fit(X), theirs.fit(X), rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_fitted_model_says_is_the_same(family, dtype):
    X, new = blobs(dtype), blobs(dtype, n=100, seed=9)
    ours, theirs = both(covariance_type=family, random_state=0)
    ours.fit(X)
    theirs.fit(X.astype(np.float64))
    for name in FITTED:  # the same parameters, so that only prediction is compared
        setattr(theirs, name, getattr(ours, name).astype(np.float64))
    as_float = new.astype(np.float64)
    single = 1e-5 if dtype == "float32" else 1e-9
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(as_float))
    np.testing.assert_allclose(ours.predict_proba(new), theirs.predict_proba(as_float), rtol=0, atol=single)
    np.testing.assert_allclose(ours.score_samples(new), theirs.score_samples(as_float), rtol=single)
    for name in ("score", "bic", "aic"):
        assert getattr(ours, name)(new) == pytest.approx(getattr(theirs, name)(as_float), rel=1e-9)
    assert ours.predict(new).dtype == theirs.predict(as_float).dtype


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_drawn_as_scikit_learn_draws_them(family):
    ours, theirs = both(covariance_type=family, random_state=7)
    (mine, labels), (others, other_labels) = ours.fit(blobs()).sample(50), theirs.fit(blobs()).sample(50)
    np.testing.assert_allclose(mine, others, rtol=1e-6)
    np.testing.assert_array_equal(labels, other_labels)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_fitted_attributes_are_there_with_the_same_kinds_and_dtypes(family, dtype):
    X = blobs(dtype)
    ours, theirs = both(covariance_type=family, random_state=0)
    ours.fit(X), theirs.fit(X)
    public = [name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")]
    assert {*FITTED, "converged_", "n_iter_", "lower_bound_", "lower_bounds_", "n_features_in_"} <= set(public)
    for name in public:
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert np.shape(mine) == np.shape(other) or name == "lower_bounds_", name
        if isinstance(other, np.ndarray):
            assert mine.dtype == other.dtype, name
    assert isinstance(ours.n_iter_, int)
    assert isinstance(ours.converged_, bool)
    assert isinstance(ours.lower_bounds_, list)


WRONG_ARGUMENTS = [
    {"n_components": 0},
    {"covariance_type": "round"},
    {"tol": -1.0},
    {"reg_covar": -1.0},
    {"max_iter": -1},
    {"n_init": 0},
    {"init_params": "none"},
    {"random_state": "seed"},
    {"warm_start": "yes"},
    {"weights_init": [0.5, 0.4, 0.3]},
    {"weights_init": [-0.5, 0.5, 1.0]},
    {"weights_init": [0.5, 0.5]},
    {"means_init": [[1.0, 2.0]]},
    {"precisions_init": np.ones((3, 2, 2))},
    {"precisions_init": -np.ones((3, 3, 3))},
    {"covariance_type": "tied", "precisions_init": -np.eye(3)},
    {"covariance_type": "diag", "precisions_init": -np.ones((3, 3))},
    {"covariance_type": "spherical", "precisions_init": -np.ones(3)},
]
WRONG_ROWS = [np.zeros((0, 3)), np.zeros((1, 3)), np.zeros((2, 3)), np.zeros((5, 0)), np.zeros(5), np.zeros((2, 2, 2))]


def refusal(model, X):
    with pytest.raises(ValueError) as caught:
        model.fit(X)
    return str(caught.value)


@pytest.mark.parametrize("arguments", WRONG_ARGUMENTS, ids=str)
def test_wrong_arguments_are_refused_in_scikit_learns_words(arguments):
    ours, theirs = both(**{"n_components": 3, **arguments})
    mine, other = refusal(ours, blobs()), refusal(theirs, blobs())
    if "tol" in arguments:  # which may also be 'auto' here
        other = other.replace("[0.0, inf).", "[0.0, inf) or a str among {'auto'}.")
    assert (
        mine.replace("'k-means++', ", "").split(" among ")[0] == other.replace("'k-means++', ", "").split(" among ")[0]
    )


@pytest.mark.parametrize("X", WRONG_ROWS, ids=lambda X: str(X.shape))
def test_rows_that_cannot_be_fitted_are_refused_in_scikit_learns_words(X):
    ours, theirs = both()
    mine, other = refusal(ours, X), refusal(theirs, X)
    # the number at fault, whoever writes about it
    assert mine.split(" while ")[0].split("\n")[0].rstrip(".") == other.split(" while ")[0].split("\n")[0].rstrip(".")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_in_scikit_learns_words_and_then_named(value):
    X = blobs()
    X[317, 2] = value
    ours, theirs = both()
    mine = refusal(ours, X)
    assert mine.startswith(refusal(theirs, X).split("\n")[0])
    assert "row 317, column 2" in mine


@pytest.mark.parametrize("family", FAMILIES)
def test_collapsed_components_are_refused_in_scikit_learns_words(family):
    X = np.repeat([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]], 5, axis=0)
    ours, _ = both(covariance_type=family, reg_covar=0, random_state=0)
    _, theirs = both(reg_covar=0, random_state=0)  # its own 'tied' keeps a covariance of 1e-16, which is rounding
    assert refusal(ours, X) == refusal(theirs, X)


def test_a_fit_that_did_not_converge_warns_in_scikit_learns_words():
    ours, theirs = both(max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning) as mine:
        ours.fit(blobs())
    with pytest.warns(ConvergenceWarning) as other:
        theirs.fit(blobs())
    assert [str(one.message) for one in mine] == [str(one.message) for one in other]
    assert mine[0].filename == __file__  # it points at the caller's line


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "bic", "aic"])
def test_a_model_that_is_not_fitted_says_so_in_scikit_learns_words(method):
    for model in both():
        with pytest.raises(NotFittedError, match="This GaussianMixture instance is not fitted yet"):
            getattr(model, method)(blobs())


def test_sampling_no_rows_is_refused_in_scikit_learns_words():
    ours, theirs = both(random_state=0)
    ours.fit(blobs()), theirs.fit(blobs())
    messages = []
    for model in (ours, theirs):
        with pytest.raises(ValueError, match="n_samples") as caught:
            model.sample(0)
        messages.append(str(caught.value))
    # scikit-learn names the number of components by mistake
    assert messages[0] == messages[1].replace("'n_samples': 3", "'n_samples': 0")


def converged(X, n_components, family, **arguments):
    return GaussianMixture(
        n_components, covariance_type=family, tol=1e-13, reg_covar=0, max_iter=5000, random_state=0, **arguments
    ).fit(X)


# Published for R's mclust 6.1.3, whose BIC is the negative of ours; the log-likelihoods are those EM converges to.
@pytest.mark.parametrize(
    ("table", "n_components", "family", "log_likelihood", "bic"),
    [
        ("faithful", 3, "tied", -1126.315928, 2314.2957),
        ("faithful", 2, "full", -1130.263960, 2322.1917),
        ("iris", 3, "full", -180.185477, 580.8389),
    ],
)
def test_converged_likelihoods_are_those_that_mclust_reaches(table, n_components, family, log_likelihood, bic):
    X = load_iris().data if table == "iris" else faithful()
    criterion = converged(X, n_components, family).criteria_["exact"]
    assert criterion.log_likelihood == pytest.approx(log_likelihood, abs=2e-6)
    assert criterion.bic == pytest.approx(bic, abs=1e-4)


def test_the_geyser_erupts_in_two_ways():
    model = converged(faithful(), 2, "full")
    order = np.argsort(-model.weights_)
    np.testing.assert_allclose(model.weights_[order], [0.644127, 0.355873], atol=1e-6)
    np.testing.assert_allclose(model.means_[order], [[4.289662, 79.968116], [2.036388, 54.478517]], atol=2e-6)
    upper = model.covariances_[order][:, [0, 0, 1], [0, 1, 1]]
    expected = [[0.169968, 0.940608, 36.046195], [0.069168, 0.435168, 33.697288]]
    np.testing.assert_allclose(upper, expected, rtol=1e-5)


def test_iris_from_one_k_means_scores_what_scikit_learn_scores():
    X = load_iris().data
    model = GaussianMixture(3, init_params="kmeans", random_state=0).fit(X)
    assert 150 * model.score(X) == pytest.approx(-180.196663, abs=1e-4)
    assert 150 * model.lower_bound_ == pytest.approx(-180.221192, abs=1e-4)  # one M-step behind


def test_iris_with_the_defaults_scores_what_the_best_of_ten_of_scikit_learn_scores():
    X = load_iris().data
    model = GaussianMixture(3, random_state=0).fit(X)
    assert 150 * model.score(X) == pytest.approx(-180.195736, abs=1e-5)
    assert_same_fit(model, sklearn.mixture.GaussianMixture(3, n_init=10, random_state=0).fit(X))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_little_data_with_the_defaults_are_the_best_of_ten_of_scikit_learns(family, seed, offset):
    random = np.random.default_rng(seed)
    X = 2.0 * random.normal(size=(5, 3))[random.integers(5, size=130)] + random.normal(size=(130, 3)) + offset
    settings = {"covariance_type": family, "reg_covar": 1e-3, "random_state": seed}
    ours = GaussianMixture(5, **settings).fit(X)
    assert_same_fit(ours, sklearn.mixture.GaussianMixture(5, n_init=10, **settings).fit(X))
    one = sklearn.mixture.GaussianMixture(5, **settings).fit(X)
    assert ours.lower_bound_ >= one.lower_bound_ - 1e-9


def faithful():
    """Eruptions of Old Faithful and waiting times, minutes: R's table (Azzalini & Bowman, 1990)."""
    return np.loadtxt(Path(__file__).parents[1] / "reference" / "faithful.csv", delimiter=",", skiprows=1)
