"""What an algorithm is to the one loop: a state, and an update that sometimes hands a surrogate to the M-step."""

from __future__ import annotations

from typing import Protocol, TypeVar

from streamgmm.em import Expectation, Surrogate

State = TypeVar("State")


class Strategy(Protocol[State]):
    """One algorithm. Its state is plain arrays and numbers, so that it can be saved and tested for free."""

    def init(self) -> State:
        """State before the first wave."""

    def update(self, state: State, expectation: Expectation | None, last: bool) -> tuple[Surrogate | None, State]:
        """Take the expectation of one wave, ``last`` of its pass; return what the M-step shall see, if anything.

        ``expectation`` is None where a wave has no rows.
        """
