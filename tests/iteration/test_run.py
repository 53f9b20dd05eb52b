"""Candidates that differ in size and family learn from the same readings, each as it would by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.algorithms.accelerated import Accelerated
from streamgmm.algorithms.batch import Batch
from streamgmm.algorithms.stopping import AcceleratedStop, AitkenStop, MaxPasses, Tolerance
from streamgmm.data import execution
from streamgmm.data.sources import as_source
from streamgmm.errors import DegenerateError
from streamgmm.iteration.run import Stage, run_stages, start_run
from streamgmm.model.covariances import STRUCTURES
from streamgmm.testing.examples import assert_same_parameters, mixture

ROWS = np.random.default_rng(0).normal(size=(600, 2)) + 6 * np.random.default_rng(1).integers(0, 3, (600, 1))
SHAPES = [("full", 1), ("full", 3), ("diag", 4), ("tied", 2), ("spherical", 3)]
FAMILIES = tuple(STRUCTURES[name] for name, _ in SHAPES)


def starts():
    random = np.random.default_rng(2)
    return [mixture(STRUCTURES[name], k, 2, random, 6.0) for name, k in SHAPES]


class CountingSource:
    """A source that counts its readings."""

    def __init__(self, rows):
        self.source = as_source(rows)
        self.readings = 0

    def passes(self, number, taken):
        self.readings += 1
        return execution.iter_chunk_groups(self.source, taken)


def stage(source, strategy, stop):
    return Stage("batch", strategy, source.passes, stop)


def alone(place, strategy, stop):
    """The fit of one of the candidates by itself."""
    stages = [stage(CountingSource(ROWS), strategy, stop)]
    (found,) = run_stages(start_run([starts()[place]]), stages, max_iter=40)
    return found


def test_candidates_of_all_sizes_and_families_learn_as_they_would_alone_from_shared_readings():
    strategies = tuple(Accelerated(family, 1e-6) for family in FAMILIES)
    rules = MaxPasses(), AcceleratedStop(1e-4), Tolerance(1e-3), AcceleratedStop(1e-5), Tolerance(1e-2)
    source = CountingSource(ROWS)
    found = run_stages(start_run(starts()), [stage(source, strategies, rules)], max_iter=40)
    passes = [len(one.lower_bounds) for one in found]
    assert source.readings == max(passes) == 40 > min(passes)
    for place, one in enumerate(found):
        expected = alone(place, strategies[place], rules[place])
        assert len(one.lower_bounds) == len(expected.lower_bounds)
        assert_same_parameters(one.parameters, expected.parameters, 1e-6)


def test_a_dropped_candidate_keeps_what_it_has_learnt_and_the_others_continue():
    def adjust(event, run):
        assert event.ends_pass
        return run.only([1, 2, 4]) if event.number == 2 else run

    source = CountingSource(ROWS)
    algorithms = tuple(Batch(family, 1e-6) for family in FAMILIES)
    found = run_stages(start_run(starts()), [stage(source, algorithms, MaxPasses())], max_iter=5, adjust=adjust)
    assert [len(one.lower_bounds) for one in found] == [2, 5, 5, 2, 5]
    assert not any(one.converged for one in found)


def test_a_fit_ends_when_all_candidates_are_dropped():
    source = CountingSource(ROWS)
    algorithms = tuple(Batch(family, 1e-6) for family in FAMILIES)
    stages = [stage(source, algorithms, MaxPasses())]
    run_stages(start_run(starts()), stages, max_iter=5, adjust=lambda event, run: run.only([]))
    assert source.readings == 1


def test_a_candidate_that_degenerates_is_named():
    doubled = np.repeat([[0.0, 0.0], [9.0, 9.0]], 50, axis=0)  # of which a matrix is singular, variances are not
    families = STRUCTURES["diag"], STRUCTURES["full"]
    begin = [mixture(family, 1, 2, np.random.default_rng(0), 6.0) for family in families]
    with pytest.raises(DegenerateError) as raised:
        algorithms = tuple(Batch(family, 0.0) for family in families)
        run_stages(start_run(begin), [stage(CountingSource(doubled), algorithms, MaxPasses())], max_iter=9)
    assert raised.value.candidate == 1


# ---------------------------------------------------------------------- when to stop


@given(st.lists(st.floats(1e-12, 1.0), min_size=2, max_size=6), st.floats(1e-9, 1e-2))
def test_what_a_pass_has_gained_the_next_is_taken_to_gain_half_of_at_least(gains, enough):
    # the first passes gain what is gained fast: their gains fall steeply, and say nothing of what is gained slowly
    bounds = np.cumsum([-2.0, *gains])
    last, before = bounds[-1] - bounds[-2], bounds[-2] - bounds[-3]
    if 0.0 < last < before:
        remaining = last * max(0.5, last / before) / (1.0 - max(0.5, last / before))
        assert AitkenStop(enough)(bounds) == (remaining <= enough)
        assert not AitkenStop(0.999 * last)(bounds)


def test_a_steep_fall_of_gains_is_not_the_end_of_a_slow_climb():
    assert not AitkenStop(1e-5)(-2.0 + np.array([0.0, 1.1e-3, 1.196e-3]))
    assert AitkenStop(1e-5)(-2.0 + np.array([0.0, 1.1e-3, 1.108e-3]))
