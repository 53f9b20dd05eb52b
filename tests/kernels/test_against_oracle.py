"""The compiled loops against the same formulas in plain NumPy, over every geometry."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from streamgmm.errors import NonFiniteError
from streamgmm.kernels.e_step import accumulate, expect
from streamgmm.kernels.elementwise import Elementwise
from streamgmm.kernels.kernel import Kernel, passes
from streamgmm.kernels.row_loader import BLOCK_ROWS
from streamgmm.kernels.tiled import Tiled
from streamgmm.kernels.unrolled import BY_WIDTH
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import compute_expected_log_density, make_parameters
from streamgmm.model.parameters import Parameters
from streamgmm.model.statistics import reduce_products
from streamgmm.testing import oracle
from streamgmm.testing.examples import mixture

# one family a geometry, and both shapes of what is shared
# every family and every number of features that has loops of its own: matrices have more of them
LOOPS = [
    (name, d)
    for name, structure in STRUCTURES.items()
    for d in ((1, 2, 3, 4, 5, 8, 9, 16, 33) if len(structure.shape(1, 1)) == 3 else (1, 4, 5, 33))
]
DTYPES = ["float64", "float32", "float16", ">f8", "uint8", "int8", "int16", "uint16", "int32", "int64", "uint64"]
LAYOUTS = {
    "C": lambda rows: rows,
    "Fortran": np.asfortranarray,
    "every other row": lambda rows: np.repeat(rows, 2, axis=0)[::2],
    "rows from the last": lambda rows: rows[::-1].copy()[::-1],
    "columns of a wider array": lambda rows: np.hstack([rows, rows])[:, : rows.shape[1]],
    "columns from the last": lambda rows: rows[:, ::-1].copy()[:, ::-1],
}


def scaled(parameters, scale, offset, structure):
    """The mixture of offset + scale·x."""
    return make_parameters(
        parameters.weights, offset + scale * parameters.means, scale**2 * parameters.covariances, structure
    )


def assert_matches_oracle(rows, weights, parameters, tolerance=1e-11):
    (found,) = expect(rows, parameters, weights=weights)
    weights = np.ones(len(rows)) if weights is None else weights
    expected, tally = oracle.expectation(rows, weights, parameters)
    shape = parameters.precision_factors.shape
    products = expected.products if len(shape) == 3 else np.diagonal(expected.products, axis1=1, axis2=2)
    products = reduce_products(products, shape)
    total, largest = weights.sum(), np.abs(products).max()
    statistics = found.statistics
    np.testing.assert_array_equal(statistics.origin, parameters.means)
    np.testing.assert_allclose(statistics.counts, expected.counts, rtol=tolerance, atol=tolerance * total)
    atol = tolerance * np.sqrt(total * largest)  # what a sum that cancels is a sum of
    np.testing.assert_allclose(statistics.sums, expected.sums, rtol=tolerance, atol=atol)
    np.testing.assert_allclose(statistics.products, products, rtol=tolerance, atol=tolerance * largest)
    # H is what is left of two sums over the log-densities
    size = total + abs(tally["total"]) + abs(compute_expected_log_density(statistics, parameters))
    for name, value in tally.items():
        np.testing.assert_allclose(getattr(found.likelihood, name), value, rtol=0, atol=tolerance * size, err_msg=name)
    assert found.likelihood.rows == len(rows)
    joint = oracle.log_densities(rows, parameters)
    marginal = logsumexp(joint, axis=1)
    kernel = Kernel.from_parameters(parameters)
    np.testing.assert_allclose(kernel.log_densities(rows), marginal, rtol=tolerance, atol=1e3 * tolerance)
    responsibilities = np.exp(joint - marginal[:, None])
    np.testing.assert_allclose(kernel.responsibilities(rows), responsibilities, rtol=0, atol=1e3 * tolerance)
    chosen = responsibilities[np.arange(len(rows)), kernel.labels(rows)]
    assert np.all(chosen >= responsibilities.max(axis=1) - 1e3 * tolerance)


@st.composite
def tables(draw, d):
    """Rows of a drawn length, dtype and layout, their weights, and where they lie."""
    n = draw(st.sampled_from([1, 2, 7, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 5]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    scale, offset = (10.0, 0.0) if dtype == np.int8 else (20.0, 100.0)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    values = (offset + scale * random.normal(size=(n, d))).clip(float(limits.min), float(limits.max))
    rows = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](values.astype(dtype))
    weights = random.integers(0, 4, n) / 2 if draw(st.booleans()) else None
    if weights is not None:
        weights[0] = 1.5
    return rows, weights, scale, offset, random


@pytest.mark.parametrize(("family", "d"), LOOPS)
@settings(max_examples=20)
@given(st.data())
def test_any_rows_of_any_dtype_layout_and_weight_give_the_results_of_the_formulas(family, d, data):
    rows, weights, scale, offset, random = data.draw(tables(d))
    k = data.draw(st.integers(1, 5))
    parameters = scaled(mixture(STRUCTURES[family], k, d, random), scale, offset, STRUCTURES[family])
    assert_matches_oracle(rows, weights, parameters)


def test_the_loops_are_chosen_by_family_and_number_of_features():
    random = np.random.default_rng(0)
    for family, d in LOOPS:
        model = Kernel.from_parameters(mixture(STRUCTURES[family], 2, d, random)).model
        expected = Elementwise if len(STRUCTURES[family].shape(2, d)) == 2 else BY_WIDTH.get(d, Tiled)
        assert type(model) is expected


@pytest.mark.parametrize(("family", "d"), LOOPS)
def test_an_offset_of_1e8_costs_no_digits(family, d):
    random = np.random.default_rng(1)
    parameters = mixture(STRUCTURES[family], 3, d, random, offset=1e8)
    rows = 1e8 + random.normal(size=(500, d))
    assert_matches_oracle(rows, None, parameters)


@pytest.mark.parametrize("family", ["full", "tied"])
@pytest.mark.parametrize("d", [5, 9, 33])
def test_components_far_from_the_shared_origin_are_centred_row_by_row(family, d):
    random = np.random.default_rng(2)
    parameters = mixture(STRUCTURES[family], 3, d, random)
    parameters = make_parameters(
        np.array([0.5, 0.3, 0.2]),
        parameters.means + np.array([[0.0], [0.0], [1e5]]),
        parameters.covariances,
        STRUCTURES[family],
    )
    kernel = Kernel.from_parameters(parameters)
    near = np.asarray(kernel.model.near)
    assert not near.all()
    rows = parameters.means[random.integers(0, 3, 700)] + random.normal(size=(700, d))
    assert_matches_oracle(rows, None, parameters)
    # and beside a near one, which a shared origin of its own gives
    beside = Kernel.from_parameters(parameters, parameters.means[0])
    assert np.asarray(beside.model.near).any() and not np.asarray(beside.model.near).all()
    np.testing.assert_allclose(
        beside.log_densities(rows), logsumexp(oracle.log_densities(rows, parameters), axis=1), rtol=1e-10
    )


@pytest.mark.parametrize(("family", "d"), LOOPS)
def test_components_that_no_row_of_a_block_comes_near_add_nothing(family, d):
    random = np.random.default_rng(3)
    structure = STRUCTURES[family]
    parameters = mixture(structure, 4, d, random)
    centres = parameters.means + 50.0 * np.arange(4)[:, None]
    parameters = make_parameters(parameters.weights, centres, parameters.covariances, structure)
    labels = np.sort(random.integers(0, 4, 4 * BLOCK_ROWS))  # sorted: most blocks hold rows of one component
    assert_matches_oracle(centres[labels] + 0.3 * random.normal(size=(len(labels), d)), None, parameters)


@pytest.mark.parametrize(("family", "d"), LOOPS)
def test_a_component_of_weight_zero_takes_nothing(family, d):
    random = np.random.default_rng(4)
    parameters = replace(mixture(STRUCTURES[family], 3, d, random), weights=np.array([0.6, 0.0, 0.4]))
    rows = random.normal(size=(BLOCK_ROWS + 3, d))
    assert_matches_oracle(rows, None, parameters)
    statistics = expect(rows, parameters)[0].statistics
    assert statistics.counts[1] == 0.0 and not statistics.sums[1].any()
    assert np.all(Kernel.from_parameters(parameters).responsibilities(rows)[:, 1] < 1e-200)


@pytest.mark.parametrize(("family", "d"), [("full", 3), ("full", 5), ("diag", 3)])
def test_rows_of_weight_zero_add_nothing_but_are_counted(family, d):
    random = np.random.default_rng(5)
    parameters = mixture(STRUCTURES[family], 3, d, random)
    rows = random.normal(size=(BLOCK_ROWS + 100, d))
    weights = np.repeat([1.0, 0.0], [BLOCK_ROWS, 100])
    (some,), (whole,) = expect(rows[:BLOCK_ROWS], parameters), expect(rows, parameters, weights=weights)
    for name in ("counts", "sums", "products"):
        np.testing.assert_allclose(
            getattr(whole.statistics, name), getattr(some.statistics, name), rtol=1e-13, atol=1e-13
        )
    assert (whole.likelihood.rows, whole.likelihood.weight) == (BLOCK_ROWS + 100, BLOCK_ROWS)


@pytest.mark.parametrize(("family", "d"), [("full", 2), ("tied", 4), ("full", 7), ("diag", 7), ("spherical", 1)])
def test_a_row_astronomically_far_away_leaves_everything_finite(family, d):
    parameters = mixture(STRUCTURES[family], 3, d, np.random.default_rng(6))
    rows = np.zeros((BLOCK_ROWS, d))
    rows[17] = 1e149
    (found,) = expect(rows, parameters)
    np.testing.assert_allclose(found.statistics.counts.sum(), BLOCK_ROWS)
    assert np.isfinite(found.statistics.products).all()
    assert np.isfinite(Kernel.from_parameters(parameters).log_densities(rows)).all()
    np.testing.assert_allclose(Kernel.from_parameters(parameters).responsibilities(rows).sum(axis=1), 1.0)


@given(st.data())
def test_an_invalid_value_is_refused_wherever_it_is(data):
    family, d = data.draw(st.sampled_from(LOOPS))
    n = data.draw(st.sampled_from([1, 10, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS + 7]))
    dtype = data.draw(st.sampled_from(["float64", "float32", "float16"]))
    bad = [np.nan, np.inf, -np.inf] + ([1e151, -1e200] if dtype == "float64" else [])
    rows = np.zeros((n, d), dtype)
    rows[data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, d - 1))] = data.draw(st.sampled_from(bad))
    parameters = mixture(STRUCTURES[family], 2, d, np.random.default_rng(0))
    weights = np.zeros(n) if data.draw(st.booleans()) else None  # weight 0 hides nothing
    with pytest.raises(NonFiniteError, match="NaN, infinity or a value too large"):
        expect(rows, parameters, weights=weights)
    with pytest.raises(NonFiniteError):
        Kernel.from_parameters(parameters).labels(rows)


@pytest.mark.parametrize("d", [3, 6])
def test_candidates_of_all_families_share_one_reading(d):
    random = np.random.default_rng(7)
    candidates = [mixture(structure, k, d, random) for k, structure in enumerate(STRUCTURES.values(), start=1)]
    rows = random.normal(size=(2 * BLOCK_ROWS + 1, d))
    together = expect(rows, *candidates)
    for parameters, joint in zip(candidates, together, strict=True):
        (alone,) = expect(rows, parameters)
        for name in ("counts", "sums", "products"):
            mine, theirs = getattr(joint.statistics, name), getattr(alone.statistics, name)
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(joint.likelihood.total, alone.likelihood.total, rtol=1e-12)


@pytest.mark.parametrize(("family", "d"), [("full", 3), ("full", 6), ("diag", 2)])
def test_equal_components_label_a_row_with_the_first_of_them(family, d):
    one = mixture(STRUCTURES[family], 1, d, np.random.default_rng(8))
    three = Parameters(
        np.full(3, 1 / 3),
        np.repeat(one.means, 3, axis=0),
        np.repeat(one.covariances, 3, axis=0),
        np.repeat(one.precision_factors, 3, axis=0),
    )
    assert not Kernel.from_parameters(three).labels(np.random.default_rng(9).normal(size=(BLOCK_ROWS + 1, d))).any()


def test_weights_may_be_strided_and_read_only():
    random = np.random.default_rng(10)
    parameters = mixture(STRUCTURES["full"], 2, 2, random)
    rows, weights = random.normal(size=(50, 2)), random.uniform(size=(50, 2))
    column = weights[:, 1]
    column.flags.writeable = False
    assert_matches_oracle(rows, column, parameters)


@pytest.mark.parametrize("family,d", [("full", 3), ("full", 5), ("diag", 4)])
def test_a_kernel_that_a_message_carried_runs_the_same_loops(family, d):
    """Its arrays lie in the message, read-only; loops that were compiled for such took a worker seconds."""
    random = np.random.default_rng(11)
    kernel = Kernel.from_parameters(mixture(STRUCTURES[family], 3, d, random))
    rows = random.normal(size=(5 * BLOCK_ROWS + 7, d))
    buffers = []
    message = pickle.dumps(kernel, protocol=5, buffer_callback=buffers.append)
    here = accumulate(rows, None, [kernel])
    versions = len(passes.accumulate.signatures)
    carried = pickle.loads(message, buffers=[bytes(buffer.raw()) for buffer in buffers])
    there = accumulate(rows, None, [carried])
    np.testing.assert_array_equal(there, here)
    assert len(passes.accumulate.signatures) == versions
