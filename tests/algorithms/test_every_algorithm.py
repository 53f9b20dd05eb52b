"""Every algorithm of the table, and one that only this file has, works in everything that a fit does."""

from dataclasses import dataclass

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.utils._param_validation import StrOptions

from streamgmm import GaussianMixture, load, plot
from streamgmm.algorithms import ALGORITHMS, AlgorithmEntry
from streamgmm.algorithms.batch import Batch
from streamgmm.cli import main
from streamgmm.errors import InputError
from streamgmm.fitting.plan import ends_with_whole_passes
from streamgmm.model.covariances import STRUCTURES


@dataclass(frozen=True, slots=True)
class OtherBatch(Batch):
    """Batch EM under another name: an algorithm that the package does not have."""


OTHER = AlgorithmEntry("a copy", lambda settings, n_rows: OtherBatch(settings.structure, settings.reg_covar))


@pytest.fixture(params=[*ALGORITHMS, "other"])
def algorithm(request, monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "other", OTHER)
    constraint = [StrOptions({"auto", *ALGORITHMS})]
    monkeypatch.setitem(GaussianMixture._parameter_constraints, "algorithm", constraint)
    return request.param


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    return random.normal(size=(900, 2)) + 9.0 * random.integers(0, 2, (900, 1))


def model_of(algorithm, **settings):
    return GaussianMixture(2, algorithm=algorithm, batch_size=90, random_state=0, **settings)


@pytest.mark.parametrize("family", STRUCTURES)
def test_a_fit_comes_near_batch_em_and_says_which_algorithm_ran(algorithm, family, rows):
    model = model_of(algorithm, covariance_type=family).fit(rows)
    expected = GaussianMixture(2, covariance_type=family, algorithm="batch", random_state=0).fit(rows)
    assert model.algorithm_ == algorithm
    assert model.score(rows) == pytest.approx(expected.score(rows), abs=5e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_counts_the_weights_of_rows_and_finds_the_clusters(algorithm, weighted, rows):
    weights = np.full(len(rows), 2.0) if weighted else None
    start = {"means_init": rows[[0, -1]] * 0.0 + [[0.0], [9.0]], "weights_init": [0.5, 0.5], "max_iter": 20}
    model = model_of(algorithm, precisions_init=np.stack([np.eye(2)] * 2), **start).fit(rows, sample_weight=weights)
    assert model.criteria_["bound"].n_samples == (1800.0 if weighted else 900.0)
    is_low = rows[:, 0] < 4.5
    expected = [rows[is_low, 0].mean(), rows[~is_low, 0].mean()]
    np.testing.assert_allclose(sorted(model.means_[:, 0]), expected, atol=0.05)


def test_a_fit_is_saved_loaded_updated_and_drawn(algorithm, rows, tmp_path):
    model = model_of(algorithm).fit(rows)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score_samples(rows), model.score_samples(rows))
    np.testing.assert_array_equal(loaded.partial_fit(rows).means_, model.partial_fit(rows).means_)
    assert all(ax.lines for ax in plot.history(model, axes=Figure().subplots(3)))


def test_split_and_merge_moves_follow_whole_passes_only(algorithm, rows):
    model = model_of(algorithm, split_merge=True)
    if ends_with_whole_passes(algorithm):
        assert model.fit(rows).converged_
    else:
        with pytest.raises(InputError, match="split_merge tries other optima by passes of batch EM"):
            model.fit(rows)


def test_the_command_line_fits_by_the_algorithm_and_describes_it(algorithm, rows, tmp_path, capsys):
    np.save(tmp_path / "rows.npy", rows)
    arguments = [str(tmp_path / "rows.npy"), "-k", "2", "-o", str(tmp_path / "model"), "--algorithm", algorithm]
    assert main(["fit", *arguments]) == 0
    assert load(tmp_path / "model").algorithm_ == algorithm
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    assert f"{algorithm}: {ALGORITHMS[algorithm].purpose}" in " ".join(capsys.readouterr().out.split())


def test_a_rejected_step_does_not_end_accelerated_em():
    random = np.random.default_rng(0)
    means = random.normal(size=(4, 2)) * 1.6
    rows = means[random.integers(4, size=3000)] + random.normal(size=(3000, 2))
    start = {"means_init": rows[:4], "weights_init": [0.25] * 4, "precisions_init": np.stack([np.eye(2)] * 4)}
    model = GaussianMixture(4, algorithm="accelerated", tol=1e-9, max_iter=1000, reg_covar=0.0, **start).fit(rows)
    gains = np.diff(model.lower_bounds_)
    assert model.converged_ and (gains == 0.0).any() and gains[-1] > 0.0
