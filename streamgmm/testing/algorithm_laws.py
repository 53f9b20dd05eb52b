"""Laws of every strategy, as a suite to inherit.

A strategy is a pure function of its state and of what the E-step says of a wave. Subclass `AlgorithmLaws` in a test
file, define ``make``, and pytest runs every law on your strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.algorithms.algorithm import Algorithm
from streamgmm.data.execution import ChunkGroup
from streamgmm.kernels.e_step import expect
from streamgmm.model.covariances import CovarianceStructure, Full
from streamgmm.model.em import Expectation, Surrogate, maximize
from streamgmm.testing.examples import Example, examples, law, mixture


class AlgorithmLaws:
    """What holds for any algorithm in the one loop.

    Attributes
    ----------
    structure : CovarianceStructure
        The family that the examples are of.
    """

    structure: ClassVar[CovarianceStructure] = Full()

    def make(self) -> Algorithm[Any]:
        """The strategy under test."""
        raise NotImplementedError

    def chunk_groups(self, data: st.DataObject, example: Example) -> list[tuple[Expectation, ...]]:
        """What the E-step says of each wave of a pass; nothing for a wave without rows."""
        cuts = sorted(data.draw(st.lists(st.integers(0, len(example.rows)), max_size=6)))
        return [
            expect(rows, example.parameters, weights=weights) if len(rows) else ()
            for rows, weights in zip(np.split(example.rows, cuts), np.split(example.weights, cuts), strict=True)
        ]

    def run(
        self, chunk_groups: Sequence[tuple[Expectation, ...]], state: Any, after: Any = lambda state: state
    ) -> tuple[list[Surrogate], Any]:
        """One pass from a state; ``after`` is applied to the state between waves."""
        strategy, surrogates = self.make(), []
        for number, chunk_group in enumerate(chunk_groups):
            ends = number == len(chunk_groups) - 1
            surrogate, state = strategy.update(
                after(state), chunk_group, _wave(number, chunk_group, last=ends, complete=ends)
            )
            surrogates += [] if surrogate is None else [surrogate]
        return surrogates, state

    @law
    @given(st.data())
    def test_a_pass_with_rows_ends_with_a_surrogate_that_the_m_step_accepts(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure, rows=(30, 60)))
        surrogates, _ = self.run(self.chunk_groups(data, example), self.make().init(example.parameters))
        last = surrogates[-1]
        parameters, _ = maximize(last.statistics, self.structure, effective_rows=last.effective_rows)
        np.testing.assert_allclose(parameters.weights.sum(), 1.0)

    @law
    @given(st.data())
    def test_updating_changes_neither_state_nor_expectation(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure))
        strategy, state = self.make(), self.make().init(example.parameters)
        for number, chunk_group in enumerate(self.chunk_groups(data, example)):
            before = deepcopy((state, chunk_group))
            _, following = strategy.update(state, chunk_group, _wave(number, chunk_group, last=False, complete=True))
            assert _bits((state, chunk_group)) == _bits(before)
            state = following

    @law
    @given(st.data())
    def test_a_copied_state_goes_on_to_the_same_bits(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure))
        chunk_groups, start = self.chunk_groups(data, example), self.make().init(example.parameters)
        straight = self.run(chunk_groups, start)
        copied = self.run(chunk_groups, start, after=deepcopy)
        assert _bits(straight) == _bits(copied)

    @law
    @given(st.data())
    def test_waves_without_rows_change_nothing(self, data: st.DataObject) -> None:
        example = data.draw(examples(self.structure))
        chunk_groups, start = self.chunk_groups(data, example), self.make().init(example.parameters)
        strategy, state = self.make(), start
        for number, chunk_group in enumerate(chunk_groups):
            surrogate, idle = strategy.update(state, (), ChunkGroup((), last=False, complete=False))
            assert surrogate is None
            assert _bits(idle) == _bits(state)
            _, state = strategy.update(state, chunk_group, _wave(number, chunk_group, last=False, complete=True))

    def test_a_pass_without_any_row_gives_no_surrogate(self) -> None:
        start = mixture(self.structure, 2, 3, np.random.default_rng(0))
        assert self.run([(), ()], self.make().init(start))[0] == []


def _wave(number: int, expectations: Sequence[Expectation], *, last: bool, complete: bool) -> ChunkGroup:
    """A wave that is one entry, if anything."""
    return ChunkGroup((), last, complete, entries=(number,) * len(expectations))


def _bits(value: Any) -> list[Any]:
    """Plain leaves of a state or surrogate, arrays as their bytes: equal for values that are equal to the bit."""
    if isinstance(value, np.ndarray):
        return [(value.shape, value.dtype.str, value.tobytes())]
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in _bits(part)]
    if is_dataclass(value):
        return [leaf for field in fields(value) for leaf in _bits(getattr(value, field.name))]
    return [value]
