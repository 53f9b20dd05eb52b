"""Values of ``init_params``: one table, which the estimator and the command line read."""

import numpy as np
import pytest
from numpy.random import RandomState

from streamgmm import GaussianMixture
from streamgmm.data.subsample import Subsample
from streamgmm.initialization.find_starts import INIT_METHODS, find_starts
from streamgmm.initialization.start_methods import START_METHODS
from streamgmm.initialization.user_start import UserStart
from streamgmm.model.covariances import STRUCTURES

ROWS = np.random.default_rng(0).normal(size=(300, 2)) + 6.0 * np.arange(300)[:, None].repeat(2, axis=1) % 18.0


@pytest.mark.parametrize("family", STRUCTURES)
@pytest.mark.parametrize("init_params", INIT_METHODS)
def test_every_init_method_finds_starts_in_every_family(init_params, family):
    start = UserStart(STRUCTURES[family])
    starts, _ = find_starts(Subsample(ROWS, None), start, 3, init_params, 2, RandomState(0), 1e-6)
    assert 1 <= len(starts) <= 2
    for parameters in starts:
        assert parameters.means.shape == (3, 2)
        assert parameters.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("init_params", INIT_METHODS)
def test_the_estimator_accepts_every_init_method(init_params):
    model = GaussianMixture(3, init_params=init_params, random_state=0, max_iter=200).fit(ROWS)
    assert model.means_.shape == (3, 2)


def test_a_new_start_method_is_a_row_of_one_table(monkeypatch):
    def first_rows(subsample, n_components, random):
        responsibilities = np.zeros((len(subsample.rows), n_components))
        responsibilities[:, 0] = 1.0
        responsibilities[:n_components] = np.eye(n_components)
        return responsibilities

    monkeypatch.setitem(START_METHODS, "first rows", first_rows)
    (start,), _ = find_starts(
        Subsample(ROWS, None), UserStart(STRUCTURES["full"]), 3, "first rows", 1, RandomState(0), 1e-6
    )
    np.testing.assert_allclose(start.means[1:], ROWS[1:3])
