"""The phases of a fit, in their order."""

from __future__ import annotations

from typing import Any

from streamgmm.fitting.context import FitContext
from streamgmm.fitting.driver import Phase
from streamgmm.fitting.em_phase import EMPhase
from streamgmm.fitting.final_pass import FinalPass
from streamgmm.fitting.refinement import RefinementPhase
from streamgmm.fitting.starts_phase import StartsPhase


def make_fit_phases(context: FitContext) -> list[Phase[Any]]:
    """Return the phases of a fit: starts, EM, refinement, final pass."""
    return [StartsPhase(context), EMPhase(context), RefinementPhase(context), FinalPass(context.source)]
