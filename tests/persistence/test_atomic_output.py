import errno
import os

import pytest

from streamgmm.errors import InputError, ResultError
from streamgmm.persistence.atomic import atomic_output


def test_a_folder_that_is_no_array_is_never_replaced(tmp_path):
    precious = tmp_path / "x.zarr" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(InputError, match="no zarr array"), atomic_output(precious.parent, overwrite=True):
        pass
    assert precious.read_text() == "years of work"


@pytest.mark.parametrize("restartable", [False, True])
def test_the_name_appears_when_the_block_ends(tmp_path, restartable):
    path = tmp_path / "x"
    with atomic_output(path, restartable=restartable) as partial:
        partial.mkdir(exist_ok=True)
        (partial / "file").write_text("complete")
        assert not path.exists()
    assert (path / "file").read_text() == "complete"
    with pytest.raises(FileExistsError, match="it exists"), atomic_output(path):
        pass


@pytest.mark.parametrize("restartable", [False, True])
def test_what_is_there_before_and_after_a_failure_is_kept_only_where_it_is_of_use(tmp_path, restartable):
    (tmp_path / "x.partial").mkdir()
    (tmp_path / "x.partial" / "before").touch()
    with pytest.raises(OSError, match="full"), atomic_output(tmp_path / "x", restartable=restartable) as partial:
        assert partial.is_dir() == restartable
        partial.mkdir(exist_ok=True)
        raise OSError("the disk is full")
    assert [entry.name for entry in tmp_path.rglob("*")] == (["x.partial", "before"] if restartable else [])


@pytest.mark.parametrize("restartable", [False, True])
def test_what_the_disk_could_not_take_is_never_tried_again(tmp_path, restartable, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with (
        pytest.raises(ResultError, match=r"x\.partial could not be made durable \(Input/output error\) and is removed"),
        atomic_output(tmp_path / "x", restartable=restartable) as partial,
    ):
        partial.mkdir(exist_ok=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("restartable", [False, True])
def test_everything_is_durable_before_it_has_its_name_and_the_name_after_it(tmp_path, restartable, monkeypatch):
    log, sync, rename = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (log.append(os.fstat(descriptor).st_ino), sync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda source, target: (log.append(target.name), rename(source, target)))
    with atomic_output(tmp_path / "x", restartable=restartable) as partial:
        (partial / "c").mkdir(parents=True)
        for name in ("zarr.json", "c/0", "c/1"):
            (partial / name).touch()
    inside = {entry.stat().st_ino for entry in (tmp_path / "x", *(tmp_path / "x").rglob("*"))}
    assert len(inside) == 5
    assert (set(log[:5]), log[5:]) == (inside, ["x", tmp_path.stat().st_ino])
