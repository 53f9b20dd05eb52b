"""What is said of a mixture is of the rows that it is said to be of, and never taken for something else."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm import GaussianMixture, load
from streamgmm.errors import InputError
from streamgmm.model.criteria import Criterion, HeldOut
from streamgmm.model.likelihood import RunningMoments


def rows_of(n=800, seed=0, d=2):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) + random.choice([-5, 5], size=(n, 1))


@pytest.fixture
def model():
    return GaussianMixture(2, random_state=0).fit(rows_of())


# ---------------------------------------------------------------------- rows held out

values = st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 3)), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(values, st.integers(0, 20))
def test_spreads_of_parts_add_up_to_that_of_the_whole_and_a_weight_is_so_many_rows(pairs, cut):
    numbers, weights = (np.array(column, float) for column in zip(*pairs, strict=True))
    whole = RunningMoments.from_values(np.repeat(numbers, weights.astype(int)))
    parts = RunningMoments.from_values(numbers[:cut], weights[:cut]) + RunningMoments.from_values(
        numbers[cut:], weights[cut:]
    )
    for name in ("weight", "mean", "squares"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9, atol=1e-6)


def test_rows_held_out_have_their_mean_log_density_and_its_standard_error(model):
    rows = rows_of(500, seed=1)
    found, densities = model.score_held_out(rows), model.score_samples(rows)
    assert model.criteria_["heldout"] == found and found.n_samples == 500
    np.testing.assert_allclose(found.log_likelihood, densities.sum(), rtol=1e-12)
    np.testing.assert_allclose(found.mean, densities.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.standard_error, densities.std() / np.sqrt(500), rtol=1e-12)
    assert not hasattr(found, "bic")


@pytest.mark.parametrize(
    "form", [lambda rows: da.from_array(rows, chunks=(130, 2)), lambda rows: iter([rows[:90], rows[90:]])]
)
def test_rows_held_out_may_come_in_any_form(model, form):
    rows = rows_of(500, seed=1)
    expected, found = model.score_held_out(rows), model.score_held_out(form(rows))
    np.testing.assert_allclose(
        [found.log_likelihood, found.standard_error], [expected.log_likelihood, expected.standard_error], rtol=1e-12
    )


def test_a_row_held_out_counts_as_often_as_it_weighs(model):
    rows, weights = rows_of(300, seed=1), np.random.default_rng(0).integers(0, 4, 300)
    weighted, repeated = (
        model.score_held_out(rows, sample_weight=weights),
        model.score_held_out(np.repeat(rows, weights, axis=0)),
    )
    assert weighted.n_samples == repeated.n_samples == weights.sum()
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(weighted.standard_error, repeated.standard_error, rtol=1e-12)


def test_what_rows_held_out_say_is_saved_with_the_model_and_kept_by_a_checkpoint(tmp_path):
    stream = GaussianMixture(2, random_state=0, checkpoint=tmp_path / "fit.ckpt").partial_fit(rows_of())
    found = stream.score_held_out(rows_of(seed=1))
    stream.save(tmp_path / "model")
    assert load(tmp_path / "model").criteria_ == stream.criteria_
    assert load(tmp_path / "model").criteria_["heldout"] == found


@pytest.mark.parametrize("learn", ["fit", "partial_fit", "update"])
def test_held_out_criteria_are_dropped_once_more_rows_are_learnt(learn):
    model = GaussianMixture(2, algorithm="incremental", batch_size=50, random_state=0).fit(rows_of())
    model.score_held_out(rows_of(seed=1))
    getattr(model, learn)(rows_of(1000))
    assert "heldout" not in model.criteria_ and "bound" in model.criteria_


def test_rows_held_out_that_cannot_be_used_change_nothing(model):
    found, rows = model.score_held_out(rows_of(seed=1)), rows_of(500)
    rows[317, 1] = np.nan
    for bad, message in (
        (rows, "row 317"),
        (np.ones((3, 5)), "5 features"),
        (da.from_array(rows, (100, 2)), "row 317"),
    ):
        with pytest.raises(ValueError, match=message):
            model.score_held_out(bad)
    with pytest.raises(InputError, match="weight"):
        model.score_held_out(rows_of(), sample_weight=np.zeros(800))
    assert model.criteria_["heldout"] == found


def test_criteria_of_training_rows_are_optimistic():
    """Or the name would be of no use: what was learnt from 40 rows expects them better than others."""
    rows = rows_of(2_000, d=4)
    model = GaussianMixture(2, init_params="kmeans", random_state=0).fit(rows[:40])
    learnt = model.criteria_["exact"].log_likelihood / 40
    found = model.score_held_out(rows[40:])
    assert isinstance(found, HeldOut)
    assert learnt - found.mean > 10 * found.standard_error


# ---------------------------------------------------------------------- how many rows


def test_weights_are_numbers_of_rows():
    rows, weights = rows_of(), np.random.default_rng(0).integers(1, 4, 800).astype(float)
    means = {"weights_init": [0.5, 0.5], "means_init": [[-5, -5], [5, 5]], "precisions_init": [np.eye(2)] * 2}
    weighted = GaussianMixture(2, **means).fit(rows, sample_weight=weights).criteria_["exact"]
    repeated = GaussianMixture(2, **means).fit(np.repeat(rows, weights.astype(int), axis=0)).criteria_["exact"]
    assert weighted.n_samples == repeated.n_samples == weights.sum()
    np.testing.assert_allclose([weighted.bic, weighted.icl], [repeated.bic, repeated.icl], rtol=1e-6)


def test_of_a_stream_that_forgets_the_bound_is_of_what_is_remembered():
    model = GaussianMixture(1, half_life=200.0, random_state=0)
    for part in np.split(np.random.default_rng(0).normal(size=(4000, 1)), 40):
        model.partial_fit(part)
    remembered = model.criteria_["bound"].n_samples
    assert model.n_samples_seen_ == 4000
    assert 0.9 * 200 / np.log(2) < remembered < 1.1 * 200 / np.log(2)  # the sum of 2 ** (-age / 200)
    assert model.criteria_["prequential"].n_samples == 3900  # but for the start


@given(st.floats(-1e6, -1.0), st.floats(2.0, 1e6), st.floats(1.0, 1e6), st.integers(1, 100))
def test_of_as_many_rows_as_there_are_nothing_changes_and_of_fewer_the_mean_does_not(total, n, effective, free):
    criterion = Criterion(total, -1.0, n, free)
    same, fewer = criterion.for_effective_rows(n), criterion.for_effective_rows(effective)
    np.testing.assert_allclose(
        [same.bic, same.aic, same.icl], [criterion.bic, criterion.aic, criterion.icl], rtol=1e-12
    )
    np.testing.assert_allclose(fewer.log_likelihood / effective, total / n, rtol=1e-12)
    np.testing.assert_allclose(fewer.bic, -2 * effective * total / n + free * np.log(effective), rtol=1e-9, atol=1e-6)


def test_an_effective_number_of_rows_is_positive():
    with pytest.raises(InputError, match="positive"):
        Criterion(-1.0, None, 2.0, 1).for_effective_rows(0.0)
