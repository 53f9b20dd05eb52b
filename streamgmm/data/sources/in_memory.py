"""Arrays in memory, or mapped into it, and every array-like of scikit-learn; chunks are views."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data import threads
from streamgmm.data.checks import apply_to_rows, check_feature_names, choose_dtype, convert_dtype, validate_weights
from streamgmm.data.source import LEAF_ROWS, Chunk, describe_source
from streamgmm.errors import InputError, InputTypeError

CHUNK_ROWS = 64 * LEAF_ROWS


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Rows of one array, in chunks of ``CHUNK_ROWS``."""

    rows: NDArray[Any]  # (n_rows, n_features) of any real dtype, converted chunk by chunk if need be
    weights: NDArray[np.float64] | None = None
    feature_names: NDArray[np.object_] | None = None
    wrap: Callable[[NDArray[Any]], Any] | None = None  # converts the array of results of `map`
    repeatable: bool = field(default=True, init=False)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.rows.shape[1])

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the chunks' rows."""
        return choose_dtype(self.rows.dtype)

    @property
    def weighted(self) -> bool:
        """True if the rows carry sample weights."""
        return self.weights is not None

    def chunks(self) -> Iterator[Chunk]:
        """Yield every chunk once, in storage order."""
        for index, start in enumerate(range(0, self.n_rows, CHUNK_ROWS)):
            part = slice(start, min(start + CHUNK_ROWS, self.n_rows))
            weights = None if self.weights is None else self.weights[part]
            yield Chunk(index, self._slice(part), weights, start, part.stop - start)

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any, n_columns: int | None) -> Any:
        """Return row-wise results of ``function``, computed leaf by leaf on the thread pool, as one array."""
        result = np.empty((self.n_rows,) if n_columns is None else (self.n_rows, n_columns), dtype)

        def write(start: int) -> None:
            leaf = slice(start, start + LEAF_ROWS)
            result[leaf] = apply_to_rows(function, self._slice(leaf), start // CHUNK_ROWS, start)

        threads.map_in_order(write, range(0, self.n_rows, LEAF_ROWS))
        return result if self.wrap is None else self.wrap(result)

    def _slice(self, part: slice) -> NDArray[Any]:
        return convert_dtype(self.rows[part], self.dtype)

    def __repr__(self) -> str:
        return describe_source("array", self)


def from_array(X: Any, sample_weight: Any = None) -> ArraySource:
    """Return a source of an array-like: a NumPy array or memory map is viewed; lists are converted.

    A DataFrame is viewed if pandas holds it as one array: not with columns of different dtypes, or read one by one.
    """
    rows = convert_to_numbers(X)
    weights = None if sample_weight is None else validate_weights(sample_weight, len(rows))
    return ArraySource(rows, weights, get_feature_names(X))


def convert_to_numbers(X: Any, min_rows: int = 1) -> NDArray[Any]:
    """Return an array-like as a 2-d array of numbers, without a copy if possible; raises InputError."""
    from sklearn.utils.validation import check_array

    if isinstance(X, np.ma.MaskedArray):
        if np.ma.is_masked(X):
            n_masked = np.ma.getmaskarray(X).sum()
            raise InputError(f"X is a masked array with {n_masked} masked values; drop or impute them.")
        X = X.data
    try:
        array = check_array(_convert_frame(X), ensure_all_finite=False, ensure_min_samples=min_rows)
    except (TypeError, ValueError) as error:
        raise (InputTypeError if isinstance(error, TypeError) else InputError)(str(error)) from None
    choose_dtype(array.dtype)
    return np.asarray(array)


def get_feature_names(X: Any) -> NDArray[np.object_] | None:
    """Return the column names of a DataFrame, None for every other array-like."""
    return check_feature_names(X.columns) if hasattr(X, "columns") and hasattr(X, "shape") else None


def find_numeric_dtype(dtype: Any) -> np.dtype[Any] | None:
    """Return the NumPy dtype for a dtype of a DataFrame, possibly an extension; None if it is not numeric."""
    numpy_dtype = getattr(dtype, "numpy_dtype", dtype)
    if not isinstance(numpy_dtype, np.dtype) or numpy_dtype.kind not in "biuf":
        return None
    if numpy_dtype is not dtype and numpy_dtype.kind in "biu":
        return np.dtype(np.float64)  # an extension's integers may be missing, which only NaN can express
    return numpy_dtype


def _convert_frame(X: Any) -> Any:
    """Convert a pandas DataFrame of numbers to one array of their common dtype; leave the rest to scikit-learn."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(X, pandas.DataFrame) or X.shape[1] == 0:
        return X
    numeric = [dtype for dtype in map(find_numeric_dtype, X.dtypes) if dtype is not None]
    if len(numeric) < X.shape[1]:
        return X
    is_numpy = all(isinstance(dtype, np.dtype) for dtype in X.dtypes)
    return X.to_numpy(np.result_type(*numeric), **({} if is_numpy else {"na_value": np.nan}))
