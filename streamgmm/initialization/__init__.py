"""Where EM begins: a sample of the rows, and starting parameters from it."""

from streamgmm.initialization.candidates import TOO_FEW_ROWS, candidates, continued
from streamgmm.initialization.given import Given
from streamgmm.initialization.reservoir import Reservoir, sample
from streamgmm.initialization.starts import WAYS, start

__all__ = ["TOO_FEW_ROWS", "WAYS", "Given", "Reservoir", "candidates", "continued", "sample", "start"]
