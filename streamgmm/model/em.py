"""The M-step: parameters from sufficient statistics. It never sees rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamgmm.errors import DegenerateError, InputError
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics, expand_covariances, reduce_products
from streamgmm.persistence.codec import persistent

STARVED = 1e-6  # rows below which a component's own moments are rounding, not data


@persistent("expectation-1")
@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """What the E-step says of some rows under one set of parameters."""

    statistics: Statistics
    likelihood: LogLikelihood

    def __add__(self, other: Expectation) -> Expectation:
        """The rows of both."""
        return Expectation(self.statistics + other.statistics, self.likelihood + other.likelihood)


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """Statistics that the M-step sees, and how many rows they stand for.

    Starvation is judged in rows, also where statistics are kept per unit weight. ``likelihood`` is the tally of the
    rows that were read for it. A component with fewer than ``least_rows`` keeps the mean and covariance that it has.
    ``latest`` are the statistics of those rows alone, where they are not all that the M-step sees. ``maximum`` is what
    the M-step makes of them, where that is known already.
    """

    statistics: Statistics
    effective_rows: float
    likelihood: LogLikelihood
    least_rows: float = 0.0
    latest: Statistics | None = None
    maximum: tuple[Parameters, MStepInfo] | None = None


@persistent("m-step-1")
@dataclass(frozen=True, slots=True)
class MStepInfo:
    """What the M-step had to decide.

    Attributes
    ----------
    starved : tuple of int
        Components with (almost) no rows. They keep their means and get the average covariance of the others.
    held : tuple of int
        Components with too few rows to learn from yet. They keep their means and covariances.
    """

    starved: tuple[int, ...] = ()
    held: tuple[int, ...] = ()


def expected_log_density(statistics: Statistics, parameters: Parameters) -> float:
    """s·θ: the sum of w·r·(log π + log N), nats, for any parameters; with H added, it bounds the likelihood below."""
    about = statistics if statistics.origin is parameters.means else statistics.recentred(parameters.means)
    factors = parameters.precision_factors
    precisions = factors @ factors.transpose(0, 2, 1) if factors.ndim == 3 else factors**2
    present = about.counts > 0
    return float(about.counts[present] @ parameters.constants[present] - 0.5 * np.sum(precisions * about.products))


def update(
    surrogate: Surrogate, current: Parameters, structure: CovarianceStructure, reg_covar: float
) -> tuple[Parameters, MStepInfo]:
    """M-step on a surrogate, in which a component with too few rows keeps the mean and covariance that it has.

    Where one matrix is shared by all components, only its mean is kept.
    """
    if surrogate.maximum is not None:
        return surrogate.maximum
    parameters, info = maximize(surrogate.statistics, structure, reg_covar, effective_rows=surrogate.effective_rows)
    counts = surrogate.statistics.counts
    held = counts * (surrogate.effective_rows / counts.sum()) < surrogate.least_rows
    if not held.any():
        return parameters, info
    means = np.where(held[:, None], current.means, parameters.means)
    covariances, factors = parameters.covariances, parameters.precision_factors
    if len(covariances) == len(held):
        own = held.reshape(-1, *[1] * (covariances.ndim - 1))
        covariances = np.where(own, current.covariances, covariances)
        factors = np.where(own, current.precision_factors, factors)
    kept = tuple(int(index) for index in np.flatnonzero(held))
    return Parameters(parameters.weights, means, covariances, factors), MStepInfo(info.starved, kept)


def pseudo_statistics(parameters: Parameters, structure: CovarianceStructure, reg_covar: float) -> Statistics:
    """Return statistics, of weight 1 in total, from which `maximize` gives these parameters back."""
    k, d = parameters.means.shape
    covariances = expand_covariances(structure.regularize(parameters.covariances, -reg_covar), k, d)
    weights = parameters.weights.reshape(-1, *[1] * (covariances.ndim - 1))
    products = reduce_products(weights * covariances, structure.shape(k, d))
    return Statistics(parameters.means, parameters.weights, np.zeros((k, d)), products)


def maximize(
    statistics: Statistics,
    structure: CovarianceStructure,
    reg_covar: float = 0.0,
    *,
    effective_rows: float | None = None,
) -> tuple[Parameters, MStepInfo]:
    """M-step: the parameters that fit the statistics best.

    Parameters
    ----------
    statistics : Statistics
        About the previous means.
    structure : CovarianceStructure
        The family of covariances.
    reg_covar : float, default=0.0
        Added to every variance, squared units of the data.
    effective_rows : float, optional
        Rows that the statistics stand for; by default the sum of the counts.

    Returns
    -------
    parameters : Parameters
    info : MStepInfo
        Which components were starved.

    Raises
    ------
    DegenerateError
        Where a covariance cannot be inverted or a statistic is not finite.
    InputError
        Where all weights are zero.

    Notes
    -----
    ``π = n/N``, ``μ = origin + a/n``, ``Σ = B/n − δδᵀ`` with ``δ = a/n`` (Dempster, Laird & Rubin, 1977, section 4.3).
    As in scikit-learn, ten roundings of one row are added to every count.
    """
    total = float(statistics.counts.sum())
    if not (np.isfinite(total) and np.isfinite(statistics.sums).all() and np.isfinite(statistics.products).all()):
        raise DegenerateError(
            "The statistics overflow: the values are too large to be squared and summed. Scale the input data."
        )
    if total <= 0.0:
        raise InputError(NO_WEIGHT)
    row = 1.0 if effective_rows is None else total / effective_rows  # the weight of one
    starved = statistics.counts < STARVED * row
    padded = Statistics(
        statistics.origin, statistics.counts + 10 * np.finfo(np.float64).eps * row, statistics.sums, statistics.products
    )
    covariances = structure.estimate(padded)
    if starved.any() and len(covariances) == len(starved) > 1:
        shares = np.where(starved, 0.0, statistics.counts)
        covariances[starved] = np.tensordot(shares / shares.sum(), covariances, axes=1)
    parameters = make_parameters(
        padded.counts / padded.counts.sum(),
        statistics.origin + padded.sums / padded.counts[:, None],
        structure.regularize(covariances, reg_covar),
        structure,
    )
    return parameters, MStepInfo(tuple(int(index) for index in np.flatnonzero(starved)))


NO_WEIGHT = "Sample weights must contain at least one non-zero number."
ILL_DEFINED = (
    "Fitting the mixture model failed because some components have ill-defined empirical covariance (for instance "
    "caused by singleton or collapsed samples). Try to decrease the number of components, increase reg_covar, or scale "
    "the input data."
)


def make_parameters(weights: Array, means: Array, covariances: Array, structure: CovarianceStructure) -> Parameters:
    """Parameters with the factors of their precisions; raises DegenerateError where a covariance has none."""
    try:
        factors = structure.factorize(covariances)
    except np.linalg.LinAlgError:
        raise DegenerateError(ILL_DEFINED) from None
    if not np.isfinite(factors).all():
        raise DegenerateError(ILL_DEFINED)
    return Parameters(weights, means, covariances, factors)
