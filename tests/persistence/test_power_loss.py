"""Nothing acknowledged is lost by a kill, a power loss or an error; and a protocol that loses it is found out.

These are samples: ``python tests/persistence/harness/full.py`` runs all.
"""

import sys

import pytest
from failures import BROKEN as BROKEN_WITH_ERRORS
from failures import errors_of, failures, in_a_child, limited_in_size, without_permission
from kills import kills
from lives import told, wrong
from power import BROKEN, losses_of, power_loss

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@pytest.mark.parametrize(
    "how, least", [("fixed points in memory", 150), ("fixed points of processes", 12), ("processes at random", 30)]
)
def test_a_kill_at_any_call_loses_nothing(how, least):
    counts = kills(full=False, only=how)
    assert counts["states"] >= least and not wrong(counts), told(counts)


def test_a_power_loss_at_any_call_loses_nothing():
    counts = power_loss(full=False)
    assert counts["states"] >= 2000 and not wrong(counts), told(counts)


@pytest.mark.parametrize("variant", BROKEN)
def test_a_protocol_that_does_not_survive_power_loss_is_detected(variant):
    assert wrong(losses_of(variant))


@pytest.mark.parametrize("where", ["errors in memory", "errors on a real folder"])
def test_an_error_at_any_call_is_raised_and_loses_nothing(where):
    counts = failures(full=False, only=where)
    assert counts["states"] >= 15 and not wrong(counts), told(counts)


@pytest.mark.parametrize("variant", BROKEN_WITH_ERRORS)
def test_a_protocol_that_loses_data_on_an_error_is_detected(variant):
    kind, counts = errors_of(variant)
    assert counts[kind], told(counts)


def test_a_file_that_may_not_grow_is_an_error_that_passes():
    assert in_a_child(limited_in_size) == 0


def test_a_folder_without_permission_is_an_error_that_passes():
    assert in_a_child(without_permission) == 0
