"""Arrays in memory, or mapped into it: chunks are views.

It knows NumPy and whatever scikit-learn takes for an array, pandas frames included; nothing of storage or schedulers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data import threads
from streamgmm.data.checks import as_dtype, checked_weights, column_names, located, usable_dtype
from streamgmm.data.source import LEAF_ROWS, Chunk, described
from streamgmm.errors import InputError, InputTypeError

CHUNK_ROWS = 64 * LEAF_ROWS


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Rows of one array, in chunks of ``CHUNK_ROWS``.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, n_features)
        Any real dtype; a dtype that cannot be computed with is converted chunk by chunk.
    weights : ndarray of shape (n_rows,) or None
        Checked sample weights.
    feature_names : ndarray of str, or None
        Column names.
    present : callable or None
        Makes what `map` returns out of the array of results.
    """

    rows: NDArray[Any]
    weights: NDArray[np.float64] | None = None
    feature_names: NDArray[np.object_] | None = None
    present: Callable[[NDArray[Any]], Any] | None = None
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
        return usable_dtype(self.rows.dtype)

    @property
    def weighted(self) -> bool:
        """Whether the rows carry sample weights."""
        return self.weights is not None

    def chunks(self) -> Iterator[Chunk]:
        """One pass: every chunk once, in storage order."""
        for index, start in enumerate(range(0, self.n_rows, CHUNK_ROWS)):
            part = slice(start, min(start + CHUNK_ROWS, self.n_rows))
            weights = None if self.weights is None else self.weights[part]
            yield Chunk(index, self._slice(part), weights, start, part.stop - start)

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: Any, n_columns: int | None) -> Any:
        """Row-wise results of ``function``, computed leaf by leaf on the thread pool, as one array."""
        result = np.empty((self.n_rows,) if n_columns is None else (self.n_rows, n_columns), dtype)

        def write(start: int) -> None:
            leaf = slice(start, start + LEAF_ROWS)
            result[leaf] = located(function, self._slice(leaf), start // CHUNK_ROWS, start)

        threads.ordered_map(write, range(0, self.n_rows, LEAF_ROWS))
        return result if self.present is None else self.present(result)

    def _slice(self, part: slice) -> NDArray[Any]:
        return as_dtype(self.rows[part], self.dtype)

    def __repr__(self) -> str:
        return described("array", self)


def from_array(X: Any, sample_weight: Any = None) -> ArraySource:
    """Source of an array-like: a NumPy array or memory map is viewed; lists are converted.

    A DataFrame is viewed where pandas holds it as one array, which it does not where its columns differ in dtype or
    came from a file one by one.
    """
    rows = numeric_array(X)
    weights = None if sample_weight is None else checked_weights(sample_weight, len(rows))
    return ArraySource(rows, weights, array_names(X))


def numeric_array(X: Any, min_rows: int = 1) -> NDArray[Any]:
    """2-d array of numbers out of an array-like, without a copy where it is one; scikit-learn's errors as ours."""
    from sklearn.utils.validation import check_array

    if isinstance(X, np.ma.MaskedArray):
        if np.ma.is_masked(X):
            raise InputError(
                f"X is a masked array with {np.ma.getmaskarray(X).sum()} masked values; drop or impute them."
            )
        X = X.data
    try:
        array = check_array(_numeric_frame(X), ensure_all_finite=False, ensure_min_samples=min_rows)
    except TypeError as error:
        raise InputTypeError(str(error)) from None
    except ValueError as error:
        raise InputError(str(error)) from None
    usable_dtype(array.dtype)
    return np.asarray(array)


def array_names(X: Any) -> NDArray[np.object_] | None:
    """Column names of a DataFrame, None for every other array-like."""
    return column_names(X.columns) if hasattr(X, "columns") and hasattr(X, "shape") else None


def numeric_dtype(dtype: Any) -> np.dtype[Any] | None:
    """NumPy dtype for a column of a DataFrame, whose own may be an extension; None where it holds no numbers."""
    found = getattr(dtype, "numpy_dtype", dtype)
    if not isinstance(found, np.dtype) or found.kind not in "biuf":
        return None
    if found is not dtype and found.kind in "biu":
        return np.dtype(np.float64)  # an extension's integers may be missing, which only NaN can say
    return found


def _numeric_frame(X: Any) -> Any:
    """Make a pandas DataFrame of numbers one array of their common dtype; anything else stays for scikit-learn."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(X, pandas.DataFrame) or X.shape[1] == 0:
        return X
    dtypes = [numeric_dtype(dtype) for dtype in X.dtypes]
    numeric = [dtype for dtype in dtypes if dtype is not None]
    if len(numeric) < len(dtypes):
        return X
    if all(isinstance(dtype, np.dtype) for dtype in X.dtypes):
        return X.to_numpy(np.result_type(*numeric))
    return X.to_numpy(np.result_type(*numeric), na_value=np.nan)
