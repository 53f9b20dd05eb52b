"""A file that is damaged, malformed or forged is a CheckpointError: at once, in little memory, and with nothing run.

These are samples: ``python tests/persistence/harness/full.py`` runs all.
"""

import pickle
import sys
from collections import Counter
from dataclasses import replace
from unittest import mock

import golden
import numpy as np
import pytest
from damage import (
    BOMBS,
    MALFORMED,
    as_files,
    as_generations,
    cost,
    flipped,
    forged_arrays,
    fuzzed,
    manifested,
    nonsense,
    of_a_file,
    of_a_generation,
    outcome,
    overheard,
    read_back,
    read_selection,
    small,
    unfinished,
)
from golden import SELECTION

from streamgmm import load
from streamgmm.algorithms.accelerated import AcceleratedState
from streamgmm.data.ranges import Ranges
from streamgmm.errors import CheckpointError, CheckpointWarning, CheckpointWriteError
from streamgmm.fitting.tokens import Tokens
from streamgmm.model.parameters import Parameters
from streamgmm.persistence import codec as records
from streamgmm.persistence import container
from streamgmm.persistence.store import read_newest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

MORE = 64 * 2**20  # bytes, beside the file's own
STREAM = (golden.FOLDER / "format-1-stream.safetensors").read_bytes()


@pytest.mark.parametrize("of", [of_a_file, of_a_generation])
def test_every_flipped_bit_and_every_truncation_is_detected(of):
    with overheard() as events:
        for counts in of(full=False).values():
            assert set(counts) == {"refused"} and counts["refused"] > 200
    assert events == []


def test_flipped_bits_would_be_read_if_there_were_no_digest():
    with mock.patch.object(container, "_digest", lambda manifest, arrays: manifest.get("sha256")):
        assert Counter(map(outcome, flipped(small(), 61)))["read"] > 10


def test_every_malformed_file_is_refused_and_nothing_is_run():
    assert len(MALFORMED) >= 60
    with overheard() as events:
        outcomes = {name: outcome(make()) for name, make in MALFORMED.items()}
    assert {name: what for name, what in outcomes.items() if what != "refused"} == {}
    assert events == []


def test_what_is_run_would_be_heard():
    with overheard() as events:
        pickle.loads(pickle.dumps(Counter))
        exec("1")
    assert {"pickle.find_class", "exec", "compile"} <= set(events)


@pytest.mark.parametrize("name", ["many lists as manifest", "a long text with one wide character", "64 MiB of zeros"])
def test_a_bomb_takes_little_memory(name):
    _, growth, what = cost(BOMBS[name]())
    assert what == "refused" and growth <= MORE


def test_memory_that_is_taken_would_be_seen():
    with mock.patch.multiple(container, MAX_HEADER_BYTES=2**40, MAX_VALUES=2**40):
        assert cost(manifested("[" + "[]," * 1_500_000 + "[]]"))[1] > MORE


def test_what_is_no_regular_file_is_refused(tmp_path):
    for name, path in as_files(tmp_path).items():
        with pytest.raises(CheckpointError):
            load(path)
            pytest.fail(name)


def test_a_newest_generation_that_is_none_is_passed_over(tmp_path):
    for name, folder in as_generations(tmp_path).items():
        with pytest.warns(CheckpointWarning):
            assert read_newest(folder, lambda generation, manifest, arrays: manifest["which"]) == "first", name


@pytest.mark.parametrize("content, every", [(small(), 11), (STREAM, 83)], ids=["fitted", "stream"])
def test_a_part_of_another_type_is_refused_however_well_it_is_sealed(content, every):
    with overheard() as events:
        counts, read = nonsense(content, every)
    assert set(counts) <= {"refused", "read"} and counts["refused"] > 100
    assert read == [] and events == []


def test_a_generation_of_a_fit_that_has_not_ended_is_read_as_strictly():
    content, read_as = max(unfinished(), key=lambda found: len(found[0]))
    counts, read = nonsense(content, 101, read_as)
    assert set(counts) <= {"refused", "read"} and counts["refused"] > 90
    assert read == []


def test_a_selection_is_read_as_strictly():
    counts, read = nonsense(SELECTION.read_bytes(), 701, read_selection)
    assert set(counts) <= {"refused", "read"} and counts["refused"] > 20
    assert read == []


def test_types_that_are_not_checked_would_be_seen():
    with mock.patch.object(records, "is_of_type", lambda value, kind: True):
        _, read = nonsense(small(), 11)
    assert read


def test_an_array_of_another_shape_or_dtype_is_refused_however_well_it_is_sealed():
    for path, other, forgery in forged_arrays(small()):
        what = outcome(forgery)
        assert what in ("refused", "read"), (path, other, what)
        if other in ("left out", "integers", "half as precise", "booleans", "complex", "no axes"):
            assert what == "refused", (path, other)


def test_whatever_is_changed_a_file_is_read_or_refused():
    with overheard() as events:
        assert set(fuzzed(400)) <= {"refused", "read"}
    assert events == []


def test_what_could_not_be_read_again_is_not_written():
    many = {"payload": list(range(container.MAX_VALUES + 1))}
    with pytest.raises(CheckpointWriteError, match="could not be read again"):
        container.to_bytes(many, {})
    with pytest.raises(CheckpointWriteError):
        container.to_bytes({"payload": "a" * container.MAX_HEADER_BYTES}, {})


def test_many_tokens_and_many_rows_that_wait_fit_into_a_header(tmp_path):
    tokens = Tokens(Ranges(tuple((number, number + 1) for number in range(0, 40_000, 2))))
    for day in range(3000):
        tokens = tokens.add(f"day {day}")
    model = golden.waiting()
    one = model._state.pending.append(np.ones((1, 2)), None)
    rows = one.rows[-1:] * 200_000
    pending = type(one)(rows, (None,) * len(rows), len(rows))
    model._state = replace(model._state, tokens=tokens, pending=pending)
    model.n_samples_seen_ = len(rows)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert (
        again._state.tokens.numbers == tokens.numbers
        and "day 2999" in again._state.tokens
        and "day" not in again._state.tokens
    )
    assert np.array_equal(again._state.pending.as_subsample().rows, model._state.pending.as_subsample().rows)


def test_the_largest_and_the_smallest_tokens_come_back():
    ends = Tokens().add(2**63 - 1).add(-(2**63) + 1).add(0)
    arrays = {}
    packed = records.encode(ends, "tokens", arrays)
    assert records.decode(packed, arrays, Tokens).numbers == ends.numbers


STEP = np.array([0.0, 0.1, 0.2])  # of one weight, one mean and one variance
STANDARD = Parameters(np.ones(1), np.ones((1, 1)), np.ones((1, 1, 1)), np.ones((1, 1, 1)))
STRIDING = AcceleratedState(STANDARD, step=STEP, em_step=STEP, pairs=((STEP, STEP),))


@pytest.mark.parametrize("wrong", [STEP[:2], np.full(3, np.inf), STEP[None]])
@pytest.mark.parametrize("name", ["step", "em_step", "pairs"])
def test_steps_that_are_not_of_the_mixture_are_refused(wrong, name):
    arrays = {}
    packed = records.encode(STRIDING, "state", arrays)
    again = records.decode(packed, arrays, AcceleratedState)
    np.testing.assert_array_equal(again.pairs[0][1], STEP)
    spoilt = replace(STRIDING, **{name: ((STEP, wrong),) if name == "pairs" else wrong})
    packed = records.encode(spoilt, "state", arrays)
    with pytest.raises(ValueError, match="steps are not finite or of another mixture"):
        records.decode(packed, arrays, AcceleratedState)


def test_what_was_not_changed_is_read():
    assert read_back(small()).n_components == 1
