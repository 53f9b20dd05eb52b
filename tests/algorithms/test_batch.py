import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.algorithms.batch import Batch
from streamgmm.kernels.e_step import expect
from streamgmm.model.reduction import tree_sum
from streamgmm.testing.algorithm_laws import AlgorithmLaws
from streamgmm.testing.examples import assert_same_statistics, examples


class TestBatch(AlgorithmLaws):
    def make(self):
        return Batch()

    @given(st.data())
    def test_a_pass_gives_one_surrogate_the_statistics_of_all_rows(self, data):
        example = data.draw(examples(self.structure))
        chunk_groups = self.chunk_groups(data, example)
        (surrogate,), state = self.run(chunk_groups, Batch().init(example.parameters))
        (whole,) = expect(example.rows, example.parameters, weights=example.weights)
        assert_same_statistics(surrogate.statistics, whole.statistics)
        assert surrogate.effective_rows == surrogate.likelihood.rows == len(example.rows)
        np.testing.assert_allclose(surrogate.likelihood.weight, example.weights.sum(), rtol=1e-13)
        assert state == ()

    @given(st.data())
    def test_the_sum_over_waves_is_the_fixed_tree(self, data):
        example = data.draw(examples(self.structure))
        chunk_groups = self.chunk_groups(data, example)
        parts = [part for chunk_group in chunk_groups for part in chunk_group]
        (surrogate,), _ = self.run(chunk_groups, Batch().init(example.parameters))
        assert_same_statistics(surrogate.statistics, tree_sum(parts).statistics, tolerance=0.0)
        assert surrogate.likelihood == tree_sum(parts).likelihood
