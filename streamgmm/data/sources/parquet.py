"""Parquet files: row groups as rows of a 2-d array; their footers give the number of rows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dask.utils import natural_sort_key
from numpy.typing import NDArray

from streamgmm.data.checks import check_feature_names, check_shape
from streamgmm.data.sources.dask_arrays import DaskSource, from_dask
from streamgmm.data.sources.storage import TASK_BYTES
from streamgmm.errors import InputError, InputTypeError


@dataclass(frozen=True, eq=False)
class ParquetRows:
    """Array-like over row groups, with the shape, dtype and slicing that dask needs."""

    columns: tuple[str, ...]  # in the order of the first file
    groups: tuple[tuple[str, int], ...]  # file and number of every row group
    offsets: NDArray[np.int64]  # rows before each row group, and after the last
    dtype: np.dtype[Any]  # of all columns; integers with missing values become float64 with NaN
    ndim: int = 2

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return int(self.offsets[-1]), len(self.columns)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        start, stop, _ = key[0].indices(self.shape[0])
        first = int(np.searchsorted(self.offsets, start, side="right")) - 1
        last = int(np.searchsorted(self.offsets, stop, side="left"))
        tables = []
        for path, groups in groupby(self.groups[first:last], key=lambda group: group[0]):
            with pq.ParquetFile(path) as file:
                table = file.read_row_groups([number for _, number in groups], columns=list(self.columns))
            tables.append(_convert_table(table.select(self.columns), self.dtype))
        before = start - int(self.offsets[first])
        return np.concatenate(tables)[before : before + stop - start, key[1]]

    def __dask_tokenize__(self) -> Any:
        files = sorted({path for path, _ in self.groups})
        return self.columns, self.groups, [(path, os.stat(path).st_mtime_ns) for path in files]


def from_parquet(path: Path, sample_weight: Any = None) -> DaskSource:
    """Return a source of a parquet file, or of a folder of such files, read in natural order."""
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"), key=lambda file: natural_sort_key(str(file)))
    if not files:
        raise InputError(f"The folder {str(path)!r} holds no .parquet file; pass a file, or a folder of such files.")
    stored = _read_footers(files)
    check_shape(stored.shape, "parquet table")
    chunks = (_plan_tasks(stored), (stored.shape[1],))
    lazy = da.from_array(stored, chunks=chunks, asarray=False, meta=np.empty((0, 0), stored.dtype))
    return from_dask(lazy, sample_weight, feature_names=check_feature_names(stored.columns), kind="parquet table")


def _read_footers(files: list[Path]) -> ParquetRows:
    columns: dict[str, Any] = {}
    groups, lengths = [], []
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                schema, metadata = opened.schema_arrow, opened.metadata
        except pa.ArrowInvalid as error:
            raise InputError(f"{str(file)!r} cannot be read as parquet ({error}); write it again.") from None
        dtypes = _find_dtypes(schema, file)
        columns = columns or dtypes
        if dtypes.keys() != columns.keys():
            raise InputError(f"{str(file)!r} has columns {list(dtypes)}, but {str(files[0])!r} has {list(columns)}.")
        groups += [(str(file), number) for number in range(metadata.num_row_groups)]
        lengths += [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        columns = {name: np.result_type(columns[name], dtypes[name]) for name in columns}
    dtype = np.result_type(*columns.values()) if columns else np.dtype(np.float64)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return ParquetRows(tuple(columns), tuple(groups), offsets, dtype)


def _find_dtypes(schema: Any, file: Path) -> dict[str, np.dtype[Any]]:
    """Return the dtypes of the columns, without those that pandas wrote as an index."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    fields = [field for field in schema if field.name not in [name for name in index if isinstance(name, str)]]
    is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    refused = [repr(field.name) for field in fields if not any(is_kind(field.type) for is_kind in is_number)]
    if refused:
        raise InputTypeError(
            f"Columns {', '.join(refused)} of {str(file)!r} do not hold numbers; pass "
            "dask.dataframe.read_parquet(path, columns=[...]) with the columns you mean."
        )
    return {field.name: np.dtype(field.type.to_pandas_dtype()) for field in fields}


def _plan_tasks(stored: ParquetRows) -> tuple[int, ...]:
    """Return the rows of each task: whole row groups, together about ``TASK_BYTES``."""
    enough = TASK_BYTES // (stored.dtype.itemsize * stored.shape[1])
    ends, start = [], 0
    for end in stored.offsets[1:].tolist():
        if end - start >= enough:
            ends.append(end)
            start = end
    if start < stored.shape[0]:
        ends.append(stored.shape[0])
    return tuple(np.diff([0, *ends]).tolist())


def _convert_table(table: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    columns = [column.cast(pa.float64()) if column.null_count else column for column in table.columns]
    arrays = [column.to_numpy() for column in columns]  # a missing value becomes NaN
    rows = np.empty((len(table), len(arrays)), np.result_type(dtype, *arrays))
    for column, array in enumerate(arrays):
        rows[:, column] = array
    return rows
