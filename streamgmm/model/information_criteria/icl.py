"""Integrated completed likelihood."""

from __future__ import annotations

from math import nan

from streamgmm.model.information_criteria.bic import BIC


class ICL(BIC):
    """Integrated completed likelihood: BIC plus a penalty for ambiguous rows (Biernacki, Celeux & Govaert, 2000)."""

    name = "icl"
    label = "ICL"
    purpose = "clusters that are apart"
    uses_classification = True

    def evaluate(
        self, log_likelihood: float, classification: float | None, n_samples: float, n_parameters: int
    ) -> float:
        """Return BIC − 2·sum of log max_k r; NaN if that sum is unknown."""
        if classification is None:
            return nan
        return super().evaluate(log_likelihood, None, n_samples, n_parameters) - 2 * classification
