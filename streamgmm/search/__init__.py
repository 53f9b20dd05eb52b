"""Finding a better optimum: many starts and moves between optima, tried on a sample of the rows."""

from streamgmm.search.finishing import finished
from streamgmm.search.moves import resized
from streamgmm.search.restarts import Restarts, is_little, starts
from streamgmm.search.trials import Trials

__all__ = ["Restarts", "Trials", "finished", "is_little", "resized", "starts"]
