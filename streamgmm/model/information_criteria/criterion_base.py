"""Interface of a criterion of model selection."""

from __future__ import annotations

from math import nan
from typing import ClassVar


class SelectionCriterion:
    """Criterion by which one of several fitted mixtures is chosen.

    Attributes
    ----------
    name : str
        Key in the table of criteria, column of the results and choice of the command line.
    label : str
        Name in plots and printed tables.
    purpose : str
        Half a sentence for the command line's help: what the chosen mixture is good for.
    lower_is_better : bool, default=True
        Sign of the scale; information criteria have scikit-learn's.
    uses_classification : bool, default=False
        True if the value depends on responsibilities. If not, it is known after every pass of EM, and candidates that
        cannot win are dropped early.
    from_held_out : bool, default=False
        True if the value comes from held-out rows, and `evaluate` does not apply.
    targets_density : bool, default=False
        True if the best density is sought, not the number of clusters. Rows that arrive later are then compared by
        their prequential log-likelihood alone.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    purpose: ClassVar[str]
    lower_is_better: ClassVar[bool] = True
    uses_classification: ClassVar[bool] = False
    from_held_out: ClassVar[bool] = False
    targets_density: ClassVar[bool] = False

    def evaluate(
        self, log_likelihood: float, classification: float | None, n_samples: float, n_parameters: int
    ) -> float:
        """Return the value of the criterion, in units of −2 nats.

        Parameters
        ----------
        log_likelihood : float
            Of all rows, in nats.
        classification : float or None
            Sum over rows of the log of the largest responsibility, in nats; None if unknown.
        n_samples : float
            Number of rows, or sum of their weights.
        n_parameters : int
            Free parameters of the mixture.

        Returns
        -------
        float
            NaN if the criterion cannot be computed from these.
        """
        return nan

    @property
    def allows_early_dropping(self) -> bool:
        """True if the log-likelihood of a pass is enough to evaluate the criterion."""
        return not (self.uses_classification or self.from_held_out)
