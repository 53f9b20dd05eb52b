import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from streamgmm.data.sources import LEAF_ROWS, as_source
from streamgmm.errors import InputError, InputTypeError
from streamgmm.testing.source_laws import SourceLaws


class TestArray(SourceLaws):
    def make(self, rows, weights, tmp_path):
        return as_source(rows, weights)


class TestFortranOrderedArray(SourceLaws):
    def make(self, rows, weights, tmp_path):
        return as_source(np.asfortranarray(rows), weights)


class TestDataFrame(SourceLaws):
    def make(self, rows, weights, tmp_path):
        return as_source(pd.DataFrame(rows, columns=["a", "b", "c"]), None if weights is None else pd.Series(weights))


class TestList(SourceLaws):
    dtypes = ("float64",)

    def make(self, rows, weights, tmp_path):
        return as_source(rows.tolist(), None if weights is None else weights.tolist())


def test_no_chunk_of_a_large_array_is_a_copy():
    rows = np.zeros((64 * LEAF_ROWS + 5, 2), np.float32)
    chunks = list(as_source(rows).chunks())
    assert [chunk.length for chunk in chunks] == [64 * LEAF_ROWS, 5]
    assert all(np.shares_memory(chunk.rows, rows) for chunk in chunks)


def test_booleans_are_viewed_as_bytes_without_a_copy():
    rows = np.zeros((10, 2), bool)
    assert np.shares_memory(next(as_source(rows).chunks()).rows, rows)


@pytest.mark.parametrize(("stored", "computed"), [(">f8", "f8"), (">i4", "i4"), ("f2", "f4"), ("longdouble", "f8")])
def test_dtypes_that_cannot_be_computed_with_are_converted_chunk_by_chunk(stored, computed):
    rows = np.arange(6).reshape(3, 2).astype(stored)
    source = as_source(rows)
    assert source.rows is rows or np.shares_memory(source.rows, rows)
    assert source.dtype == np.dtype(computed) == next(source.chunks()).rows.dtype
    np.testing.assert_array_equal(next(source.chunks()).rows, np.arange(6).reshape(3, 2))


def test_map_over_many_leaves_keeps_the_order():
    rows = np.arange(3 * LEAF_ROWS + 1.0).reshape(-1, 1)
    np.testing.assert_array_equal(as_source(rows).map(lambda leaf: leaf[:, 0], float, None), rows[:, 0])


def test_a_frame_of_several_dtypes_has_their_common_one_and_its_names():
    frame = pd.DataFrame({"a": np.array([1, 2], np.int32), "b": np.array([1.5, 2], np.float32), "c": [True, False]})
    source = as_source(frame)
    assert source.dtype == np.float64
    assert list(source.feature_names) == ["a", "b", "c"]
    np.testing.assert_array_equal(next(source.chunks()).rows, [[1, 1.5, 1], [2, 2, 0]])


def test_missing_values_of_nullable_columns_become_nan():
    rows = next(as_source(pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [0.5, 1]})).chunks()).rows
    np.testing.assert_array_equal(rows, [[1, 0.5], [np.nan, 1]])


def test_columns_without_string_names_have_no_names():
    assert as_source(pd.DataFrame(np.ones((2, 2)))).feature_names is None


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([1.0, 2.0], InputError, "Reshape your data"),
        (np.zeros((2, 2, 2)), InputError, "dim 3"),
        (np.float64(3), InputError, "scalar array"),
        (np.zeros((0, 2)), InputError, r"0 sample\(s\)"),
        (np.zeros((2, 0)), InputError, r"0 feature\(s\)"),
        (scipy.sparse.eye(3), InputTypeError, "Sparse data was passed"),
        (np.zeros((2, 2), complex), InputError, "Complex data not supported"),
        ([["a", "b"]], InputError, "strings"),
        (np.array([["a", 1]], object), InputError, "could not convert string to float"),
        (np.array([[{}, 1]], object), InputTypeError, r"float\(\) argument must be a string"),
        (np.zeros((2, 2), "M8[s]"), InputTypeError, "is a time"),
        (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), InputTypeError, "is a time"),
        (pd.DataFrame({"a": ["x"], "b": [1.0]}), InputError, "could not convert string to float"),
        (pd.DataFrame({"a": [1.0], 2: [1.0]}), InputTypeError, "Feature names are only supported"),
        (pd.Series([1.0, 2.0]), InputError, "2-dimensional container"),
        (np.ma.masked_greater(np.ones((2, 2)), 0), InputError, "4 masked values"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        as_source(X)


def test_objects_that_are_numbers_become_float64():
    assert as_source(np.array([[1, 2.5]], object)).dtype == np.float64


def test_a_masked_array_without_masked_values_is_read():
    np.testing.assert_array_equal(next(as_source(np.ma.array(np.eye(2))).chunks()).rows, np.eye(2))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "2 values for 3 rows"),
        ([1, -1, 2], "first -1.0 at row 1"),
        ([1, 1, np.nan], "first nan at row 2"),
        ([1, np.inf, 1], "first inf at row 1"),
        ([0, 0, 0], "at least one non-zero"),
        ([[1], [1], [1]], "2 dimensions"),
        (["a", "b", "c"], "cannot be read as numbers"),
        (2.0, "0 dimensions"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        as_source(np.zeros((3, 1)), weights)


def test_a_source_is_its_own_source_but_takes_no_weights():
    source = as_source(np.zeros((3, 1)))
    assert as_source(source) is source
    with pytest.raises(InputError, match="its own weights"):
        as_source(source, [1, 1, 1])


def test_a_feature_dim_is_for_xarray_only():
    with pytest.raises(InputError, match="not an xarray DataArray"):
        as_source(np.zeros((3, 1)), feature_dim="band")
