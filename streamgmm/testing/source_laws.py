"""Laws of every source of rows, as a suite to inherit.

Subclass `SourceLaws` in a test file, define ``make``, and pytest runs every law on your source::

    class TestMySource(SourceLaws):
        def make(self, rows, weights, tmp_path):
            return MySource(rows, weights)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.source import Chunk, Source
from streamgmm.errors import SinglePassError


def materialize(part: Any) -> NDArray[Any]:
    """Return rows or weights of a chunk, in memory or Delayed, as an array."""
    if isinstance(part, np.ndarray):
        return part
    array = part.compute(scheduler="synchronous")
    assert isinstance(array, np.ndarray)
    return array


class SourceLaws:
    """Laws of the chunks of any source, and of `map`.

    Attributes
    ----------
    dtypes : tuple of str
        Dtypes whose rows must come back in that dtype.
    knows_n_rows : bool
        True if ``n_rows`` is known before the first pass.
    result_type : type
        Type that `map` returns.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float64", "float32", "int16", "uint8")
    knows_n_rows: ClassVar[bool] = True
    result_type: ClassVar[type] = np.ndarray

    def make(self, rows: NDArray[Any], weights: NDArray[np.float64] | None, tmp_path: Path) -> Source:
        """Return a source of 2-d ``rows``; ``tmp_path`` is an empty folder."""
        raise NotImplementedError

    def collected(self, result: Any) -> NDArray[Any]:
        """Return the result of `map` as one array, rows in order."""
        return np.asarray(result)

    def rows(self, dtype: str = "float64", n: int = 103, d: int = 3) -> NDArray[Any]:
        """Return rows that differ from each other."""
        return np.arange(n * d).reshape(n, d).astype(dtype)

    def weights(self, n: int = 103) -> NDArray[np.float64]:
        """Return weights that differ from each other; one of them is 0."""
        return np.arange(n) / 8

    def test_chunks_end_to_end_are_the_rows_in_their_dtype(self, tmp_path: Path) -> None:
        for dtype in self.dtypes:
            (tmp_path / dtype).mkdir()
            rows = self.rows(dtype)
            source = self.make(rows, None, tmp_path / dtype)
            parts = [materialize(chunk.rows) for chunk in source.chunks()]
            assert source.dtype == rows.dtype
            assert {part.dtype for part in parts} == {rows.dtype}
            np.testing.assert_array_equal(np.concatenate(parts), rows)

    def test_booleans_become_bytes(self, tmp_path: Path) -> None:
        rows = self.rows() % 2 == 0
        source = self.make(rows, None, tmp_path)
        assert source.dtype == np.uint8
        np.testing.assert_array_equal(np.concatenate([materialize(c.rows) for c in source.chunks()]), rows)

    def test_shape_is_known_as_far_as_it_can_be(self, tmp_path: Path) -> None:
        source = self.make(self.rows(), None, tmp_path)
        assert source.n_features == 3
        assert source.n_rows == (103 if self.knows_n_rows else None)
        assert not source.weighted
        assert "3 features" in repr(source)

    def test_a_second_pass_gives_the_same_chunks_or_says_that_it_cannot(self, tmp_path: Path) -> None:
        source = self.make(self.rows(), None, tmp_path)
        first = [materialize(chunk.rows) for chunk in source.chunks()]
        try:
            second = [materialize(chunk.rows) for chunk in source.chunks()]
        except SinglePassError:
            assert not source.repeatable
            return
        assert source.repeatable
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_chunks_are_counted_and_say_where_they_start(self, tmp_path: Path) -> None:
        chunks = list(self.make(self.rows(), None, tmp_path).chunks())
        assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
        before = 0
        for chunk in chunks:
            length = len(materialize(chunk.rows))
            assert chunk.length in (None, length)
            assert chunk.start in (None, before)
            assert not self.knows_n_rows or (chunk.start, chunk.length) == (before, length)
            before += length

    def test_weights_stay_beside_their_rows(self, tmp_path: Path) -> None:
        rows, weights = self.rows(), self.weights()
        source = self.make(rows, weights, tmp_path)
        assert source.weighted
        chunks = list(source.chunks())
        for chunk in chunks:
            assert _is_in_memory(chunk, "rows") == _is_in_memory(chunk, "weights")
            assert len(materialize(chunk.rows)) == len(materialize(chunk.weights))
        parts = [materialize(chunk.weights) for chunk in chunks]
        assert {part.dtype for part in parts} == {np.dtype(np.float64)}
        np.testing.assert_array_equal(np.concatenate(parts), weights)

    def test_without_weights_no_chunk_has_any(self, tmp_path: Path) -> None:
        assert all(chunk.weights is None for chunk in self.make(self.rows(), None, tmp_path).chunks())

    def test_map_gives_one_result_for_each_row_in_order(self, tmp_path: Path) -> None:
        rows = self.rows()
        result = self.make(rows, None, tmp_path).map(_last_column, np.int32, None)
        assert isinstance(result, self.result_type)
        collected = self.collected(result)
        assert collected.dtype == np.int32
        np.testing.assert_array_equal(collected, rows[:, -1])

    def test_map_gives_as_many_columns_as_the_function(self, tmp_path: Path) -> None:
        rows = self.rows()
        collected = self.collected(self.make(rows, None, tmp_path).map(_twice_two_columns, np.float32, 2))
        assert collected.dtype == np.float32
        np.testing.assert_array_equal(collected, 2 * rows[:, :2])


def _is_in_memory(chunk: Chunk, part: str) -> bool:
    return isinstance(getattr(chunk, part), np.ndarray)


def _last_column(rows: NDArray[Any]) -> NDArray[Any]:
    assert len(rows)
    return rows[:, -1].astype(np.int32)


def _twice_two_columns(rows: NDArray[Any]) -> NDArray[Any]:
    assert len(rows)
    return 2 * rows[:, :2]
