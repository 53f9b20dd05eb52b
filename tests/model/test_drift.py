"""Laws of the drift score, the monitor and the analysis of variance of stored segments.

The draws of a run are always the same, so that no test fails by chance; the rates that are stated are those of other
seeds.
"""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm.kernels.e_step import expect
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.drift import (
    DriftMonitor,
    compute_drift_score,
    compute_innovations,
    count_degrees_of_freedom,
    measure_order,
)
from streamgmm.model.em import Expectation, make_parameters, make_pseudo_statistics, maximize
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Parameters
from streamgmm.model.statistics import Statistics
from streamgmm.testing.examples import examples, law, mixture

FULL = STRUCTURES["full"]
families = pytest.mark.parametrize("structure", STRUCTURES.values(), ids=list(STRUCTURES))


def draw(parameters, n, random):
    """Rows of a mixture in random order."""
    k, d = parameters.means.shape
    covariances = parameters.covariances
    if covariances.ndim == 2:
        covariances = np.broadcast_to(covariances, (k, d))[:, :, None] * np.eye(d)
    roots = np.broadcast_to(np.linalg.cholesky(covariances), (k, d, d))
    labels, rows = random.choice(k, size=n, p=parameters.weights), random.normal(size=(n, d))
    for j in range(k):
        rows[labels == j] = parameters.means[j] + rows[labels == j] @ roots[j].T
    return rows


def responsibilities(rows, parameters):
    """Of a full mixture, in plain NumPy: (n, k)."""
    distances = [
        np.sum(((rows - mean) @ factor) ** 2, axis=1)
        for mean, factor in zip(parameters.means, parameters.precision_factors, strict=True)
    ]
    logs = parameters.log_weights() + parameters.log_determinants() - 0.5 * np.transpose(distances)
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def batches(rows, parameters, size):
    """Expectations of consecutive batches without the second moments, which no score needs: quickly, for many."""
    shares = responsibilities(rows, parameters)
    shifts = shares[:, :, None] * (rows[:, None, :] - parameters.means)
    starts = np.arange(0, len(rows), size)
    counts, sums = np.add.reduceat(shares, starts), np.add.reduceat(shifts, starts)
    for start, count, total in zip(starts, counts, sums, strict=True):
        n = min(size, len(rows) - start)
        yield Expectation(
            Statistics(parameters.means, count, total, total), LogLikelihood(0.0, 0.0, 0.0, float(n), n, None)
        )


def mean_score(rows, parameters, n_batches=200):
    """Mean of the scores of batches, and its standard error."""
    scores = [compute_drift_score(*expect(part, parameters), parameters) for part in np.array_split(rows, n_batches)]
    return np.mean(scores), np.std(scores) / np.sqrt(n_batches)


def converged(rows, structure, k, iterations=300):
    random = np.random.default_rng(0)
    d = rows.shape[1]
    shape = structure.shape(k, d)
    variances = np.broadcast_to(np.eye(d), shape) if len(shape) == 3 else np.ones(shape)
    parameters = make_parameters(np.full(k, 1 / k), rows[random.choice(len(rows), k)], variances, structure)
    for _ in range(iterations):
        parameters, _ = maximize(expect(rows, parameters)[0].statistics, structure, 1e-6)
    return parameters


# --- score ---


@families
@settings(law, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 4), d=st.integers(1, 4), size=st.sampled_from([1, 20, 100]))
def test_rows_of_the_mixture_score_at_most_about_1(structure, seed, k, d, size):
    """Mean of 200 with E ≤ 1: 1.2 or, where dof is small, five standard errors; false for 1e-5 of the examples."""
    random = np.random.default_rng(seed)
    parameters = mixture(structure, k, d, random)
    mean, error = mean_score(draw(parameters, 200 * size, random), parameters)
    assert mean <= max(1.2, 1 + 5 * error)


@pytest.mark.parametrize("name", ["full", "diag", "spherical"])
def test_heavy_tailed_rows_score_at_most_about_1_at_a_converged_fit(name):
    """t₃ in every feature; E ≤ 1 at the fit for rows of the same sample. 1.2 is some 5 deviations away (1e-6)."""
    random = np.random.default_rng(1)
    rows = random.standard_t(3, size=(20_000, 2)) + random.choice([-3.0, 3.0], size=(20_000, 1))
    parameters = converged(rows, STRUCTURES[name], 3)
    assert mean_score(random.permutation(rows), parameters)[0] <= 1.2


@families
def test_sorted_rows_score_far_above_1(structure):
    """No chance is involved: the first batch of 500 sorted rows lies entirely in one tail."""
    random = np.random.default_rng(2)
    parameters = mixture(structure, 3, 3, random)
    rows = draw(parameters, 5000, random)
    rows = rows[np.argsort(rows[:, 0])]
    assert compute_drift_score(*expect(rows[:500], parameters), parameters) > 20
    assert mean_score(rows, parameters, 10)[0] > 10


@families
@law
@given(data=st.data())
def test_a_factor_in_all_weights_changes_nothing(structure, data):
    example = data.draw(examples(structure))
    one = compute_drift_score(*expect(example.rows, example.parameters, weights=example.weights), example.parameters)
    other = compute_drift_score(
        *expect(example.rows, example.parameters, weights=1e3 * example.weights), example.parameters
    )
    np.testing.assert_allclose(other, one, rtol=1e-8, atol=1e-12)


@families
@law
@given(data=st.data())
def test_the_order_of_rows_changes_nothing(structure, data):
    example = data.draw(examples(structure))
    order = example.random.permutation(len(example.rows))
    one = compute_drift_score(*expect(example.rows, example.parameters), example.parameters)
    other = compute_drift_score(*expect(example.rows[order], example.parameters), example.parameters)
    np.testing.assert_allclose(other, one, rtol=1e-8, atol=1e-12)


@law
@given(data=st.data())
def test_affine_maps_change_nothing_in_the_full_family(data):
    example = data.draw(examples(FULL))
    parameters, d = example.parameters, example.rows.shape[1]
    matrix = np.linalg.qr(example.random.normal(size=(d, d)))[0] * example.random.uniform(0.5, 2.0, d)
    centre = parameters.means[0]
    mapped = make_parameters(
        parameters.weights, (parameters.means - centre) @ matrix, matrix.T @ parameters.covariances @ matrix, FULL
    )
    one = compute_drift_score(*expect(example.rows, parameters), parameters)
    other = compute_drift_score(*expect((example.rows - centre) @ matrix, mapped), mapped)
    np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9)


@families
@law
@given(data=st.data())
def test_score_is_the_formula(structure, data):
    example = data.draw(examples(structure))
    parameters = example.parameters
    k, d = parameters.means.shape
    (expectation,) = expect(example.rows, parameters)
    covariances = parameters.covariances
    if covariances.ndim == 2:
        covariances = np.broadcast_to(covariances, (k, d))[:, :, None] * np.eye(d)
    expected = len(example.rows) * parameters.weights
    total = np.sum((expectation.statistics.counts - expected) ** 2 / expected)
    for sums, covariance, count in zip(
        expectation.statistics.sums, np.broadcast_to(covariances, (k, d, d)), expected, strict=True
    ):
        total += sums @ np.linalg.solve(covariance, sums) / count
    np.testing.assert_allclose(
        compute_drift_score(expectation, parameters), total / (k * d + k - 1), rtol=1e-8, atol=1e-12
    )


@families
@law
@given(data=st.data())
def test_statistics_about_other_means_give_the_same_score(structure, data):
    example = data.draw(examples(structure))
    (expectation,) = expect(example.rows, example.parameters)
    moved = expectation.statistics.recentred(example.parameters.means + 0.25)
    other = Expectation(moved, expectation.likelihood)
    np.testing.assert_allclose(
        compute_drift_score(other, example.parameters),
        compute_drift_score(expectation, example.parameters),
        rtol=1e-6,
        atol=1e-9,
    )


@pytest.mark.parametrize("weight", [0.0, 1e-18])
def test_components_of_no_weight_are_left_out(weight):
    random = np.random.default_rng(3)
    one, two = mixture(FULL, 1, 2, random), mixture(FULL, 2, 2, random)
    both = Parameters(
        np.array([1.0 - weight, weight]),
        np.concatenate([one.means, two.means[1:]]),
        np.concatenate([one.covariances, two.covariances[1:]]),
        np.concatenate([one.precision_factors, two.precision_factors[1:]]),
    )
    rows = draw(one, 100, random)
    np.testing.assert_allclose(
        compute_drift_score(*expect(rows, both), both), compute_drift_score(*expect(rows, one), one), rtol=1e-9
    )
    assert count_degrees_of_freedom(both) == 2


def test_rows_of_no_weight_score_0():
    parameters = mixture(FULL, 2, 2, np.random.default_rng(4))
    assert compute_drift_score(*expect(np.ones((3, 2)), parameters, weights=np.zeros(3)), parameters) == 0.0


# --- DriftMonitor ---


def watched(expectations, parameters, span, effective_rows=inf):
    monitor = DriftMonitor.from_parameters(parameters, span)
    for expectation in expectations:
        monitor = monitor.update(expectation, parameters, effective_rows)
    return monitor


@pytest.mark.parametrize(("size", "rows", "seeds"), [(1, 400, 200), (100, 4000, 200), (5000, 15_000, 200)])
def test_no_alarm_for_rows_in_random_order(size, rows, seeds):
    """An alarm takes two windows of 200 rows or more with χ²(dof) > 10·dof: below 1e-5 a stream, if dof is 2 or more
    (Gaussian tails), and 200·1e-5 for all.
    """
    alarms = 0
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        parameters = mixture(FULL, int(random.integers(1, 4)), 2, random)
        alarms += watched(batches(draw(parameters, rows, random), parameters, size), parameters, 200).has_drifted
    assert alarms == 0


def test_no_alarm_for_parameters_that_rest_on_few_rows():
    """Means of 50 rows are off by √(1/50) each; windows of 5000 see that surely, and are told to expect it. χ²(dof)
    times 101 stays below 10·dof times 101, as above: below 1e-3 for all.
    """
    without = 0
    for seed in range(50):
        random = np.random.default_rng(seed)
        fitted = random.normal(size=(50, 3))
        parameters = make_parameters(np.ones(1), fitted.mean(axis=0)[None], np.cov(fitted.T)[None], FULL)
        rows = random.normal(size=(15_000, 3))
        assert not watched(batches(rows, parameters, 1000), parameters, 5000, 50.0).has_drifted
        without += watched(batches(rows, parameters, 1000), parameters, 5000).score > 10
    assert without > 5  # the score alone is far from 1: it is the allowance that keeps quiet


def updated(rows, parameters, size, structure, span, effective_rows=1000.0):
    """A monitor beside a model that takes in every batch it was shown, with equal weights for all rows."""
    monitor = DriftMonitor.from_parameters(parameters, span)
    statistics = effective_rows * make_pseudo_statistics(parameters, structure, 1e-6)
    for start in range(0, len(rows), size):
        (expectation,) = expect(rows[start : start + size], parameters)
        monitor = monitor.update(expectation, parameters, effective_rows)
        statistics = statistics.recentred(parameters.means) + expectation.statistics
        effective_rows += size
        parameters, _ = maximize(statistics, structure, 1e-6)
    return monitor


@pytest.mark.parametrize("size", [10, 1000])
@families
def test_an_alarm_for_sorted_rows_and_none_for_the_same_rows_shuffled(structure, size):
    """Shuffled: two of the windows (500 rows or more, 10 to 20 of them) above 10·dof, below 1e-6."""
    random = np.random.default_rng(5)
    parameters = mixture(structure, 2, 2, random)
    rows = draw(parameters, 10_000, random)
    in_order = rows[np.argsort(rows[:, 0])]
    for monitor in (
        updated(in_order, parameters, size, structure, 500),
        watched(
            (expect(part, parameters)[0] for part in np.array_split(in_order, len(rows) // size)), parameters, 500, 1e3
        ),
    ):
        assert monitor.has_drifted
        assert monitor.component_shift > 0.3
    assert not updated(rows, parameters, size, structure, 500).has_drifted


def test_one_window_is_no_drift_two_are_and_it_is_remembered():
    parameters = mixture(FULL, 1, 2, np.random.default_rng(6))
    (far,) = expect(np.repeat(parameters.means + 9.0, 100, axis=0), parameters)
    (near,) = expect(np.repeat(parameters.means, 100, axis=0), parameters)
    monitor = watched([far, near], parameters, 100)
    assert monitor.alarms == 1 and not monitor.has_drifted
    assert watched([far, near, far, near, near], parameters, 100).has_drifted
    assert monitor.effect == pytest.approx(0.0) and monitor.component_shift > 1.0
    assert watched([far] * 4, parameters, 201).alarms == 1  # windows are of whole batches: three of them
    assert not watched([far] * 4, parameters, 100, 0.0).has_drifted  # parameters that rest on nothing


def test_the_parts_of_a_window_and_the_scale_of_weights_do_not_matter():
    random = np.random.default_rng(7)
    parameters = mixture(FULL, 3, 2, random)
    rows, weights = random.normal(size=(100, 2)), random.integers(0, 3, 100) / 2
    whole = watched(expect(rows, parameters, weights=weights), parameters, 100)
    parts = [
        expect(rows[part], parameters, weights=1e3 * weights[part])[0] for part in np.split(np.arange(100), [1, 7, 60])
    ]
    split = watched(parts, parameters, 100)
    (expectation,) = expect(rows, parameters, weights=weights)
    assert whole.rows == split.rows == 0
    np.testing.assert_allclose([split.score, split.effect], [whole.score, whole.effect], rtol=1e-8)
    np.testing.assert_allclose(whole.score, compute_drift_score(expectation, parameters), rtol=1e-12)
    np.testing.assert_allclose(whole.effect * 100, whole.score * count_degrees_of_freedom(parameters), rtol=1e-12)


def test_the_monitor_is_not_changed_by_what_it_takes():
    parameters = mixture(FULL, 2, 2, np.random.default_rng(8))
    monitor = DriftMonitor.from_parameters(parameters, 10)
    (expectation,) = expect(np.ones((4, 2)), parameters)
    taken = monitor.update(expectation, parameters, inf)
    assert monitor.rows == 0 and not monitor.shift.any() and not monitor.excess.any()
    assert taken.rows == 4
    shift, excess = compute_innovations(expectation, parameters)
    np.testing.assert_array_equal(taken.shift, shift)
    np.testing.assert_array_equal(taken.excess, excess)


def test_rows_of_no_weight_fill_no_window():
    parameters = mixture(FULL, 2, 2, np.random.default_rng(9))
    (nothing,) = expect(np.ones((20, 2)), parameters, weights=np.zeros(20))
    monitor = watched([nothing] * 3, parameters, 10)
    assert monitor.rows == 60 and monitor.score == 0.0 and not monitor.has_drifted


# --- measure_order ---


def segments_of(rows, n_segments):
    return [(part.mean(axis=0), part.var(axis=0), len(part)) for part in np.array_split(rows, n_segments)]


def test_rows_in_random_order_are_not_called_ordered():
    """1e-6 a draw for normal rows; some of these are heavy-tailed, for which F is conservative. 3e-4 for all."""
    for seed in range(300):
        random = np.random.default_rng(seed)
        shape = (int(random.integers(50, 2000)), int(random.integers(1, 6)))
        rows = random.normal(size=shape) if seed % 2 else random.standard_t(3, size=shape)
        assert measure_order(segments_of(1e6 + rows, int(random.integers(4, 25)))) is None


def test_sorted_rows_are_called_ordered_with_almost_all_variance_between_segments():
    rows = np.random.default_rng(10).normal(size=(2000, 3))
    ordered = rows[np.argsort(rows[:, 1])]
    value = measure_order(segments_of(ordered, 20))
    assert 0.9 < value <= 1.0
    assert measure_order(segments_of(ordered[:, [0, 2]], 20)) is None
    np.testing.assert_allclose(measure_order(segments_of(1e6 + 1e3 * ordered, 20)), value, rtol=1e-6)


def test_the_value_estimates_the_correlation_of_rows_of_a_segment():
    """400 segments: a deviation of about 0.02 of the estimate, 5 of them allowed (1e-6)."""
    random = np.random.default_rng(11)
    levels = np.repeat(random.normal(size=(400, 1)), 20, axis=0)
    assert measure_order(segments_of(levels + random.normal(size=(8000, 1)), 400)) == pytest.approx(0.5, abs=0.1)


def test_a_surely_seen_but_small_order_is_none():
    rows = np.random.default_rng(12).normal(size=(100_000, 1)) + np.linspace(-0.5, 0.5, 100_000)[:, None]
    assert measure_order(segments_of(rows, 10)) is None  # a part 1/13 of the variance lies between segments


def test_constant_features_and_too_few_segments_tell_nothing():
    random = np.random.default_rng(13)
    constant = np.full((1000, 1), 0.1)
    assert measure_order([]) is None
    assert measure_order(segments_of(constant, 7)) is None
    assert measure_order(segments_of(np.zeros((100, 2)), 7)) is None
    steps = np.repeat(np.arange(5.0), 200)[:, None]  # nothing varies within a segment
    assert measure_order(segments_of(np.hstack([constant, steps]), 5)) == 1.0
    assert measure_order(segments_of(np.sort(random.normal(size=(90, 1)), axis=0), 3)) is None
    assert measure_order(segments_of(np.sort(random.normal(size=(9, 1)), axis=0), 9)) is None  # one row each
    empty = (np.full(1, np.nan), np.full(1, np.nan), 0)
    assert measure_order([*segments_of(steps, 5), empty]) == 1.0
