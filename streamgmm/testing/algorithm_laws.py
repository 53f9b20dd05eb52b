"""Laws of every EM algorithm, as a suite to inherit.

Subclass `AlgorithmLaws` in a test file, define ``make``, and pytest runs every law on your algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.algorithms.algorithm import Algorithm, UpdateInfo
from streamgmm.data.execution import ChunkGroup
from streamgmm.kernels.e_step import expect
from streamgmm.model.covariances import CovarianceStructure, Full
from streamgmm.model.em import Expectation
from streamgmm.testing.examples import Example, examples, law, mixture


class AlgorithmLaws:
    """Laws of an algorithm in the EM loop.

    Attributes
    ----------
    structure : CovarianceStructure
        The family of the examples.
    """

    structure: ClassVar[CovarianceStructure] = Full()

    def make(self) -> Algorithm[Any]:
        """Return the algorithm under test."""
        raise NotImplementedError

    def draw_expectations(self, data: st.DataObject, example: Example) -> list[tuple[Expectation, ...]]:
        """Draw the expectations of the chunk groups of a pass; none for a group without rows."""
        cuts = sorted(data.draw(st.lists(st.integers(0, len(example.rows)), max_size=6)))
        return [
            expect(rows, example.parameters, weights=weights) if len(rows) else ()
            for rows, weights in zip(np.split(example.rows, cuts), np.split(example.weights, cuts), strict=True)
        ]

    def run_pass(
        self,
        groups: Sequence[tuple[Expectation, ...]],
        state: Any,
        between: Callable[[Any], Any] = lambda state: state,
    ) -> tuple[list[UpdateInfo], Any]:
        """Run one pass from a state; ``between`` is applied to the state before every chunk group."""
        algorithm, updates = self.make(), []
        for number, expectations in enumerate(groups):
            ends = number == len(groups) - 1
            group = _make_group(number, expectations, ends_pass=ends, ends_batch=ends)
            state, info = algorithm.update(between(state), expectations, group)
            updates += [] if info is None else [info]
        return updates, state

    @law
    @given(st.data())
    def test_a_pass_with_rows_ends_with_an_update_to_valid_parameters(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=(30, 60)))
        groups = self.draw_expectations(data, example)
        updates, state = self.run_pass(groups, self.make().init(example.parameters))
        assert updates[-1].effective_rows > 0.0 and updates[-1].latest.likelihood.rows > 0
        np.testing.assert_allclose(state.parameters.weights.sum(), 1.0)
        assert np.isfinite(state.parameters.precision_factors).all()

    @law
    @given(st.data())
    def test_parameters_change_only_where_an_update_is_told(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=(30, 60)))
        algorithm, state = self.make(), self.make().init(example.parameters)
        groups = self.draw_expectations(data, example)
        for number, expectations in enumerate(groups):
            group = _make_group(number, expectations, ends_pass=False, ends_batch=number == len(groups) - 1)
            following, info = algorithm.update(state, expectations, group)
            assert info is not None or _to_bits(following.parameters) == _to_bits(state.parameters)
            state = following

    @law
    @given(st.data())
    def test_updating_changes_neither_state_nor_expectation(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=(30, 60)))
        algorithm, state = self.make(), self.make().init(example.parameters)
        groups = self.draw_expectations(data, example)
        for number, expectations in enumerate(groups):
            before = deepcopy((state, expectations))
            group = _make_group(number, expectations, ends_pass=False, ends_batch=number == len(groups) - 1)
            following, _ = algorithm.update(state, expectations, group)
            assert _to_bits((state, expectations)) == _to_bits(before)
            state = following

    @law
    @given(st.data())
    def test_a_copied_state_continues_to_the_same_bits(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure))
        groups, start = self.draw_expectations(data, example), self.make().init(example.parameters)
        assert _to_bits(self.run_pass(groups, start)) == _to_bits(self.run_pass(groups, start, between=deepcopy))

    @law
    @given(st.data())
    def test_chunk_groups_without_rows_change_nothing(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure))
        algorithm, state = self.make(), self.make().init(example.parameters)
        for number, expectations in enumerate(self.draw_expectations(data, example)):
            idle, info = algorithm.update(state, (), ChunkGroup((), ends_pass=False, ends_batch=False))
            assert info is None
            assert _to_bits(idle) == _to_bits(state)
            group = _make_group(number, expectations, ends_pass=False, ends_batch=False)
            state, _ = algorithm.update(state, expectations, group)

    def test_a_pass_without_any_row_gives_no_update(self) -> None:
        start = mixture(self.structure, 2, 3, np.random.default_rng(0))
        assert self.run_pass([(), ()], self.make().init(start))[0] == []


def _make_group(number: int, expectations: Sequence[Expectation], *, ends_pass: bool, ends_batch: bool) -> ChunkGroup:
    """Return a chunk group of one partition, if any."""
    return ChunkGroup((), ends_pass, ends_batch, partitions=(number,) * len(expectations))


def _to_bits(value: Any) -> list[Any]:
    """Return the plain leaves of a value, arrays as their bytes: equal for values that are equal to the bit."""
    if isinstance(value, np.ndarray):
        return [(value.shape, value.dtype.str, value.tobytes())]
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in _to_bits(part)]
    if is_dataclass(value):
        return [leaf for field in fields(value) for leaf in _to_bits(getattr(value, field.name))]
    return [value]
