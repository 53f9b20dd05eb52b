"""When a generation is due: by the time that the last one took, or from how much there is to keep."""

import numpy as np
import pytest

from streamgmm import Checkpoint
from streamgmm.persistence import writer as cadence
from streamgmm.persistence.writer import PACE, SHARE, CheckpointWriter


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(cadence, "time", made)
    return made


def opened(folder, clock, seconds_a_byte=0.0, least=1.0, **asked):
    """A keeper of a disk that does nothing but to take some seconds a byte."""
    checkpoint_writer = CheckpointWriter(Checkpoint(folder / "fit.ckpt", **asked), least)

    def write(manifest, arrays):
        clock.now += seconds_a_byte * sum(array.nbytes for array in arrays.values())

    checkpoint_writer.store.write = write
    return checkpoint_writer


def kept_at(checkpoint_writer, clock, arrays, until, step=0.25):
    """Times at which generations are written by a fit that has a batch every ``step`` seconds."""
    begun, times = clock.now, []
    while clock.now - begun < until:
        clock.now += step
        at = clock.now - begun
        if checkpoint_writer.due() and checkpoint_writer.worth(arrays):
            checkpoint_writer.write({}, arrays)
            times.append(at)
    return times


SMALL, LARGE = {"x": np.zeros(8)}, {"x": np.zeros(2**18)}


def test_what_is_small_is_kept_once_a_second_of_a_fit(tmp_path, clock):
    assert kept_at(opened(tmp_path, clock), clock, SMALL, 5) == [1, 2, 3, 4, 5]


def test_what_is_large_waits_before_it_was_ever_written(tmp_path, clock):
    wait = PACE * LARGE["x"].nbytes / SHARE
    first, *_ = kept_at(opened(tmp_path, clock), clock, LARGE, 4 * wait)
    assert wait <= first <= wait + 0.25


def test_what_was_large_and_is_small_now_need_not_wait_so_long(tmp_path, clock):
    checkpoint_writer = opened(tmp_path, clock)
    assert kept_at(checkpoint_writer, clock, LARGE, 1) == []
    assert kept_at(checkpoint_writer, clock, SMALL, 2)[0] <= 1


@pytest.mark.parametrize("pace", [1e-9, 1e-8, 1e-6])
def test_a_hundredth_of_the_time_is_spent_on_any_disk(tmp_path, clock, pace):
    cost = pace * LARGE["x"].nbytes
    until = 1000 * cost + 100
    begun = clock.now
    times = kept_at(opened(tmp_path, clock, pace), clock, LARGE, until)
    spent = cost * len(times)
    assert times
    assert spent <= SHARE * (clock.now - begun) + cost  # the first may be dearer than it was thought to be
    assert len(times) >= min(0.4 * SHARE * until / cost, until / 3)


def test_the_size_does_not_matter_where_a_time_or_a_number_was_asked_for(tmp_path, clock):
    assert kept_at(opened(tmp_path, clock, seconds=2), clock, LARGE, 6) == [2, 4, 6]
    assert kept_at(opened(tmp_path, clock, batches=3), clock, LARGE, 3) == [0.75, 1.5, 2.25, 3.0]


def test_looking_at_what_is_not_worth_writing_takes_no_more_than_a_hundredth_either(tmp_path, clock):
    checkpoint_writer, begun, looks = opened(tmp_path, clock), clock.now, 0
    arrays = {"x": np.broadcast_to(np.zeros(1), 2**27)}  # which takes 1,000 seconds of a fit
    while clock.now - begun < 600:
        clock.now += 0.25
        if checkpoint_writer.due():
            looks += 1
            clock.now += 0.1
            assert not checkpoint_writer.worth(arrays)
    assert 3 <= looks <= SHARE * 600 / 0.1 + 1
