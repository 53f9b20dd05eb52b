import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.algorithms.batch import Batch
from streamgmm.kernels.e_step import expect
from streamgmm.model.reduction import sum_tree
from streamgmm.testing.algorithm_laws import AlgorithmLaws
from streamgmm.testing.examples import assert_same_statistics, examples


class TestBatch(AlgorithmLaws):
    def make(self):
        return Batch(self.structure, 1e-6)

    @given(st.data())
    def test_a_pass_gives_one_update_on_the_statistics_of_all_rows(self, data):
        example = data.draw(examples(self.structure, rows=(30, 60)))
        (info,), state = self.run_pass(self.draw_expectations(data, example), self.make().init(example.parameters))
        (whole,) = expect(example.rows, example.parameters, weights=example.weights)
        assert_same_statistics(info.latest.statistics, whole.statistics)
        assert info.effective_rows == info.latest.likelihood.rows == len(example.rows)
        np.testing.assert_allclose(info.latest.likelihood.weight, example.weights.sum(), rtol=1e-13)
        assert state.partial_sums == ()

    @given(st.data())
    def test_the_sum_over_chunk_groups_is_the_fixed_tree(self, data):
        example = data.draw(examples(self.structure, rows=(30, 60)))
        groups = self.draw_expectations(data, example)
        parts = [part for expectations in groups for part in expectations]
        (info,), _ = self.run_pass(groups, self.make().init(example.parameters))
        assert_same_statistics(info.latest.statistics, sum_tree(parts).statistics, tolerance=0.0)
        assert info.latest.likelihood == sum_tree(parts).likelihood
