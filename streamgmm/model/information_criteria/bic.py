"""Bayesian information criterion."""

from __future__ import annotations

from math import log

from streamgmm.model.information_criteria.criterion_base import SelectionCriterion


class BIC(SelectionCriterion):
    """Bayesian information criterion, −2·l + ν·log N (Schwarz, 1978); mclust's is its negative."""

    name = "bic"
    label = "BIC"
    purpose = "the mixture that rows were drawn from"

    def evaluate(
        self, log_likelihood: float, classification: float | None, n_samples: float, n_parameters: int
    ) -> float:
        """Return −2·l + ν·log N."""
        return -2 * log_likelihood + n_parameters * log(n_samples)
