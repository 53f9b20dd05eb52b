"""The log-likelihood tally that is kept beside the statistics, in nats.

It knows nothing of data or models; it only refuses to let sums over different parameters look exact.
"""

from __future__ import annotations

from dataclasses import dataclass


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
