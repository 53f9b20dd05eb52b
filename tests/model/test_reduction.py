from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.model.reduction import push, sum_tree, total


class Text(str):
    """A sum that shows its own brackets: equal only where the trees are."""

    def __add__(self, other):
        return Text(f"({self!s}{other!s})")


def terms(n):
    return [Text(f"{number},") for number in range(n)]


@given(st.integers(1, 300))
def test_a_running_sum_is_the_tree_of_all_terms(n):
    assert total(reduce(push, terms(n), ())) == sum_tree(terms(n))


@given(st.integers(1, 300), st.integers(0, 6))
def test_aligned_runs_of_a_power_of_two_form_subtrees(n, log_length):
    length = 2**log_length
    runs = [sum_tree(terms(n)[start : start + length]) for start in range(0, n, length)]
    assert sum_tree(runs) == total(reduce(push, runs, ())) == sum_tree(terms(n))


@given(st.integers(1, 300))
def test_every_term_is_added_once_and_in_order(n):
    assert sum_tree(terms(n)).replace("(", "").replace(")", "") == "".join(map(str, terms(n)))


@given(st.integers(1, 1000))
def test_as_many_subtrees_are_kept_as_the_count_has_binary_ones(n):
    counter = reduce(push, range(n), ())
    sizes = [size for size, _ in counter]
    assert sum(sizes) == n
    assert len(sizes) == n.bit_count()
    assert sizes == sorted(sizes, reverse=True)


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=64))
def test_floats_are_summed_to_the_same_bits_either_way(values):
    with np.errstate(over="ignore"):
        assert total(reduce(push, values, ())) == sum_tree(values)


def test_a_million_small_terms_lose_far_less_than_a_running_sum_would():
    values = [0.1] * 2**20
    assert sum_tree(values) == pytest.approx(2**20 * 0.1, rel=1e-15)


def test_a_single_term_is_its_own_sum_and_is_not_copied():
    term = np.zeros(3)
    assert sum_tree([term]) is term
    assert total(push((), term)) is term
