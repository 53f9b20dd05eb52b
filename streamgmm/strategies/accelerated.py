"""Batch EM with long strides: of every three passes two are plain, and tell where a third shall look (SQUAREM).

Varadhan & Roland (2008), scheme S3. From v, F(v) and F(F(v)) with r = F(v) − v and q = F(F(v)) − F(v) − r, the next
pass is at v + 2ar + a²q with a = ‖r‖/‖q‖, in coordinates in which every point is a mixture. Where it turns out that the
likelihood there is below the bound that was known of F(F(v)), F(F(v)) is gone on from, so that nothing is ever lost but
that pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from streamgmm.covariances import CovarianceStructure
from streamgmm.em import Expectation, MStepInfo, Surrogate, expected_log_density, maximize
from streamgmm.errors import DegenerateError
from streamgmm.parameters import Parameters
from streamgmm.reading.execution import Wave
from streamgmm.reduction import Counter, push, total
from streamgmm.strategies.coordinates import at, seen_from

LONGEST = 4.0  # first limit of a stride; four times as long each time that one as long was good, a quarter where not
GENTLE = 1e-3  # nats a row that a pass gains where a stride does not lead from one optimum to another
MOST_PLAIN = 30  # passes until then
LASTING = 0.97  # of the slowness that was seen is believed a cycle later, where less is seen


@dataclass(frozen=True, slots=True, eq=False)
class Striding:
    """State of accelerated EM.

    Attributes
    ----------
    current : Parameters
        Under which rows are read; the start until plain passes are over.
    plain : int
        Passes before the first from which a stride could begin.
    striding : bool
        Whether they are over.
    begin : Parameters or None
        Where the plain pass before this one began.
    longest : float
        Limit of a stride.
    stride : float
        What led to the current parameters: 0 where they are an M-step's.
    known : Expectation or None
        Of the last pass that was not in vain.
    maximum : tuple of (Parameters, MStepInfo) or None
        What the M-step makes of it.
    slowness : float
        Largest a that was seen lately: about as many passes of plain EM as its slowest part takes to become 1/e.
    remaining : float
        What plain EM would gain yet, nats a row, judged by its last gain and the slowness.
    waves : Counter of Expectation
        Of a pass that is not complete.
    """

    current: Parameters
    plain: int = 0
    striding: bool = False
    begin: Parameters | None = None
    longest: float = LONGEST
    stride: float = 0.0
    known: Expectation | None = None
    maximum: tuple[Parameters, MStepInfo] | None = None
    slowness: float = 1.0
    remaining: float = inf
    waves: Counter[Expectation] = ()


@dataclass(frozen=True, slots=True)
class Accelerated:
    """One update a pass.

    Parameters
    ----------
    structure : CovarianceStructure
        The family of covariances.
    reg_covar : float
        As the M-step adds it.
    """

    structure: CovarianceStructure
    reg_covar: float

    def init(self, start: Parameters) -> Striding:
        """No pass yet."""
        return Striding(start)

    def update(
        self, state: Striding, expectations: Sequence[Expectation], wave: Wave
    ) -> tuple[Surrogate | None, Striding]:
        """Nothing until the pass ends; then its total, and what the M-step makes of it, or a stride in its place."""
        for expectation in expectations:
            state = replace(state, waves=push(state.waves, expectation))
        if not wave.complete or not state.waves:
            return None, state
        whole = total(state.waves)
        state = replace(state, waves=())
        if state.stride and whole.likelihood.total < self._bound(state):
            return self._back(state, whole)
        if state.stride == state.longest:
            state = replace(state, longest=state.longest * LONGEST)
        before, maximum = state.known, self._maximum(whole)
        plain = Surrogate(
            whole.statistics, whole.likelihood.rows, whole.likelihood, latest=whole.statistics, maximum=maximum
        )
        state = replace(state, known=whole, maximum=maximum)
        gain = inf if before is None else (whole.likelihood.total - before.likelihood.total) / whole.likelihood.weight
        if not state.striding:
            near = gain < GENTLE or state.plain + 1 >= MOST_PLAIN
            return plain, replace(state, current=maximum[0], plain=state.plain + 1, striding=near)
        if state.begin is None:
            # what a stride led to is settled by a plain pass, from which the next cycle begins
            begin = None if state.stride else state.current
            return plain, replace(state, current=maximum[0], begin=begin, stride=0.0)
        slowness, direction = self._direction(state.begin, state.current, maximum[0])
        believed = max(slowness, LASTING * state.slowness)
        state = replace(state, slowness=believed, remaining=gain * believed)
        stride = min(state.longest, slowness)
        parameters = direction(stride) if stride > 1.0 else None
        if parameters is None:
            longest = max(state.longest, LONGEST)
            return plain, replace(state, current=maximum[0], begin=state.current, longest=longest)
        return replace(plain, maximum=(parameters, MStepInfo())), replace(
            state, current=parameters, begin=None, stride=stride
        )

    def covered(self, state: Striding) -> Expectation | None:
        """All rows, at the last pass that was not in vain; None while passes are plain, as of batch EM."""
        return state.known if state.striding else None

    def reported(self, state: Striding) -> Surrogate | None:
        """The M-step of that pass, where the current parameters are a stride of which nothing is known yet."""
        return self._last(state) if state.stride else None

    def _last(self, state: Striding) -> Surrogate:
        assert state.known is not None  # or there was nothing to stride from
        tally = state.known.likelihood
        return Surrogate(state.known.statistics, tally.rows, tally, maximum=state.maximum)

    def _bound(self, state: Striding) -> float:
        """What was known of the M-step that a stride went on from: the free energy, never above its likelihood."""
        assert state.known is not None and state.maximum is not None  # or there was nothing to stride from
        return expected_log_density(state.known.statistics, state.maximum[0]) + state.known.likelihood.entropy

    def _back(self, state: Striding, whole: Expectation) -> tuple[Surrogate, Striding]:
        """Take a stride back."""
        assert state.maximum is not None
        surrogate = replace(self._last(state), likelihood=whole.likelihood, latest=whole.statistics)
        longest = max(1.0, state.longest / LONGEST)
        return surrogate, replace(state, current=state.maximum[0], begin=None, stride=0.0, longest=longest)

    def _maximum(self, whole: Expectation) -> tuple[Parameters, MStepInfo]:
        rows = float(whole.likelihood.rows)
        return maximize(whole.statistics, self.structure, self.reg_covar, effective_rows=rows)

    def _direction(
        self, first: Parameters, second: Parameters, third: Parameters
    ) -> tuple[float, Callable[[float], Parameters | None]]:
        """How long a stride two plain steps ask for, and where a stride leads: None where nothing is."""
        origin, here, there = (seen_from(first, one) for one in (first, second, third))
        step = here - origin
        bend = there - here - step

        def direction(stride: float) -> Parameters | None:
            try:
                return at(first, origin + 2.0 * stride * step + stride**2 * bend, self.structure)
            except (DegenerateError, np.linalg.LinAlgError):
                return None

        return step.length(first) / max(bend.length(first), np.finfo(np.float64).tiny), direction
