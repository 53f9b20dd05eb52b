"""Stopping rules: they decide from the log-likelihoods of the passes so far whether a fit has converged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

LEAST_FACTOR = 0.5  # of successive gains, at least: fast first passes do not predict the later ones
ESTIMATE_SHARE = 0.1  # of the allowed gain that an estimated remaining gain may have
SMALL_GAIN, SMALL_GAIN_BEFORE_MOVES = 1e-4, 1e-2  # of the allowed gain: three passes that gain less end a fit


class StoppingRule(Protocol):
    """Decides from mean log-likelihoods or their lower bounds, one a pass, nats a row.

    A rule for one algorithm may read the state of the algorithm.
    """

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Return True to stop."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Stop once the mean log-likelihood changes by less than ``tol`` nats a row between passes.

    This is scikit-learn's rule: the likelihood is that of the parameters before the M-step.

    Examples
    --------
    >>> rule = Tolerance(1e-3)
    >>> rule([-2.0, -1.9999]), rule([-2.0, -1.9]), rule([-2.0])
    (True, False, False)
    """

    tol: float

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Return True to stop."""
        return len(bounds) > 1 and abs(bounds[-1] - bounds[-2]) < self.tol


@dataclass(frozen=True, slots=True)
class SafeguardedTolerance:
    """`Tolerance` for algorithms that reject steps: the pass after a rejected step decides.

    After a rejected step the bound is exactly the one before, which says nothing of convergence. The next pass is a
    plain EM step.

    Examples
    --------
    >>> rule = SafeguardedTolerance(1e-3)
    >>> rule([-2.0, -1.9, -1.9]), rule([-2.0, -1.9, -1.9, -1.8999]), rule([-1.9, -1.9, -1.9])
    (False, True, True)
    """

    tol: float

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Return True to stop."""
        is_rejected = len(bounds) > 1 and bounds[-1] == bounds[-2] and (len(bounds) < 3 or bounds[-2] != bounds[-3])
        return not is_rejected and Tolerance(self.tol)(bounds)


@dataclass(frozen=True, slots=True)
class AitkenStop:
    """Stop once the estimated gain of all further passes is at most ``gain`` nats a row.

    Aitken extrapolation of gains that fall by a constant factor a, ``D·a / (1 − a)`` (Böhning et al., 1994).

    Examples
    --------
    >>> rule = AitkenStop(1e-3)
    >>> rule([-2.0, -1.9, -1.89]), rule([-2.0, -1.9, -1.8999]), rule([-2.0, -1.9999])
    (False, True, False)
    """

    gain: float

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Return True to stop."""
        if len(bounds) < 3:
            return False
        before, latest = bounds[-2] - bounds[-3], bounds[-1] - bounds[-2]
        # where nothing is gained, only rounding is left
        return latest <= 0.0 or _extrapolate(before, latest) <= self.gain


@dataclass(frozen=True, slots=True)
class AcceleratedStop:
    """Stop accelerated EM, whose gains fall by no constant factor, once little gain remains.

    Two estimates must both be at most a tenth of ``gain``, because slowly converging directions show up last: Aitken
    extrapolation of the gains of four passes, and ``state.remaining_gain``. Three passes that together gain hardly
    anything are enough, too. Neither counts where a step was limited, where few curvature pairs are known, or before
    acceleration begins: a start may lie on a plateau. But where gains halve and halve again, EM is fast. A falling
    likelihood means that the regularization is felt, and ends the fit.

    Parameters
    ----------
    gain : float
        Nats a row.
    leaves_plateaus : bool, default=True
        False takes plateaus for ends: where split and merge moves follow, those lead away sooner.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> state = SimpleNamespace(
    ...     is_accelerating=True, n_plain_passes=0, remaining_gain=1.0, is_step_limited=False, has_full_memory=True
    ... )
    >>> rule = AcceleratedStop(1e-3)
    >>> rule([-2.0, -1.9, -1.8, -1.79], state), rule([-2.0, -2.0, -1.99999997, -1.99999996], state)
    (False, True)
    """

    gain: float
    leaves_plateaus: bool = True

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Return True to stop."""
        if not state.is_accelerating or len(bounds) <= state.n_plain_passes:
            return self._converges_fast(bounds) if self.leaves_plateaus else AitkenStop(self.gain)(bounds)
        accelerated = bounds[state.n_plain_passes :]
        if len(accelerated) < 4:
            return self.leaves_plateaus and not state.is_step_limited and self._converges_fast(bounds)
        three = accelerated[-1] - accelerated[-4]
        if three <= (0.0 if self.leaves_plateaus else SMALL_GAIN_BEFORE_MOVES * self.gain):
            return True
        if state.is_step_limited or (self.leaves_plateaus and not state.has_full_memory):
            return False
        if three <= SMALL_GAIN * self.gain:
            return True
        allowed = (ESTIMATE_SHARE if self.leaves_plateaus else 1.0) * self.gain
        if len(accelerated) < 9 or not state.remaining_gain <= allowed:
            return False
        return _extrapolate(accelerated[-5] - accelerated[-9], accelerated[-1] - accelerated[-5]) <= allowed

    def _converges_fast(self, bounds: Sequence[float]) -> bool:
        """Return True where the latest gain is small, and the last two gains have each halved at least."""
        if len(bounds) < 4:
            return False
        first, second, third = (bounds[index + 1] - bounds[index] for index in (-4, -3, -2))
        is_small = 0.0 < third <= min(LEAST_FACTOR * second, ESTIMATE_SHARE * self.gain)
        return is_small and second <= LEAST_FACTOR * first


@dataclass(frozen=True, slots=True)
class MaxPasses:
    """Rule that never stops: every pass that is allowed is used.

    Examples
    --------
    >>> MaxPasses()([-2.0, -2.0])
    False
    """

    def __call__(self, bounds: Sequence[float], state: Any = None) -> bool:
        """Return True to stop."""
        return False


def _extrapolate(before: float, latest: float) -> float:
    """Return the gain of all further passes after two gains (Aitken); infinite where they do not fall."""
    factor = max(LEAST_FACTOR, latest / before) if before > 0.0 else 1.0
    return latest * factor / (1.0 - factor) if factor < 1.0 else float("inf")
