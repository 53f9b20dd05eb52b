import numpy as np
import pytest

from streamgmm.data.checks import make_non_finite_error
from streamgmm.data.source import Chunk
from streamgmm.errors import InputError


def test_a_nan_is_named_with_its_row_column_and_chunk():
    rows = np.zeros((1000, 3))
    rows[[411, 500], 2] = np.nan
    rows[3, 1] = np.inf
    error = make_non_finite_error(rows, Chunk(317, None, start=317_000), np.array(["a", "b", "c"], object))
    assert isinstance(error, InputError)
    assert str(error) == (
        "Input X contains NaN.\nChunk 317 (rows 317000-317999) holds 2 values that are NaN, first at row 317411, "
        "column 2 ('c'); drop or impute these rows."
    )


def test_without_a_known_start_the_row_is_counted_in_its_chunk():
    error = make_non_finite_error(np.array([[0, 1], [0, -np.inf]], np.float32), Chunk(4, None))
    assert str(error) == (
        "Input X contains infinity or a value too large for dtype('float64').\nChunk 4 holds 1 values that are "
        "infinite, first at row 1 of the chunk, column 1; drop or impute these rows."
    )


@pytest.mark.parametrize("value", [1e200, -1e151])
def test_a_value_whose_square_overflows_is_too_large(value):
    message = str(make_non_finite_error(np.array([[1.0], [value]]), Chunk(0, None, start=0)))
    assert message.startswith(
        "Input X contains infinity or a value too large for dtype('float64').\nChunk 0 (rows 0-1)"
    )
    assert message.endswith("too large to be squared (above 1e+150), first at row 1, column 0; scale the input.")


def test_rows_without_such_a_value_blame_their_sums():
    assert "overflow; scale the input" in str(make_non_finite_error(np.ones((1, 1)), Chunk(0, None)))
