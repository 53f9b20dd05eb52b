"""Tests of exchangeability: batches against a mixture, and stored segments by analysis of variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np

from streamgmm.model.em import Expectation
from streamgmm.model.parameters import Array, Parameters
from streamgmm.persistence.codec import persistent

# a component without rows has a weight of a few roundings; relative to that, an outlier would raise an alarm
MIN_WEIGHT = 1e-12

MAX_RATIO = 10.0  # of T to its expectation: by Markov's inequality exceeded by at most one window in ten
MAX_SHIFT = 0.1  # mean squared standardised shift that matters, however surely a smaller one is seen
N_ALARMS = 2  # one alone may be an outlier

MIN_SEGMENTS = 4  # with fewer, order and chance are hard to tell apart
FALSE_ALARM_RATE = 1e-6  # of measure_order, for normal rows
MIN_CORRELATION = 0.1  # within segments


def compute_drift_score(expectation: Expectation, parameters: Parameters) -> float:
    """Return the squared standardised distance of rows from their expectation; about 1 or less without drift.

    Parameters
    ----------
    expectation : Expectation
        Of the rows, under these parameters.
    parameters : Parameters
        Components of (almost) no weight are left out.

    Returns
    -------
    float
        T/dof; 0 if the rows have no weight.

    Notes
    -----
    With sums ``s_k`` about the means, counts ``n_k`` and n rows,

        T = Σ_k s_kᵀ Σ_k⁻¹ s_k / (n π_k) + Σ_k (n_k − n π_k)² / (n π_k),    dof = k·d + k − 1.

    Responsibilities are at most 1, therefore ``Var s_k ≤ n E[r_k (x − μ_k)(x − μ_k)ᵀ]`` and ``Var n_k ≤ n π_k (1 −
    π_k)`` for independent rows. At a stationary point of EM T divides by the right-hand sides, so that ``E[T] ≤ dof``
    for any density of the rows; observed counts in the denominators would not have that property. For a shared
    covariance the bound needs the components' own covariances to be alike.

    T does not depend on a common factor of all weights. Unequal weights raise its expectation at most by Kish's design
    effect, 1 + (their squared coefficient of variation).

    Examples
    --------
    >>> from streamgmm.kernels.e_step import expect
    >>> one = np.ones((1, 1))
    >>> standard = Parameters(np.ones(1), np.zeros((1, 1)), one, one)
    >>> compute_drift_score(*expect(np.array([[-1.0], [1.0]]), standard), standard)
    0.0
    >>> compute_drift_score(*expect(np.full((9, 1), 2.0), standard), standard)
    36.0
    """
    weight, rows = expectation.likelihood.weight, expectation.likelihood.rows
    if weight <= 0.0:
        return 0.0
    shift, excess = compute_innovations(expectation, parameters)
    return _compute_distance(shift, excess, rows, weight) / count_degrees_of_freedom(parameters)


def compute_innovations(expectation: Expectation, parameters: Parameters) -> tuple[Array, Array]:
    """Return sums (k, d) about the means and counts (k,) less their expectation, in units of √(variance a row).

    They add up over batches, each with its own parameters. Components of (almost) no weight have 0.
    """
    statistics, weights = expectation.statistics, parameters.weights
    sums = statistics.sums
    if statistics.origin is not parameters.means:
        sums = sums - statistics.counts[:, None] * (parameters.means - statistics.origin)
    factors = parameters.precision_factors
    whitened = (sums[:, None, :] @ factors)[:, 0] if factors.ndim == 3 else sums * factors
    roots = np.sqrt(np.where(_has_weight(parameters), weights, inf))
    return whitened / roots[:, None], (statistics.counts - expectation.likelihood.weight * weights) / roots


def count_degrees_of_freedom(parameters: Parameters) -> int:
    """Return k·d + k − 1 for the k components that have weight."""
    k = int(_has_weight(parameters).sum())
    return k * parameters.n_features + k - 1


def _has_weight(parameters: Parameters) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return parameters.weights > MIN_WEIGHT


def _compute_distance(shift: Array, excess: Array, rows: int, weight: float) -> float:
    """Return T, with weights scaled to 1 on average."""
    return rows * float(np.sum((shift / weight) ** 2) + np.sum((excess / weight) ** 2))


@persistent("drift-monitor-1")
@dataclass(frozen=True, slots=True, eq=False)
class DriftMonitor:
    """Monitor of consecutive batches for a drift that a single one may be too short to show.

    Innovations are summed over windows of at least ``span`` rows. A drift is two windows, not necessarily consecutive,
    with ``T > 10·dof·(1 + rows/effective_rows)`` and ``T/rows > 0.1`` (T and dof as in `compute_drift_score`).

    Notes
    -----
    For independent rows and parameters at a stationary point of EM, E[T] ≤ dof; an estimate from ``effective_rows``
    others adds rows/effective_rows times as much. By Markov's inequality a window is a false alarm with probability 0.1
    at most, for any density. In practice it is far less: two windows are needed, E[T] is mostly below dof, and by the
    central limit theorem T/rows > 0.1 alone has probability P(χ²(dof) > rows/10), 10⁻²³ for one dof and 1000 rows.
    Parameters far from a stationary point, as after the first steps of EM, are reported as drift.

    Examples
    --------
    >>> from streamgmm.kernels.e_step import expect
    >>> one = np.ones((1, 1))
    >>> standard = Parameters(np.ones(1), np.zeros((1, 1)), one, one)
    >>> monitor = DriftMonitor.from_parameters(standard, span=100)
    >>> for _ in range(4):
    ...     monitor = monitor.update(*expect(np.full((50, 1), 2.0), standard), standard, effective_rows=1e6)
    >>> monitor.has_drifted, monitor.component_shift
    (True, 2.0)
    """

    span: int  # rows of a window; with about 100·dof rows both conditions are equally strict
    shift: Array  # (k, d), standardised sums of the window so far
    excess: Array  # (k,), standardised surplus of rows of the window so far
    rows: int = 0  # of the window so far
    weight: float = 0.0
    effective_rows: float = inf  # that the parameters were estimated from, at least
    score: float = 0.0  # T/dof of the last full window
    effect: float = 0.0  # T/rows of the last full window: the mean squared standardised shift
    alarms: int = 0
    component_shift: float = 0.0  # √(T/rows), the largest of all alarms: root-mean-square shift in deviations
    large: float = MAX_SHIFT  # threshold of T/rows
    far: float = MAX_RATIO  # threshold of T, as a multiple of its expectation

    def validate(self) -> None:
        """Raise ValueError if the sums are of different numbers of components."""
        if self.shift.ndim != 2 or self.excess.shape != self.shift.shape[:1]:
            raise ValueError("shift and excess are of different numbers of components")

    @classmethod
    def from_parameters(
        cls, parameters: Parameters, span: int, *, large: float = MAX_SHIFT, far: float = MAX_RATIO
    ) -> DriftMonitor:
        """Return an empty monitor for mixtures of this shape."""
        return cls(span, np.zeros(parameters.means.shape), np.zeros(parameters.n_components), large=large, far=far)

    @property
    def has_drifted(self) -> bool:
        """True once enough windows raised an alarm."""
        return self.alarms >= N_ALARMS

    def update(self, expectation: Expectation, parameters: Parameters, effective_rows: float) -> DriftMonitor:
        """Return the monitor after one more batch, with parameters that have not seen it.

        They were estimated from ``effective_rows``, infinite for known ones, and may differ from batch to batch.
        """
        shift, excess = compute_innovations(expectation, parameters)
        monitor = replace(
            self,
            shift=self.shift + shift,
            excess=self.excess + excess,
            rows=self.rows + expectation.likelihood.rows,
            weight=self.weight + expectation.likelihood.weight,
            effective_rows=min(self.effective_rows, effective_rows),
        )
        # a window ends only once some row has weight
        return monitor if monitor.rows < self.span or monitor.weight <= 0.0 else monitor._end_window(parameters)

    def _end_window(self, parameters: Parameters) -> DriftMonitor:
        """Evaluate the full window, and begin an empty one."""
        distance = _compute_distance(self.shift, self.excess, self.rows, self.weight)
        dof = count_degrees_of_freedom(parameters)
        effect = distance / self.rows
        factor = 1.0 + (self.rows / self.effective_rows if self.effective_rows > 0.0 else inf)
        alarm = distance > self.far * dof * factor and effect > self.large
        return DriftMonitor(
            self.span,
            np.zeros_like(self.shift),
            np.zeros_like(self.excess),
            score=distance / dof,
            effect=effect,
            alarms=self.alarms + alarm,
            component_shift=max(self.component_shift, sqrt(effect)) if alarm else self.component_shift,
            large=self.large,
            far=self.far,
        )


def measure_order(segments: Sequence[tuple[Array, Array, int]]) -> float | None:
    """Measure how alike rows stored together are, by a one-way analysis of variance of sampled segments.

    Parameters
    ----------
    segments : sequence of (mean, variance, rows)
        Moments of the sampled rows of each segment, ndarrays of shape (d,), the variance with divisor ``rows``; and
        their number.

    Returns
    -------
    float or None
        Largest significant intraclass correlation of a feature above 0.1. The level is 10⁻⁶/d: normal rows in random
        order count as ordered once in 10⁶ times. None without such a feature, or with fewer than four segments.
        Constant features are skipped.

    Notes
    -----
    F is the ratio of the mean squares between and within segments; the intraclass correlation (F − 1)/(F − 1 + m) with
    m rows a segment is the fraction of the variance between segments.

    Examples
    --------
    >>> zero, one = np.zeros(1), np.ones(1)
    >>> measure_order([(mean * one, one, 50) for mean in (1.0, 2.0, 3.0, 4.0)])  # doctest: +ELLIPSIS
    0.61...
    >>> measure_order([(zero, one, 50)] * 4) is None
    True
    """
    from scipy.special import fdtrc  # the function behind scipy.stats.f.sf; scipy.stats takes long to load

    segments = [segment for segment in segments if segment[2] > 0]
    if len(segments) < MIN_SEGMENTS:
        return None
    means, variances = (np.array([segment[part] for segment in segments], dtype=np.float64) for part in (0, 1))
    sizes = np.array([segment[2] for segment in segments], dtype=np.float64)
    total, d = sizes.sum(), means.shape[1]
    between_dof, within_dof = len(sizes) - 1, total - len(sizes)
    if within_dof <= 0:
        return None
    centred = means - means.mean(axis=0)  # before weighting, so that squares do not cancel
    centred -= sizes @ centred / total
    between = sizes @ centred**2 / between_dof
    within = sizes @ variances / within_dof
    # means of equal values differ by rounding, which is infinite relative to a variance of 0
    roundings = (16 * np.finfo(np.float64).eps * np.abs(means).max(axis=0)) ** 2 * sizes.max()
    varied = between + within > roundings
    between, within = between[varied], within[varied]
    with np.errstate(divide="ignore", over="ignore"):
        chance = fdtrc(between_dof, within_dof, between / within)
    # (F − 1)/(F − 1 + m), also for an infinite F
    correlation = (between - within) / (between + (total / len(sizes) - 1) * within)
    ordered = correlation[(chance < FALSE_ALARM_RATE / d) & (correlation > MIN_CORRELATION)]
    return float(ordered.max()) if ordered.size else None
