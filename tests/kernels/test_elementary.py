import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from streamgmm.kernels.elementary import SMALLEST_ARGUMENT, bits_of, exp, float_of, log

EPS = np.finfo(np.float64).eps


@njit
def exp_of(values):
    return np.array([exp(value) for value in values])


@njit
def log_of(values):
    return np.array([log(value) for value in values])


@njit
def round_trip(value):
    return bits_of(value), float_of(bits_of(value))


def relative_error(found, exact):
    """Relative error of float64 values against extended precision."""
    return np.abs((found.astype(np.longdouble) - exact) / exact).astype(np.float64)


def test_exp_is_as_accurate_as_documented():
    # rounding x by eps·|x|/2 alone changes e^x by as much, relatively
    x = np.concatenate([np.linspace(-650, 700, 200_001), np.linspace(-1, 1, 50_001), -np.logspace(-300, 2, 5_000)])
    error = relative_error(exp_of(x), np.exp(x.astype(np.longdouble)))
    assert np.all(error <= EPS * (2 + 0.65 * np.abs(x)))


def test_exp_of_zero_is_one():
    assert exp_of(np.array([0.0, -0.0])).tolist() == [1.0, 1.0]


def test_exp_of_less_than_the_smallest_argument_is_a_tiny_normal_number():
    tiny = exp_of(np.array([SMALLEST_ARGUMENT]))[0]
    assert np.finfo(np.float64).tiny < tiny < 1e-282
    assert set(exp_of(np.array([-650.1, -1e5, -1e300, -np.inf]))) == {tiny}


def test_log_is_as_accurate_as_documented():
    x = np.concatenate([np.logspace(-307, 307, 200_001), np.linspace(1, 64, 100_001)])
    exact = np.log(x.astype(np.longdouble))
    away = np.abs(np.log(x)) > 1e-3
    assert np.all(relative_error(log_of(x[away]), exact[away]) <= 4 * EPS)


def test_log_near_one_keeps_its_relative_accuracy():
    x = 1.0 + np.concatenate([np.logspace(-15, -3, 10_001), -np.logspace(-15, -3, 10_001)])
    assert np.all(relative_error(log_of(x), np.log(x.astype(np.longdouble))) <= 4 * EPS)
    assert log_of(np.array([1.0]))[0] == 0.0


@given(st.floats(allow_nan=False))
def test_bits_of_a_number_make_the_number_again(value):
    bits, again = round_trip(value)
    assert bits == np.float64(value).view(np.int64)
    assert again == value
