import dask.array as da
import numpy as np
import pytest
import zarr

from streamgmm.errors import ResultError
from streamgmm.results.block_writer import write
from streamgmm.results.stored_array import StoredArray, check


@pytest.fixture
def path(tmp_path, provenance):
    """Complete result of labels in three chunks, the last of them short."""
    labels = np.random.default_rng(0).integers(0, 7, 25).astype(np.uint8)
    write(da.from_array(labels, 10), tmp_path / "x.zarr", provenance)
    return tmp_path / "x.zarr"


def test_a_complete_result_names_its_provenance(path, provenance):
    check(path)
    stored = StoredArray.open(path)
    assert stored.provenance == provenance
    assert stored.is_complete
    assert stored.find_bad_blocks() == {}
    assert stored.blocks() == [(0,), (1,), (2,)]


def test_every_flipped_bit_of_every_chunk_is_detected(path):
    stored, flips, detected = StoredArray.open(path), 0, 0
    for chunk in stored.blocks():
        file = stored.file(chunk)
        complete = file.read_bytes()
        for bit in range(8 * len(complete)):
            damaged = bytearray(complete)
            damaged[bit // 8] ^= 1 << bit % 8
            file.write_bytes(damaged)
            flips += 1
            detected += stored.find_bad_blocks() == {chunk: "damaged"}
        file.write_bytes(complete)
    print(f"{detected} of {flips} flipped bits detected")
    assert detected == flips > 400


def test_zarr_itself_does_not_read_a_flipped_bit(path):
    chunk = path / "c" / "1"
    damaged = bytearray(chunk.read_bytes())
    damaged[-5] ^= 1
    chunk.write_bytes(damaged)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(path, mode="r")[:]


def test_every_torn_zeroed_or_longer_chunk_is_detected(path):
    stored = StoredArray.open(path)
    for chunk in stored.blocks():
        complete = stored.file(chunk).read_bytes()
        left = [complete[:length] for length in range(len(complete))] + [bytes(n) for n in range(1, len(complete))]
        left += [complete[: len(complete) // 2] + bytes(len(complete) - len(complete) // 2), complete + b"\0"]
        for content in left:
            stored.file(chunk).write_bytes(content)
            assert stored.find_bad_blocks() == {chunk: "damaged"}, content
        stored.file(chunk).write_bytes(complete)


def test_a_missing_or_damaged_chunk_is_named_with_its_rows_and_the_remedy(path):
    (path / "c" / "2").unlink()
    assert zarr.open_array(path, mode="r")[20:].tolist() == [255] * 5  # it reads well enough
    (path / "c" / "0").write_bytes(b"?")
    with pytest.raises(ResultError) as caught:
        check(path)
    assert str(caught.value) == (
        f"{path} is not whole: chunk c/0 (rows 0-9) is damaged, chunk c/2 (rows 20-24) is missing; rename it to "
        "x.zarr.partial and run the same prediction again, which writes only what is not there."
    )


def test_the_remedy_of_damage_works_and_writes_only_what_is_not_there(path, provenance):
    labels = np.zeros(25, np.uint8)
    (path / "c" / "1").unlink()
    path.rename(path.parent / "x.zarr.partial")
    with pytest.raises(ResultError, match="is missing; run the same prediction again"):
        check(path.parent / "x.zarr.partial")
    assert write(da.from_array(labels, 10), path, provenance) == 15
    check(path)


def test_many_faults_are_counted_not_listed(tmp_path, provenance):
    write(da.zeros(100, chunks=1), tmp_path / "x.zarr", provenance)
    for chunk in (tmp_path / "x.zarr" / "c").iterdir():
        chunk.unlink()
    with pytest.raises(ResultError, match=r"c/2 \(rows 2-2\) is missing and 97 more are;"):
        check(tmp_path / "x.zarr")


def test_without_the_mark_of_completion_it_is_not_whole(path):
    array = zarr.open_array(path, mode="r+")
    array.update_attributes({"streamgmm": {**array.attrs["streamgmm"], "complete": False}})
    with pytest.raises(ResultError, match="does not say that it is complete; rename it"):
        check(path)


def test_an_array_that_became_shorter_is_not_whole(path):
    zarr.open_array(path, mode="r+").resize((20,))
    with pytest.raises(ResultError, match="its shapes contradict each other"):
        check(path)


def test_what_is_no_result_is_refused(path, tmp_path):
    zarr.create_array(tmp_path / "other.zarr", shape=3, dtype=int)
    zarr.create_group(tmp_path / "group.zarr")
    with pytest.raises(ResultError, match="does not say what it is of"):
        check(tmp_path / "other.zarr")
    for name in ("nowhere.zarr", "group.zarr"):
        with pytest.raises(ResultError, match="cannot be opened as a result"):
            check(tmp_path / name)


def test_damaged_metadata_are_an_error_or_detected_and_nothing_else(path):
    """They have no checksum: what they say of the array must agree with what they say of the result and the chunks."""
    file, values = path / "zarr.json", zarr.open_array(path, mode="r")[:]
    complete = file.read_bytes()
    for bit in range(0, 8 * len(complete), 11):
        damaged = bytearray(complete)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            check(path)
        except ResultError:
            continue
        np.testing.assert_array_equal(zarr.open_array(path, mode="r")[:], values)
