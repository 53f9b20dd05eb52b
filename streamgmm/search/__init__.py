"""Finding a better optimum: many starts and moves between optima, tried on a sample of the rows."""

from streamgmm.search.finishing import finished
from streamgmm.search.moves import improved, moves, resized
from streamgmm.search.restarts import Restarts, is_tiny, searched, starts
from streamgmm.search.trials import Trials

__all__ = ["Restarts", "Trials", "finished", "improved", "is_tiny", "moves", "resized", "searched", "starts"]
