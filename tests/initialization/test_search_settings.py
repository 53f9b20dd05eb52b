"""The search budget: as many starts as are of use, or as one pass has time for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.initialization.search_settings import SEARCH, choose_budget
from streamgmm.model.covariances import STRUCTURES

families, sizes = st.sampled_from(list(STRUCTURES.values())), st.integers(1, 200)
features, rows = st.integers(1, 100), st.integers(SEARCH.large_rows, 10**12)


@given(families, sizes, features, st.integers(1, SEARCH.large_rows - 1))
def test_below_ten_million_rows_the_budget_does_not_depend_on_their_number(family, k, d, n):
    assert choose_budget(family, k, d, n) == choose_budget(family, k, d, None)


@given(families, sizes, features, rows, rows)
def test_the_budget_grows_with_the_rows_up_to_that_of_small_input(family, k, d, some, others):
    few, many = (choose_budget(family, k, d, n) for n in sorted([some, others]))
    most = choose_budget(family, k, d, None)
    assert 1 <= few.starts <= many.starts <= most.starts
    assert 0 <= few.move_rounds <= many.move_rounds <= most.move_rounds
    assert choose_budget(family, k, d, 10**15) == most


@given(families, sizes, features, rows)
def test_more_than_the_least_budget_reads_a_part_of_a_pass(family, k, d, n):
    budget, least = choose_budget(family, k, d, n), choose_budget(family, k, d, SEARCH.large_rows)
    if budget != least or budget.move_rounds:
        read = budget.starts * SEARCH.rows_per_start + budget.move_rounds * SEARCH.rows_per_move_round
        assert read <= SEARCH.pass_fraction * n


@pytest.mark.parametrize("k", [1, 2, 3, 8, 64, 65])
def test_one_component_has_one_start_and_very_many_components_have_no_moves(k):
    budget = choose_budget(STRUCTURES["full"], k, 3, None)
    assert (budget.starts == 1) == (k == 1)
    assert (budget.move_rounds == 0) == (k > SEARCH.max_components_to_move)
