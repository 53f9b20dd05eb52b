"""Where EM begins: a sample of the rows, and starting parameters from it."""

from streamgmm.initialization.candidates import TOO_FEW_ROWS, candidates, continued, drawn, rows_to_keep
from streamgmm.initialization.given import Given
from streamgmm.initialization.lloyd import partitions
from streamgmm.initialization.reservoir import Drawn, Reservoir, Sampling, drawn_of, sample, smallest
from streamgmm.initialization.starts import MANY_WAYS, WAYS, start, whitened

__all__ = [
    "MANY_WAYS",
    "TOO_FEW_ROWS",
    "WAYS",
    "Drawn",
    "Given",
    "Reservoir",
    "Sampling",
    "candidates",
    "continued",
    "drawn",
    "drawn_of",
    "partitions",
    "rows_to_keep",
    "sample",
    "smallest",
    "start",
    "whitened",
]
