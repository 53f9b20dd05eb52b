"""The M-step: parameters from sufficient statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import DegenerateError, InputError
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.statistics import Statistics, expand_covariances, reduce_products
from streamgmm.persistence.codec import persistent

STARVED = 1e-6  # rows; the moments of fewer are rounding, not data


@persistent("expectation-1")
@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """Result of the E-step on some rows under one set of parameters; expectations of disjoint rows add up."""

    statistics: Statistics
    likelihood: LogLikelihood

    def __add__(self, other: Expectation) -> Expectation:
        """Return the expectation of the rows of both."""
        return Expectation(self.statistics + other.statistics, self.likelihood + other.likelihood)

    def __rmul__(self, factor: float) -> Expectation:
        """Count every row ``factor`` times."""
        return Expectation(factor * self.statistics, factor * self.likelihood)

    def recentred(self, origin: Array) -> Expectation:
        """Return the same expectation with moments about another origin of shape (k, d)."""
        return Expectation(self.statistics.recentred(origin), self.likelihood)


@persistent("m-step-1")
@dataclass(frozen=True, slots=True)
class MStepInfo:
    """Decisions of an M-step."""

    # components with (almost) no rows; they keep their means and get the average covariance of the others
    starved: tuple[int, ...] = ()
    held: tuple[int, ...] = ()  # components with too few rows to learn from yet; they keep their means and covariances


def compute_expected_log_density(statistics: Statistics, parameters: Parameters) -> float:
    """Return s·θ: the sum of w·r·(log π + log N), in nats, for any parameters."""
    about = statistics if statistics.origin is parameters.means else statistics.recentred(parameters.means)
    factors = parameters.precision_factors
    precisions = factors @ factors.transpose(0, 2, 1) if factors.ndim == 3 else factors**2
    present = about.counts > 0
    return float(about.counts[present] @ parameters.constants[present] - 0.5 * np.sum(precisions * about.products))


def compute_bound(expectation: Expectation, parameters: Parameters) -> float:
    """Return the free energy s·θ + H, nats: a lower bound of the log-likelihood for any parameters.

    Statistics and entropy of each row must come from the same responsibilities (Neal & Hinton, 1998).
    """
    return compute_expected_log_density(expectation.statistics, parameters) + expectation.likelihood.entropy


def count_component_parameters(structure: CovarianceStructure, n_features: int) -> int:
    """Return the free parameters of one component, and so the rows that it needs to learn them."""
    return n_features + structure.n_parameters(1, n_features)


def make_pseudo_statistics(parameters: Parameters, structure: CovarianceStructure, reg_covar: float) -> Statistics:
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
    current: Parameters | None = None,
    least_rows: float = 0.0,
) -> tuple[Parameters, MStepInfo]:
    """Return the parameters that fit the statistics best: the M-step.

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
    current : Parameters, optional
        The parameters so far; needed where ``least_rows`` is positive.
    least_rows : float, default=0.0
        A component with fewer rows keeps its ``current`` mean and covariance (of a shared matrix only the mean).

    Returns
    -------
    parameters : Parameters
    info : MStepInfo
        Components that were starved or held.

    Raises
    ------
    DegenerateError
        A covariance cannot be inverted, or a statistic is not finite.
    InputError
        All weights are zero.

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
    held = statistics.counts * (1.0 if effective_rows is None else effective_rows / total) < least_rows
    if held.any() and current is not None:
        parameters = _hold_components(parameters, current, held)
    return parameters, MStepInfo(*(tuple(np.flatnonzero(mask).tolist()) for mask in (starved, held)))


def _hold_components(parameters: Parameters, current: Parameters, held: NDArray[np.bool_]) -> Parameters:
    means = np.where(held[:, None], current.means, parameters.means)
    covariances, factors = parameters.covariances, parameters.precision_factors
    if len(covariances) == len(held):
        mask = held.reshape(-1, *[1] * (covariances.ndim - 1))
        covariances = np.where(mask, current.covariances, covariances)
        factors = np.where(mask, current.precision_factors, factors)
    return Parameters(parameters.weights, means, covariances, factors)


NO_WEIGHT = "Sample weights must contain at least one non-zero number."
ILL_DEFINED = (
    "Fitting the mixture model failed because some components have ill-defined empirical covariance (for instance "
    "caused by singleton or collapsed samples). Try to decrease the number of components, increase reg_covar, or scale "
    "the input data."
)


def make_parameters(weights: Array, means: Array, covariances: Array, structure: CovarianceStructure) -> Parameters:
    """Return parameters with the factors of their precisions; raises DegenerateError if a covariance has none."""
    try:
        factors = structure.factorize(covariances)
    except np.linalg.LinAlgError:
        raise DegenerateError(ILL_DEFINED) from None
    if not np.isfinite(factors).all():
        raise DegenerateError(ILL_DEFINED)
    return Parameters(weights, means, covariances, factors)
