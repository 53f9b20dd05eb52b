"""Log-density of held-out rows."""

from __future__ import annotations

from streamgmm.model.information_criteria.criterion_base import SelectionCriterion


class HeldOutDensity(SelectionCriterion):
    """Mean log-density of validation rows under what each candidate learns from the other rows, in nats a row."""

    name = "heldout"
    label = "held-out rows"
    purpose = "the density of rows that were not learnt from"
    lower_is_better = False
    from_held_out = True
    targets_density = True
