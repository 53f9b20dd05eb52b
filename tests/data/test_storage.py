import dask
import dask.array as da
import h5py
import numpy as np
import pytest
import zarr

from streamgmm.data.sources import as_source
from streamgmm.errors import InputError
from streamgmm.testing.source_laws import SourceLaws, materialize


class ZarrLaws(SourceLaws):
    result_type = da.Array

    options = {"chunks": (10, 3)}  # noqa: RUF012

    def make(self, rows, weights, tmp_path):
        array = zarr.create_array(tmp_path / "x.zarr", shape=rows.shape, dtype=rows.dtype, **self.options)
        array[:] = rows
        return as_source(array, weights)


class TestZarr(ZarrLaws):
    pass


class TestZarr2(ZarrLaws):
    options = {"chunks": (10, 2), "zarr_format": 2}  # noqa: RUF012


class TestShardedZarr(ZarrLaws):
    options = {"chunks": (10, 3), "shards": (50, 3)}  # noqa: RUF012


class TestZarrWithStoredWeights(SourceLaws):
    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        array = zarr.create_array(tmp_path / "x.zarr", shape=rows.shape, dtype=rows.dtype, chunks=(10, 3))
        array[:] = rows
        if weights is not None:
            stored = zarr.create_array(tmp_path / "w.zarr", shape=weights.shape, dtype=weights.dtype, chunks=(7,))
            stored[:] = weights
            weights = stored
        return as_source(array, weights)


class TestHDF5(SourceLaws):
    result_type = da.Array

    def make(self, rows, weights, tmp_path):
        file = h5py.File(tmp_path / "x.h5", "w")
        return as_source(file.create_dataset("x", data=rows, chunks=(10, 2)), weights)


def test_tiny_storage_chunks_are_read_many_to_a_task(tmp_path):
    array = zarr.create_array(tmp_path / "x.zarr", shape=(3_000_000, 4), dtype="f4", chunks=(100, 4))
    lengths = [chunk.length for chunk in as_source(array).chunks()]
    assert len(lengths) == 3
    assert lengths[0] % 100 == 0
    assert abs(lengths[0] * 16 - 2**24) < 100 * 16


def test_a_shard_is_never_cut(tmp_path):
    array = zarr.create_array(
        tmp_path / "x.zarr", shape=(4_000_000, 4), dtype="f8", chunks=(1000, 4), shards=(2_000_000, 4)
    )
    assert [chunk.length for chunk in as_source(array).chunks()] == [2_000_000, 2_000_000]


def test_a_group_with_one_array_is_that_array_and_any_other_is_refused(tmp_path):
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    with pytest.raises(InputError, match="holds none"):
        as_source(group)
    group.create_array("x", shape=(3, 2), dtype="f8")
    assert as_source(group).n_rows == 3
    group.create_array("y", shape=(3, 2), dtype="f8")
    with pytest.raises(InputError, match="holds 'x', 'y'"):
        as_source(group)


def test_a_one_dimensional_zarr_array_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"reshape\(-1, 1\)"):
        as_source(zarr.create_array(tmp_path / "x.zarr", shape=(3,), dtype="f8"))


def test_an_hdf5_dataset_without_chunks_is_read_by_threads_under_a_lock(tmp_path):
    rows = np.arange(2_000_000.0).reshape(-1, 1)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        chunks = list(as_source(file.create_dataset("x", data=np.c_[rows, rows])).chunks())
        parts = dask.compute(*[chunk.rows for chunk in chunks], scheduler="threads")
    assert len(parts) == 2
    np.testing.assert_array_equal(np.concatenate(parts)[:, 1:], rows)
    assert materialize(parts[0]).dtype == np.float64
