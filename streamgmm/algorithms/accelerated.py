"""Batch EM with long strides: to where many passes would lead, by what the latest of them say of the curvature.

As `streamgmm.algorithms.coordinates` see it, a step of EM is the gradient of the mean log-likelihood, and that gradient
falls by 1 along each unit of the way where rows tell their components, by less where they do not: there EM is slow, and
near a saddle the gradient even grows. The latest steps, and what became of the gradient along them, make a curvature
that differs from 1 in as many directions (symmetric rank one: Byrd, Nocedal & Schnabel, 1994). Under that curvature it
is known where EM would be after any number of passes: after one, at its own step, and after infinitely many where
Newton's method leads, as Jamshidian & Jennrich (1997) go. A stride is as many as lead no farther than some length. So
it follows the way of EM, past saddles too, and ends where EM does but for few starts: the shorter, the fewer; at
saddles above all, where a small step aside leads to another optimum.

The frame moves along; vectors of earlier frames are kept as they are. Where it turns out that the likelihood at the end
of a stride is below the bound that was known of EM's own step, that step is gone on from, so that nothing is lost but
that pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import expm1, inf, log1p, sqrt

import numpy as np

from streamgmm.algorithms.algorithm import AlgorithmState
from streamgmm.algorithms.coordinates import at, seen_from
from streamgmm.data.execution import ChunkGroup
from streamgmm.errors import DegenerateError
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import Expectation, MStepInfo, Surrogate, expected_log_density, maximize
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import Counter, push, total
from streamgmm.persistence.codec import persistent

FARTHEST = 0.0095  # length of a stride at most: by longer ones EM's way is lost
NATS = 0.09  # in all, by which rows tell its ends apart: of few rows it may be as long as that
CLEAR = 2.0  # times as long where the gradient grows in no direction: ways part at saddles
NEARER = 0.25  # of a stride that was in vain: the next at most; after a good one twice as much as that
WORTHWHILE, AHEAD = 1.01, 1e4  # passes that a stride is worth at least and at most
HALVINGS = 17  # of what is between them: to less than a ten-thousandth
UNCOUNTED = 700.0  # logarithm of what is too far to be counted
GENTLE = 1e-3  # nats a row that a pass gains where a stride does not lead from one optimum to another
MOST_PLAIN = 100  # passes until then
MEMORY = 3  # steps, and what they did to the gradient
TOLD_APART = 1e-8  # of the most that one of these directions differs by: less is rounding
CURVED = 1e-4  # cosine between the two, below which they tell of no maximum
LASTING = 0.99  # of the slowness that was seen is believed a pass later, where less is seen
FADING = 0.8  # the same of what remained: on the way past a plateau the gradient is small for some passes

Pairs = tuple[tuple[Array, Array], ...]


@persistent("accelerated-1")
@dataclass(frozen=True, slots=True, eq=False)
class AcceleratedState(AlgorithmState):
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
        Length of a stride at most; away from saddles `CLEAR` times that.
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
    chunk_groups : Counter of Expectation
        Of a pass that is not complete.
    """

    current: Parameters
    plain: int = 0
    striding: bool = False
    longest: float = inf
    stride: float = 0.0
    step: Array | None = None
    own: Array | None = None
    pairs: Pairs = ()
    known: Expectation | None = None
    maximum: tuple[Parameters, MStepInfo] | None = None
    slowness: float = 1.0
    remaining: float = inf
    chunk_groups: Counter[Expectation] = ()

    def validate(self) -> None:
        """Raise ValueError unless steps are finite and have as many numbers as the parameters."""
        size = self.current.weights.size + self.current.means.size + self.current.covariances.size
        vectors = [part for part in (self.step, self.own, *chain(*self.pairs)) if part is not None]
        if not all(part.shape == (size,) and np.isfinite(part).all() for part in vectors):
            raise ValueError("steps are not finite or of another mixture")

    @property
    def led_on(self) -> bool:
        """Whether the latest stride was as long as near a saddle, or what could tell of a longer way was forgotten."""
        return self.stride >= 0.999 * self.longest or not self.pairs

    @property
    def informed(self) -> bool:
        """Whether as many steps are known as ever are: not after a stride in vain, which may have left a saddle."""
        return len(self.pairs) == MEMORY


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

    def init(self, start: Parameters) -> AcceleratedState:
        """No pass yet."""
        return AcceleratedState(start)

    def update(
        self, state: AcceleratedState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[Surrogate | None, AcceleratedState]:
        """Nothing until the pass ends; then its total, and what the M-step makes of it, or a stride in its place."""
        chunk_groups = state.chunk_groups
        for expectation in expectations:
            chunk_groups = push(chunk_groups, expectation)
        if not chunk_group.complete or not chunk_groups:
            return None, replace(state, chunk_groups=chunk_groups)
        whole = total(chunk_groups)
        if state.stride and whole.likelihood.total < self._bound(state):
            return self._back(state, whole)
        before, maximum = state.known, self._maximum(whole)
        plain = Surrogate(
            whole.statistics, whole.likelihood.rows, whole.likelihood, latest=whole.statistics, maximum=maximum
        )
        longest = min(max(state.longest, 2.0 * state.stride), _farthest(whole.likelihood.rows))
        state = replace(state, known=whole, maximum=maximum, longest=longest, chunk_groups=())
        if not state.striding:
            gained = inf if before is None else whole.likelihood.total - before.likelihood.total
            near = gained < GENTLE * whole.likelihood.weight or state.plain + 1 >= MOST_PLAIN
            return plain, replace(state, current=maximum[0], plain=state.plain + 1, striding=near)
        own = seen_from(state.current, maximum[0])
        if not np.isfinite(own).all():
            return plain, replace(state, current=maximum[0], stride=0.0, step=None, own=None, pairs=())
        state = _remembering(state, own)
        curvatures, directions = _curved(state.pairs)
        reach = CLEAR if (curvatures >= 0.0).all() else 1.0
        stride, step = _stride(curvatures, directions, own, reach * state.longest)
        parameters = self._led_to(state.current, step) if stride else None
        if parameters is None:
            return plain, replace(state, current=maximum[0], stride=0.0, step=own, own=own)
        state = replace(state, current=parameters, stride=stride, step=step, own=own)
        return replace(plain, maximum=(parameters, MStepInfo())), state

    def covered(self, state: AcceleratedState) -> Expectation | None:
        """All rows, at the last pass that was not in vain; None while passes are plain, as of batch EM."""
        return state.known if state.striding else None

    def reported(self, state: AcceleratedState) -> Surrogate | None:
        """The M-step of that pass, where the current parameters are a stride of which nothing is known yet."""
        return self._last(state) if state.stride else None

    def _last(self, state: AcceleratedState) -> Surrogate:
        assert state.known is not None  # or there was nothing to stride from
        tally = state.known.likelihood
        return Surrogate(state.known.statistics, tally.rows, tally, maximum=state.maximum)

    def _bound(self, state: AcceleratedState) -> float:
        """What was known of the M-step that a stride went on from: the free energy, never above its likelihood."""
        assert state.known is not None and state.maximum is not None  # or there was nothing to stride from
        return expected_log_density(state.known.statistics, state.maximum[0]) + state.known.likelihood.entropy

    def _back(self, state: AcceleratedState, whole: Expectation) -> tuple[Surrogate, AcceleratedState]:
        """Take a stride back."""
        assert state.maximum is not None
        surrogate = replace(self._last(state), likelihood=whole.likelihood, latest=whole.statistics)
        longest, current = NEARER * state.stride, state.maximum[0]
        return surrogate, replace(
            state, current=current, stride=0.0, step=state.own, pairs=(), longest=longest, chunk_groups=()
        )

    def _maximum(self, whole: Expectation) -> tuple[Parameters, MStepInfo]:
        rows = float(whole.likelihood.rows)
        return maximize(whole.statistics, self.structure, self.reg_covar, effective_rows=rows)

    def _led_to(self, frame: Parameters, step: Array) -> Parameters | None:
        """Where a stride leads; None where nothing is."""
        try:
            return at(frame, step, self.structure)
        except (DegenerateError, np.linalg.LinAlgError):
            return None


def _farthest(rows: int) -> float:
    """Length of a stride at most: half its square is the divergence of its ends, nats a row."""
    return max(FARTHEST, sqrt(2.0 * NATS / max(rows, 1)))


def _remembering(state: AcceleratedState, own: Array) -> AcceleratedState:
    """The state with what its last step did to the gradient."""
    slowness, pairs = max(1.0, LASTING * state.slowness), state.pairs
    if state.step is not None and state.own is not None:
        step, gone = state.step, state.own - own
        length, curvature = _dot(step, step), _dot(step, gone)
        if length > 0.0:
            pairs = (*pairs, (step, gone))[-MEMORY:]
        if curvature > CURVED * sqrt(length * _dot(gone, gone)):
            slowness = max(slowness, length / curvature)
    remained = FADING * state.remaining if state.remaining < inf else 0.0
    remaining = max(remained, 0.5 * _dot(own, own) * slowness)
    return replace(state, pairs=pairs, slowness=slowness, remaining=remaining)


def _stride(curvatures: Array, directions: Array, own: Array, longest: float) -> tuple[float, Array]:
    """How long a stride is, and the stride; 0 where it is a step of EM's own."""
    square = _dot(own, own)
    if not len(curvatures) or not 0.0 < square < inf:
        return 0.0, own
    parts = _products(directions, own[None])[:, 0]
    terms = [(one, part * part) for one, part in zip(curvatures.tolist(), parts.tolist(), strict=True)]

    def length(passes: float) -> float:
        times = ((_worth(one, passes), part) for one, part in terms)
        return sqrt(
            square + sum((worth * worth - 1.0) * part for worth, part in times)
        )  # `**` would raise where this is infinite

    passes = _most(length, max(longest, sqrt(square)))
    if passes < WORTHWHILE:
        return 0.0, own
    times = np.array([_worth(one, passes) for one, _ in terms])
    return length(passes), own + ((times - 1.0) * parts) @ directions


def _curved(pairs: Pairs) -> tuple[Array, Array]:
    """Curvatures other than 1, and orthonormal directions in which the gradient falls so, as rows.

    Of I + D M⁻¹ Dᵀ, where D are the differences between what was gone of the gradient and the steps S, and M = SᵀD:
    in an orthonormal basis D T of what D spans, the second term is the inverse of Tᵀ M T.
    """
    if not pairs:
        return np.empty(0), np.empty(0)
    steps = np.array([step for step, _ in pairs])
    off = np.array([gone for _, gone in pairs]) - steps
    sizes = np.sqrt((off * off).sum(axis=1))
    told = sizes > TOLD_APART * np.sqrt((steps * steps).sum(axis=1))
    if not told.any():
        return np.empty(0), np.empty(0)
    steps, off = steps[told] / sizes[told, None], off[told] / sizes[told, None]
    squares, turns = np.linalg.eigh(_products(off, off))
    apart = squares > TOLD_APART * squares[-1]
    basis, mixed = (turns[:, apart] / np.sqrt(squares[apart])).T, _products(steps, off)
    inverses, axes = np.linalg.eigh(basis @ (0.5 * (mixed + mixed.T)) @ basis.T)
    sure = np.abs(inverses) > TOLD_APART * np.abs(inverses).max(initial=0.0)
    return np.minimum(1.0 + 1.0 / inverses[sure], 1.0), axes[:, sure].T @ basis @ off


def _worth(curvature: float, passes: float) -> float:
    """How many times a first step EM goes in so many passes, where the gradient falls so along the way."""
    if abs(curvature) * passes < 1e-8:
        return passes
    if curvature == 1.0:
        return 1.0
    return -expm1(min(passes * log1p(-curvature), UNCOUNTED)) / curvature


def _most(length: Callable[[float], float], longest: float) -> float:
    """For how many passes the way is no longer, from 1 to `AHEAD`; found to a ten-thousandth, never more."""
    least, most = 1.0, AHEAD
    if length(most) <= longest:
        return most
    for _ in range(HALVINGS):
        middle = sqrt(least * most)
        least, most = (middle, most) if length(middle) <= longest else (least, middle)
    return least


def _products(one: Array, other: Array) -> Array:
    """Of rows with rows; not by BLAS, whose sums are others for another number of threads."""
    products: Array = np.einsum("ik,jk->ij", one, other)
    return products


def _dot(one: Array, other: Array) -> float:
    """The same of two vectors."""
    return float((one * other).sum())
