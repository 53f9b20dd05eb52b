"""When a fit has converged. Knows log-likelihoods only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

HALVED = 0.5  # what of a gain is left for the next at least


class Rule(Protocol):
    """Whether to stop, from the mean log-likelihoods (or their lower bounds) of the passes so far, nats a row.

    A rule for one strategy may look at the strategy's state.
    """

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Whether to stop."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Stop once the mean log-likelihood changes by less than ``tol`` nats a row between passes.

    scikit-learn's rule: the likelihood is that of the parameters before the M-step.

    Examples
    --------
    >>> rule = Tolerance(1e-3)
    >>> rule([-2.0, -1.9999]), rule([-2.0, -1.9]), rule([-2.0])
    (True, False, False)
    """

    tol: float

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Whether to stop."""
        return len(bounds) > 1 and abs(bounds[-1] - bounds[-2]) < self.tol


@dataclass(frozen=True, slots=True)
class Remaining:
    """Stop once what all further passes would gain is at most ``gain`` nats a row.

    Aitken's extrapolation of gains that fall by the same factor a each pass, ``D·a / (1 − a)`` (Böhning et al., 1994).
    They are taken to halve at best: the first passes gain what is gained fast, and say nothing of the rest.

    Examples
    --------
    >>> rule = Remaining(1e-3)
    >>> rule([-2.0, -1.9, -1.89]), rule([-2.0, -1.9, -1.8999]), rule([-2.0, -1.9999])
    (False, True, False)
    """

    gain: float

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Whether to stop."""
        if len(bounds) < 3:
            return False
        before, now = bounds[-2] - bounds[-3], bounds[-1] - bounds[-2]
        if now <= 0.0:  # rounding: there is nothing left to gain
            return True
        factor = max(HALVED, now / before) if before > 0.0 else 1.0
        return factor < 1.0 and now * factor / (1.0 - factor) <= self.gain


@dataclass(frozen=True, slots=True)
class Settled:
    """`Remaining` for accelerated EM, whose gains come as strides come, and fall by no constant factor.

    Both must agree: the gains of four passes beside those of the four before, which are taken to halve at best; and
    the gradient with the slowness that was seen (``state.remaining``, nats a row), unless a stride would have led on
    (``state.led_on``). Three passes that together gain a hundredth of what may remain are enough, too. Before strides
    begin (``state.plain`` passes), `Remaining` tells.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> rule, going = Settled(1e-3), SimpleNamespace(striding=True, plain=0, remaining=1.0, led_on=False)
    >>> rule([-2.0, -1.9, -1.8, -1.79], going), rule([-2.0, -1.999999, -1.999998, -1.999997], going)
    (False, True)
    """

    gain: float

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Whether to stop."""
        if not state.striding or len(bounds) <= state.plain:
            return Remaining(self.gain)(bounds)
        bounds = bounds[state.plain :]
        if len(bounds) < 4:
            return False
        if bounds[-1] - bounds[-4] <= 0.01 * self.gain:
            return True
        if len(bounds) < 9 or state.led_on or not state.remaining <= self.gain:
            return False
        before, now = bounds[-5] - bounds[-9], bounds[-1] - bounds[-5]
        factor = max(HALVED, now / before) if before > 0.0 else 1.0
        return factor < 1.0 and now * factor / (1.0 - factor) <= self.gain


@dataclass(frozen=True, slots=True)
class Never:
    """Use every pass that is allowed.

    Examples
    --------
    >>> Never()([-2.0, -2.0])
    False
    """

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Whether to stop."""
        return False
