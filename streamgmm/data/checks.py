"""Checks of the shapes, dtypes and values of rows and weights in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamgmm.data.source import Chunk
from streamgmm.errors import InputError, InputTypeError, NonFiniteError
from streamgmm.model.statistics import MAX_MAGNITUDE

_TOO_LARGE = "infinity or a value too large for dtype('float64')"


def check_shape(shape: Sequence[float], kind: str) -> None:
    """Raise InputError unless a shape is 2-d, with rows and features; a length may be NaN for unknown."""
    if len(shape) < 2:
        raise InputError(
            f"Expected 2D array, got {len(shape)}D array instead: a {kind} of shape {tuple(shape)}. Reshape your data "
            "either using array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it "
            "contains a single sample."
        )
    if len(shape) > 2:
        raise InputError(
            f"Found array with dim {len(shape)}, while dim <= 2 is required: a {kind} of shape {tuple(shape)}. "
            "Reshape it to (rows, features)."
        )
    for length, axis in zip(shape, ("sample", "feature"), strict=True):
        if length == 0:
            raise InputError(f"Found array with 0 {axis}(s) (shape={tuple(shape)}) while a minimum of 1 is required.")


def choose_dtype(stored: Any) -> np.dtype[Any]:
    """Return the dtype that stored rows are processed in: their own, or the nearest native one."""
    dtype: np.dtype[Any] = np.dtype(stored)
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind in "iu":
        return dtype.newbyteorder("=")
    if dtype.kind == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    if dtype.kind == "c":
        raise InputError(f"Complex data not supported: X is {dtype}; pass the real and imaginary parts as columns.")
    if dtype.kind in "mM":
        raise InputTypeError(f"X is {dtype}, which is a time; pass the time as a number of a unit you choose.")
    raise InputTypeError(f"X is {dtype}, which does not hold numbers; convert it to numeric values explicitly.")


def convert_dtype(rows: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows in the dtype that `choose_dtype` gave, themselves or a view wherever possible."""
    if rows.dtype == dtype:
        return rows
    if rows.dtype == np.bool_ and dtype == np.uint8:
        return rows.view(np.uint8)
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinity, which is then located
        return rows.astype(dtype)


def check_feature_names(columns: Iterable[Any]) -> NDArray[np.object_] | None:
    """Return feature names if all are strings, None if none is; raises InputTypeError for a mixture."""
    names = list(columns)
    kinds = {isinstance(name, str) for name in names}
    if kinds == {True, False}:
        raise InputTypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{sorted({type(name).__name__ for name in names})} as feature name / column name types. "
            "Convert them all to strings, for example by X.columns = X.columns.astype(str)."
        )
    return np.array(names, dtype=object) if kinds == {True} else None


def validate_weights(weights: ArrayLike, n_rows: int | None) -> NDArray[np.float64]:
    """Return the weights of all rows as float64; None for ``n_rows`` leaves their number open."""
    array = validate_finite_weights(weights)
    if n_rows is not None and len(array) != n_rows:
        raise InputError(f"sample_weight has {len(array)} values for {n_rows} rows of X; pass one weight for each row.")
    if not array.any():
        raise InputError("Sample weights must contain at least one non-zero number.")
    return array


def validate_finite_weights(weights: ArrayLike, where: str = "") -> NDArray[np.float64]:
    """Return weights as float64, each finite and not negative; ``where`` locates them in error messages."""
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"sample_weight{where} cannot be read as numbers ({error}); pass one number a row.") from None
    if array.ndim != 1:
        raise InputError(f"sample_weight{where} has {array.ndim} dimensions; pass a 1-d array with one weight a row.")
    refused = ~((array >= 0) & (array < np.inf))
    if refused.any():
        row = int(refused.argmax())
        raise InputError(
            f"sample_weight{where} holds {int(refused.sum())} values that are negative, NaN or infinite, first "
            f"{array[row]} at row {row}; weights must be finite and at least 0."
        )
    return array


def check_weight_count(rows: NDArray[Any], weights: NDArray[np.float64] | None, index: int) -> None:
    """Raise InputError unless a chunk has one weight per row."""
    if weights is not None and len(weights) != len(rows):
        raise InputError(
            f"sample_weight has {len(weights)} values for the {len(rows)} rows of chunk {index}; "
            "give both the same chunks."
        )


def is_usable(rows: NDArray[Any]) -> bool:
    """Return True if every value is finite and small enough to be squared."""
    return bool(np.isfinite(rows).all() and (np.abs(rows) <= MAX_MAGNITUDE).all())


def check_finite(chunk: Chunk) -> None:
    """Raise NonFiniteError if rows in memory have a value that cannot be used."""
    if not is_usable(chunk.rows):
        raise make_non_finite_error(chunk.rows, chunk)


def make_non_finite_error(
    rows: NDArray[Any], chunk: Chunk, feature_names: NDArray[np.object_] | None = None
) -> NonFiniteError:
    """Return an error, worded as scikit-learn's, that locates the first value of a chunk that cannot be used.

    ``rows`` are all rows of the chunk; of ``chunk`` only ``index`` and ``start`` are used.
    """
    n = len(rows)
    where = f"{chunk.index}"
    if chunk.start is not None and n:
        where += f" (rows {chunk.start}-{chunk.start + n - 1})"
    for summary, problem, remedy, is_refused in (
        ("NaN", "NaN", "drop or impute these rows", np.isnan),
        (_TOO_LARGE, "infinite", "drop or impute these rows", np.isinf),
        (
            _TOO_LARGE,
            f"too large to be squared (above {MAX_MAGNITUDE:g})",
            "scale the input",
            lambda rows: np.abs(rows) > MAX_MAGNITUDE,
        ),
    ):
        refused = is_refused(rows)
        if refused.any():
            row, column = (int(i) for i in np.unravel_index(refused.argmax(), refused.shape))
            first = f"row {row} of the chunk" if chunk.start is None else f"row {chunk.start + row}"
            name = "" if feature_names is None else f" ({feature_names[column]!r})"
            return NonFiniteError(
                f"Input X contains {summary}.\nChunk {where} holds {int(refused.sum())} values that are {problem}, "
                f"first at {first}, column {column}{name}; {remedy}."
            )
    return NonFiniteError(f"Input X contains {_TOO_LARGE}.\nThe sums over chunk {where} overflow; scale the input.")


def apply_to_rows(
    function: Callable[[NDArray[Any]], NDArray[Any]], rows: NDArray[Any], index: int, start: int | None
) -> NDArray[Any]:
    """Return results of ``function``; a NonFiniteError locates the value by chunk, row and column."""
    try:
        return function(rows)
    except NonFiniteError:
        raise make_non_finite_error(rows, Chunk(index, None, start=start)) from None
