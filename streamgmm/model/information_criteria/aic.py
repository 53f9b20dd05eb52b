"""Akaike's information criterion."""

from __future__ import annotations

from streamgmm.model.information_criteria.criterion_base import SelectionCriterion


class AIC(SelectionCriterion):
    """Akaike's information criterion, −2·l + 2·ν (Akaike, 1974)."""

    name = "aic"
    label = "AIC"
    purpose = "density"
    targets_density = True

    def evaluate(
        self, log_likelihood: float, classification: float | None, n_samples: float, n_parameters: int
    ) -> float:
        """Return −2·l + 2·ν."""
        return -2 * log_likelihood + 2 * n_parameters
