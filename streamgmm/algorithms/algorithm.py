"""The contract between an algorithm and the EM loop: a state, and an update that sometimes changes its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from streamgmm.data.execution import ChunkGroup
from streamgmm.model.em import Expectation, MStepInfo
from streamgmm.model.parameters import Parameters


@dataclass(frozen=True, slots=True, eq=False)
class UpdateInfo:
    """Facts about one change of the parameters."""

    latest: Expectation  # of the rows read since the last change, under the parameters before it
    effective_rows: float  # rows that the new parameters rest on
    m_step: MStepInfo = field(default_factory=MStepInfo)


class AlgorithmState:
    """Base of the states of algorithms: plain arrays and numbers, by which a checkpoint recognizes them.

    A state has ``parameters``, under which the next rows are read.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # a field or a property of each state

        @property
        def parameters(self) -> Parameters:
            """Parameters under which the next rows are read."""


class StreamState(AlgorithmState):
    """Base of the states of algorithms for streams, which keep the sum ``accumulated`` over the rows they remember."""

    __slots__ = ()

    if TYPE_CHECKING:  # a field or a property of each state

        @property
        def accumulated(self) -> Expectation | None:
            """Sum over the rows learnt; None before the first."""


State = TypeVar("State", bound=AlgorithmState)


class Algorithm(Protocol[State]):
    """EM algorithm. It holds the covariance structure and the regularization, and performs the M-step."""

    def init(self, start: Parameters) -> State:
        """Return the state before the first chunk group."""

    def update(
        self, state: State, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[State, UpdateInfo | None]:
        """Take the expectations of one chunk group.

        Parameters
        ----------
        state : State
            As the last update left it; never changed in place.
        expectations : sequence of Expectation
            Under ``state.parameters``: one, or one for each partition of the group; none where it has no rows.
        chunk_group : ChunkGroup
            Parameters may change only where ``chunk_group.ends_batch``.

        Returns
        -------
        state : State
            With new ``parameters`` if an update was due.
        info : UpdateInfo or None
            None where no update was due.

        Raises
        ------
        DegenerateError
            A covariance cannot be inverted.
        """

    def accumulated(self, state: State) -> Expectation | None:
        """Return the sum over every row of the pass so far, each counted once; None where no such sum is kept."""

    def report(self, state: State) -> tuple[Parameters, MStepInfo] | None:
        """Return better parameters to report than ``state.parameters``; None, the default, where there are none."""
        return None
