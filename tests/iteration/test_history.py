"""Laws of the record of a fit."""

from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.iteration.history import History, Record
from streamgmm.testing.examples import law


def record(stage="online", rows=10, log_likelihood=-1.0, occupancy=(0.5, 0.5), drift=0.0):
    return Record(stage, rows, log_likelihood, np.array(occupancy), drift)


def filled(records):
    history = History()
    for one in records:
        history = history.append_record(one)
        assert len(history) <= History.LIMIT or len(history) == n_runs(history)
    return history


def n_runs(records):
    return sum(1 for _ in groupby(one.stage for one in records))


def test_ten_thousand_appends_keep_every_total():
    random = np.random.default_rng(0)
    rows = random.integers(1, 1000, 10_000)
    likelihoods = random.normal(-3.0, 1.0, 10_000)
    shares = random.dirichlet([1.0, 2.0, 3.0], 10_000)
    drifts = random.exponential(size=10_000)
    stages = np.repeat(["burn-in", "online", "sweep"], [100, 9000, 900])
    history = filled(map(record, stages, rows, likelihoods, shares, drifts))

    columns = history.columns()
    assert len(history) <= History.LIMIT
    assert columns["rows"].sum() == rows.sum()
    assert columns["updates"].sum() == 10_000
    for stage in ("burn-in", "online", "sweep"):
        of_stage = columns["stage"] == stage
        assert columns["rows"][of_stage].sum() == rows[stages == stage].sum()
        assert columns["drift"][of_stage].max() == drifts[stages == stage].max()
        np.testing.assert_allclose(
            np.average(columns["log_likelihood"][of_stage], weights=columns["rows"][of_stage]),
            np.average(likelihoods[stages == stage], weights=rows[stages == stage]),
            rtol=1e-12,
        )
        np.testing.assert_allclose(
            np.average(columns["occupancy"][of_stage], weights=columns["rows"][of_stage], axis=0),
            np.average(shares[stages == stage], weights=rows[stages == stage], axis=0),
            rtol=1e-12,
        )
    assert n_runs(history) == 3


def test_each_record_tells_of_consecutive_updates_the_older_the_coarser():
    history = filled(record(rows=1, log_likelihood=float(step)) for step in range(10_000))
    ends = np.cumsum([one.updates for one in history])
    middles = ends - np.array([one.updates for one in history]) / 2 - 0.5
    np.testing.assert_allclose([one.log_likelihood for one in history], middles, rtol=1e-12)
    assert all(one.updates >= two.updates for one, two in pairwise(history))
    assert history[-1].updates == 1 and history[-1].log_likelihood == 9999.0


@law
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 400)), min_size=1, max_size=12))
def test_stages_are_never_merged_with_each_other(runs):
    history = filled(record(stage) for stage, length in runs for _ in range(length))
    runs = [(stage, sum(length for _, length in group)) for stage, group in groupby(runs, key=lambda run: run[0])]
    kept = [(stage, sum(one.updates for one in group)) for stage, group in groupby(history, key=lambda one: one.stage)]
    assert kept == runs


def test_more_runs_than_records_are_all_kept():
    stages = ["a", "b"] * 700  # alternating: nothing can be merged
    history = filled(map(record, stages))
    assert [one.stage for one in history] == stages
    history = filled(map(record, [*stages, "b", "b", "b"]))
    assert [one.stage for one in history] == stages and history[-1].updates == 4


def test_runs_of_one_iteration_that_fill_the_history_leave_room_for_the_current_stage():
    stages = ["a", "b"] * (History.LIMIT // 2)
    history = filled(map(record, [*stages, *["b"] * 5000]))
    assert len(history) == History.LIMIT and history[-1].updates == 5001


def test_appending_leaves_the_history_as_it_was():
    history = filled(record() for _ in range(History.LIMIT))
    before = history.records
    longer = history.append_record(record("other"))
    assert history.records is before and len(history) == History.LIMIT
    assert longer[-1].stage == "other" and len(longer) < len(history)
    with pytest.raises(AttributeError):
        history.records = ()


def test_a_slice_is_a_tuple_of_records():
    history = filled(record(rows=rows) for rows in range(5))
    assert isinstance(history[1:3], tuple) and [one.rows for one in history[1:3]] == [1, 2]
    assert history[-1].rows == 4 and [one.rows for one in reversed(history)] == [4, 3, 2, 1, 0]
    assert repr(history) == "History(5 records of 5 updates, 10 rows)"


def test_columns_have_a_row_a_record_also_where_there_is_none():
    empty = History().columns()
    assert list(empty) == ["stage", "rows", "log_likelihood", "occupancy", "drift", "updates"]
    assert empty["occupancy"].shape == (0, 0) and empty["stage"].shape == (0,)
    columns = filled(record() for _ in range(3)).columns()
    assert columns["occupancy"].shape == (3, 2)
    assert columns["stage"].dtype == object and columns["rows"].dtype == np.int64


def test_records_of_no_rows_can_be_merged():
    both = record(rows=0, log_likelihood=-1.0).merged(record(rows=0, log_likelihood=-3.0))
    assert both.rows == 0 and both.log_likelihood == -2.0
