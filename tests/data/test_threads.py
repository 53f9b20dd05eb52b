"""One pool of threads."""

import pytest

from streamgmm.data import threads


def test_results_keep_the_order_of_the_items():
    with threads.limit(4):
        assert threads.map_in_order(lambda item: item * item, range(100)) == [item * item for item in range(100)]


def test_work_inside_work_ends():
    with threads.limit(2):
        inner = threads.map_in_order(lambda item: sum(threads.map_in_order(abs, range(item + 2))), range(8))
    assert inner == [sum(range(item + 2)) for item in range(8)]


def test_an_error_of_any_item_is_raised():
    with threads.limit(3), pytest.raises(ZeroDivisionError):
        threads.map_in_order(lambda item: 1 // (item - 5), range(10))
