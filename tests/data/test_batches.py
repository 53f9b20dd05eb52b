import types

import numpy as np
import pandas as pd
import pytest

from streamgmm.data.sources import as_source
from streamgmm.errors import InputError, SinglePassError
from streamgmm.testing.source_laws import SourceLaws


class FunctionOfBatches(SourceLaws):
    knows_n_rows = False
    result_type = types.GeneratorType

    def collected(self, result):
        return np.concatenate(list(result))

    def ragged(self, rows):
        return lambda: iter([rows[:0], rows[:50], rows[50:50], rows[50:53], rows[53:]])

    def make(self, rows, weights, tmp_path):
        return as_source(self.ragged(rows), None if weights is None else self.ragged(weights))


class TestFunctionOfBatches(FunctionOfBatches):
    pass


class TestIteratorOfBatches(FunctionOfBatches):
    def ragged(self, rows):
        return super().ragged(rows)()


class TestIterableOfBatches(FunctionOfBatches):
    def ragged(self, rows):
        class Loader:
            def __iter__(self):
                return iter([rows[:60], rows[60:]])

            def __len__(self):
                return 2

        return Loader()


def test_an_iterator_is_read_no_further_than_its_first_batch_before_the_pass():
    taken = []

    def batches():
        for number in range(3):
            taken.append(number)
            yield np.full((2, 1), number)

    source = as_source(batches())
    assert taken == [0]
    assert [chunk.rows[0, 0] for chunk in source.chunks()] == [0, 1, 2]


def test_a_function_is_called_once_for_each_pass():
    calls = []

    def batches():
        calls.append(None)
        return [np.zeros((2, 1))]

    source = as_source(batches)
    for _ in range(3):
        list(source.chunks())
    assert len(calls) == 3


def test_a_second_pass_over_an_iterator_is_refused_with_the_remedy():
    source = as_source(iter([np.zeros((2, 1))]))
    assert not source.repeatable
    list(source.chunks())
    for second in (source.chunks, lambda: source.map(np.ravel, float, None)):
        with pytest.raises(SinglePassError, match="pass a function that returns a fresh iterator"):
            second()


def test_a_function_that_returns_the_same_iterator_again_is_refused():
    only = iter([np.zeros((2, 1))])
    source = as_source(lambda: only)
    list(source.chunks())
    with pytest.raises(SinglePassError, match="used up"):
        list(source.chunks())


def test_batches_of_a_frame_have_its_names():
    assert list(as_source(iter([pd.DataFrame({"a": [1.0]})])).feature_names) == ["a"]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "yields no batches"),
        ([np.zeros((0, 2))], r"0 sample\(s\)"),
        ([np.zeros((1, 2)), np.zeros((1, 3))], "Batch 1 of X has 3 features, but batch 0 has 2"),
        ([np.zeros((1, 2)), np.zeros(2)], "Batch 1 of X: Expected 2D array"),
        ([np.zeros((1, 2), complex)], "Batch 0 of X: Complex"),
    ],
)
def test_batches_that_cannot_be_used_are_named(batches, message):
    with pytest.raises(InputError, match=message):
        list(as_source(iter(batches)).chunks())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([[1, 1]], "ends before batch 1"),
        ([[1, 1], [1], [1]], "goes on after the last batch"),
        ([[1, 1], [1, 2]], "batch 1 has 2 values for 1 rows"),
        ([[1, 1], [-1]], "batch 1 holds 1 values"),
    ],
)
def test_weights_that_do_not_match_the_batches_are_named(weights, message):
    batches = [np.zeros((2, 1)), np.zeros((1, 1))]
    with pytest.raises(InputError, match=message):
        list(as_source(iter(batches), iter(weights)).chunks())


def test_weights_of_batches_come_in_batches():
    with pytest.raises(InputError, match="pass an iterator of the weights"):
        as_source(iter([np.zeros((2, 1))]), np.ones(2))
