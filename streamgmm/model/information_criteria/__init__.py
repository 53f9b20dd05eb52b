"""Criteria by which `streamgmm.select` chooses, one file each, and the table of their names.

The column of the results table, the choices and help of the command line, the curves of `streamgmm.plot.selection` and
the messages derive from this table: a new criterion is a file and a row.
"""

from streamgmm.errors import InputError
from streamgmm.model.information_criteria.aic import AIC
from streamgmm.model.information_criteria.bic import BIC
from streamgmm.model.information_criteria.criterion_base import SelectionCriterion
from streamgmm.model.information_criteria.held_out_density import HeldOutDensity
from streamgmm.model.information_criteria.icl import ICL

CRITERIA: dict[str, SelectionCriterion] = {
    criterion.name: criterion for criterion in (BIC(), AIC(), ICL(), HeldOutDensity())
}
DEFAULT_CRITERION = "bic"


def find_criterion(name: str) -> SelectionCriterion:
    """Return the criterion of a name; raises InputError, with the known names, where there is none."""
    if name not in CRITERIA:
        raise InputError(f"criterion is {name!r}; choose one of {', '.join(map(repr, CRITERIA))}.")
    return CRITERIA[name]


def list_likelihood_criteria() -> list[SelectionCriterion]:
    """Return the criteria that follow from the log-likelihood of all rows, without held-out ones."""
    return [criterion for criterion in CRITERIA.values() if not criterion.from_held_out]


__all__ = [
    "AIC",
    "BIC",
    "CRITERIA",
    "DEFAULT_CRITERION",
    "ICL",
    "HeldOutDensity",
    "SelectionCriterion",
    "find_criterion",
    "list_likelihood_criteria",
]
