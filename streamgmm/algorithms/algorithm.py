"""What an algorithm is to the one loop: a state, and an update that sometimes hands a surrogate to the M-step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from streamgmm.data.execution import ChunkGroup
from streamgmm.model.em import Expectation, Surrogate
from streamgmm.model.parameters import Parameters

State = TypeVar("State")


class AlgorithmState:
    """Base of the states of algorithms, by which a checkpoint recognizes them."""

    __slots__ = ()


class Algorithm(Protocol[State]):
    """One algorithm. Its state is plain arrays and numbers, so that it can be saved and tested for free."""

    def init(self, start: Parameters) -> State:
        """State before the first wave."""

    def update(
        self, state: State, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[Surrogate | None, State]:
        """Take what the E-step says of one wave; return what the M-step shall see, if anything.

        One expectation, or one for each entry of the wave; none where it has no rows. The parameters change only where
        ``wave.complete``.
        """

    def covered(self, state: State) -> Expectation | None:
        """Every row of the pass so far, once: what bounds the log-likelihood below. None where it is not kept."""

    def reported(self, state: State) -> Surrogate | None:
        """Statistics that say more than the last surrogate, to report parameters from; None where none do."""
