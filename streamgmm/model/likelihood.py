"""Log-likelihoods of rows, in nats, and running moments of log-densities."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from streamgmm.persistence.codec import persistent


@persistent("log-likelihood-1")
@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """Log-likelihood of rows and the sums that criteria need, in nats; those of disjoint rows add up.

    Parameters
    ----------
    total : float
        Sum of w·log f(x) under the parameters used.
    entropy : float
        H = −sum of w·r·log r, the entropy of the responsibilities.
    classification : float
        Sum of w·log max_k r, the term that ICL adds to BIC (Biernacki, Celeux & Govaert, 2000).
    weight : float
        Sum of w; the number of rows without sample weights.
    rows : int
        Number of rows, whatever their weights.
    version : int or None
        Hash of the parameters; None once sums under different parameters were added.

    Examples
    --------
    >>> a = LogLikelihood(-3.0, 0.1, -0.1, 2.0, 2, version=7)
    >>> (a + a).mean, (a + a).version
    (-1.5, 7)
    >>> (a + LogLikelihood(-1.0, 0.0, 0.0, 1.0, 1, version=8)).version is None
    True
    """

    total: float
    entropy: float
    classification: float
    weight: float
    rows: int
    version: int | None

    def __add__(self, other: LogLikelihood) -> LogLikelihood:
        """Return the log-likelihood of the rows of both."""
        return LogLikelihood(
            self.total + other.total,
            self.entropy + other.entropy,
            self.classification + other.classification,
            self.weight + other.weight,
            self.rows + other.rows,
            self.version if self.version == other.version else None,
        )

    def __rmul__(self, factor: float) -> LogLikelihood:
        """Count every row ``factor`` times; ``rows`` stays the number of rows."""
        total, entropy, classification, weight = (
            factor * part for part in (self.total, self.entropy, self.classification, self.weight)
        )
        return LogLikelihood(total, entropy, classification, weight, self.rows, self.version)

    @property
    def mean(self) -> float:
        """Log-likelihood per unit of weight: per row without sample weights."""
        return self.total / self.weight


@dataclass(frozen=True, slots=True)
class RunningMoments:
    """Weight, mean, and sum of squared deviations of values such as log-densities; they add up.

    Examples
    --------
    >>> one = RunningMoments.from_values(np.array([1.0, 3.0]))
    >>> one + RunningMoments.from_values(np.array([2.0]), weights=np.array([2.0]))
    RunningMoments(weight=4.0, mean=2.0, squares=2.0)
    """

    weight: float
    mean: float
    squares: float  # sum of w·(value − mean)²

    @classmethod
    def from_values(cls, values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> RunningMoments:
        """Return the moments of values in memory."""
        weights = np.ones(len(values)) if weights is None else weights
        weight = float(weights.sum())
        if weight == 0.0:
            return cls(0.0, 0.0, 0.0)
        mean = float(weights @ values / weight)
        return cls(weight, mean, float(weights @ (values - mean) ** 2))

    def __add__(self, other: RunningMoments) -> RunningMoments:
        """Return the moments of the values of both (Chan, Golub & LeVeque, 1983)."""
        weight = self.weight + other.weight
        if weight == 0.0:
            return self
        step = other.mean - self.mean
        mean = self.mean + step * other.weight / weight
        return RunningMoments(
            weight, mean, self.squares + other.squares + step**2 * self.weight * other.weight / weight
        )

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, for independent rows."""
        return sqrt(self.squares) / self.weight
