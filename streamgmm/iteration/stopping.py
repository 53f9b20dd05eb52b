"""When a fit has converged. Knows log-likelihoods only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

HALVED = 0.5  # what of a gain is left for the next at least
SURELY = 0.1  # of what may remain: an estimate of it
HARDLY, HASTILY = 1e-4, 1e-2  # the same: gains of three passes


class StoppingRule(Protocol):
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
class AitkenStop:
    """Stop once what all further passes would gain is at most ``gain`` nats a row.

    Aitken's extrapolation of gains that fall by the same factor a each pass, ``D·a / (1 − a)`` (Böhning et al., 1994).
    They are taken to halve at best: the first passes gain what is gained fast, and say nothing of the rest.

    Examples
    --------
    >>> rule = AitkenStop(1e-3)
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
class AcceleratedStop:
    """`AitkenStop` for accelerated EM, whose gains come as strides come, and fall by no constant factor.

    Both must leave no more than a tenth of ``gain``, since the slowest part of a fit is the last to be seen: the gains
    of four passes beside those of the four before, which are taken to halve at best; and the gradient with the slowness
    that was seen (``state.remaining``, nats a row). Three passes that together gain hardly anything are enough, too.
    Neither tells anything where a stride would have led on (``state.led_on``) or few steps are known
    (``state.informed``), nor before strides begin (``state.striding``): a start may be on a plateau. But where gains
    halve and halve again, EM is fast. Where the likelihood falls, since what is added to variances is felt, there is
    nothing left to gain.

    ``patient=False`` takes plateaus for ends: where moves follow, those lead away sooner.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> going = SimpleNamespace(striding=True, plain=0, remaining=1.0, led_on=False, informed=True)
    >>> rule = AcceleratedStop(1e-3)
    >>> rule([-2.0, -1.9, -1.8, -1.79], going), rule([-2.0, -2.0, -1.99999997, -1.99999996], going)
    (False, True)
    """

    gain: float
    patient: bool = True

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Whether to stop."""
        if not state.striding or len(bounds) <= state.plain:
            return self._fast(bounds) if self.patient else AitkenStop(self.gain)(bounds)
        strides = bounds[state.plain :]
        if len(strides) < 4:
            return self.patient and not state.led_on and self._fast(bounds)
        three = strides[-1] - strides[-4]
        if three <= (0.0 if self.patient else HASTILY * self.gain):
            return True
        if state.led_on or (self.patient and not state.informed):
            return False
        if three <= HARDLY * self.gain:
            return True
        gain = (SURELY if self.patient else 1.0) * self.gain
        if len(strides) < 9 or not state.remaining <= gain:
            return False
        before, now = strides[-5] - strides[-9], strides[-1] - strides[-5]
        factor = max(HALVED, now / before) if before > 0.0 else 1.0
        return factor < 1.0 and now * factor / (1.0 - factor) <= gain

    def _fast(self, bounds: Sequence[float]) -> bool:
        """Whether the latest gain is small, half of that before it at most, and that half of the one before."""
        if len(bounds) < 4:
            return False
        first, second, third = (bounds[place + 1] - bounds[place] for place in (-4, -3, -2))
        return 0.0 < third <= min(HALVED * second, SURELY * self.gain) and second <= HALVED * first


@dataclass(frozen=True, slots=True)
class MaxPasses:
    """Use every pass that is allowed.

    Examples
    --------
    >>> MaxPasses()([-2.0, -2.0])
    False
    """

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Whether to stop."""
        return False
