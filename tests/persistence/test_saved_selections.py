"""A selection loaded from a file or a checkpoint continues as if it had stayed in memory."""

import errno
import os
from copy import deepcopy
from functools import cache
from hashlib import sha256

import numpy as np
import pytest

from streamgmm import Checkpoint, GaussianMixture, Selection, load, select
from streamgmm.cli import main
from streamgmm.errors import CheckpointError, CheckpointLocked, CheckpointMismatch, CheckpointWriteError
from streamgmm.estimator.saved_model import SavedModel
from streamgmm.persistence.container import from_bytes, to_bytes
from streamgmm.persistence.session import encode_content
from streamgmm.persistence.store import Generation, generations

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def rows_of(n, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 2)) + random.choice([-5, 0, 5], size=(n, 1))


def batches(n=12):
    return np.array_split(rows_of(60 * n, seed=1), n)


def made(checkpoint=None, **how):
    if checkpoint is None:
        return deepcopy(made_once(**how))
    return select(rows_of(400), [1, 3], ["full", "diag"], random_state=0, max_iter=6, checkpoint=checkpoint, **how)


@cache
def made_once(**how):
    return select(rows_of(400), [1, 3], ["full", "diag"], random_state=0, max_iter=6, **how)


@cache
def content_of_a_stream():
    """All that a selection is which learns every batch and is never killed."""
    whole = made()
    for number, batch in enumerate(batches()):
        whole.partial_fit(batch, token=number)
    return content(whole)


def content(found):
    """All that a selection is."""
    models = [
        None if model is None else to_bytes(*encode_content(SavedModel.from_model(model))) for model in found.models
    ]
    columns = {name: (column.dtype, column.tolist()) for name, column in found.table.items()}
    return models, repr(columns), found.criterion, found.models.index(found.best), found.worth


@pytest.mark.parametrize("learnt", [0, 3])
@pytest.mark.parametrize("how", [{}, {"criterion": "heldout"}, {"effective_n": 90}])
def test_what_is_saved_comes_back_and_learns_on_to_the_same_bits(tmp_path, how, learnt):
    found = made(**how)
    for batch in batches()[:learnt]:
        found.partial_fit(batch)
    found.save(tmp_path / "choice.safetensors")
    back = Selection.load(tmp_path / "choice.safetensors")
    assert content(back) == content(found) and repr(back) == repr(found)
    back.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "choice.safetensors").read_bytes()
    for batch in batches()[learnt:5]:
        found.partial_fit(batch), back.partial_fit(batch)
    assert content(back) == content(found)


def test_a_candidate_that_has_degenerated_is_still_none(tmp_path):
    found = made()
    found.models = (None, *found.models[1:])
    found.save(tmp_path / "choice.safetensors")
    assert content(Selection.load(tmp_path / "choice.safetensors")) == content(found)


@pytest.mark.parametrize(("first", "second", "every"), [(0, 11, 1), (2, 7, 2), (3, 5, 4), (4, 4, 3)])
def test_a_stream_that_is_killed_and_fed_again_ends_in_the_same_bits(tmp_path, first, second, every):
    folder = tmp_path / "choice.ckpt"
    found = made(Checkpoint(folder, batches=every))
    for life in sorted({first, second}):
        for number, batch in enumerate(batches()[: life + 1]):
            found.partial_fit(batch, token=number)
        del found  # the lock with it: what was not written is lost
        try:
            found = Selection.load(folder)
        except CheckpointMismatch as error:
            assert "runs or has not been updated since" in str(error)
            found = made(folder)
        found.checkpoint = Checkpoint(folder, batches=every)
    for number, batch in enumerate(batches()):  # an at-least-once feed begins anew
        found.partial_fit(batch, token=number)
    assert content(found) == content_of_a_stream()


def test_a_batch_that_cannot_be_kept_is_not_learnt(tmp_path, monkeypatch):
    found = made(Checkpoint(tmp_path / "c", batches=1)).partial_fit(batches()[0], token=0)
    before = content(found)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointWriteError, match="No space left"):
            found.partial_fit(batches()[1], token=1)
    assert content(found) == before
    found.partial_fit(batches()[1], token=1)
    assert content(Selection.load(tmp_path / "c")) == content(found)


def test_two_selections_do_not_learn_into_one_checkpoint(tmp_path):
    path = tmp_path / "c"
    one, other = made(Checkpoint(path, batches=1)), made(path)
    one.partial_fit(batches()[0])
    with pytest.raises(CheckpointLocked):
        other.partial_fit(batches()[1])
    del one
    with pytest.raises(
        CheckpointMismatch, match=r"a generation that this selection does not continue; read it with Selection\.load"
    ):
        other.partial_fit(batches()[1])
    assert content(other) == content(made())


def test_what_is_of_another_kind_is_refused_with_who_reads_it(tmp_path, capsys):
    folder, file, model = tmp_path / "c", tmp_path / "choice.safetensors", tmp_path / "model.safetensors"
    found = made(Checkpoint(folder, batches=1))
    found.best.save(model)
    with pytest.raises(CheckpointMismatch, match="call select with this checkpoint and the same X"):
        Selection.load(folder)
    with pytest.raises(CheckpointMismatch, match=r"holds a model, not a selection; streamgmm\.load reads it"):
        Selection.load(model)
    with pytest.raises(CheckpointError, match="a folder without a generation"):
        Selection.load(tmp_path)
    found.partial_fit(batches()[0]).save(file)
    del found
    with pytest.raises(CheckpointMismatch, match=r"was updated since; read it with Selection\.load"):
        made(folder)
    with pytest.raises(CheckpointMismatch, match="holds a selection, not a fit"):
        GaussianMixture(2, checkpoint=folder).fit(rows_of(50))
    with pytest.raises(CheckpointError, match=r"holds a selection; Selection\.load reads it"):
        load(file)
    for path in (file, folder):
        assert main(["info", str(path)]) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0] == f"{path}: {Selection.load(path)!r}" and said[-1].startswith("best: 3 components (")
        assert sum(line.startswith("generation ") for line in said) == (path == folder) * len(generations(folder))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("best", 9),
        ("best", -1),
        ("best", True),
        ("criterion", "best"),
        ("criterion", 3),
        ("worth", "much"),
        ("models", []),
        ("models", {}),
        ("models", 3),
        ("table", []),
        ("table", 3),
        ("table", [["bic"]]),
        ("table", [["bic", 3]]),
        ("table", [["bic", {"array": "0.means"}]]),
        ("table", [["bic", {"list": []}]]),
    ],
)
def test_a_file_that_contradicts_itself_is_no_selection(tmp_path, name, value):
    path = tmp_path / "choice.safetensors"
    made().save(path)
    manifest, arrays = from_bytes(path.read_bytes(), path)
    manifest["content"]["fields"][name] = value
    path.write_bytes(to_bytes(manifest, arrays))
    with pytest.raises(CheckpointError, match="is not valid"):
        Selection.load(path)


@pytest.mark.parametrize("fields", [{"run": None}, {"run": 3}, {"environment": None}, {"environment": {"numpy": 2}}])
def test_a_generation_that_does_not_say_whose_it_is_is_no_checkpoint(tmp_path, fields):
    made(Checkpoint(tmp_path, batches=1)).partial_fit(batches()[0])
    newest, *others = generations(tmp_path)
    manifest, arrays = from_bytes((tmp_path / newest.name).read_bytes(), tmp_path)
    forged = to_bytes({name: value for name, value in {**manifest, **fields}.items() if value is not None}, arrays)
    for one in (newest, *others):
        (tmp_path / one.name).unlink()
    (tmp_path / Generation(newest.number, sha256(forged).hexdigest()).name).write_bytes(forged)
    with pytest.raises(CheckpointError, match=r"is not valid"):
        Selection.load(tmp_path)
