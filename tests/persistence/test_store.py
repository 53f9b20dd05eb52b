"""Generations, the lock, and what is kept: a store without accidents."""

import copy
import itertools
import os
import pickle
import signal
import sys
import warnings
from collections import Counter
from unittest import mock

import numpy as np
import pytest
from disks import FOLDER, MemoryDisk
from kills import forking
from lives import payload, read_number
from races import races

from streamgmm.errors import CheckpointError, CheckpointLocked, CheckpointWarning, CheckpointWriteError
from streamgmm.persistence import atomic as disk_module
from streamgmm.persistence import store as store_module
from streamgmm.persistence.atomic import Disk
from streamgmm.persistence.store import Generation, Store, generations, read_generation, read_newest

forks = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "fit.ckpt"


def written(folder, count, kept=3, disk=None):
    store = Store(folder, kept, disk).open()
    made = [store.write(*payload(number), read_number) for number in range(1, count + 1)]
    store.close()
    return made


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_newest_generation_is_what_was_written_last(folder):
    written(folder, 2)
    assert read_newest(folder, read_number) == 2


def test_a_generation_knows_its_number_and_its_parent(folder):
    first, second = written(folder, 2)
    manifest, _ = read_generation(folder, second)
    assert manifest["generation"] == {"number": 2, "parent": first.name}


def test_an_empty_folder_holds_nothing_and_a_missing_one_is_an_error(folder):
    with pytest.raises(CheckpointError):
        read_newest(folder, read_number)
    folder.mkdir()
    assert read_newest(folder, read_number) is None


def test_as_many_generations_are_kept_as_asked_for(folder):
    for kept in (1, 2, 4):
        written(folder, 6, kept)
        assert len(generations(folder)) == kept


def test_equal_contents_are_equal_files_but_for_their_numbers(tmp_path):
    assert written(tmp_path / "one", 3) == written(tmp_path / "other", 3)


@pytest.mark.parametrize("count", [1, 2])
def test_damaged_generations_are_passed_over_with_a_warning(folder, count):
    made = written(folder, 3)
    for generation in made[-count:]:
        damage(folder / generation.name)
    with pytest.warns(CheckpointWarning, match=f"Going on from generation {3 - count}"):
        assert read_newest(folder, read_number) == 3 - count


def test_generations_of_which_none_is_valid_are_never_taken_for_none(folder):
    for generation in written(folder, 3):
        damage(folder / generation.name)
    with pytest.raises(CheckpointError, match="3 generations and none is valid"):
        read_newest(folder, read_number)


def test_what_its_owner_refuses_is_passed_over_too(folder):
    written(folder, 2)

    def refusing(generation, manifest, arrays):
        if generation.number == 2:
            raise CheckpointError("it contradicts itself")
        return generation.number

    with pytest.warns(CheckpointWarning, match="it contradicts itself"):
        assert read_newest(folder, refusing) == 1


def test_a_generation_under_another_number_is_refused(folder):
    first, _ = written(folder, 2)
    (folder / first.name).rename(folder / Generation(9, first.digest).name)
    with pytest.warns(CheckpointWarning, match="another number"):
        assert read_newest(folder, read_number) == 2


def test_generation_numbers_continue_beyond_their_padding(folder):
    folder.mkdir()
    (folder / f"gen-999999999999-{'0' * 64}.safetensors").write_bytes(b"nothing of value")
    assert written(folder, 1)[0].number == 10**12
    assert read_newest(folder, read_number) == 1


def test_names_are_what_numbers_make_of_them_and_nothing_else(folder):
    names = ["gen-1-", "gen-000000000000001-", "gen-00000000001x-", "../gen-000000000001-", "GEN-000000000001-"]
    folder.mkdir()
    for name in names[:3]:
        (folder / f"{name}{'0' * 64}.safetensors").touch()
    assert generations(folder) == []
    assert all(store_module._NAME.fullmatch(f"{name}{'0' * 64}.safetensors") is None for name in names)


def test_a_reader_is_not_led_astray_by_a_writer_that_removes_what_it_has_listed(folder):
    """It has listed three generations; before it reads one, all three are replaced."""
    first = written(folder, 3)
    writer = Store(folder).open()

    class Late(Disk):
        def read(self, path, *, follow=False):
            while (folder / first[-1].name).exists():
                writer.write(*payload(7), read_number)
            return super().read(path, follow=follow)

    assert read_newest(folder, read_number, Late()) == 7


def test_drafts_of_the_dead_are_swept_and_nothing_else_is(folder):
    written(folder, 1)
    draft, foreign = folder / f".tmp-{'0' * 32}", folder / ".tmp-of-somebody-else"
    draft.touch()
    foreign.touch()
    Store(folder).open().close()
    assert not draft.exists() and foreign.exists()


def valid(disk, folder=FOLDER):
    """Numbers of generations that can be read."""
    numbers = []
    for generation in generations(folder, disk):
        try:
            read_generation(folder, generation, disk)
        except CheckpointError:
            continue
        numbers.append(generation.number)
    return numbers


def retained(kept, count, bad):
    """Generations that can be read after each of two writes, where some of those before are damaged."""
    disk = MemoryDisk()
    made = written(FOLDER, count, kept, disk)[-kept:]
    for place in bad:
        disk.root.names[FOLDER.name].names[made[place].name].content = b"damaged, to be sure"
    before = len(valid(disk))
    store = Store(FOLDER, kept, disk).open()
    for writes in (1, 2):
        store.write(*payload(count + writes), read_number)
        yield len(valid(disk)), min(kept, before + writes)


CASES = [
    (kept, bad) for kept in (1, 2, 3, 4) for n in range(kept + 1) for bad in itertools.combinations(range(kept), n)
]


def test_what_is_damaged_is_not_among_those_that_are_kept():
    assert all(left >= due for kept, bad in CASES for left, due in retained(kept, 5, bad))


def test_counting_damaged_generations_is_detected():
    with mock.patch.object(Store, "_valid", lambda store, found: found[: store.kept]):
        assert any(left < due for kept, bad in CASES for left, due in retained(kept, 5, bad))


class Lying(MemoryDisk):
    """Now and then it stores something else than it was given, and says nothing."""

    def write(self, file, content):
        changed = bytearray(content)
        changed[-1] ^= len(self.root.names[FOLDER.name].names) % 2
        return super().write(file, changed)


def outcomes_of_lies():
    store, counts = Store(FOLDER, disk=Lying()).open(), Counter()
    for number in range(1, 9):
        try:
            acknowledged = store.write(*payload(number), read_number)
        except CheckpointWriteError:
            counts["refused"] += 1
            store._disk.root.names[FOLDER.name].names["other"] = MemoryDisk()  # makes it tell the truth
            continue
        counts["acknowledged"] += 1
        counts["lost"] += acknowledged.number not in valid(store._disk)
    return counts


def test_a_disk_that_stores_something_else_is_detected():
    counts = outcomes_of_lies()
    assert counts["refused"] and counts["acknowledged"] and not counts["lost"]


def test_it_would_not_be_if_nothing_were_read_again():
    with mock.patch.object(disk_module, "_has_content", lambda disk, path, content: True):
        assert outcomes_of_lies()["lost"]


def test_two_stores_of_one_process_exclude_each_other(folder):
    store = Store(folder).open()
    with pytest.raises(CheckpointLocked, match="another fit"):
        Store(folder).open()
    with pytest.raises(CheckpointLocked):
        store.open()
    assert store.write(*payload(1), read_number).number == 1  # it has not lost its own right
    store.close()
    Store(folder).open().close()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda store: pickle.loads(pickle.dumps(store))])
def test_a_copy_has_no_right_to_write(folder, copied):
    store = Store(folder, kept=2).open()
    other = copied(store)
    assert (other.folder, other.kept, other.is_open) == (folder, 2, False)
    with pytest.raises(CheckpointWriteError, match="not open"):
        other.write(*payload(1), read_number)
    assert generations(folder) == []
    del other
    with pytest.raises(CheckpointLocked):
        Store(folder).open()


def test_a_store_that_is_closed_does_not_write(folder):
    store = Store(folder).open()
    store.close()
    with pytest.raises(CheckpointWriteError, match="closed"):
        store.write(*payload(1), read_number)


def test_a_store_that_nobody_has_any_more_is_free(folder):
    Store(folder).open()
    Store(folder).open().close()


@forks
def test_a_fork_neither_has_the_lock_nor_frees_it(folder):
    store = Store(folder).open()
    with forking():
        child = os.fork()
    if not child:
        refused = not store.is_open
        store.close()
        del store
        os._exit(0 if refused else 1)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(CheckpointLocked):
        Store(folder).open()
    with forking():
        child = os.fork()
    if not child:
        signal.pause()
    store.close()
    Store(folder).open().close()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@forks
def test_of_two_processes_one_wins_and_a_kill_frees_the_lock_at_once():
    counts = races(full=False)
    assert counts == {"races": 6, "two winners": 0, "no winner": 0, "errors": 0}


def test_a_store_that_cannot_be_listed_is_not_opened_and_not_locked(folder):
    class Unlisted(Disk):
        def names(self, folder):
            raise PermissionError(13, "Permission denied")

    store = Store(folder, disk=Unlisted())
    with pytest.raises(CheckpointWriteError, match="Permission denied"):
        store.open()
    assert not store.is_open
    Store(folder).open().close()


@pytest.mark.parametrize("name", ["a file", "a missing parent"])
def test_what_can_be_no_folder_is_an_error(tmp_path, name):
    (tmp_path / "file").touch()
    path = tmp_path / ("file" if name == "a file" else "missing/fit.ckpt")
    with pytest.raises(CheckpointWriteError):
        Store(path).open()


def test_the_bits_of_arrays_come_back(folder):
    arrays = {"one": np.array([np.nextafter(0, 1), -0.0, np.pi]), "other": np.arange(6, dtype=np.int32).reshape(2, 3)}
    store = Store(folder).open()
    store.write({"payload": 1}, arrays, lambda *content: None)
    with warnings.catch_warnings():
        _, again = store.read_newest(lambda generation, *found: found)
    assert {name: array.tobytes() for name, array in again.items()} == {n: a.tobytes() for n, a in arrays.items()}
