"""A generation is due every so many seconds or batches, or when the last one has cost little enough."""

import pytest

from streamgmm import Checkpoint
from streamgmm.persistence import writer as writer_module
from streamgmm.persistence.writer import PAUSE, CheckpointWriter


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(writer_module, "time", made)
    return made


def opened(folder, clock, seconds_a_write=0.0, min_seconds=1.0, **asked):
    """A writer to a disk that only takes its time."""
    checkpoint_writer = CheckpointWriter(Checkpoint(folder / "fit.ckpt", **asked), min_seconds)

    def write(*content):
        clock.now += seconds_a_write

    checkpoint_writer.store.write = write
    return checkpoint_writer


def kept_at(checkpoint_writer, clock, until, step=0.25):
    """Times at which a fit that has a batch every ``step`` seconds writes generations."""
    begun, times = clock.now, []
    while clock.now - begun < until:
        clock.now += step
        at = clock.now - begun
        if checkpoint_writer.is_due():
            checkpoint_writer.write({}, {}, lambda *content: None)
            times.append(at)
    return times


def test_without_a_setting_a_generation_is_due_once_a_second(tmp_path, clock):
    assert kept_at(opened(tmp_path, clock), clock, 5) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("cost", [1e-3, 0.1, 1.0, 20.0])
def test_writing_costs_at_most_two_percent_of_the_time_on_any_disk(tmp_path, clock, cost):
    until, begun = 1000 * cost + 100, clock.now
    times = kept_at(opened(tmp_path, clock, cost), clock, until)
    assert cost * (len(times) - 1) <= 0.02 * (clock.now - begun)  # nobody knows the cost before the first
    assert len(times) >= min(0.9 * until / (PAUSE * cost), until / 1.5)


def test_seconds_or_batches_that_were_asked_for_are_kept_to(tmp_path, clock):
    assert kept_at(opened(tmp_path, clock, seconds=2), clock, 6) == [2, 4, 6]
    assert kept_at(opened(tmp_path, clock, batches=3), clock, 3) == [0.75, 1.5, 2.25, 3.0]


def test_a_stream_is_kept_after_its_first_batch(tmp_path, clock):
    assert kept_at(opened(tmp_path, clock, seconds_a_write=1.0, min_seconds=0.0), clock, 60) == [0.25, 51.25]


def test_a_batch_that_could_not_be_kept_is_tried_again_at_once(tmp_path, clock):
    checkpoint_writer = opened(tmp_path, clock, seconds=10)

    def full(*content):
        raise OSError(28, "No space left on device")

    checkpoint_writer.store.write = full
    with pytest.raises(OSError, match="No space"):
        checkpoint_writer.write({}, {}, lambda *content: None)
    assert not checkpoint_writer.is_due()
    assert checkpoint_writer.is_due(retry=True)
