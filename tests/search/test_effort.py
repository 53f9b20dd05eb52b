"""How much is tried before a fit: as much as is of use, or as one pass has time for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.initialization import budget as effort
from streamgmm.initialization.budget import LARGE, SearchBudget
from streamgmm.model.covariances import STRUCTURES

families, sizes = st.sampled_from(list(STRUCTURES.values())), st.integers(1, 200)
features, rows = st.integers(1, 100), st.integers(LARGE, 10**12)


@given(families, sizes, features, st.integers(1, LARGE - 1))
def test_below_ten_million_rows_their_number_changes_nothing(family, k, d, n):
    assert SearchBudget.of(family, k, d, n) == SearchBudget.of(family, k, d, None)


@given(families, sizes, features, rows, rows)
def test_of_more_rows_no_less_is_tried_and_never_more_than_is_of_use(family, k, d, some, others):
    few, many = (SearchBudget.of(family, k, d, n) for n in sorted([some, others]))
    most = SearchBudget.of(family, k, d, None)
    assert 1 <= few.starts <= many.starts <= most.starts
    assert 0 <= few.rounds <= many.rounds <= most.rounds
    assert SearchBudget.of(family, k, d, 10**15) == most


@given(families, sizes, features, rows)
def test_what_is_read_for_more_than_the_least_is_a_part_of_a_pass(family, k, d, n):
    tried, least = SearchBudget.of(family, k, d, n), SearchBudget.of(family, k, d, LARGE)
    if tried != least or tried.rounds:
        assert tried.starts * effort.START_ROWS + tried.rounds * effort.ROUND_ROWS <= effort.SHARE * n


@pytest.mark.parametrize("k", [1, 2, 3, 8, 64, 65])
def test_one_component_has_one_start_and_of_very_many_no_two_are_compared(k):
    tried = SearchBudget.of(STRUCTURES["full"], k, 3, None)
    assert (tried.starts == 1) == (k == 1)
    assert (tried.rounds == 0) == (k > effort.MOST_MOVED)
