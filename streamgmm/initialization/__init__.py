"""Where EM begins: a sample of the rows, and starting parameters from it."""

from streamgmm.initialization.given import Given
from streamgmm.initialization.reservoir import Reservoir, sample
from streamgmm.initialization.starts import WAYS, start

__all__ = ["WAYS", "Given", "Reservoir", "sample", "start"]
