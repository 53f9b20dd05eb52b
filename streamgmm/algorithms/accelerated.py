"""Accelerated EM: batch EM with a safeguarded quasi-Newton step in unconstrained coordinates.

In the coordinates of `streamgmm.algorithms.coordinates` an EM step is the gradient of the mean log-likelihood. The
latest steps, and the changes of the gradient along them, give a symmetric-rank-one model of the curvature (Byrd,
Nocedal & Schnabel, 1994), which is 1 in all other directions. Under that model the point that EM would reach after any
number of passes is known: after one pass its own step, after infinitely many the Newton step of Jamshidian & Jennrich
(1997). A step is as many passes as stay within a step-length limit, so that it follows the path of EM, past saddles
too, and ends where EM does but for few starts.

Coordinates are relative to the current parameters; vectors of earlier passes are kept as they are. If the likelihood
after a step is below the bound known for the EM step, that EM step is taken instead: nothing is lost but one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import expm1, inf, log1p, sqrt

import numpy as np

from streamgmm.algorithms.algorithm import AlgorithmState, UpdateInfo
from streamgmm.algorithms.coordinates import from_coordinates, to_coordinates
from streamgmm.data.execution import ChunkGroup
from streamgmm.errors import DegenerateError
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.em import Expectation, MStepInfo, compute_bound, maximize
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import Counter, push, total
from streamgmm.persistence.codec import persistent

CurvaturePairs = tuple[tuple[Array, Array], ...]


@dataclass(frozen=True, slots=True)
class AccelerationSettings:
    """Tuned constants, measured by ``benchmarks/starts.py`` on 14 data sets x 20 seeds and 4,000 random starts."""

    max_length: float = 0.0095  # step-length limit, in units of the coordinates; longer steps leave the path of EM
    max_nats: float = 0.09  # the same limit in nats in total: with few rows a step may be that long
    relaxation: float = 2.0  # factor of the limit where the gradient grows in no direction, hence far from saddles
    contraction: float = 0.25  # a rejected step limits the next to this part of it; an accepted one to twice its length
    least_passes: float = 1.01  # EM passes that a step is worth
    most_passes: float = 1e4
    bisections: int = 17  # halvings of the interval of passes: precise to a ten-thousandth
    first_gain: float = 1e-3  # acceleration begins once a pass gains less than this, nats a row
    most_plain_passes: int = 100  # passes after which it begins at the latest
    memory: int = 3  # curvature pairs
    rank_tolerance: float = 1e-8  # smaller relative differences between directions are rounding
    least_cosine: float = 1e-4  # between step and gradient change; pairs nearer to orthogonal say nothing of the rate
    rate_decay: float = 0.99  # per-pass decay of the largest inverse rate seen so far
    gain_decay: float = 0.8  # per-pass decay of the remaining gain


SETTINGS = AccelerationSettings()


@persistent("accelerated-1")
@dataclass(frozen=True, slots=True, eq=False)
class AcceleratedState(AlgorithmState):
    """State of accelerated EM."""

    parameters: Parameters
    n_plain_passes: int = 0  # passes of plain EM before acceleration began
    is_accelerating: bool = False
    max_length: float = inf  # current step-length limit, before relaxation
    step_length: float = 0.0  # length of the quasi-Newton step that led to the parameters; 0 where they are an M-step's
    step: Array | None = None  # coordinates of the last step, relative to its origin
    em_step: Array | None = None  # coordinates of the EM step from that origin
    pairs: CurvaturePairs = ()  # latest steps, and the decrease of the gradient along each
    accepted: Expectation | None = None  # of the last accepted pass
    m_step: tuple[Parameters, MStepInfo] | None = None  # result of its M-step
    # largest inverse convergence rate seen lately: passes of plain EM in which its slowest part becomes 1/e
    inverse_rate: float = 1.0
    remaining_gain: float = inf  # estimated gain of all further passes, nats a row; falls by a fifth a pass at most
    partial_sums: Counter[Expectation] = ()  # of a pass that is not complete

    def validate(self) -> None:
        """Raise ValueError unless steps are finite and have as many numbers as the parameters."""
        size = self.parameters.weights.size + self.parameters.means.size + self.parameters.covariances.size
        vectors = [part for part in (self.step, self.em_step, *chain(*self.pairs)) if part is not None]
        if not all(part.shape == (size,) and np.isfinite(part).all() for part in vectors):
            raise ValueError("steps are not finite or of another mixture")

    @property
    def is_step_limited(self) -> bool:
        """True where the last step reached the limit near saddles, or nothing is known of the curvature."""
        return self.step_length >= 0.999 * self.max_length or not self.pairs

    @property
    def has_full_memory(self) -> bool:
        """True where all curvature pairs are known: not after a rejected step, which may have left a saddle."""
        return len(self.pairs) == SETTINGS.memory


@dataclass(frozen=True, slots=True)
class Accelerated:
    """Accelerated EM, one update a pass."""

    structure: CovarianceStructure
    reg_covar: float
    settings: AccelerationSettings = field(default_factory=lambda: SETTINGS)

    def init(self, start: Parameters) -> AcceleratedState:
        """Return the state before the first pass."""
        return AcceleratedState(start)

    def update(
        self, state: AcceleratedState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[AcceleratedState, UpdateInfo | None]:
        """Add the expectations; at the end of a pass, maximize or take a quasi-Newton step, or reject the last one."""
        sums = push(state.partial_sums, *expectations)
        if not chunk_group.ends_batch or not sums:
            return replace(state, partial_sums=sums), None
        whole = total(sums)
        if state.step_length and state.accepted is not None and state.m_step is not None:
            # the log-likelihood of the M-step from which the last step began is at least its bound
            if whole.likelihood.total < compute_bound(state.accepted, state.m_step[0]):
                return self._reject_step(state, whole)
        settings, before, rows = self.settings, state.accepted, whole.likelihood.rows
        m_step = maximize(whole.statistics, self.structure, self.reg_covar, effective_rows=float(rows))
        # half the square of a length is the divergence of its ends, nats a row
        limit = max(settings.max_length, sqrt(2.0 * settings.max_nats / max(rows, 1)))
        max_length = min(max(state.max_length, 2.0 * state.step_length), limit)
        frame = state.parameters
        plain = replace(
            state, parameters=m_step[0], accepted=whole, m_step=m_step, max_length=max_length, partial_sums=()
        )
        info = UpdateInfo(whole, rows, m_step[1])
        if not state.is_accelerating:
            gained = inf if before is None else whole.likelihood.total - before.likelihood.total
            n_plain = state.n_plain_passes + 1
            begins = gained < settings.first_gain * whole.likelihood.weight or n_plain >= settings.most_plain_passes
            return replace(plain, n_plain_passes=n_plain, is_accelerating=begins), info
        em_step = to_coordinates(frame, m_step[0])
        if not np.isfinite(em_step).all():
            return replace(plain, step_length=0.0, step=None, em_step=None, pairs=()), info
        plain = _remember_step(plain, em_step, settings)
        plain = replace(plain, step_length=0.0, step=em_step, em_step=em_step)
        curvatures, directions = _model_curvature(plain.pairs, settings)
        relaxation = settings.relaxation if (curvatures >= 0.0).all() else 1.0
        length, step = _choose_step(curvatures, directions, em_step, relaxation * max_length, settings)
        try:
            stepped = from_coordinates(frame, step, self.structure) if length else None
        except (DegenerateError, np.linalg.LinAlgError):
            stepped = None
        if stepped is None:
            return plain, info
        return replace(plain, parameters=stepped, step_length=length, step=step), UpdateInfo(whole, rows)

    def accumulated(self, state: AcceleratedState) -> Expectation | None:
        """Return the expectation of the last accepted pass; None during plain passes, as of batch EM."""
        return state.accepted if state.is_accelerating else None

    def report(self, state: AcceleratedState) -> tuple[Parameters, MStepInfo] | None:
        """Return the M-step of the last accepted pass, where the parameters are a step not yet evaluated."""
        return state.m_step if state.step_length else None

    def _reject_step(self, state: AcceleratedState, whole: Expectation) -> tuple[AcceleratedState, UpdateInfo]:
        assert state.m_step is not None and state.accepted is not None
        info = UpdateInfo(whole, state.accepted.likelihood.rows, state.m_step[1])
        return replace(
            state,
            parameters=state.m_step[0],
            step_length=0.0,
            step=state.em_step,
            pairs=(),
            max_length=self.settings.contraction * state.step_length,
            partial_sums=(),
        ), info


def _remember_step(state: AcceleratedState, em_step: Array, settings: AccelerationSettings) -> AcceleratedState:
    """Add the curvature pair of the last step, and update the convergence rate and the remaining gain."""
    inverse_rate, pairs = max(1.0, settings.rate_decay * state.inverse_rate), state.pairs
    if state.step is not None and state.em_step is not None:
        step, decrease = state.step, state.em_step - em_step
        square, curvature = _dot(step, step), _dot(step, decrease)
        if square > 0.0:
            pairs = (*pairs, (step, decrease))[-settings.memory :]
        if curvature > settings.least_cosine * sqrt(square * _dot(decrease, decrease)):
            inverse_rate = max(inverse_rate, square / curvature)
    decayed = settings.gain_decay * state.remaining_gain if state.remaining_gain < inf else 0.0
    remaining_gain = max(decayed, 0.5 * _dot(em_step, em_step) * inverse_rate)
    return replace(state, pairs=pairs, inverse_rate=inverse_rate, remaining_gain=remaining_gain)


def _choose_step(
    curvatures: Array, directions: Array, em_step: Array, max_length: float, settings: AccelerationSettings
) -> tuple[float, Array]:
    """Return the length of the quasi-Newton step, and the step; length 0 means the EM step."""
    square = _dot(em_step, em_step)
    if not len(curvatures) or not 0.0 < square < inf:
        return 0.0, em_step
    parts = _products(directions, em_step[None])[:, 0]
    terms = [(curvature, part * part) for curvature, part in zip(curvatures.tolist(), parts.tolist(), strict=True)]

    def length(passes: float) -> float:
        multiples = ((_sum_passes(curvature, passes), part) for curvature, part in terms)
        # `**` would raise on overflow
        return sqrt(square + sum((multiple * multiple - 1.0) * part for multiple, part in multiples))

    passes = _most_passes(length, max(max_length, sqrt(square)), settings)
    if passes < settings.least_passes:
        return 0.0, em_step
    multiples = np.array([_sum_passes(curvature, passes) for curvature, _ in terms])
    return length(passes), em_step + ((multiples - 1.0) * parts) @ directions


def _model_curvature(pairs: CurvaturePairs, settings: AccelerationSettings) -> tuple[Array, Array]:
    """Return curvatures other than 1, and orthonormal directions that have them, as rows.

    The model is I + D M⁻¹ Dᵀ, where D are the differences between gradient decreases and steps S, and M = SᵀD. In an
    orthonormal basis D T of the span of D, the second term is the inverse of Tᵀ M T.
    """
    if not pairs:
        return np.empty(0), np.empty(0)
    steps = np.array([step for step, _ in pairs])
    differences = np.array([decrease for _, decrease in pairs]) - steps
    sizes = np.sqrt((differences * differences).sum(axis=1))
    is_clear = sizes > settings.rank_tolerance * np.sqrt((steps * steps).sum(axis=1))
    if not is_clear.any():
        return np.empty(0), np.empty(0)
    steps, differences = (array[is_clear] / sizes[is_clear, None] for array in (steps, differences))
    squares, turns = np.linalg.eigh(_products(differences, differences))
    is_apart = squares > settings.rank_tolerance * squares[-1]
    basis, mixed = (turns[:, is_apart] / np.sqrt(squares[is_apart])).T, _products(steps, differences)
    inverses, axes = np.linalg.eigh(basis @ (0.5 * (mixed + mixed.T)) @ basis.T)
    is_certain = np.abs(inverses) > settings.rank_tolerance * np.abs(inverses).max(initial=0.0)
    return np.minimum(1.0 + 1.0 / inverses[is_certain], 1.0), axes[:, is_certain].T @ basis @ differences


def _sum_passes(curvature: float, passes: float) -> float:
    """Return how many times its first step EM goes in so many passes along a direction of this curvature."""
    if abs(curvature) * passes < 1e-8:
        return passes
    if curvature == 1.0:
        return 1.0
    return -expm1(min(passes * log1p(-curvature), 700.0)) / curvature  # exp(700) is nearly the largest float


def _most_passes(length: Callable[[float], float], max_length: float, settings: AccelerationSettings) -> float:
    """Return the most passes within a length, by bisection from below."""
    least, most = 1.0, settings.most_passes
    if length(most) <= max_length:
        return most
    for _ in range(settings.bisections):
        middle = sqrt(least * most)
        least, most = (middle, most) if length(middle) <= max_length else (least, middle)
    return least


def _products(rows: Array, others: Array) -> Array:
    """Return the products of rows with rows; not by BLAS, whose bits depend on the number of threads."""
    products: Array = np.einsum("ik,jk->ij", rows, others)
    return products


def _dot(vector: Array, other: Array) -> float:
    return float((vector * other).sum())
