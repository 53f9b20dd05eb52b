"""Every covariance structure, and two that only the tests have, works in every part of the package."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from shared_families import SharedDiagonal, SharedSpherical
from sklearn.utils._param_validation import StrOptions

from streamgmm import GaussianMixture, load, plot, select
from streamgmm.algorithms import ALGORITHMS
from streamgmm.cli import main
from streamgmm.errors import CheckpointError
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.model.covariances import STRUCTURES


@pytest.fixture(params=[*STRUCTURES.values(), SharedDiagonal(), SharedSpherical()], ids=lambda family: family.name)
def family(request, monkeypatch):
    monkeypatch.setitem(STRUCTURES, request.param.name, request.param)
    monkeypatch.setitem(GaussianMixture._parameter_constraints, "covariance_type", [StrOptions(set(STRUCTURES))])
    return request.param.name


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    return random.normal(size=(900, 3)) * [1.0, 2.0, 0.5] + 9.0 * random.integers(0, 2, (900, 1))


@pytest.mark.parametrize("k", [1, 2])
def test_a_saved_fit_is_loaded_and_learns_more(family, k, rows, tmp_path):
    model = GaussianMixture(k, covariance_type=family, random_state=0).fit(rows)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score_samples(rows), model.score_samples(rows))
    np.testing.assert_array_equal(loaded.partial_fit(rows).means_, model.partial_fit(rows).means_)
    assert model.sample(5)[0].shape == (5, 3)
    assert np.shape(model.covariances_) == STRUCTURES[family].public_shape(k, 3)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_comes_near_batch_em_and_is_saved_and_learns_more(family, k, algorithm, rows, tmp_path):
    expected = GaussianMixture(k, covariance_type=family, random_state=0).fit(rows).score(rows)
    rows = np.random.default_rng(1).permutation(rows)
    model = GaussianMixture(k, covariance_type=family, algorithm=algorithm, batch_size=90, random_state=0).fit(rows)
    assert model.score(rows) == pytest.approx(expected, abs=5e-3)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.means_, model.means_)
    np.testing.assert_array_equal(loaded.partial_fit(rows).means_, model.partial_fit(rows).means_)


@pytest.mark.parametrize("settings", [{}, {"step_size": 0.01}, {"window": 500}, {"half_life": 500.0}])
@pytest.mark.parametrize("k", [1, 2])
def test_a_stream_learns_the_variances_of_the_rows(family, k, settings):
    random = np.random.default_rng(0)
    model = GaussianMixture(k, covariance_type=family, random_state=0, **settings)
    for _ in range(20):
        model.partial_fit(2.0 * random.normal(size=(100, 5)) + 40.0 * random.integers(0, k, (100, 1)))
    scale = get_parameters(model).variances().mean()
    assert scale == pytest.approx(4.0, rel=0.25)


def test_selection_drawing_and_the_command_line_know_the_family(family, rows, tmp_path, capsys):
    found = select(rows, [1, 2], [family], random_state=0)
    assert found.best.n_components == 2
    assert len(plot.ellipses(found.best, ax=Figure().subplots()).patches) == 2 * 2 * 2
    np.save(tmp_path / "rows.npy", rows)
    arguments = [str(tmp_path / "rows.npy"), "-k", "2", "-o", str(tmp_path / "model"), "--covariance", family]
    assert main(["fit", *arguments]) == 0
    assert main(["info", str(tmp_path / "model")]) == 0
    assert f"({family}) of 3 features" in capsys.readouterr().out


def test_ellipses_have_the_radii_of_the_marginal_covariance(family, rows):
    model = GaussianMixture(2, covariance_type=family, random_state=0).fit(rows)
    patch = plot.ellipses(model, (2, 0), deviations=(1.0,), ax=Figure().subplots()).patches[0]
    parameters = get_parameters(model)
    if parameters.covariances.ndim == 3:
        marginal = parameters.covariances[0][np.ix_([2, 0], [2, 0])]
    else:
        marginal = np.diag(parameters.variances()[0, [2, 0]])
    np.testing.assert_allclose((patch.width, patch.height), 2 * np.sqrt(np.linalg.eigvalsh(marginal)), rtol=1e-9)


def test_a_file_of_a_family_that_the_table_lacks_is_refused_in_one_sentence(rows, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STRUCTURES, "shared_diag", SharedDiagonal())
        patch.setitem(GaussianMixture._parameter_constraints, "covariance_type", [StrOptions(set(STRUCTURES))])
        GaussianMixture(2, covariance_type="shared_diag", random_state=0).fit(rows).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"Got 'shared_diag' instead\. Use another copy"):
        load(tmp_path / "model")
