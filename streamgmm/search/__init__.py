"""Finding a better optimum: many starts and moves between optima, tried on a sample of the rows."""

from streamgmm.search.exchanging import PLACED, looked_again
from streamgmm.search.finishing import Finishing, finished
from streamgmm.search.ladder import Rung, ladder, log_densities
from streamgmm.search.moves import resized
from streamgmm.search.restarts import Restarts
from streamgmm.search.starting import is_little, polished, starts
from streamgmm.search.trials import Trials
from streamgmm.search.unexplained import SecondLook

__all__ = [
    "PLACED",
    "Finishing",
    "Restarts",
    "Rung",
    "SecondLook",
    "Trials",
    "finished",
    "is_little",
    "ladder",
    "log_densities",
    "looked_again",
    "polished",
    "resized",
    "starts",
]
