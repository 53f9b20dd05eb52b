"""Files of each version are read for ever, and those of later ones are refused, whatever else there is."""

import json
import shutil
import warnings

import numpy as np
import pytest
from golden import FITS, FOLDER, HELD, SELECTION, held, held_selection, rows
from lives import payload, read_number
from sklearn.base import clone

from streamgmm import Selection, load
from streamgmm.errors import CheckpointWarning, NewerFormatError
from streamgmm.persistence import container
from streamgmm.persistence.store import Store, read_newest

EXPECTED = json.loads(HELD.read_text())


def test_every_file_is_known_and_every_known_file_is_there():
    assert sorted(EXPECTED) == sorted(path.name for path in FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_an_earlier_version_has_the_values_that_it_had(name):
    now, expected = json.loads(json.dumps(held(load(FOLDER / name)))), EXPECTED[name]
    assert now.pop("settings").items() >= expected["settings"].items()  # a later version may have more
    assert now == {key: value for key, value in expected.items() if key != "settings"}


def test_a_selection_of_an_earlier_version_has_the_values_that_it_had_and_learns_on():
    found, expected = Selection.load(SELECTION), json.loads(SELECTION.with_suffix(".json").read_text())
    now = json.loads(json.dumps(held_selection(found)))
    for model, earlier in zip(now["models"], expected["models"], strict=True):
        assert model.pop("settings").items() >= earlier.pop("settings").items()
    assert now == expected
    assert found.partial_fit(rows(40), token="day 1").best.n_samples_seen_ == 340
    assert found.partial_fit(rows(40), token="day 2").best.n_samples_seen_ == 380


@pytest.mark.parametrize("name", sorted(FITS))
def test_a_fit_killed_in_an_earlier_version_resumes(name, tmp_path):
    folder = shutil.copytree(FOLDER / f"format-1-{name}.ckpt", tmp_path / "fit.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of another environment, and of passes that are few
        model = FITS[name](load(folder))
        whole = FITS[name](clone(model).set_params(checkpoint=None))
    np.testing.assert_allclose(model.means_, whole.means_, rtol=1e-6)
    assert model.n_iter_ == whole.n_iter_


@pytest.mark.parametrize("name", EXPECTED)
def test_what_was_read_is_of_use(name, tmp_path):
    model = load(FOLDER / name)
    if name.startswith("format-1-incremental"):
        model.update(rows(460))
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows that are few, or not like those before
            model.partial_fit(rows(700))
    assert np.isfinite(model.score(rows(100)))
    model.save(tmp_path / "model")
    assert held(load(tmp_path / "model")) == held(model)


def later(store):
    """A generation as a later version would write it."""
    container.FORMAT += 1
    try:
        store.write(*payload(9), read_number)
    finally:
        container.FORMAT -= 1


def test_a_later_version_is_never_fallen_back_from(tmp_path):
    store = Store(tmp_path / "fit.ckpt").open()
    store.write(*payload(1), read_number)
    later(store)
    store.close()
    with pytest.raises(NewerFormatError, match="Upgrade streamgmm"):
        read_newest(store.folder, read_number)


def test_a_later_version_is_never_written_over(tmp_path):
    """Its generations would be taken for damaged ones, and be removed in time."""
    store = Store(tmp_path / "fit.ckpt").open()
    later(store)
    store.close()
    with pytest.raises(NewerFormatError):
        store.open()
    assert not store.is_open


def test_a_damaged_generation_of_a_later_version_is_damaged(tmp_path):
    store = Store(tmp_path / "fit.ckpt").open()
    store.write(*payload(1), read_number)
    later(store)
    store.close()
    path = sorted(store.folder.glob("gen-*"))[-1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(CheckpointWarning):
        assert read_newest(store.folder, read_number) == 1
