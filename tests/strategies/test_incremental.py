import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.em import expect, maximize
from streamgmm.execution import Wave
from streamgmm.fitting import bound
from streamgmm.reduction import tree_sum
from streamgmm.strategies import Incremental
from streamgmm.strategies.incremental import leaves, placed
from streamgmm.testing.draws import assert_same_statistics, examples, law
from streamgmm.testing.strategies import StrategyLaws


class TestIncremental(StrategyLaws):
    def make(self):
        return Incremental(self.structure, 1e-6, 20.0, 60.0)

    @law
    @given(st.data())
    def test_entries_at_fixed_parameters_sum_to_batch(self, data):
        example = data.draw(examples(self.structure))
        (whole,) = expect(example.rows, example.parameters, weights=example.weights)
        strategy, state = self.make(), self.make().init(example.parameters)
        parts = np.array_split(np.arange(len(example.rows)), data.draw(st.integers(1, 9)))
        order = np.random.default_rng(0).permutation(len(parts))
        for turn, place in enumerate(order):
            part = parts[place]
            if not len(part):
                continue
            (batch,) = expect(example.rows[part], example.parameters, weights=example.weights[part])
            wave = Wave((), last=turn == len(order) - 1, complete=True, entry=int(place))
            _, state = strategy.update(state, batch, wave)
        covered = strategy.covered(state)
        assert covered.likelihood.rows == len(example.rows)
        assert_same_statistics(covered.statistics.recentred(whole.statistics.origin), whole.statistics, tolerance=1e-8)

    @law
    @given(st.data())
    def test_the_root_is_a_fixed_tree_whatever_the_order_of_visits_and_how_often(self, data):
        example = data.draw(examples(self.structure))
        parts = [part for part in np.array_split(np.arange(len(example.rows)), 7) if len(part)]
        entries = [expect(example.rows[part], example.parameters)[0] for part in parts]
        visits = data.draw(st.lists(st.integers(0, len(parts) - 1), max_size=20)) + list(range(len(parts)))
        state, other = self.make().init(example.parameters), self.make().init(example.parameters)
        for place in visits:
            state = placed(state, place, entries[place])
        for place in reversed(range(len(parts))):
            other = placed(other, place, entries[place])
        assert_same_statistics(state.root.sum.statistics, other.root.sum.statistics, tolerance=0.0)
        assert_same_statistics(state.root.sum.statistics, tree_sum(entries).statistics, tolerance=1e-12)
        assert sum(leaf is not None for leaf in leaves(state)) == len(parts)

    @law
    @given(st.data())
    def test_an_entry_that_is_taken_away_leaves_the_sum_of_the_others(self, data):
        example = data.draw(examples(self.structure))
        parts = [part for part in np.array_split(np.arange(len(example.rows)), 5) if len(part)]
        entries = [expect(example.rows[part], example.parameters)[0] for part in parts]
        state = self.make().init(example.parameters)
        for place, entry in enumerate(entries):
            state = placed(state, place, entry)
        gone = data.draw(st.integers(0, len(parts) - 1))
        left = [entry for place, entry in enumerate(entries) if place != gone]
        state = placed(state, gone, None)
        if not left:
            assert state.root is None
        else:
            assert_same_statistics(state.root.sum.statistics, tree_sum(left).statistics, tolerance=1e-12)

    @law
    @given(st.data())
    def test_the_free_energy_never_decreases(self, data):
        example = data.draw(examples(self.structure, rows=(80, 120), features=(1, 3), components=(1, 2)))
        strategy = Incremental(self.structure, 0.0, 0.0, float(len(example.rows)))
        state, parameters = strategy.init(example.parameters), example.parameters
        parts = np.array_split(np.arange(len(example.rows)), 4)
        for place, part in enumerate(parts):  # all entries once, at the start
            (batch,) = expect(example.rows[part], parameters, weights=example.weights[part])
            surrogate, state = strategy.update(
                state, batch, Wave((), last=place == len(parts) - 1, complete=True, entry=place)
            )
        parameters = maximize(surrogate.statistics, self.structure)[0]
        energies = [bound(strategy.covered(state), parameters)]
        for number in range(3):
            for place in np.random.default_rng(number).permutation(len(parts)):
                part = parts[place]
                (batch,) = expect(example.rows[part], parameters, weights=example.weights[part])
                wave = Wave((), last=False, complete=True, entry=int(place))
                surrogate, state = strategy.update(state, batch, wave)
                parameters = maximize(surrogate.statistics, self.structure)[0]
                energies.append(bound(strategy.covered(state), parameters))
        assert np.all(np.diff(energies) >= -1e-8 * np.abs(energies[:-1])), np.diff(energies)
