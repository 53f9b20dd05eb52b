import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.em import expect
from streamgmm.reduction import tree_sum
from streamgmm.strategies import Batch
from streamgmm.testing.draws import assert_same_statistics, examples
from streamgmm.testing.strategies import StrategyLaws


class TestBatch(StrategyLaws):
    def make(self):
        return Batch()

    @given(st.data())
    def test_a_pass_gives_one_surrogate_the_statistics_of_all_rows(self, data):
        example = data.draw(examples(self.structure))
        waves = self.waves(data, example)
        (surrogate,), state = self.run(waves, Batch().init(example.parameters))
        (whole,) = expect(example.rows, example.parameters, weights=example.weights)
        assert_same_statistics(surrogate.statistics, whole.statistics)
        assert surrogate.effective_rows == surrogate.likelihood.rows == len(example.rows)
        np.testing.assert_allclose(surrogate.likelihood.weight, example.weights.sum(), rtol=1e-13)
        assert state == ()

    @given(st.data())
    def test_the_sum_over_waves_is_the_fixed_tree(self, data):
        example = data.draw(examples(self.structure))
        waves = self.waves(data, example)
        parts = [part for wave in waves for part in wave]
        (surrogate,), _ = self.run(waves, Batch().init(example.parameters))
        assert_same_statistics(surrogate.statistics, tree_sum(parts).statistics, tolerance=0.0)
        assert surrogate.likelihood == tree_sum(parts).likelihood
