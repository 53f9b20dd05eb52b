"""Results that are cut along several axes: blocks, shards of tiles, and restarts from any of them."""

import tempfile
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm.errors import ResultError
from streamgmm.results.block_writer import write
from streamgmm.results.stored_array import StoredArray, check

VALUES = np.random.default_rng(0).integers(0, 9, (24, 30, 7)).astype(np.uint8)


@st.composite
def cuts(draw, length):
    """Lengths of blocks along an axis, equal or not."""
    ends = draw(st.lists(st.integers(3, length - 1), max_size=2, unique=True).map(sorted))
    return tuple(np.diff([0, *ends, length]).tolist())


@settings(max_examples=12)
@given(
    shape=st.sampled_from([(24,), (24, 30), (24, 30, 7)]),
    chunks=st.tuples(cuts(24), cuts(30), cuts(7)),
    tile=st.sampled_from([None, 3, 4, 8]),
    missing=st.sets(st.integers(0, 12)),
    torn=st.sets(st.integers(0, 12)),
)
def test_any_blocks_and_tiles_hold_the_values_and_resume_block_by_block(provenance, shape, chunks, tile, missing, torn):
    values, computed, progress = VALUES[tuple(slice(0, n) for n in shape) + (0,) * (3 - len(shape))], [], []

    def noted(block, block_id):
        computed.append(block_id)
        return block

    lazy = da.from_array(values, chunks[: len(shape)], meta=np.empty((0,) * len(shape), np.uint8))
    n_row_axes = min(2, len(shape))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.zarr")
        assert write(lazy, path, provenance, tile=tile, row_axes=n_row_axes, progress=progress.append) == 0
        assert sum(progress) == np.prod(shape[:n_row_axes])
        stored = StoredArray.open(path)
        np.testing.assert_array_equal(stored.array[:], values)
        files = [stored.file(block) for block in stored.blocks()]
        before = {file: file.read_bytes() for file in files}
        lost = {block for number, block in enumerate(stored.blocks()) if number in missing | torn}
        for number, file in enumerate(files):
            if number in missing:
                file.unlink()
            elif number in torn:
                file.write_bytes(before[file][:-3])
        path.rename(path.with_name("x.zarr.partial"))
        regular = lazy.rechunk(stored.block_shape).map_blocks(noted, meta=np.empty((0,) * len(shape), np.uint8))
        write(regular, path, provenance, tile=tile, row_axes=n_row_axes)
        assert set(computed) == lost and len(computed) == len(lost)
        assert {file: file.read_bytes() for file in path.rglob("*") if file.name != "zarr.json" and file.is_file()} == (
            before
        )
        check(path)


@pytest.mark.parametrize("part", ["first tile", "last tile", "index", "checksum"])
def test_a_damaged_tile_inside_a_shard_is_found_and_named(tmp_path, provenance, part):
    path = tmp_path / "x.zarr"
    write(da.from_array(VALUES[..., 0], (16, 16)), path, provenance, tile=4, row_axes=2)
    stored = StoredArray.open(path)
    assert (stored.array.shards, stored.array.chunks) == ((16, 16), (4, 4))
    file = stored.file((0, 1))
    content = bytearray(file.read_bytes())
    position = {"first tile": 3, "last tile": len(content) - 16 * 16 - 8, "index": len(content) - 40, "checksum": -2}[
        part
    ]
    content[position] ^= 1
    file.write_bytes(content)
    assert stored.find_bad_blocks() == {(0, 1): "damaged"}
    with pytest.raises(ResultError, match=r"shard c/0/1 \(0:16, 16:30\) is damaged"):
        check(path)


def test_files_are_as_many_as_blocks_however_small_the_tiles(tmp_path, provenance):
    write(da.zeros((64, 96), chunks=(32, 48), dtype=np.uint8), tmp_path / "x.zarr", provenance, tile=4, row_axes=2)
    assert sum(1 for file in (tmp_path / "x.zarr" / "c").rglob("*") if file.is_file()) == 4
    assert zarr.open_array(tmp_path / "x.zarr", mode="r").chunks == (4, 4)


def test_progress_counts_pixels_whatever_the_trailing_axes(tmp_path, provenance):
    progress = []
    cubes = da.zeros((20, 30, 5), chunks=(10, 20, 5), dtype=np.float32)
    assert write(cubes, tmp_path / "x.zarr", provenance, tile=4, row_axes=2, progress=progress.append) == 0
    assert sorted(progress) == [0, 100, 100, 200, 200]
    assert zarr.open_array(tmp_path / "x.zarr", mode="r").chunks == (2, 4, 5)


def test_no_lock_is_left_behind_whatever_happens(tmp_path, provenance):
    for error in (OSError("full"), KeyboardInterrupt()):

        def fail(block, error=error):
            raise error

        with pytest.raises(type(error)):
            write(da.ones(4, chunks=2).map_blocks(fail, meta=np.empty(0)), tmp_path / "x.zarr", provenance)
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.zarr.partial"]
    (tmp_path / "x.zarr.partial.lock").touch()  # of a process that was killed
    write(da.ones(4, chunks=2), tmp_path / "x.zarr", provenance)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.zarr"]
