"""What the reader could not decode or would refuse is never acknowledged, and what was there before stays."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from streamgmm import Checkpoint, GaussianMixture, Selection, load, select
from streamgmm.errors import CheckpointWarning, CheckpointWriteError
from streamgmm.fitting.tokens import Tokens
from streamgmm.persistence import codec
from streamgmm.persistence.codec import persistent
from streamgmm.selection.race_state import RaceState

ROWS = np.random.default_rng(0).normal(size=(400, 2)) + np.repeat([[0.0, 0.0], [9.0, 9.0]], 200, axis=0)


@pytest.fixture
def unknown_tag(monkeypatch):
    """Tokens are written under a tag that the reader does not know."""
    monkeypatch.delitem(codec._CLASSES, codec._TAGS[Tokens])


@pytest.fixture
def refused_state(monkeypatch):
    """The reader refuses all tokens."""

    def validate(self):
        raise ValueError("these tokens are refused")

    monkeypatch.setattr(Tokens, "validate", validate, raising=False)


class ModelFile:
    """A model in a file."""

    def __init__(self, folder):
        self.path = folder / "model.safetensors"
        self.model = GaussianMixture(2, random_state=0).fit(ROWS)

    def write(self):
        self.model.save(self.path)

    def read(self):
        return load(self.path).n_samples_seen_


class SelectionFile(ModelFile):
    """A selection in a file."""

    def __init__(self, folder):
        self.path = folder / "selection.safetensors"
        self.model = select(ROWS, [1, 2], random_state=0)

    def read(self):
        return Selection.load(self.path).best.n_samples_seen_


class Generations:
    """Generations of a stream."""

    def __init__(self, folder):
        self.path = folder / "stream.ckpt"
        self.model = GaussianMixture(2, random_state=0, checkpoint=Checkpoint(self.path, batches=1))

    def write(self):
        self.model.partial_fit(ROWS)

    def read(self):
        return load(self.path).n_samples_seen_


class SelectionGenerations(Generations):
    """Generations of a selection that learns on."""

    def __init__(self, folder):
        self.path = folder / "selection.ckpt"
        self.model = select(ROWS, [1, 2], random_state=0, checkpoint=Checkpoint(self.path, batches=1))

    def read(self):
        return Selection.load(self.path).best.n_samples_seen_


KINDS = [ModelFile, SelectionFile, Generations, SelectionGenerations]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", ["unknown_tag", "refused_state"])
def test_what_cannot_be_read_back_is_refused_and_leaves_what_was_there(tmp_path, request, kind, harm):
    kept = kind(tmp_path)
    kept.write()
    before, names = kept.read(), sorted(tmp_path.rglob("*"))
    request.getfixturevalue(harm)
    with pytest.raises(CheckpointWriteError, match="could not be read back"):
        kept.write()
    assert sorted(tmp_path.rglob("*")) == names
    request.getfixturevalue("monkeypatch").undo()
    assert kept.read() == before
    kept.write()
    assert kept.read() >= before


def test_a_fit_whose_state_cannot_be_read_back_warns_and_ends_with_an_error_but_fitted(tmp_path, refused_state):
    model = GaussianMixture(2, random_state=0, checkpoint=Checkpoint(tmp_path / "fit.ckpt", batches=1))
    with (
        pytest.warns(CheckpointWarning, match="these tokens are refused"),
        pytest.raises(CheckpointWriteError, match="these tokens are refused"),
    ):
        model.fit(ROWS)
    assert model.n_samples_seen_ == len(ROWS)
    assert list((tmp_path / "fit.ckpt").glob("gen-*")) == []  # a generation that cannot be read is not written


def test_a_selection_whose_state_cannot_be_read_back_warns_and_ends(tmp_path, monkeypatch):
    def validate(self):
        raise ValueError("this race is refused")

    monkeypatch.setattr(RaceState, "validate", validate)
    checkpoint = Checkpoint(tmp_path / "selection.ckpt", batches=1)
    with pytest.warns(CheckpointWarning, match="this race is refused"):
        selection = select(ROWS, [1, 2], random_state=0, checkpoint=checkpoint)
    monkeypatch.undo()
    assert selection.best.n_components == 2
    again = select(ROWS, [1, 2], random_state=0, checkpoint=checkpoint)  # every generation can be read
    np.testing.assert_array_equal(again.best.means_, selection.best.means_)


def test_a_class_without_a_tag_cannot_be_written(tmp_path):
    @dataclass
    class Untagged:
        number: int

    model = GaussianMixture(2, random_state=0).fit(ROWS)
    model.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    model._state = replace(model._state, tokens=Untagged(3))
    with pytest.raises(TypeError, match="a value of type Untagged cannot be saved"):
        model.save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before


def test_no_two_classes_have_one_tag():
    with pytest.raises(ValueError, match="Tokens has the tag 'tokens-1'; give Other another one"):

        @persistent("tokens-1")
        @dataclass
        class Other:
            number: int


def test_no_name_of_a_class_or_module_is_in_a_file(tmp_path):
    model = GaussianMixture(2, algorithm="incremental", random_state=0).fit(ROWS).update(ROWS)
    model.save(tmp_path / "model")
    GaussianMixture(2, random_state=0).partial_fit(ROWS, token="day 1").save(tmp_path / "stream")
    content = (tmp_path / "model").read_bytes() + (tmp_path / "stream").read_bytes()
    for cls in codec._CLASSES.values():
        assert f'"{cls.__name__}'.encode() not in content
        assert cls.__module__.encode() not in content


def test_the_types_of_all_fields_of_persistent_classes_are_known():
    for cls in codec._CLASSES.values():
        stored, annotations = codec._form(cls)
        assert annotations.keys() == {part.name for part in fields(stored) if part.init}, cls
