import os
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.errors import InputError, ResultError
from streamgmm.results.block_writer import write
from streamgmm.results.stored_array import StoredArray, check


def counted(values, chunks, computed):
    """Lazy array that notes the first value and the length of every block that is computed."""

    def block(part):
        computed.append((int(part.flat[0]), len(part)))
        return part

    return da.from_array(values, (chunks, *values.shape[1:])).map_blocks(block, meta=values[:0])


def stopped(path):
    """Give a complete result the name that it had before it was complete."""
    return path.rename(path.with_name(path.name + ".partial"))


@pytest.mark.parametrize("chunks", [(10, 10, 5), (3, 10, 2, 10), (25,), (5, 20), (1,) * 25])
@pytest.mark.parametrize("suffix", [".zarr", ".npy"])
def test_any_chunks_are_written_as_they_are(tmp_path, provenance, chunks, suffix):
    values = np.arange(25 * 2, dtype=np.float32).reshape(25, 2)
    path = tmp_path / f"values{suffix}"
    assert write(da.from_array(values, (chunks, (1, 1))), path, provenance) == 0
    np.testing.assert_array_equal(np.load(path) if suffix == ".npy" else zarr.open_array(path, mode="r")[:], values)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_every_chunk_on_disk_is_written_once_and_whole(tmp_path, provenance):
    regions = []
    blocks = da.arange(1_000, chunks=((300, 100, 100, 300, 200),))
    write(blocks, tmp_path / "x.zarr", provenance, progress=regions.append)
    stored = zarr.open_array(tmp_path / "x.zarr", mode="r")
    assert stored.chunks == (300,)
    assert sorted(regions) == [0, 100, 300, 300, 300]


@pytest.mark.parametrize(
    ("block", "shape"), [((0, 0), (5, 20)), ((0, 0), (10, 30)), ((2, 1), (10, 20)), ((0, 0), (200,))]
)
def test_a_write_that_is_not_a_whole_block_raises_and_writes_nothing(tmp_path, provenance, block, shape):
    """Two tasks that share a file would each read, change and write it: one of the changes would be lost."""
    stored = StoredArray.create(
        tmp_path / "x.zarr", da.zeros((25, 30), chunks=(10, 20), dtype=int), (5, 10), provenance
    )
    with pytest.raises(ResultError, match="are not the whole of shard c/"):
        stored.write_block(block, np.zeros(shape, int))
    assert not list((tmp_path / "x.zarr").glob("c/*"))
    stored.write_block((2, 1), np.zeros((5, 10), int))
    assert (stored.array[:] == 0).sum() == 50


def test_the_fill_value_is_no_label(tmp_path, provenance):
    write(da.zeros(1_000, chunks=100, dtype=np.uint8), tmp_path / "x.zarr", provenance)
    assert zarr.open_array(tmp_path / "x.zarr", mode="r").fill_value == 255
    assert len(list((tmp_path / "x.zarr" / "c").iterdir())) == 10


@settings(max_examples=30)
@given(
    shape=st.sampled_from([(25,), (25, 2)]),
    length=st.integers(3, 25),
    states=st.lists(st.sampled_from(["kept", "missing", "flipped", "torn", "empty"]), min_size=9, max_size=9),
)
def test_a_restart_computes_only_missing_and_damaged_chunks(provenance, shape, length, states):
    values = np.arange(np.prod(shape)).reshape(shape)
    row = values.size // len(values)
    with tempfile.TemporaryDirectory() as folder:
        path, computed, progress = Path(folder, "x.zarr"), [], []
        write(counted(values, length, []), path, provenance)
        files = [path.joinpath("c", str(number), *["0"] * (len(shape) - 1)) for number in range(-(-25 // length))]
        before = [file.read_bytes() for file in files]
        for file, state in zip(files, states, strict=False):
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 4
            left = {"flipped": content, "torn": file.read_bytes()[:-3], "empty": b""}
            if state == "missing":
                file.unlink()
            elif state != "kept":
                file.write_bytes(left[state])
        (files[0].parent / "0.d1ce.partial").write_bytes(b"of a write that was killed")
        stopped(path)
        n_resumed = write(counted(values, length, computed), path, provenance, progress=progress.append)
        missing = [number for number, state in zip(range(len(files)), states, strict=False) if state != "kept"]
        lengths = [min(length, 25 - number * length) for number in missing]
        expected = [(number * length * row, n) for number, n in zip(missing, lengths, strict=True)]
        assert sorted(computed) == expected
        assert n_resumed == 25 - sum(lengths) and sorted(progress[1:]) == sorted(lengths) and progress[0] == n_resumed
        check(path)
        assert [file.read_bytes() for file in files] == before
        assert {entry for entry in path.rglob("*") if entry.is_file()} == {*files, path / "zarr.json"}
        np.testing.assert_array_equal(zarr.open_array(path, mode="r")[:], values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "responsibilities"}, "responsibilities, not labels"),
        ({"model": "f" * 16}, "another model, ffffffffffffffff, not 0123456789abcdef"),
        ({"rows": Fingerprint(25, 3, "<f4", "chunks", "", "others")}, "other rows: other values"),
        ({"rows": Fingerprint(26, 3, "<f4", "chunks", "", "rows")}, "other rows: 26 rows, not 25"),
        ({"streamgmm": "0.0.1"}, "streamgmm 0.0.1, not 0.1.0"),
        ({"chunks": 5}, r"blocks \(5,\), not \(10,\)"),
        ({"settings": {"nodata": 3}}, "nodata 3, not null"),
        ({"values": np.arange(26)}, r"shape \(26,\), not \(25,\)"),
        ({"values": np.arange(25, dtype=np.int16)}, "dtype int16, not int64"),
    ],
)
def test_a_partial_result_of_another_provenance_is_replaced_with_a_warning(tmp_path, provenance, change, reason):
    path, values, computed = tmp_path / "x.zarr", np.arange(25), []
    foreign = replace(provenance, **{name: change[name] for name in change.keys() - {"chunks", "values"}})
    write(counted(change.get("values", values + 1), change.get("chunks", 10), []), path, foreign)
    stopped(path)
    with pytest.warns(UserWarning, match=f"x.zarr.partial is replaced, not resumed: it is of {reason}"):
        assert write(counted(values, 10, computed), path, provenance) == 0
    assert len(computed) == 3
    check(path)
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[:], values)


@pytest.mark.parametrize("metadata", [None, b"", b"half of {", b"{}"])
def test_a_partial_result_without_provenance_is_replaced_with_a_warning(tmp_path, provenance, metadata):
    write(da.zeros(10, chunks=5), tmp_path / "x.zarr", provenance)
    partial = stopped(tmp_path / "x.zarr")
    (partial / "zarr.json").unlink() if metadata is None else (partial / "zarr.json").write_bytes(metadata)
    with pytest.warns(UserWarning, match="is replaced, not resumed: "):
        write(da.arange(10, chunks=5), tmp_path / "x.zarr", provenance)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "x.zarr", mode="r")[:], np.arange(10))
    assert not partial.exists()


def failing(error):
    """Lazy array of 10 rows in two blocks, the one of which that comes second cannot be computed."""
    computed = []

    def block(part):
        computed.append(part)
        if len(computed) == 2:
            raise error
        return part

    return da.arange(10, chunks=5).map_blocks(block, meta=np.empty(0, int))


@pytest.mark.parametrize("error", [OSError("the disk is on fire"), MemoryError(), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize(("suffix", "kept"), [(".npy", 0), (".zarr", 5)])
def test_after_a_failure_a_zarr_resumes_and_an_npy_starts_anew(tmp_path, provenance, error, suffix, kept):
    error = type(error)(*error.args)  # one of its own: notes are added to it
    path, computed = tmp_path / f"x{suffix}", []
    write(da.ones(10, chunks=5, dtype=int), path, provenance)
    with dask.config.set(scheduler="synchronous"), pytest.raises(type(error)) as caught:
        write(failing(error), path, provenance, overwrite=True)
    notes = [f"run the same again: it goes on from {path}.partial"] if kept else []
    assert getattr(caught.value, "__notes__", []) == notes
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x" + suffix] + ["x.zarr.partial"] * len(notes)
    before = np.load(path) if suffix == ".npy" else zarr.open_array(path, mode="r")[:]
    np.testing.assert_array_equal(before, np.ones(10))
    assert write(counted(np.arange(10), 5, computed), path, provenance, overwrite=True) == kept
    assert sum(n for _, n in computed) == 10 - kept
    assert [entry.name for entry in tmp_path.iterdir()] == ["x" + suffix]
    np.testing.assert_array_equal(
        np.load(path) if suffix == ".npy" else zarr.open_array(path, mode="r")[:], np.arange(10)
    )


@pytest.mark.parametrize("suffix", [".zarr", ".npy"])
def test_unusable_rows_leave_no_partial_result(tmp_path, provenance, suffix):
    with pytest.raises(InputError, match="NaN"):
        write(failing(InputError("NaN in chunk 1")), tmp_path / f"x{suffix}", provenance)
    assert not list(tmp_path.iterdir())


def test_two_processes_never_write_to_one_result(tmp_path, provenance):
    blocks, computed = da.arange(10, chunks=5), []

    def block(part):
        computed.append(part)
        with pytest.raises(ResultError, match=r"x\.zarr\.partial is being written by another process"):
            write(blocks, tmp_path / "x.zarr", provenance)
        return part

    write(blocks.map_blocks(block, meta=np.empty(0, int)), tmp_path / "x.zarr", provenance)
    assert len(computed) == 2
    check(tmp_path / "x.zarr")


@pytest.mark.parametrize("suffix", [".zarr", ".npy"])
def test_threads_that_an_interruption_leaves_behind_write_nothing_after_it(tmp_path, provenance, suffix):
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
            write(lazy, tmp_path / f"x{suffix}", provenance)
        go_on.set()  # and the pool's end waits for the thread
    assert {entry.name for entry in tmp_path.rglob("*")} <= {"x.zarr.partial", "zarr.json"}


@pytest.mark.parametrize("number", [1, 2])
def test_a_replacement_that_is_stopped_at_a_rename_is_finished_by_the_next(tmp_path, provenance, monkeypatch, number):
    path, renamed, original = tmp_path / "x.zarr", [], os.replace
    write(da.ones(10, chunks=5, dtype=int), path, provenance)

    def rename(source, target):
        if str(tmp_path) in str(source) and Path(source).parent == tmp_path:
            renamed.append(source)
            if len(renamed) == number:
                raise KeyboardInterrupt
        original(source, target)

    monkeypatch.setattr(os, "replace", rename)
    with pytest.raises(KeyboardInterrupt):
        write(da.arange(10, chunks=5), path, provenance, overwrite=True)
    monkeypatch.undo()
    if path.exists():
        check(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert write(counted(np.arange(10), 5, []), path, provenance, overwrite=True) == 10
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[:], np.arange(10))
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.zarr"]
