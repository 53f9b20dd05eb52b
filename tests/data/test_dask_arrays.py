import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm.data.sources import as_source
from streamgmm.errors import InputError, InputTypeError
from streamgmm.testing.source_laws import SourceLaws, materialize


class TestDaskArray(SourceLaws):
    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        return as_source(da.from_array(rows, chunks=(20, 3)), weights)


class TestDaskArrayWithChunksAlongFeatures(SourceLaws):
    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        weights = None if weights is None else da.from_array(weights, chunks=33)
        return as_source(da.from_array(rows, chunks=(20, 2)), weights)


class TestDaskArrayOfUnknownLengths(SourceLaws):
    result_type = da.Array
    knows_n_rows = False

    def make(self, rows, weights, tmp_path):
        keep = da.from_array(np.arange(len(rows)) >= 0, chunks=20)
        weights = None if weights is None else da.from_array(weights, chunks=20)[keep]
        return as_source(da.from_array(rows, chunks=(20, 2))[keep], weights)


class TestDaskDataFrame(SourceLaws):
    result_type = da.Array
    knows_n_rows = False

    def make(self, rows, weights, tmp_path):
        frame = dd.from_pandas(pd.DataFrame(rows, columns=["a", "b", "c"]), npartitions=4)
        weights = None if weights is None else dd.from_pandas(pd.Series(weights), npartitions=4)
        return as_source(frame, weights)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=8).filter(any),
    widths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    weight_lengths=st.integers(1, 9),
)
def test_any_chunking_gives_the_rows_the_weights_and_the_results(lengths, widths, weight_lengths):
    n, d = sum(lengths), sum(widths)
    rows = np.arange(n * d, dtype=np.float32).reshape(n, d)
    lazy = da.from_array(rows, chunks=(tuple(lengths), tuple(widths)))
    source = as_source(lazy, da.from_array(np.arange(n), chunks=weight_lengths))
    chunks = list(source.chunks())
    assert [chunk.length for chunk in chunks] == lengths
    np.testing.assert_array_equal(np.concatenate([materialize(chunk.rows) for chunk in chunks]), rows)
    np.testing.assert_array_equal(np.concatenate([materialize(chunk.weights) for chunk in chunks]), np.arange(n))
    mapped = source.map(lambda block: block.sum(axis=1), np.float32, None)
    assert mapped.chunks == (tuple(lengths),)
    np.testing.assert_array_equal(mapped.compute(scheduler="synchronous"), rows.sum(axis=1))


def test_the_graph_of_a_chunk_does_not_grow_with_the_number_of_chunks():
    chunks = list(as_source(da.zeros((3000, 1), chunks=(1, 1))).chunks())
    assert len(chunks) == 3000
    assert max(len(chunk.rows.dask) for chunk in chunks[::500]) < 300


def test_chunks_of_one_group_are_computed_in_one_graph():
    chunks = as_source(da.arange(10, chunks=2).reshape(-1, 1), np.ones(10)).chunks()
    parts = dask.compute(*[(chunk.rows, chunk.weights) for chunk in chunks], scheduler="synchronous")
    assert [(rows.shape, weights.shape) for rows, weights in parts] == [((2, 1), (2,))] * 5


def test_a_map_of_unknown_lengths_stays_lazy():
    lazy = da.arange(10.0, chunks=2).reshape(-1, 1)
    mapped = as_source(lazy[lazy[:, 0] > 4]).map(lambda rows: np.c_[rows, rows], float, 2)
    assert mapped.shape[1] == 2
    np.testing.assert_array_equal(mapped.compute(scheduler="synchronous")[:, 0], [5, 6, 7, 8, 9])


def test_a_dask_frame_of_several_dtypes_has_their_common_one_and_its_names():
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": np.array([1.5, 2], np.float32)})
    source = as_source(dd.from_pandas(frame, npartitions=1))
    assert source.dtype == np.float64
    assert list(source.feature_names) == ["a", "b"]
    np.testing.assert_array_equal(materialize(next(source.chunks()).rows), [[1, 1.5], [np.nan, 2]])


def test_invalid_weights_are_refused_when_their_chunk_is_computed():
    source = as_source(da.zeros((4, 1), chunks=2), da.from_array(np.array([1, 1, 1, -1]), chunks=2))
    first, second = source.chunks()
    np.testing.assert_array_equal(materialize(first.weights), [1, 1])
    with pytest.raises(InputError, match=r"in chunk 1 holds 1 values .* at row 1"):
        materialize(second.weights)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (da.zeros(3), InputError, "Reshape your data"),
        (da.zeros((2, 2, 2)), InputError, "dim 3"),
        (da.zeros((0, 2)), InputError, r"0 sample\(s\)"),
        (da.zeros((2, 0)), InputError, r"0 feature\(s\)"),
        (da.zeros((2, 2), dtype=complex), InputError, "Complex data"),
        (da.zeros((2, 2), dtype="M8[s]"), InputTypeError, "is a time"),
        (da.from_array(np.array([["a"]], object), chunks=1), InputTypeError, "does not hold numbers"),
        (da.ma.masked_equal(da.zeros((2, 2)), 0), InputTypeError, "MaskedArray"),
        (dd.from_pandas(pd.DataFrame({"a": ["x"], "b": [1]}), npartitions=1), InputTypeError, "Columns 'a'"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        as_source(X)


def test_an_unknown_number_of_features_is_refused():
    wide = da.zeros((2, 4), chunks=2)
    with pytest.raises(InputError, match="number of features is unknown"):
        as_source(wide[:, da.arange(4, chunks=2) > 1])


def test_weights_that_cannot_be_aligned_are_refused():
    known = da.zeros((4, 1), chunks=2)
    unknown = known[known[:, 0] == 0]
    with pytest.raises(InputError, match="chunks of unknown length"):
        as_source(unknown, np.ones(4))
    with pytest.raises(InputError, match="4 chunks for 2 chunks"):
        as_source(unknown, da.ones(4, chunks=1))
    with pytest.raises(InputError, match="5 values for 4 rows"):
        as_source(known, da.ones(5, chunks=1))
    with pytest.raises(InputError, match="2 dimensions"):
        as_source(known, da.ones((4, 1)))
    with pytest.raises(InputError, match="at least one non-zero"):
        as_source(known, np.zeros(4))
