"""Laws of sufficient statistics: a vector space for one set of origins, and sums over rows.

Subclass `StatisticsLaws` in a test file, name a family, and pytest runs every law on the statistics that it needs.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.kernels.e_step import expect
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics
from streamgmm.testing import oracle
from streamgmm.testing.examples import Example, assert_same_statistics, examples, gather_statistics, law

FACTORS = st.floats(0.0, 100.0)


def compute_statistics(rows: Array, parameters: Parameters, weights: Array | None = None) -> Statistics:
    """Return the statistics of the E-step."""
    return expect(rows, parameters, weights=weights)[0].statistics


class StatisticsLaws:
    """Laws of the statistics of any rows.

    Attributes
    ----------
    structure : CovarianceStructure
        Family that sets the shape of the products.
    """

    structure: ClassVar[CovarianceStructure]

    def _compute_three(self, example: Example) -> tuple[Statistics, Statistics, Statistics]:
        """Return statistics of three runs of rows about the same origins."""
        parts = np.array_split(np.vstack([example.rows, example.rows[:1] + 0.5]), 3)
        a, b, c = (compute_statistics(part, example.parameters) for part in parts)
        return a, b, c

    @law
    @given(st.data())
    def test_merging_is_commutative_and_associative(self, data: st.DataObject) -> None:
        a, b, c = self._compute_three(data.draw(examples(self.structure)))
        assert_same_statistics(a + b, b + a, tolerance=0.0)
        assert_same_statistics((a + b) + c, a + (b + c))

    @law
    @given(st.data())
    def test_statistics_of_no_weight_are_the_zero_of_merging(self, data: st.DataObject) -> None:
        a, b, _ = self._compute_three(data.draw(examples(self.structure)))
        assert_same_statistics(a + 0.0 * b, a, tolerance=0.0)
        assert_same_statistics(a - a, 0.0 * a, tolerance=0.0)
        assert_same_statistics((a + b) - b, a)

    @law
    @given(st.data(), FACTORS, FACTORS)
    def test_scaling_distributes_over_merging(self, data: st.DataObject, f: float, g: float) -> None:
        a, b, _ = self._compute_three(data.draw(examples(self.structure)))
        assert_same_statistics(f * (a + b), f * a + f * b)
        assert_same_statistics((f + g) * a, f * a + g * a)
        assert_same_statistics(f * (g * a), (f * g) * a)
        assert_same_statistics(1.0 * a, a, tolerance=0.0)

    @law
    @given(st.data())
    def test_merging_any_partition_and_permutation_of_rows_gives_the_same_statistics(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure))
        order = example.random.permutation(len(example.rows))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=5)))
        whole = compute_statistics(example.rows, example.parameters, example.weights)
        merged = 0.0 * whole
        for part in np.split(order, cuts):
            merged = merged + compute_statistics(example.rows[part], example.parameters, example.weights[part])
        assert_same_statistics(merged, whole)

    @law
    @given(st.data())
    def test_an_integer_weight_is_so_many_copies_of_the_row(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure))
        copies = (2 * example.weights).astype(int)
        repeated = compute_statistics(np.repeat(example.rows, copies, axis=0), example.parameters)
        assert_same_statistics(2.0 * compute_statistics(example.rows, example.parameters, example.weights), repeated)

    @law
    @given(st.data(), st.floats(-8, 8))
    def test_recentred_statistics_are_those_accumulated_about_the_other_origin(
        self, data: st.DataObject, distance: float
    ) -> None:
        example = data.draw(examples(self.structure))
        parameters = example.parameters
        origin = parameters.means + distance * example.random.uniform(-1, 1, parameters.means.shape)
        joint = oracle.log_densities(example.rows, parameters)
        weighted = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)) * example.weights[:, None]
        shape = self.structure.shape(*parameters.means.shape)
        here = compute_statistics(example.rows, parameters, example.weights)
        # about the other origin x is subtracted once more, and 1e6 + x is known to 1e-10
        assert_same_statistics(
            here.recentred(origin), gather_statistics(example.rows, weighted, origin, shape), tolerance=1e-8
        )
        assert_same_statistics(here.recentred(origin).recentred(parameters.means), here, tolerance=1e-10)

    @law
    @given(st.data())
    def test_recentring_is_linear(self, data: st.DataObject) -> None:
        a, b, _ = self._compute_three(data.draw(examples(self.structure)))
        origin = a.origin + 1.5
        merged = a.recentred(origin) + b.recentred(origin)
        assert_same_statistics((a + b).recentred(origin), merged)
        assert_same_statistics((3.0 * a).recentred(origin), 3.0 * a.recentred(origin))

    @law
    @given(st.data())
    def test_products_are_symmetric_to_the_bit_about_whatever_origin(self, data: st.DataObject) -> None:
        a, b, _ = self._compute_three(data.draw(examples(self.structure)))
        elsewhere = a.origin + 2.0 * np.sin(np.arange(a.origin.size)).reshape(a.origin.shape)
        for one in (a, (a + b).recentred(elsewhere), (0.3 * a - b).recentred(elsewhere).recentred(a.origin)):
            if one.products.ndim == 3:
                np.testing.assert_array_equal(one.products, one.products.swapaxes(1, 2))

    @law
    @given(st.data())
    def test_statistics_about_different_origins_or_of_other_shapes_do_not_combine(self, data: st.DataObject) -> None:
        a, _, _ = self._compute_three(data.draw(examples(self.structure)))
        elsewhere = a.recentred(a.origin + 1.0)
        wider = Statistics(np.zeros((9, 9)), np.zeros(9), np.zeros((9, 9)), np.zeros((9, 9)))
        for other, message in ((elsewhere, "different origins"), (wider, "different families")):
            with pytest.raises(ValueError, match=message):
                a + other
            with pytest.raises(ValueError, match=message):
                a - other
