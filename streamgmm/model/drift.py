"""Whether rows look exchangeable: batches against the mixture that is to explain them, and stored segments by variance.

Knows expectations and moments, nothing of data, of where it is stored or of what is done about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np

from streamgmm.model.em import Expectation
from streamgmm.model.parameters import Array, Parameters
from streamgmm.persistence.codec import persistent

# A component without rows is left a weight of a few roundings of one row (`em.maximize`). Squares in units of its
# expected count would make an alarm of the first outlier that it takes.
NEGLIGIBLE = 1e-12

FAR = 10.0  # times what is expected: by Markov's inequality exceeded by at most one window in ten
LARGE = 0.1  # mean squared standardised shift that matters, however surely a smaller one is seen
WINDOWS = 2  # far and large windows that make a drift; one alone may be an outlier

SEGMENTS = 4  # with fewer, order and chance are hard to tell apart
SIGNIFICANT = 1e-6  # rate of false alarms of ordered_storage, for normal rows
CORRELATED = 0.1  # intraclass correlation that matters


def score(expectation: Expectation, parameters: Parameters) -> float:
    """How far some rows are from what the parameters expect, in squared standard errors; about 1 or less where not.

    Parameters
    ----------
    expectation : Expectation
        Of the rows, under these parameters.
    parameters : Parameters
        Components of (almost) no weight are left out.

    Returns
    -------
    float
        T/dof; 0 where the rows have no weight.

    Notes
    -----
    With sums ``s_k`` about the means, counts ``n_k`` and n rows,

        T = Σ_k s_kᵀ Σ_k⁻¹ s_k / (n π_k) + Σ_k (n_k − n π_k)² / (n π_k),    dof = k·d + k − 1.

    Responsibilities are at most 1, therefore ``Var s_k ≤ n E[r_k (x − μ_k)(x − μ_k)ᵀ]`` and ``Var n_k ≤ n π_k (1 −
    π_k)`` for independent rows. At a stationary point of EM the right-hand sides are what is divided by, so that
    ``E[T] ≤ dof`` whatever the density of the rows is; observed counts in the denominators would not have that
    property. A tied covariance is the one exception: it equals the mean of the components' own ones only, and the bound
    needs those to be alike.

    T of weighted rows is scaled so that a factor in all weights changes nothing. Unequal weights raise its
    expectation by 1 + (their squared coefficient of variation), Kish's design effect, at most.

    Examples
    --------
    >>> from streamgmm.kernels.e_step import expect
    >>> one = np.ones((1, 1))
    >>> standard = Parameters(np.ones(1), np.zeros((1, 1)), one, one)
    >>> score(*expect(np.array([[-1.0], [1.0]]), standard), standard)
    0.0
    >>> score(*expect(np.full((9, 1), 2.0), standard), standard)
    36.0
    """
    weight, rows = expectation.likelihood.weight, expectation.likelihood.rows
    if weight <= 0.0:
        return 0.0
    shift, excess = innovations(expectation, parameters)
    return _distance(shift, excess, rows, weight) / degrees_of_freedom(parameters)


def innovations(expectation: Expectation, parameters: Parameters) -> tuple[Array, Array]:
    """What the parameters did not expect: sums (k, d) about the means and counts (k,), in units of √(variance a row).

    Sums over rows, so that they add up over batches, each of which may have its own parameters. 0 for components of
    (almost) no weight.
    """
    statistics, weights = expectation.statistics, parameters.weights
    sums = statistics.sums
    if statistics.origin is not parameters.means:
        sums = sums - statistics.counts[:, None] * (parameters.means - statistics.origin)
    factors = parameters.precision_factors
    # matmul lets one shared matrix serve every component
    whitened = (sums[:, None, :] @ factors)[:, 0] if factors.ndim == 3 else sums * factors
    roots = np.sqrt(np.where(_present(parameters), weights, inf))
    return whitened / roots[:, None], (statistics.counts - expectation.likelihood.weight * weights) / roots


def degrees_of_freedom(parameters: Parameters) -> int:
    """k·d + k − 1, of the components that have weight."""
    k = int(_present(parameters).sum())
    return k * parameters.n_features + k - 1


def _present(parameters: Parameters) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return parameters.weights > NEGLIGIBLE


def _distance(shift: Array, excess: Array, rows: int, weight: float) -> float:
    """T, of weighted rows as if the weights were 1 on average."""
    return rows * float(np.sum((shift / weight) ** 2) + np.sum((excess / weight) ** 2))


@persistent("drift-monitor-1")
@dataclass(frozen=True, slots=True, eq=False)
class Monitor:
    """Watches consecutive batches for a drift that each alone may be too short to show.

    Innovations are summed up over windows of at least ``span`` rows. A drift is reported once, in two windows, not
    necessarily consecutive, ``T > 10·dof·(1 + rows/effective_rows)`` and ``T/rows > 0.1`` (T and dof as in `score`).

    Parameters
    ----------
    span : int
        Rows that fill a window; whole batches are taken, so that a window may have more. With about 100·dof rows both
        conditions are equally strict; with far fewer, chance alone makes T/rows large.
    shift : ndarray of shape (k, d)
        Standardised sums of the window so far.
    excess : ndarray of shape (k,)
        Standardised surplus of rows of the window so far.
    rows : int
        Rows of the window so far.
    weight : float
        Their weight.
    effective_rows : float
        Rows that the parameters rest on; the fewest of the window so far.
    score : float
        T/dof of the last full window.
    effect : float
        T/rows of the last full window: the mean squared standardised shift.
    alarms : int
        Full windows for which both conditions held.
    component_shift : float
        √(T/rows), the largest of those windows: root-mean-square shift in standard deviations. 0 before the first.
    large : float
        What T/rows has to exceed.
    far : float
        How many times its expectation T has to exceed.

    Notes
    -----
    For rows that are independent and parameters at a stationary point of EM, E[T] ≤ dof, and an estimate from
    ``effective_rows`` others adds rows/effective_rows times as much. By Markov's inequality a window then is a false
    alarm with probability 0.1 at most, without any assumption of normality. In practice it is far less: two windows are
    needed, E[T] is mostly below dof, and where the central limit theorem holds, T/rows > 0.1 alone is of probability
    P(χ²(dof) > rows/10), 10⁻²³ for one dof and 1000 rows. Parameters that are far from a stationary point, as after
    the first steps of EM, are reported as drift: they do not explain the rows.

    Examples
    --------
    >>> from streamgmm.kernels.e_step import expect
    >>> one = np.ones((1, 1))
    >>> standard = Parameters(np.ones(1), np.zeros((1, 1)), one, one)
    >>> monitor = Monitor.of(standard, span=100)
    >>> for _ in range(4):
    ...     monitor = monitor.take(*expect(np.full((50, 1), 2.0), standard), standard, effective_rows=1e6)
    >>> monitor.drifted, monitor.component_shift
    (True, 2.0)
    """

    span: int
    shift: Array
    excess: Array
    rows: int = 0
    weight: float = 0.0
    effective_rows: float = inf
    score: float = 0.0
    effect: float = 0.0
    alarms: int = 0
    component_shift: float = 0.0
    large: float = LARGE
    far: float = FAR

    def validate(self) -> None:
        """Raise ValueError where the window has sums of different numbers of components."""
        if self.shift.ndim != 2 or self.excess.shape != self.shift.shape[:1]:
            raise ValueError("shift and excess are of different numbers of components")

    @classmethod
    def of(cls, parameters: Parameters, span: int, *, large: float = LARGE, far: float = FAR) -> Monitor:
        """Monitor that has seen nothing yet, for mixtures of this shape."""
        return cls(span, np.zeros(parameters.means.shape), np.zeros(parameters.n_components), large=large, far=far)

    @property
    def drifted(self) -> bool:
        """Whether enough windows were far from what the parameters expected; stays True."""
        return self.alarms >= WINDOWS

    def take(self, expectation: Expectation, parameters: Parameters, effective_rows: float) -> Monitor:
        """The monitor after one more batch.

        Parameters
        ----------
        expectation : Expectation
            Of the batch, under parameters that have not seen it.
        parameters : Parameters
            May differ from batch to batch.
        effective_rows : float
            How many rows they rest on; ``inf`` where they are known.
        """
        shift, excess = innovations(expectation, parameters)
        grown = replace(
            self,
            shift=self.shift + shift,
            excess=self.excess + excess,
            rows=self.rows + expectation.likelihood.rows,
            weight=self.weight + expectation.likelihood.weight,
            effective_rows=min(self.effective_rows, effective_rows),
        )
        # a window of no weight says nothing: it goes on until some row has weight
        return grown if grown.rows < self.span or grown.weight <= 0.0 else grown._evaluated(parameters)

    def _evaluated(self, parameters: Parameters) -> Monitor:
        """An empty window, and what the full one told."""
        distance, dof = _distance(self.shift, self.excess, self.rows, self.weight), degrees_of_freedom(parameters)
        effect = distance / self.rows
        doubt = 1.0 + (self.rows / self.effective_rows if self.effective_rows > 0.0 else inf)
        alarm = distance > self.far * dof * doubt and effect > self.large
        return Monitor(
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


def ordered_storage(segments: Sequence[tuple[Array, Array, int]]) -> float | None:
    """Whether rows that are stored together are alike: a one-way analysis of variance of sampled segments.

    Parameters
    ----------
    segments : sequence of (mean, variance, rows)
        Of the sampled rows of each segment: ndarrays of shape (d,), the variance with divisor ``rows``, and their
        number.

    Returns
    -------
    float or None
        The largest intraclass correlation of a feature, of those above 0.1 for which chance would give as much with
        probability below 10⁻⁶/d, so that rows in random order are called ordered once in 10⁶ times (for normal rows).
        None where there is no such feature, or fewer than four segments. Constant features are skipped.

    Notes
    -----
    F is the ratio of the mean squares between and within segments; the intraclass correlation (F − 1)/(F − 1 + m) with
    m rows a segment is the part of the variance that lies between segments.

    Examples
    --------
    >>> zero, one = np.zeros(1), np.ones(1)
    >>> ordered_storage([(place * one, one, 50) for place in (1.0, 2.0, 3.0, 4.0)])  # doctest: +ELLIPSIS
    0.61...
    >>> ordered_storage([(zero, one, 50)] * 4) is None
    True
    """
    from scipy.special import fdtrc  # what scipy.stats.f.sf calls; scipy.stats takes long to load

    segments = [segment for segment in segments if segment[2] > 0]
    if len(segments) < SEGMENTS:
        return None
    means, variances = (np.array([segment[part] for segment in segments], dtype=np.float64) for part in (0, 1))
    sizes = np.array([segment[2] for segment in segments], dtype=np.float64)
    total, d = sizes.sum(), means.shape[1]
    between_dof, within_dof = len(sizes) - 1, total - len(sizes)
    if within_dof <= 0:
        return None
    centred = means - means.mean(axis=0)  # first, lest the squares cancel
    centred -= sizes @ centred / total
    between = sizes @ centred**2 / between_dof
    within = sizes @ variances / within_dof
    # means of equal values differ by roundings, beside which a variance of 0 would be infinitely small
    roundings = (16 * np.finfo(np.float64).eps * np.abs(means).max(axis=0)) ** 2 * sizes.max()
    varied = between + within > roundings
    between, within = between[varied], within[varied]
    with np.errstate(divide="ignore", over="ignore"):
        chance = fdtrc(between_dof, within_dof, between / within)
    # (F − 1)/(F − 1 + m), also where nothing varies within segments and F is infinite
    correlation = (between - within) / (between + (total / len(sizes) - 1) * within)
    ordered = correlation[(chance < SIGNIFICANT / d) & (correlation > CORRELATED)]
    return float(ordered.max()) if ordered.size else None
