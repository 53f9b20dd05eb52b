import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.algorithms.schedules import Constant, HalfLife, PowerDecay, Reciprocal
from streamgmm.algorithms.stepwise import Stepwise
from streamgmm.data.execution import ChunkGroup
from streamgmm.kernels.e_step import expect
from streamgmm.model.em import compute_bound, make_parameters, make_pseudo_statistics, maximize
from streamgmm.testing.algorithm_laws import AlgorithmLaws
from streamgmm.testing.examples import assert_same_parameters, assert_same_statistics, examples, law

WHOLE = ChunkGroup((), ends_pass=True, ends_batch=True)
BATCH = ChunkGroup((), ends_pass=False, ends_batch=True)


class TestStepwise(AlgorithmLaws):
    schedule = PowerDecay()

    def make(self):
        return Stepwise(self.schedule, 20, self.structure, 1e-6, averaging=True)

    @law
    @given(st.data())
    def test_a_step_of_one_is_an_iteration_of_batch_em(self, data):
        example = data.draw(examples(self.structure, rows=(30, 60)))
        strategy = Stepwise(Constant(1.0), len(example.rows), self.structure, 0.0, averaging=False)
        (whole,) = expect(example.rows, example.parameters, weights=example.weights)
        state, _ = strategy.update(strategy.init(example.parameters), [whole], WHOLE)
        there = maximize(whole.statistics, self.structure, effective_rows=whole.likelihood.rows)[0]
        here = state.parameters
        for name in ("weights", "means", "covariances"):
            np.testing.assert_allclose(getattr(here, name), getattr(there, name), rtol=1e-13, atol=1e-13)

    @law
    @given(st.data())
    def test_a_batch_cut_in_two_at_the_same_parameters_is_the_batch(self, data):
        example = data.draw(examples(self.structure, rows=(30, 60)))
        cut = data.draw(st.integers(1, len(example.rows) - 1))
        (whole,) = expect(example.rows, example.parameters, weights=example.weights)
        parts = [
            expect(rows, example.parameters, weights=weights)[0]
            for rows, weights in (
                (example.rows[:cut], example.weights[:cut]),
                (example.rows[cut:], example.weights[cut:]),
            )
        ]
        strategy, start = self.make(), self.make().init(example.parameters)
        straight, _ = strategy.update(start, [whole], BATCH)
        state, none = strategy.update(start, [parts[0]], ChunkGroup((), ends_pass=False, ends_batch=False))
        assert none is None
        state, _ = strategy.update(state, [parts[1]], BATCH)
        assert_same_statistics(state.statistics, straight.statistics)
        assert state.n_rows == straight.n_rows == len(example.rows)

    @law
    @given(st.data(), st.floats(1e-3, 1e3))
    def test_a_common_factor_of_all_weights_changes_nothing(self, data, factor):
        example = data.draw(examples(self.structure, rows=(30, 60)))
        strategy = self.make()
        states = []
        for weights in (example.weights, factor * example.weights):
            state = strategy.init(example.parameters)
            for part in np.array_split(np.arange(len(example.rows)), 3):
                (batch,) = expect(example.rows[part], example.parameters, weights=weights[part])
                state, _ = strategy.update(state, [batch], BATCH)
            states.append(state)
        assert_same_statistics(states[0].statistics, states[1].statistics)
        assert states[0].clock == pytest.approx(states[1].clock)

    @law
    @given(st.data())
    def test_the_bound_is_never_above_the_likelihood_and_largest_at_what_is_reported(self, data):
        example = data.draw(examples(self.structure, rows=(60, 90), features=(1, 2), components=(1, 2)))
        strategy, state, parameters = self.make(), self.make().init(example.parameters), example.parameters
        for part in np.array_split(np.arange(len(example.rows)), 4):
            (batch,) = expect(example.rows[part], parameters, weights=example.weights[part])
            state, _ = strategy.update(state, [batch], BATCH)
            parameters = state.parameters
        covered = strategy.accumulated(state)
        reported = maximize(covered.statistics, self.structure, 0.0)[0]
        for theta in (parameters, reported):
            (exact,) = expect(example.rows, theta, weights=example.weights)
            assert compute_bound(covered, theta) <= exact.likelihood.total + 1e-8 * (1 + abs(exact.likelihood.total))
        assert compute_bound(covered, parameters) <= compute_bound(covered, reported) + 1e-8 * (
            1 + abs(compute_bound(covered, reported))
        )

    @law
    @given(st.data())
    def test_pseudo_statistics_give_the_parameters_back(self, data):
        start = data.draw(examples(self.structure)).parameters
        assert_same_parameters(
            maximize(make_pseudo_statistics(start, self.structure, 1e-3), self.structure, 1e-3)[0], start
        )

    def test_a_component_with_too_few_rows_keeps_its_parameters_while_the_others_learn(self):
        identity = np.stack([np.eye(2)] * 2)
        start = make_parameters(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [50.0, 50.0]]), identity, self.structure)
        strategy = Stepwise(Constant(0.9), 100, self.structure, 1e-6, averaging=False)
        rows = np.random.default_rng(0).normal(1.0, 2.0, size=(100, 2))
        state = strategy.init(start)
        for _ in range(3):
            (batch,) = expect(rows, start)
            state, info = strategy.update(state, [batch], BATCH)
        after = state.parameters
        assert info.m_step.held == (1,)
        np.testing.assert_array_equal(after.means[1], start.means[1])
        np.testing.assert_allclose(after.covariances[1], start.covariances[1], rtol=1e-14)
        assert after.means[0] == pytest.approx(rows.mean(axis=0), abs=0.01)


class TestReciprocal(TestStepwise):
    schedule = Reciprocal()


@pytest.mark.parametrize("schedule", [PowerDecay(), Constant(0.3), HalfLife(50.0)])
def test_many_small_steps_go_as_far_as_one_large_one(schedule):
    far, near = 1.0, 1.0 - schedule(before=1e9, rows=100, batch_size=10)
    for _ in range(100):
        far *= 1.0 - schedule(before=1e9, rows=1, batch_size=10)
    assert far == pytest.approx(near, rel=1e-6)


@pytest.mark.parametrize("schedule", [PowerDecay(), PowerDecay(1.0), Constant(0.3), HalfLife(50.0), Reciprocal()])
@given(st.floats(0, 1e12), st.floats(1e-3, 1e9), st.floats(1, 1e6))
def test_steps_are_from_zero_to_one(schedule, before, rows, batch_size):
    assert 0.0 <= schedule(before, rows, batch_size) <= 1.0


@pytest.mark.parametrize(
    "make", [lambda: PowerDecay(0.4), lambda: PowerDecay(1.1), lambda: Constant(0.0), lambda: HalfLife(0)]
)
def test_steps_that_do_not_converge_are_refused(make):
    with pytest.raises(ValueError, match="give"):
        make()
