"""The log-likelihood tally that is kept beside the statistics, in nats.

It knows nothing of data or models; it only refuses to let sums over different parameters look exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from streamgmm.persistence.codec import persistent


@persistent("log-likelihood-1")
@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """Sums over rows, in nats; they add up.

    Parameters
    ----------
    total : float
        Sum of w·log f(x) under the parameters used.
    entropy : float
        H = −sum of w·r·log r, the entropy of the responsibilities.
    classification : float
        Sum of w·log max_k r, the term that ICL adds to BIC (Biernacki, Celeux & Govaert, 2000).
    weight : float
        Sum of w; the number of rows where there are no sample weights.
    rows : int
        Number of rows, whatever their weights.
    version : int or None
        Names the parameters used; None once sums under different parameters were added.

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
        """Tally of the rows of both."""
        return LogLikelihood(
            self.total + other.total,
            self.entropy + other.entropy,
            self.classification + other.classification,
            self.weight + other.weight,
            self.rows + other.rows,
            self.version if self.version == other.version else None,
        )

    def __rmul__(self, factor: float) -> LogLikelihood:
        """Tally in which every row counts ``factor`` times; ``rows`` stays the number of rows."""
        return LogLikelihood(
            factor * self.total,
            factor * self.entropy,
            factor * self.classification,
            factor * self.weight,
            self.rows,
            self.version,
        )

    @property
    def mean(self) -> float:
        """Nats per unit of weight (per row where there are no sample weights)."""
        return self.total / self.weight


@dataclass(frozen=True, slots=True)
class RunningMoments:
    """Mean of log-densities of rows, or of differences of them, and how far they are from it; they add up.

    Parameters
    ----------
    weight : float
        Sum of the frequency weights.
    mean : float
        Nats a row.
    squares : float
        Sum of w·(value − mean)².

    Examples
    --------
    >>> one, other = RunningMoments.from_values(np.array([1.0, 3.0])), RunningMoments.from_values(np.array([2.0]), np.array([2.0]))
    >>> one + other, (one + other) == RunningMoments.from_values(np.array([1.0, 3.0, 2.0, 2.0]))
    (Spread(weight=4.0, mean=2.0, squares=2.0), True)
    """

    weight: float
    mean: float
    squares: float

    @classmethod
    def from_values(cls, values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> RunningMoments:
        """Of values at hand."""
        shares = np.ones(len(values)) if weights is None else weights
        weight = float(shares.sum())
        if weight == 0.0:
            return cls(0.0, 0.0, 0.0)
        mean = float(shares @ values / weight)
        return cls(weight, mean, float(shares @ (values - mean) ** 2))

    def __add__(self, other: RunningMoments) -> RunningMoments:
        """Of the values of both (Chan, Golub & LeVeque, 1983)."""
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
        """Of the mean, were the rows drawn independently."""
        return sqrt(self.squares) / self.weight
