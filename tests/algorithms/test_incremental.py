from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.algorithms.incremental import Incremental, IncrementalState, list_entries, merge_entries, replace_entries
from streamgmm.algorithms.schedules import PowerDecay
from streamgmm.algorithms.stepwise import Stepwise
from streamgmm.data.execution import ChunkGroup
from streamgmm.kernels.e_step import expect
from streamgmm.model.em import compute_bound, maximize
from streamgmm.model.reduction import sum_tree
from streamgmm.testing.algorithm_laws import AlgorithmLaws
from streamgmm.testing.examples import assert_same_statistics, examples, law


def entries_of(example, n):
    parts = [part for part in np.array_split(np.arange(len(example.rows)), n) if len(part)]
    return [expect(example.rows[part], example.parameters, weights=example.weights[part])[0] for part in parts]


class TestIncremental(AlgorithmLaws):
    def make(self, reg_covar=1e-6):
        return Incremental(Stepwise(PowerDecay(), 20, self.structure, reg_covar, averaging=True))

    def visit(self, strategy, state, example, parameters, groups, last):
        """Chunk groups of several partitions each; the parameters move after every group."""
        parts = np.array_split(np.arange(len(example.rows)), 1 + max(place for group in groups for place in group))
        for turn, group in enumerate(groups):
            expectations = [
                expect(example.rows[parts[place]], parameters, weights=example.weights[parts[place]])[0]
                for place in group
            ]
            chunk_group = ChunkGroup(
                (), ends_pass=last and turn == len(groups) - 1, ends_batch=True, partitions=tuple(group)
            )
            state, _ = strategy.update(state, expectations, chunk_group)
            parameters = state.parameters
            yield state, parameters

    @law
    @given(st.data())
    def test_entries_at_fixed_parameters_sum_to_batch(self, data):
        example = data.draw(examples(self.structure))
        (whole,) = expect(example.rows, example.parameters, weights=example.weights)
        entries = entries_of(example, data.draw(st.integers(1, 9)))
        order = np.random.default_rng(0).permutation(len(entries))
        cuts = sorted({0, len(order), *data.draw(st.lists(st.integers(0, len(order)), max_size=3))})
        strategy, state = self.make(), self.make().init(example.parameters)
        for first, stop in pairwise(cuts):
            places = tuple(int(place) for place in order[first:stop])
            chunk_group = ChunkGroup((), ends_pass=stop == len(order), ends_batch=True, partitions=places)
            state, info = strategy.update(state, [entries[place] for place in places], chunk_group)
        covered = strategy.accumulated(state)
        assert covered.likelihood.rows == info.effective_rows == len(example.rows)
        assert_same_statistics(covered.statistics.recentred(whole.statistics.origin), whole.statistics, tolerance=1e-8)

    @law
    @given(st.data())
    def test_the_root_is_a_fixed_tree_whatever_the_order_of_visits_and_how_often(self, data):
        example = data.draw(examples(self.structure))
        entries = entries_of(example, 7)
        visits = [*data.draw(st.lists(st.sets(st.integers(0, len(entries) - 1)), max_size=9)), {*range(len(entries))}]
        state = other = IncrementalState(example.parameters, example.parameters.means)
        for places in visits:
            state = replace_entries(state, {place: entries[place] for place in places})
        for place in reversed(range(len(entries))):
            other = replace_entries(other, {place: entries[place]})
        assert_same_statistics(state.root.sum.statistics, other.root.sum.statistics, tolerance=0.0)
        assert_same_statistics(state.root.sum.statistics, sum_tree(entries).statistics, tolerance=1e-12)
        assert [place for place, _ in list_entries(state)] == [*range(len(entries))]

    @law
    @given(st.data())
    def test_entries_that_are_taken_away_leave_the_sum_of_the_others(self, data):
        example = data.draw(examples(self.structure))
        entries = entries_of(example, 5)
        state = replace_entries(
            IncrementalState(example.parameters, example.parameters.means), dict(enumerate(entries))
        )
        gone = data.draw(st.sets(st.integers(0, len(entries) - 1)))
        left = [entry for place, entry in enumerate(entries) if place not in gone]
        state = replace_entries(state, dict.fromkeys(gone))
        if not left:
            assert state.root is None
        else:
            assert_same_statistics(state.root.sum.statistics, sum_tree(left).statistics, tolerance=1e-12)
            assert state.root.sum.likelihood.rows == sum(entry.likelihood.rows for entry in left)

    @law
    @given(st.data())
    def test_entries_that_are_merged_keep_their_sum(self, data):
        example = data.draw(examples(self.structure))
        entries = entries_of(example, 6)
        state = replace_entries(
            IncrementalState(example.parameters, example.parameters.means), dict(enumerate(entries))
        )
        places = sorted(data.draw(st.lists(st.integers(0, 3), min_size=len(entries), max_size=len(entries))))
        fewer = merge_entries(state, places)
        assert [place for place, _ in list_entries(fewer)] == sorted(set(places))
        assert fewer.root.sum.likelihood.rows == len(example.rows)
        assert_same_statistics(fewer.root.sum.statistics, state.root.sum.statistics, tolerance=1e-12)

    @law
    @given(st.data())
    def test_the_free_energy_never_decreases_after_the_first_pass(self, data):
        example = data.draw(examples(self.structure, rows=(80, 120), features=(1, 3), components=(1, 2)))
        strategy = self.make(reg_covar=0.0)
        state, parameters = strategy.init(example.parameters), example.parameters
        energies = []
        for number in range(4):
            order = np.random.default_rng(number).permutation(6).tolist()
            groups = [order[:2], order[2:3], order[3:]]
            steps = list(self.visit(strategy, state, example, parameters, groups, True))
            energies += [
                compute_bound(strategy.accumulated(state), after) for state, after in steps if state.root is not None
            ]
            state, parameters = steps[-1]
        assert len(energies) == 1 + 3 * 3
        assert np.all(np.diff(energies) >= -1e-8 * np.abs(energies[:-1])), np.diff(energies)

    @law
    @given(st.data())
    def test_the_first_pass_ends_with_the_m_step_on_all_partitions(self, data):
        example = data.draw(examples(self.structure, rows=(80, 120), features=(1, 3), components=(1, 2)))
        strategy = self.make(reg_covar=0.0)
        *_, (state, parameters) = self.visit(
            strategy, strategy.init(example.parameters), example, example.parameters, [[3, 0], [1], [2]], True
        )
        whole = maximize(strategy.accumulated(state).statistics, self.structure)[0]
        np.testing.assert_allclose(parameters.means, whole.means, rtol=1e-9, atol=1e-9)
        assert state.moving is None and state.visited == ()
