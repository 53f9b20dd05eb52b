import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from streamgmm.data.sources import as_source
from streamgmm.errors import InputError, InputTypeError
from streamgmm.testing.source_laws import SourceLaws, materialize


class TestNpy(SourceLaws):
    def make(self, rows, weights, tmp_path):
        np.save(tmp_path / "x.npy", rows)
        return as_source(tmp_path / "x.npy", weights)


class TestZarrPath(SourceLaws):
    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        zarr.save_array(tmp_path / "x.zarr", rows)
        return as_source(str(tmp_path / "x.zarr"), weights)


class TestHDF5Path(SourceLaws):
    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["group/x"] = rows
            file["labels"] = np.zeros(3)
        return as_source(tmp_path / "x.h5", weights)


class TestParquet(SourceLaws):
    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        pd.DataFrame(rows, columns=["a", "b", "c"]).to_parquet(tmp_path / "x.parquet", row_group_size=10)
        return as_source(tmp_path / "x.parquet", weights)


class TestParquetFolder(SourceLaws):
    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        folder = tmp_path / "x.parquet"
        folder.mkdir()
        for part in range(11):  # part.10 comes after part.9
            frame = pd.DataFrame(rows[part * 10 : (part + 1) * 10 if part < 10 else None], columns=["a", "b", "c"])
            frame.to_parquet(folder / f"part.{part}.parquet", row_group_size=4)
        return as_source(folder, weights)


def test_row_groups_become_tasks_of_about_the_same_size(tmp_path):
    pq.write_table(pa.table({"a": np.zeros(2_500_000)}), tmp_path / "x.parquet", row_group_size=100_000)
    lengths = [chunk.length for chunk in as_source(tmp_path / "x.parquet").chunks()]
    assert lengths == [2_100_000, 400_000]


def test_a_row_group_may_be_read_in_part(tmp_path):
    pq.write_table(pa.table({"a": np.arange(100), "b": np.arange(100)}), tmp_path / "x.parquet", row_group_size=30)
    array = as_source(tmp_path / "x.parquet").array
    np.testing.assert_array_equal(array[25:95, 1].compute(scheduler="synchronous"), np.arange(25, 95))


def test_missing_values_of_parquet_columns_become_nan(tmp_path):
    pq.write_table(pa.table({"a": [1, None], "b": [True, None]}), tmp_path / "x.parquet")
    rows = materialize(next(as_source(tmp_path / "x.parquet").chunks()).rows)
    np.testing.assert_array_equal(rows, [[1, 1], [np.nan, np.nan]])


def test_an_index_that_pandas_wrote_is_no_feature(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index(["x", "y"], name="id"))
    frame.to_parquet(tmp_path / "x.parquet")
    assert list(as_source(tmp_path / "x.parquet").feature_names) == ["a"]


def test_a_parquet_column_that_holds_no_numbers_is_named(tmp_path):
    pq.write_table(pa.table({"a": [1.0], "name": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(InputTypeError, match=r"Columns 'name' of .* columns=\[...\]"):
        as_source(tmp_path / "x.parquet")


def test_parquet_files_of_different_columns_are_refused(tmp_path):
    pq.write_table(pa.table({"a": [1.0]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": [1.0]}), tmp_path / "2.parquet")
    with pytest.raises(InputError, match=r"2.parquet' has columns \['b'\]"):
        as_source(tmp_path)


def test_hdf5_with_two_datasets_names_them(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["x"] = np.zeros((2, 2))
        file["y"] = np.zeros(2)
        file["z"] = np.zeros((2, 2))
    with pytest.raises(InputError, match="exactly one array to fit, but holds 'x', 'z'"):
        as_source(tmp_path / "x.hdf5")


@pytest.mark.parametrize("name", ["x.zarr", "x.npy", "x.parquet", "x.h5"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}', but there is nothing"):
        as_source(tmp_path / name)


@pytest.mark.parametrize("name", ["x.zarr", "x.npy", "x.parquet", "x.h5"])
def test_a_file_of_another_format_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=f"{name}' cannot be"):
        as_source(tmp_path / name)


def test_a_zarr_folder_without_an_array_is_refused(tmp_path):
    (tmp_path / "x.zarr").mkdir()
    with pytest.raises(InputError, match="cannot be opened as a zarr array"):
        as_source(tmp_path / "x.zarr")


def test_a_npy_file_of_objects_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[{}]], object))
    with pytest.raises(InputError, match="cannot be mapped"):
        as_source(tmp_path / "x.npy")


def test_an_unknown_suffix_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"suffix is not one of \.zarr, \.npy, \.parquet"):
        as_source("x.csv")
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(InputError, match=r"holds no \.parquet file"):
        as_source(tmp_path / "x.parquet")
