import threading
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

from streamgmm.cli.results import chunked, complete_or_absent, write
from streamgmm.errors import InputError


@pytest.mark.parametrize("chunks", [(10, 10, 5), (3, 10, 2, 10), (25,), (5, 20), (1,) * 25])
@pytest.mark.parametrize("suffix", [".zarr", ".npy"])
def test_any_chunks_are_written_as_they_are(tmp_path, chunks, suffix):
    values = np.arange(25 * 2, dtype=np.float32).reshape(25, 2)
    path = tmp_path / f"values{suffix}"
    write(da.from_array(values, (chunks, (2,))), path)
    np.testing.assert_array_equal(np.load(path) if suffix == ".npy" else zarr.open_array(path, mode="r")[:], values)


def test_every_chunk_on_disk_is_written_once_and_whole(tmp_path):
    """Two tasks that share a chunk would each read, change and write it: one of the changes would be lost."""
    regions = []
    blocks = da.arange(1_000, chunks=((300, 100, 100, 300, 200),))
    write(blocks, tmp_path / "x.zarr", wrote=regions.append)
    stored = zarr.open_array(tmp_path / "x.zarr", mode="r")
    assert stored.chunks == (300,)
    assert sorted(regions) == [100, 300, 300, 300]


def test_a_flipped_bit_is_found_out(tmp_path):
    write(da.zeros(1_000, chunks=100, dtype=np.uint8), tmp_path / "x.zarr")
    chunk = tmp_path / "x.zarr" / "c" / "3"
    damaged = bytearray(chunk.read_bytes())
    damaged[-5] ^= 1
    chunk.write_bytes(damaged)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(tmp_path / "x.zarr", mode="r")[:]


def test_what_was_not_written_is_no_label(tmp_path):
    write(da.zeros(1_000, chunks=100, dtype=np.uint8), tmp_path / "x.zarr")
    assert zarr.open_array(tmp_path / "x.zarr", mode="r").fill_value == 255
    assert len(list((tmp_path / "x.zarr" / "c").iterdir())) == 10


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.npy"
    write(da.arange(10, chunks=5), path)

    def fail(block, block_id):
        if block_id[0] == 1:
            raise OSError("the disk is on fire")
        return block

    with pytest.raises(OSError, match="fire"):
        write(da.zeros(10, chunks=5).map_blocks(fail, dtype=float), path, overwrite=True)
    np.testing.assert_array_equal(np.load(path), np.arange(10))
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.npy"]


def test_what_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / "x.zarr.partial" / "c").mkdir(parents=True)
    (tmp_path / "x.zarr.partial" / "c" / "9").write_bytes(b"half a chunk")
    write(da.arange(10, chunks=5), tmp_path / "x.zarr")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "x.zarr", mode="r")[:], np.arange(10))
    assert not (tmp_path / "x.zarr.partial").exists()


def test_a_folder_that_is_no_array_is_never_replaced(tmp_path):
    precious = tmp_path / "x.zarr" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(InputError, match="no zarr array"), complete_or_absent(precious.parent, overwrite=True):
        pass
    assert precious.read_text() == "years of work"


def test_mapped_rows_are_read_by_the_block(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.ones((100_000, 4)))
    monkeypatch.setattr("streamgmm.sources.storage.TASK_BYTES", 2**20)
    source = chunked(tmp_path / "x.npy")
    assert source.array.numblocks[0] > 1
    read = []
    sums = source.map(lambda rows: read.append(len(rows)) or rows.sum(axis=1), float, None)
    assert read == []
    assert sums.compute(scheduler="synchronous").sum() == 400_000
    assert max(read) < 50_000


@pytest.mark.parametrize("suffix", [".zarr", ".npy"])
def test_threads_that_an_interruption_leaves_behind_write_nothing_after_it(tmp_path, suffix):
    reached, go_on = threading.Event(), threading.Event()

    def block(values, block_id):
        if block_id == (0,):
            reached.wait(10)
            raise KeyboardInterrupt
        reached.set()
        go_on.wait(10)
        return values

    lazy = da.zeros(200, chunks=100).map_blocks(block, dtype=np.float64, meta=np.empty(0))
    with ThreadPoolExecutor(2) as pool, dask.config.set(scheduler="threads", pool=pool):
        with pytest.raises(KeyboardInterrupt):
            write(lazy, tmp_path / f"x{suffix}")
        go_on.set()  # and the pool's end waits for the thread
    assert not list(tmp_path.iterdir())
