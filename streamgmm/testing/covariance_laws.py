"""Laws of every covariance family, as a suite to inherit.

Subclass `CovarianceLaws` in a test file, name the family, its estimate from sample covariances and the linear maps that
it is invariant under, and pytest runs every law::

    class TestTied(CovarianceLaws):
        structure = Tied()

        def pool_covariances(self, matrices, counts):
            return np.tensordot(counts / counts.sum(), matrices, axes=1)[None]
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import logsumexp

from streamgmm.errors import DegenerateError
from streamgmm.kernels.e_step import expect
from streamgmm.model.em import compute_expected_log_density, make_pseudo_statistics, maximize
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics
from streamgmm.testing import oracle
from streamgmm.testing.examples import (
    Example,
    assert_same_parameters,
    assert_same_statistics,
    examples,
    gather_statistics,
    law,
    mixture,
)
from streamgmm.testing.statistics_laws import StatisticsLaws

MANY_ROWS = (30, 80)  # enough that no covariance is nearly singular


class CovarianceLaws(StatisticsLaws):
    """Laws of maximum likelihood in any family."""

    def pool_covariances(self, matrices: Array, counts: Array) -> Array:
        """Return the estimate, in the shape of the family, from sample covariances (k, d, d) of ``counts`` rows."""
        raise NotImplementedError

    def draw_symmetry(self, random: np.random.Generator, d: int) -> Array:
        """Return a random matrix (d, d) that the family is invariant under; any invertible one unless overridden."""
        return random.normal(size=(d, d)) + 3.0 * np.eye(d)

    def step(self, parameters: Parameters, example: Example) -> tuple[Parameters, float]:
        """Run one iteration of EM without regularization; return also the log-likelihood before it."""
        (expectation,) = expect(example.rows, parameters, weights=example.weights)
        likelihood = expectation.likelihood
        return maximize(expectation.statistics, self.structure, effective_rows=likelihood.rows)[0], likelihood.total

    @law
    @given(st.data())
    def test_hard_responsibilities_give_the_sample_covariances(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=MANY_ROWS))
        k, d = example.parameters.means.shape
        labels = np.arange(len(example.rows)) % k
        groups = [example.rows[labels == j] for j in range(k)]
        statistics = gather_statistics(
            example.rows, np.eye(k)[labels], example.parameters.means, self.structure.shape(k, d)
        )
        fitted = maximize(statistics, self.structure)[0]
        counts = np.bincount(labels).astype(np.float64)
        sample = np.stack([np.cov(group, rowvar=False, ddof=0).reshape(d, d) for group in groups])
        np.testing.assert_allclose(fitted.weights, counts / counts.sum(), rtol=1e-13)
        np.testing.assert_allclose(
            fitted.means, np.stack([group.mean(axis=0) for group in groups]), rtol=1e-13, atol=1e-13
        )
        np.testing.assert_allclose(fitted.covariances, self.pool_covariances(sample, counts), rtol=1e-8, atol=1e-8)

    @law
    @given(st.data())
    def test_one_component_is_the_sample_mean_and_covariance_after_one_step(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=MANY_ROWS, components=(1, 1)))
        fitted, _ = self.step(example.parameters, replace(example, weights=np.ones(len(example.rows))))
        sample = np.cov(example.rows, rowvar=False, ddof=0).reshape(1, *2 * example.rows.shape[1:])
        np.testing.assert_allclose(fitted.means[0], example.rows.mean(axis=0), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(fitted.covariances, self.pool_covariances(sample, np.ones(1)), rtol=1e-8, atol=1e-8)

    @law
    @given(st.data(), st.floats(1e-6, 1e6))
    def test_the_parameters_do_not_depend_on_the_scale_of_the_statistics(
        self, data: st.DataObject, factor: float
    ) -> None:
        example = data.draw(examples(self.structure, rows=MANY_ROWS))
        (expectation,) = expect(example.rows, example.parameters, weights=example.weights)
        n, statistics = len(example.rows), expectation.statistics
        once = maximize(statistics, self.structure, effective_rows=n)[0]
        assert_same_parameters(maximize(factor * statistics, self.structure, effective_rows=n)[0], once)

    @law
    @given(st.data(), st.sampled_from([0.0, 1e-3]))
    def test_the_m_step_gives_parameters_back_from_their_pseudo_statistics(
        self, data: st.DataObject, reg_covar: float
    ) -> None:
        parameters = data.draw(examples(self.structure)).parameters
        statistics = make_pseudo_statistics(parameters, self.structure, reg_covar)
        assert statistics.products.shape == self.structure.shape(*parameters.means.shape)
        assert_same_parameters(maximize(statistics, self.structure, reg_covar)[0], parameters)

    @law
    @given(st.data())
    def test_the_parameters_do_not_depend_on_the_origin_of_the_statistics(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=MANY_ROWS))
        statistics = expect(example.rows, example.parameters, weights=example.weights)[0].statistics
        moved = statistics.recentred(statistics.origin + example.random.normal(size=statistics.origin.shape))
        assert_same_parameters(maximize(moved, self.structure)[0], maximize(statistics, self.structure)[0])

    @law
    @given(st.data())
    def test_a_linear_map_of_the_rows_maps_the_mixture(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=MANY_ROWS))
        k, d = example.parameters.means.shape
        matrix, offset = self.draw_symmetry(example.random, d), example.random.normal(size=d)
        centre = example.rows.mean(axis=0)
        moved = replace(example, rows=(example.rows - centre) @ matrix.T + offset)
        soft = example.random.dirichlet(np.ones(k), len(example.rows)) * example.weights[:, None]
        shape = self.structure.shape(k, d)
        here = maximize(gather_statistics(example.rows, soft, example.parameters.means, shape), self.structure)[0]
        there = maximize(gather_statistics(moved.rows, soft, np.zeros((k, d)), shape), self.structure)[0]
        change = np.log(abs(np.linalg.det(matrix)))
        for _ in range(2):
            np.testing.assert_allclose(
                logsumexp(oracle.log_densities(moved.rows, there), axis=1) + change,
                logsumexp(oracle.log_densities(example.rows, here), axis=1),
                rtol=1e-6,
                atol=1e-6,
            )
            here, there = self.step(here, example)[0], self.step(there, moved)[0]

    @law
    @given(st.data())
    def test_renumbering_the_components_renumbers_the_result(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=MANY_ROWS))
        order = example.random.permutation(example.parameters.n_components)
        first = self.step(example.parameters, example)[0]
        assert_same_parameters(self.step(_renumber(example.parameters, order), example)[0], _renumber(first, order))

    @law
    @given(st.data())
    def test_an_iteration_never_lowers_the_likelihood(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=(60, 120), features=(1, 4), components=(1, 3)))
        parameters, likelihoods = example.parameters, []
        for _ in range(8):
            try:
                parameters, likelihood = self.step(parameters, example)
            except DegenerateError:  # without regularization a component may close in on a few rows
                reject()
            likelihoods.append(likelihood)
        gains = np.diff(likelihoods)
        assert np.all(gains >= -1e-8 * np.abs(likelihoods[:-1])), gains

    @law
    @given(st.data())
    def test_expected_log_density_plus_entropy_bounds_the_likelihood_of_any_parameters(
        self, data: st.DataObject
    ) -> None:
        example = data.draw(examples(self.structure))
        here = example.parameters
        k, d = here.means.shape
        there = mixture(self.structure, k, d, example.random, float(np.round(here.means.mean(), -3)))
        at_here, at_there = expect(example.rows, here, there, weights=example.weights)
        entropy, size = at_here.likelihood.entropy, 1e-9 * (1 + abs(at_there.likelihood.total))
        assert compute_expected_log_density(at_here.statistics, there) + entropy <= at_there.likelihood.total + size
        bound = compute_expected_log_density(at_here.statistics, here) + entropy
        np.testing.assert_allclose(bound, at_here.likelihood.total, rtol=1e-9, atol=1e-9)

    @law
    @given(st.data())
    def test_neither_step_writes_to_its_arguments(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=MANY_ROWS))
        parameters = example.parameters
        arguments = [example.rows, example.weights, *_arrays(parameters)]
        (expectation,) = expect(example.rows, parameters, weights=example.weights)
        arguments += _arrays(expectation.statistics)
        before = [array.copy() for array in arguments]
        for array in arguments:
            array.flags.writeable = False
        expect(example.rows, parameters, weights=example.weights)
        maximize(expectation.statistics, self.structure, reg_covar=0.5)
        for array, copy in zip(arguments, before, strict=True):
            np.testing.assert_array_equal(array, copy)

    @law
    @given(st.data())
    def test_factors_belong_to_the_inverse_of_the_covariances_both_ways(self, data: st.DataObject) -> None:
        parameters = data.draw(examples(self.structure)).parameters
        precisions, covariances = self.structure.invert(parameters.precision_factors)
        np.testing.assert_allclose(covariances, parameters.covariances, rtol=1e-9, atol=1e-9)
        again = self.structure.factorize_precisions(precisions)
        np.testing.assert_allclose(again, parameters.precision_factors, rtol=1e-9, atol=1e-9)
        inverse = np.linalg.inv(covariances) if covariances.ndim == 3 else 1 / covariances
        np.testing.assert_allclose(precisions, inverse, rtol=1e-8, atol=1e-8)
        self.structure.check_precisions(precisions)
        with pytest.raises(ValueError, match="should be"):
            self.structure.check_precisions(-precisions)

    @law
    @given(st.data(), st.floats(0.0, 10.0))
    def test_regularization_adds_to_every_variance(self, data: st.DataObject, amount: float) -> None:
        parameters = data.draw(examples(self.structure)).parameters
        change = self.structure.regularize(parameters.covariances, amount) - parameters.covariances
        expected = amount * np.eye(parameters.n_features) if change.ndim == 3 else amount
        np.testing.assert_allclose(change, np.broadcast_to(expected, change.shape), rtol=1e-12, atol=1e-12)

    def test_shapes_hold_the_same_numbers_inside_and_outside(self) -> None:
        for k, d in ((1, 1), (3, 2), (2, 5)):
            assert np.prod(self.structure.shape(k, d)) == np.prod(self.structure.public_shape(k, d))

    def test_identical_rows_without_regularization_are_refused_with_a_remedy(self) -> None:
        rows, shape = np.full((6, 2), 0.1), self.structure.shape(2, 2)
        identical = gather_statistics(rows, np.repeat(np.eye(2), 3, axis=0), rows[:2], shape)
        with pytest.raises(DegenerateError, match="increase reg_covar"):
            maximize(identical, self.structure)
        assert np.all(maximize(identical, self.structure, reg_covar=0.5)[0].covariances.max(axis=-1) == 0.5)

    def test_a_component_without_rows_is_named_keeps_its_mean_and_gets_a_valid_covariance(self) -> None:
        random = np.random.default_rng(0)
        rows = random.normal(size=(50, 2))
        origin = np.array([[0.0, 0.0], [7.0, 7.0]])
        alone = gather_statistics(
            rows, np.column_stack([np.ones(50), np.zeros(50)]), origin, self.structure.shape(2, 2)
        )
        fitted, info = maximize(alone, self.structure)
        assert info.starved == (1,)
        np.testing.assert_allclose(fitted.means[1], [7.0, 7.0], rtol=1e-12)
        single = maximize(_first_component(alone), self.structure)[0]
        np.testing.assert_allclose(fitted.covariances[-1], single.covariances[0], rtol=1e-9)

    def test_statistics_that_overflowed_are_refused(self) -> None:
        statistics = expect(np.ones((3, 2)), mixture(self.structure, 2, 2, np.random.default_rng(0)))[0].statistics
        with np.errstate(over="ignore", invalid="ignore"), pytest.raises(DegenerateError, match="overflow"):
            maximize(1e200 * (1e200 * statistics), self.structure)

    @law
    @given(st.data())
    def test_candidates_evaluated_together_get_what_they_get_alone(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure))
        others = [
            mixture(self.structure, k, example.rows.shape[1], example.random, float(np.round(example.rows.mean(), -3)))
            for k in (1, 3)
        ]
        together = expect(example.rows, example.parameters, *others, weights=example.weights)
        for parameters, joint in zip((example.parameters, *others), together, strict=True):
            (alone,) = expect(example.rows, parameters, weights=example.weights)
            # the shared origin differs, and 1e6 + x is known to 1e-10
            assert_same_statistics(joint.statistics, alone.statistics, tolerance=1e-8)
            assert joint.likelihood.version == alone.likelihood.version == parameters.version


def _first_component(statistics: Statistics) -> Statistics:
    """Return the first component's statistics, if all rows belong to it."""
    return Statistics(statistics.origin[:1], statistics.counts[:1], statistics.sums[:1], statistics.products[:1])


def _renumber(parameters: Parameters, order: NDArray[np.int64]) -> Parameters:
    own = len(parameters.covariances) == parameters.n_components > 1
    return Parameters(
        parameters.weights[order],
        parameters.means[order],
        parameters.covariances[order] if own else parameters.covariances,
        parameters.precision_factors[order] if own else parameters.precision_factors,
    )


def _arrays(record: Parameters | Statistics) -> list[Array]:
    return [getattr(record, field.name) for field in fields(record)]
