"""A damaged, foreign or forged file is a CheckpointError and nothing else."""

import json
import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

import streamgmm
from streamgmm import GaussianMixture, load
from streamgmm.errors import CheckpointError
from streamgmm.persistence import container


def fitted():
    random = np.random.default_rng(0)
    return GaussianMixture(2, covariance_type="diag", random_state=0).fit(random.normal(size=(50, 2)))


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    fitted().save(path)
    return path.read_bytes()


def refused(path, content):
    path.write_bytes(content)
    return refusal(path)


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_every_flipped_bit_is_detected(content, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(content)
    with open(path, "r+b", buffering=0) as file:  # open all the while: to open it is what takes time
        for place, byte in enumerate(content):
            file.seek(place)
            file.write(bytes([byte ^ 1 << (place % 8)]))
            refusal(path)
            file.seek(place)
            file.write(bytes([byte]))
    assert load(path).n_components == 2


def test_every_flipped_bit_of_the_length_of_the_header_is_detected(content, tmp_path):
    for bit in range(64):
        damaged = (int.from_bytes(content[:8], "little") ^ (1 << bit)).to_bytes(8, "little") + content[8:]
        refused(tmp_path / "model", damaged)


def test_every_truncation_is_detected(content, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(content)
    for length in reversed(range(len(content))):
        os.truncate(path, length)
        refusal(path)


@pytest.mark.parametrize("more", [b"\0", b"more", b" " * 5000])
def test_anything_after_the_end_is_detected(content, tmp_path, more):
    refused(tmp_path / "model", content + more)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(tmp_path_factory, foreign):
    refused(tmp_path_factory.mktemp("foreign") / "model", foreign)


def header(text):
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"not a model at all, just some text",
        pickle.dumps({"weights_": [1.0]}),
        save_arrays({"weights_": np.ones(2)}),
        save_arrays({"weights_": np.ones(2)}, metadata={"streamgmm": "{}"}),
        save_arrays({"weights_": np.ones(2)}, metadata={"streamgmm": "[]"}),
        save_arrays({"weights_": np.ones(2)}, metadata={"streamgmm": "null"}),
        save_arrays({}, metadata={"streamgmm": '{"format": 1, "format": 1}'}),
        save_arrays({}, metadata={"streamgmm": '{"format": NaN}'}),
        save_arrays({}, metadata={"streamgmm": '{"format": "one"}'}),
        save_arrays({}, metadata={"streamgmm": "[" * 100_000}),
        header(b"[" * 100_000),
        header(b'"text"'),
        header(b'{"__metadata__": 3}'),
        header(b'{"a": {"dtype": "F64", "shape": [9223372036854775807], "data_offsets": [0, 8]}}'),
        (2**63).to_bytes(8, "little") + b"{}",
    ],
    ids=range(16),
)
def test_a_foreign_file_is_refused(tmp_path, foreign):
    refused(tmp_path / "model", foreign)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "missing" / "model", tmp_path / "pipe", tmp_path / "loop"):
        with pytest.raises(CheckpointError):
            load(path)
    with pytest.raises(CheckpointError):
        load("a\0b")


def test_a_file_of_absurd_size_is_refused_without_reading_it(tmp_path):
    with open(tmp_path / "model", "wb") as file:
        file.truncate(2**40)  # a hole: it takes no space on disk
    with pytest.raises(CheckpointError, match="a saved model has"):
        load(tmp_path / "model")


def forged(content, change):
    """The file with its manifest and arrays changed, and a digest that matches."""
    length = int.from_bytes(content[:8], "little")
    manifest = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][container.KEY])
    arrays = load_arrays(content)
    change(manifest, arrays)
    manifest["sha256"] = container._digest(manifest, arrays)
    return save_arrays(arrays, metadata={container.KEY: json.dumps(manifest)})


def test_a_forgery_that_changes_nothing_is_a_model(content, tmp_path):
    (tmp_path / "model").write_bytes(forged(content, lambda manifest, arrays: None))
    assert load(tmp_path / "model").n_components == 2


def state(manifest):
    return manifest["content"]["fields"]["fitted"]["fields"]


def settings(manifest, **changed):
    pairs = manifest["content"]["fields"]["settings"]["mapping"]
    pairs[:] = [pair for pair in pairs if pair[0] not in changed] + [[name, value] for name, value in changed.items()]


FORGERIES = {
    "an unknown setting": lambda m, a: settings(m, evil=1),
    "a setting out of range": lambda m, a: settings(m, n_components=-1),
    "a setting of another type": lambda m, a: settings(m, covariance_type=["full"]),
    "a setting twice": lambda m, a: m["content"]["fields"]["settings"]["mapping"].append(["n_components", 2]),
    "more components than arrays": lambda m, a: settings(m, n_components=3),
    "another family": lambda m, a: settings(m, covariance_type="full"),
    "no settings": lambda m, a: m["content"]["fields"].pop("settings"),
    "settings that are a list": lambda m, a: m["content"]["fields"].update(settings=[1]),
    "an unknown tag": lambda m, a: m["content"].update(type="model-99"),
    "the tag of another class": lambda m, a: m["content"].update(type="selection-1"),
    "no array of means": lambda m, a: a.pop("content.fitted.means"),
    "no means": lambda m, a: state(m).update(means=None),
    "means that are NaN": lambda m, a: a.update({"content.fitted.means": np.full((2, 2), np.nan)}),
    "means of another shape": lambda m, a: a.update({"content.fitted.means": np.zeros((2, 3))}),
    "weights of another shape": lambda m, a: a.update({"content.fitted.weights": np.ones(3) / 3}),
    "weights below 0": lambda m, a: a.update({"content.fitted.weights": np.array([1.5, -0.5])}),
    "precision factors of another shape": lambda m, a: a.update(
        {"content.fitted.precisions_cholesky": np.ones((2, 3))}
    ),
    "another number of features": lambda m, a: state(m).update(n_features_in=7),
    "a number that is none": lambda m, a: state(m).update(lower_bound={"float": "zero"}),
    "a field that no class has": lambda m, a: state(m).update(evil=1),
    "a criterion of another kind": lambda m, a: state(m)["criteria"]["mapping"][0].__setitem__(0, "heldout"),
    "more names than features": lambda m, a: state(m).update(
        feature_names_in={"strings": ["O", [["a", 1], ["b", 1], ["c", 1]]]}
    ),
    "names that are none": lambda m, a: state(m).update(feature_names_in=3),
    "pending rows of a fitted model": lambda m, a: state(m)["pending"]["fields"].update(n_rows=3),
    "a token that is none": lambda m, a: state(m).update(latest_token=True),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_manifest_that_contradicts_itself_is_refused(content, tmp_path, forgery):
    refused(tmp_path / "model", forged(content, FORGERIES[forgery]))


def test_a_newer_format_says_what_to_do(content, tmp_path):
    future = forged(content, lambda manifest, arrays: manifest.update(format=container.FORMAT + 1))
    assert "Upgrade streamgmm" in refused(tmp_path / "model", future)


def test_an_error_of_a_checkpoint_is_also_a_runtime_error(tmp_path):
    with pytest.raises(RuntimeError):
        streamgmm.load(tmp_path / "missing")


@pytest.mark.parametrize("step", ["replace", "fsync", "open"])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(content, tmp_path, monkeypatch, step):
    path = tmp_path / "model"
    path.write_bytes(content)
    model = fitted()

    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match=r"No space left on device: .*model"):
        model.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_saving_twice_writes_the_same_bytes(tmp_path):
    model = fitted()
    model.save(tmp_path / "one")
    model.save(tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_random_state_that_is_no_number_is_not_kept(tmp_path):
    model = fitted().set_params(random_state=np.random.RandomState(0))
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").random_state is None
