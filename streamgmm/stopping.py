"""When a fit has converged. Knows log-likelihoods only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Stop once the mean log-likelihood changes by less than ``tol`` nats a row between iterations.

    scikit-learn's rule: the likelihood is that of the parameters before the M-step.

    Examples
    --------
    >>> rule = Tolerance(1e-3)
    >>> rule(previous=-2.0, current=-1.9999), rule(previous=-2.0, current=-1.9)
    (True, False)
    """

    tol: float

    def __call__(self, previous: float, current: float) -> bool:
        """Whether to stop."""
        return abs(current - previous) < self.tol
