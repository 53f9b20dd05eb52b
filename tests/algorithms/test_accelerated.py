from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamgmm.algorithms import accelerated
from streamgmm.algorithms.accelerated import SETTINGS, Accelerated, _choose_step, _model_curvature
from streamgmm.algorithms.batch import Batch
from streamgmm.algorithms.coordinates import from_coordinates, to_coordinates
from streamgmm.algorithms.stopping import AcceleratedStop, MaxPasses
from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.sources import as_source
from streamgmm.iteration.run import Stage, run_stages, start_run
from streamgmm.kernels.e_step import expect
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import make_parameters
from streamgmm.testing.algorithm_laws import AlgorithmLaws
from streamgmm.testing.examples import assert_same_parameters, examples, mixture

FAMILIES = list(STRUCTURES)


class TestAccelerated(AlgorithmLaws):
    def make(self):
        return Accelerated(self.structure, 1e-6)

    @given(st.data())
    def test_the_first_pass_is_one_of_batch_em(self, data):
        example = data.draw(examples(self.structure, rows=(30, 60)))
        plain = self.run_with(Batch(self.structure, 1e-6), example)
        accelerated = self.run_with(self.make(), example)
        np.testing.assert_array_equal(accelerated.parameters.covariances, plain.parameters.covariances)

    def run_with(self, algorithm, example):
        whole = expect(example.rows, example.parameters, weights=example.weights)
        state, info = algorithm.update(
            algorithm.init(example.parameters), whole, ChunkGroup((), ends_pass=True, ends_batch=True)
        )
        assert info is not None
        return state


def fitted(rows, start, algorithm, passes, stop=None, observe=None):
    stage = Stage("x", algorithm, execution.plan_passes(as_source(rows)), MaxPasses() if stop is None else stop)

    def adjust(event, run):
        if observe is not None:
            observe(event)
        return run

    return run_stages(start_run([start]), [stage], max_iter=passes, adjust=adjust)[0]


def overlapping(seed, n=3000, family="full"):
    random = np.random.default_rng(seed)
    means = random.normal(size=(4, 2)) * 1.6
    rows = means[random.integers(4, size=n)] + random.normal(size=(n, 2))
    structure = STRUCTURES[family]
    shape = structure.shape(4, 2)
    covariances = np.broadcast_to(np.eye(2), shape) if shape[1:] == (2, 2) else np.ones(shape)
    start = make_parameters(np.full(4, 0.25), rows[random.choice(n, 4)], np.array(covariances), structure)
    return rows, start, structure


@cache
def converged(seed):
    rows, start, structure = overlapping(seed)
    return fitted(rows, start, Accelerated(structure, 0.0), 600)


@pytest.mark.parametrize("family", FAMILIES)
@given(st.data())
def test_coordinates_lead_back_to_the_mixture_and_are_zero_at_the_frame(family, data):
    structure = STRUCTURES[family]
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    k, d = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    frame, other = mixture(structure, k, d, random), mixture(structure, k, d, random)
    assert_same_parameters(from_coordinates(frame, to_coordinates(frame, other), structure), other)
    here = to_coordinates(frame, frame)
    np.testing.assert_allclose(here[: k + k * d], 0.0, atol=1e-12)  # weights and means
    np.testing.assert_allclose(here, 0.0, atol=1e-10)


def divergence(one, other):
    """Kullback & Leibler's, of the joint density of rows and components, nats a row."""
    k, d = one.means.shape
    covariances = [np.broadcast_to(_matrices(each, d), (k, d, d)) for each in (one, other)]
    total = float(one.weights @ np.log(one.weights / other.weights))
    for j in range(k):
        ratio = np.linalg.solve(covariances[1][j], covariances[0][j])
        step = other.means[j] - one.means[j]
        far = step @ np.linalg.solve(covariances[1][j], step)
        total += 0.5 * one.weights[j] * (np.trace(ratio) - d - np.linalg.slogdet(ratio)[1] + far)
    return total


def _matrices(parameters, d):
    covariances = parameters.covariances
    return covariances if covariances.ndim == 3 else np.eye(d) * covariances[:, None, :]


@pytest.mark.parametrize("family", FAMILIES)
@given(st.data())
def test_half_the_square_of_a_short_vector_is_the_divergence(family, data):
    structure = STRUCTURES[family]
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    frame = mixture(structure, data.draw(st.integers(2, 4)), data.draw(st.integers(1, 4)), random)
    towards = to_coordinates(frame, mixture(structure, frame.n_components, frame.n_features, random))
    there = from_coordinates(frame, 1e-3 / np.linalg.norm(towards) * towards, structure)
    length = np.linalg.norm(to_coordinates(frame, there))
    np.testing.assert_allclose(0.5 * length**2, divergence(frame, there), rtol=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_m_step_is_the_gradient_of_the_mean_log_likelihood(family):
    rows, start, structure = overlapping(4, family=family)
    frame = fitted(rows, start, Batch(structure, 0.0), 60).parameters
    own = to_coordinates(frame, fitted(rows, frame, Batch(structure, 0.0), 1).parameters)
    random = np.random.default_rng(0)
    for _ in range(5):
        direction = own + np.linalg.norm(own) * to_coordinates(frame, mixture(structure, 4, 2, random))
        direction *= 1e-4 / np.linalg.norm(direction)
        ends = [from_coordinates(frame, sign * direction, structure) for sign in (1.0, -1.0)]
        above, below = (one.likelihood.mean for one in execution.expect_all(as_source(rows), ends))
        direction = 0.5 * (to_coordinates(frame, ends[0]) - to_coordinates(frame, ends[1]))
        slope, expected = (above - below) / 2.0, own @ direction
        assert abs(slope - expected) <= 0.1 * np.linalg.norm(own) * np.linalg.norm(direction)


def quadratic(random, size, lowest):
    """A symmetric matrix of curvatures up to 1."""
    axes = np.linalg.qr(random.normal(size=(size, size)))[0]
    return axes * random.uniform(lowest, 1.0, size) @ axes.T


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 40), st.sampled_from([-0.05, 0.01]))
def test_a_step_leads_where_as_many_passes_of_em_would(seed, n_pairs, passes, lowest):
    """Of EM whose gradient falls linearly, where pairs can be told apart; a lowest curvature below 0 is a saddle."""
    random = np.random.default_rng(seed)
    curvature = quadratic(random, n_pairs, lowest)
    steps = 1e-3 * random.normal(size=(n_pairs, n_pairs))
    pairs = tuple((step, curvature @ step) for step in steps)
    off = np.array([gone - step for step, gone in pairs])
    assume(np.linalg.cond(off / np.linalg.norm(off, axis=1)[:, None]) < 5e3)  # or directions are given up
    own = 1e-3 * random.normal(size=n_pairs)
    slopes, axes = np.linalg.eigh(curvature)

    def led_to(passes):
        return axes @ ((1.0 - (1.0 - slopes) ** passes) / slopes * (own @ axes))

    way, left = np.zeros(n_pairs), own
    for _ in range(passes):
        way, left = way + left, left - curvature @ left
    np.testing.assert_allclose(led_to(passes), way, rtol=1e-9, atol=1e-15)
    step_length, found = _choose_step(*_model_curvature(pairs, SETTINGS), own, np.linalg.norm(way), SETTINGS)
    off = min(np.linalg.norm(found - led_to(passes * (1 - less))) for less in np.linspace(0.0, 1e-4, 61))
    assert off <= 1e-5 * np.linalg.norm(way)  # passes are found to a ten-thousandth
    np.testing.assert_allclose(step_length, np.linalg.norm(found), rtol=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 10))
def test_the_longest_step_is_the_newton_step(seed, n_pairs):
    """Where every curvature is above 0; pairs beyond the memory's are of other directions, or of the same again."""
    random = np.random.default_rng(seed)
    curvature = quadratic(random, 6, 0.1)
    steps = 1e-3 * random.normal(size=(n_pairs, 6))
    pairs = tuple((step, curvature @ step) for step in steps)
    step_length, found = _choose_step(*_model_curvature(pairs, SETTINGS), pairs[-1][1], np.inf, SETTINGS)
    np.testing.assert_allclose(found, pairs[-1][0], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(step_length, np.linalg.norm(found))


@given(st.integers(0, 10**6), st.integers(0, 5), st.floats(0.0, 1.0))
def test_a_step_is_no_longer_than_its_limit_and_no_shorter_than_the_em_step(seed, n_pairs, share):
    """Whatever the pairs are: of no symmetric matrix, parallel, or nothing at all."""
    random = np.random.default_rng(seed)
    steps, gone = random.normal(size=(2, n_pairs, 4))
    if n_pairs > 1:
        steps[1], gone[0] = steps[0], share * gone[1]
        gone[-1] = steps[-1]
    own = 1e-2 * random.normal(size=4)
    longest = share * 0.3
    step_length, found = _choose_step(
        *_model_curvature(tuple(zip(steps, gone, strict=True)), SETTINGS), own, longest, SETTINGS
    )
    assert np.isfinite(found).all()
    length, unit = np.linalg.norm(found), np.linalg.norm(own)
    assert unit * (1 - 1e-9) <= length <= max(longest, unit) * (1 + 1e-6)
    assert step_length == 0.0 or abs(step_length - length) <= 1e-6 * length


@given(st.integers(0, 10**6))
def test_an_affine_map_of_the_data_changes_no_length(seed):
    structure, random = STRUCTURES["full"], np.random.default_rng(seed)
    frame, other = mixture(structure, 3, 3, random), mixture(structure, 3, 3, random)
    turn, shift = random.normal(size=(3, 3)) + 3 * np.eye(3), random.normal(size=3) * 100

    def moved(one):
        return make_parameters(one.weights, one.means @ turn.T + shift, turn @ one.covariances @ turn.T, structure)

    before, after = to_coordinates(frame, other), to_coordinates(moved(frame), moved(other))
    np.testing.assert_allclose(np.linalg.norm(after), np.linalg.norm(before), rtol=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_the_bound_never_falls_and_what_is_reported_is_as_good(family, seed):
    rows, start, structure = overlapping(seed, family=family)
    for passes in (1, 2, 3, 4, 5, 6, 40):  # also where the last pass was a quasi-Newton step
        trajectory = fitted(rows, start, Accelerated(structure, 0.0), passes)
        bounds = np.array(trajectory.lower_bounds)
        assert np.all(np.diff(bounds) >= -1e-12), bounds
        exact = execution.expect_all(as_source(rows), [trajectory.parameters])[0].likelihood.mean
        assert exact >= bounds[-1] - 1e-12


@pytest.mark.parametrize(
    ("seed", "times", "enough"), [pytest.param(0, 5, 3000, marks=pytest.mark.long), (1, 10, 3000), (2, 3, 1000)]
)
def test_it_ends_where_batch_em_does_in_several_times_fewer_passes(seed, times, enough):
    rows, start, structure = overlapping(seed)
    plain, ours = fitted(rows, start, Batch(structure, 0.0), enough), converged(seed)
    end = plain.lower_bounds[-1]
    assert ours.lower_bounds[-1] >= end - 1e-6

    def passes(trajectory):
        return int(np.argmax(np.array(trajectory.lower_bounds) >= end - 1e-4 / len(rows)))

    assert passes(plain) > 100, "a slow case"
    assert times * passes(ours) <= passes(plain)


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3, 4, 6, 10)), 8, 12]
)  # 0 and 5 come to a plateau whose end no pass shows
def test_a_fit_stops_when_little_gain_remains(seed):
    rows, start, structure = overlapping(seed)
    end = converged(seed)
    stopped = fitted(rows, start, Accelerated(structure, 0.0), 600, AcceleratedStop(0.1 / len(rows)))
    assert stopped.converged
    assert len(stopped.lower_bounds) < 500
    assert len(rows) * (end.lower_bounds[-1] - stopped.lower_bounds[-1]) <= 0.2


def test_a_limited_step_or_unknown_curvature_does_not_end_a_fit():
    """As past a saddle, where the gradient and all curvature that was seen say that little remains."""
    rows, start, structure = overlapping(1)
    frame = fitted(rows, start, Batch(structure, 0.0), 1).parameters
    vector = np.full(frame.weights.size + frame.means.size + frame.covariances.size, 1e-3)
    bounds = (-2.0 - 1e-2 * 0.6 ** np.arange(16)).tolist()
    going = accelerated.AcceleratedState(
        frame,
        is_accelerating=True,
        max_length=0.01,
        step_length=0.005,
        pairs=((vector, vector),) * SETTINGS.memory,
        remaining_gain=0.0,
    )
    assert AcceleratedStop(1e-3)(bounds, going)
    assert not AcceleratedStop(1e-3)(bounds, replace(going, pairs=going.pairs[1:]))
    assert not AcceleratedStop(1e-3)(bounds, replace(going, step_length=0.01))
    assert not AcceleratedStop(1e-3)(bounds, replace(going, step_length=0.0, pairs=()))


@pytest.mark.parametrize(("striding", "plain"), [(False, 9), (True, 6)])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.3])
def test_small_first_gains_that_do_not_halve_may_be_a_plateau(striding, plain, factor):
    state = SimpleNamespace(
        is_accelerating=striding, n_plain_passes=plain, remaining_gain=0.0, is_step_limited=False, has_full_memory=True
    )
    bounds = (-2.0 + np.cumsum(1e-7 * factor ** np.arange(8))).tolist()
    assert not any(AcceleratedStop(1e-3)(bounds[:number], state) for number in range(1, plain + 3))


@pytest.mark.parametrize("plain", [1, 2, 3])
def test_first_gains_that_halve_twice_and_are_small_are_the_last(plain):
    state = SimpleNamespace(
        is_accelerating=True, n_plain_passes=plain, remaining_gain=1.0, is_step_limited=False, has_full_memory=True
    )
    bounds = [-2.0, -1.9, -1.899, -1.8989999]
    assert AcceleratedStop(1e-3)(bounds, state)
    assert not AcceleratedStop(1e-3)(
        bounds,
        SimpleNamespace(
            is_accelerating=True, n_plain_passes=plain, remaining_gain=1.0, is_step_limited=True, has_full_memory=True
        ),
    )
    for gains in ([1e-4, 1e-3, 1e-7], [1e-3, 1e-7, 1e-7], [1e-2, 5e-3, 2e-3]):
        assert not AcceleratedStop(1e-3)(np.cumsum([-2.0, *gains]).tolist(), state)


def test_where_the_likelihood_falls_nothing_is_left_to_gain():
    state = SimpleNamespace(
        is_accelerating=True, n_plain_passes=1, remaining_gain=1.0, is_step_limited=True, has_full_memory=True
    )
    bounds = [-2.0, -2.1, -2.11, -2.12, -2.13]
    assert AcceleratedStop(1e-3)(bounds, state) and not AcceleratedStop(1e-3)(bounds[:4], state)


def test_a_common_factor_of_all_weights_changes_nothing():
    rows, start, structure = overlapping(0)
    found = []
    for factor in (1.0, 1e-200, 1e200):
        source = as_source(rows, np.full(len(rows), factor))
        stage = Stage("x", Accelerated(structure, 1e-6), execution.plan_passes(source), MaxPasses())
        found.append(run_stages(start_run([start]), [stage], max_iter=12)[0].parameters)
    for other in found[1:]:
        assert_same_parameters(other, found[0])


def test_a_step_that_is_too_long_is_rejected():
    rows, start, structure = overlapping(1)
    unlimited = replace(SETTINGS, max_length=np.inf)
    bounds = np.array(fitted(rows, start, Accelerated(structure, 0.0, unlimited), 60).lower_bounds)
    assert (np.diff(bounds) == 0.0).any(), "some step was rejected"
    assert np.all(np.diff(bounds) >= -1e-12)


def test_the_limit_is_relaxed_only_where_no_curvature_tells_of_a_saddle():
    near_saddles, sure = [], []

    def observe(event):
        for _, state in event.position.states:
            if state.step_length and state.step_length > np.linalg.norm(state.em_step):
                has_no_growth = (_model_curvature(state.pairs, SETTINGS)[0] >= 0.0).all()
                (sure if has_no_growth else near_saddles).append(state.step_length / state.max_length)

    for seed in range(4):
        rows, start, structure = overlapping(seed)
        fitted(rows, start, Accelerated(structure, 0.0), 80, observe=observe)
    assert 0.99 <= max(near_saddles) <= 1.0 + 1e-9
    assert 1.99 <= max(sure) <= 2.0 + 1e-9
