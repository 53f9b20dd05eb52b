"""Batch EM with long strides: what its own steps say of the curvature tells where to read the rows next (L-BFGS).

As `streamgmm.strategies.coordinates` see it, a step of EM is the gradient of the mean log-likelihood, and that gradient
falls by 1 along each unit of the way where rows tell their components, by less where they do not: there EM is slow.
The two-loop recursion (Nocedal, 1980) makes of the latest steps, and of what became of the gradient along them, the
step that Newton's method would take, as Jamshidian & Jennrich (1997, QN2) do for EM; here the frame moves along, in
which vectors of earlier frames are kept as they are. Where it turns out that the likelihood at the end of a stride is
below the bound that was known of EM's own step, that step is gone on from, so that nothing is lost but that pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np

from streamgmm.covariances import CovarianceStructure
from streamgmm.em import Expectation, MStepInfo, Surrogate, expected_log_density, maximize
from streamgmm.errors import DegenerateError
from streamgmm.parameters import Array, Parameters
from streamgmm.reading.execution import Wave
from streamgmm.reduction import Counter, push, total
from streamgmm.strategies.coordinates import at, seen_from

FARTHEST = 0.3  # length of a stride at most, unless EM's own step is longer: farther away other optima are
NEARER = 0.25  # of a stride that was in vain: the next at most; after a good one twice as much as that
STEEPEST = 64.0  # times the gradient: where the latest step tells how far, as much at most
GENTLE = 1e-3  # nats a row that a pass gains where a stride does not lead from one optimum to another
MOST_PLAIN = 30  # passes until then
MEMORY = 5  # steps, and what they did to the gradient
CURVED = 1e-4  # cosine between the two, below which they tell of no maximum
LASTING = 0.99  # of the slowness that was seen is believed a pass later, where less is seen
FADING = 0.8  # the same of what remained: on the way past a plateau the gradient is small for some passes

Pairs = tuple[tuple[Array, Array], ...]


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
    longest : float
        Length of a stride at most.
    stride : float
        Length of the one that led to the current parameters: 0 where they are an M-step's.
    step : ndarray or None
        What led to them, seen from where it began.
    own : ndarray or None
        Where EM would have gone from there.
    pairs : tuple of (ndarray, ndarray)
        Of the latest steps each, and how much of the gradient was gone after it.
    known : Expectation or None
        Of the last pass that was not in vain.
    maximum : tuple of (Parameters, MStepInfo) or None
        What the M-step makes of it.
    slowness : float
        Largest that was seen lately: about as many passes of plain EM as its slowest part takes to become 1/e.
    remaining : float
        What is to be gained yet, nats a row, if all of the gradient is as slow; falls by a fifth a pass at most.
    waves : Counter of Expectation
        Of a pass that is not complete.
    """

    current: Parameters
    plain: int = 0
    striding: bool = False
    longest: float = FARTHEST
    stride: float = 0.0
    step: Array | None = None
    own: Array | None = None
    pairs: Pairs = ()
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
        state = replace(state, longest=min(max(state.longest, 2.0 * state.stride), FARTHEST))
        before, maximum = state.known, self._maximum(whole)
        plain = Surrogate(
            whole.statistics, whole.likelihood.rows, whole.likelihood, latest=whole.statistics, maximum=maximum
        )
        state = replace(state, known=whole, maximum=maximum)
        if not state.striding:
            gained = inf if before is None else whole.likelihood.total - before.likelihood.total
            near = gained < GENTLE * whole.likelihood.weight or state.plain + 1 >= MOST_PLAIN
            return plain, replace(state, current=maximum[0], plain=state.plain + 1, striding=near)
        own = seen_from(state.current, maximum[0])
        if not np.isfinite(own).all():
            return plain, replace(state, current=maximum[0], stride=0.0, step=None, own=None, pairs=())
        state = _remembering(state, own)
        stride, step = _stride(state.pairs, own, state.longest)
        parameters = self._led_to(state.current, step) if stride else None
        if parameters is None:
            return plain, replace(state, current=maximum[0], stride=0.0, step=own, own=own)
        state = replace(state, current=parameters, stride=stride, step=step, own=own)
        return replace(plain, maximum=(parameters, MStepInfo())), state

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
        longest = NEARER * state.stride
        current = state.maximum[0]
        return surrogate, replace(state, current=current, stride=0.0, step=state.own, pairs=(), longest=longest)

    def _maximum(self, whole: Expectation) -> tuple[Parameters, MStepInfo]:
        rows = float(whole.likelihood.rows)
        return maximize(whole.statistics, self.structure, self.reg_covar, effective_rows=rows)

    def _led_to(self, frame: Parameters, step: Array) -> Parameters | None:
        """Where a stride leads; None where nothing is."""
        try:
            return at(frame, step, self.structure)
        except (DegenerateError, np.linalg.LinAlgError):
            return None


def _remembering(state: Striding, own: Array) -> Striding:
    """The state with what its last step did to the gradient, where that tells of a maximum."""
    slowness, pairs = max(1.0, LASTING * state.slowness), state.pairs
    if state.step is not None and state.own is not None:
        step, gone = state.step, state.own - own
        curvature = float(step @ gone)
        if curvature > CURVED * sqrt(float(step @ step) * float(gone @ gone)):
            pairs = (*pairs, (step, gone))[-MEMORY:]
            slowness = max(slowness, float(step @ step) / curvature)
    remained = FADING * state.remaining if state.remaining < inf else 0.0
    remaining = max(remained, 0.5 * float(own @ own) * slowness)
    return replace(state, pairs=pairs, slowness=slowness, remaining=remaining)


def _stride(pairs: Pairs, own: Array, longest: float) -> tuple[float, Array]:
    """How long a stride is, and the stride; 0 where nothing tells of one."""
    step, used = own, []
    for one, gone in reversed(pairs):
        share = (one @ step) / (one @ gone)
        used.append(share)
        step = step - share * gone
    if pairs:
        one, gone = pairs[-1]
        step = step * min(max(float(one @ gone) / float(gone @ gone), 1.0), STEEPEST)
    for (one, gone), share in zip(pairs, reversed(used), strict=True):
        step = step + (share - (gone @ step) / (one @ gone)) * one
    length, unit = float(np.linalg.norm(step)), float(np.linalg.norm(own))
    if not pairs or not unit or not length < inf or step @ own <= 0.0:
        return 0.0, own
    stride = min(length, max(longest, unit))
    return stride, step * (stride / length)
