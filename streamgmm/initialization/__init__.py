"""Where EM begins: a sample of the rows, and starting parameters from it."""

from streamgmm.initialization.candidates import RESERVOIR, TOO_FEW_ROWS, candidates, continued, drawn
from streamgmm.initialization.given import Given
from streamgmm.initialization.reservoir import Reservoir, sample
from streamgmm.initialization.starts import MANY_WAYS, WAYS, start

__all__ = [
    "MANY_WAYS",
    "RESERVOIR",
    "TOO_FEW_ROWS",
    "WAYS",
    "Given",
    "Reservoir",
    "candidates",
    "continued",
    "drawn",
    "sample",
    "start",
]
