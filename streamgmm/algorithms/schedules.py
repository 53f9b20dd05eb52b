"""Step-size schedules: the weight of the newest batch.

A schedule counts rows, not batches, so that many small batches move the statistics as far as one large one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from streamgmm.persistence.codec import persistent


class Schedule(Protocol):
    """Step-size schedule."""

    @property
    def averages(self) -> bool:
        """True for steps that shrink: the sum over all batches is then a better estimate than the latest statistics."""

    def __call__(self, before: float, rows: float, batch_size: float) -> float:
        """Return the step of ``rows`` rows after ``before`` others; the formula counts in steps of ``batch_size``."""


@persistent("schedule-power-1")
@dataclass(frozen=True, slots=True)
class PowerDecay:
    """Step size ``γ = t^−α`` at ``t = before / batch_size`` (Cappé & Moulines, 2009; Nguyen, Forbes & McLachlan, 2020).

    The statistics converge where ``½ < α ≤ 1``: the steps sum to infinity, their squares do not (Robbins & Monro,
    1951). A batch of another size takes ``1 − (1 − γ)^(rows / batch_size)``, as many steps at once.

    Parameters
    ----------
    exponent : float, default=0.6
        α.

    Examples
    --------
    >>> schedule = PowerDecay(0.5)
    >>> schedule(before=400, rows=100, batch_size=100), schedule(before=400, rows=200, batch_size=100)
    (0.5, 0.75)
    """

    averages: ClassVar[bool] = True
    exponent: float = 0.6

    def __post_init__(self) -> None:
        if not 0.5 <= self.exponent <= 1.0:
            raise ValueError(
                f"exponent is {self.exponent}; give one from 0.5 to 1, above which steps die out too soon."
            )

    def __call__(self, before: float, rows: float, batch_size: float) -> float:
        """Return the step of a batch."""
        return _repeat_step(min(1.0, (before / batch_size) ** -self.exponent) if before > 0 else 1.0, rows / batch_size)


@persistent("schedule-constant-1")
@dataclass(frozen=True, slots=True)
class Constant:
    """Constant step for every ``batch_size`` rows; the past is forgotten at a constant rate.

    Parameters
    ----------
    step : float
        Above 0, at most 1.

    Examples
    --------
    >>> Constant(0.5)(before=0, rows=200, batch_size=100)
    0.75
    """

    averages: ClassVar[bool] = False  # constant steps follow the data
    step: float

    def __post_init__(self) -> None:
        if not 0.0 < self.step <= 1.0:
            raise ValueError(f"step is {self.step}; give a number above 0 and at most 1.")

    def __call__(self, before: float, rows: float, batch_size: float) -> float:
        """Return the step of a batch."""
        return _repeat_step(self.step, rows / batch_size)


@persistent("schedule-reciprocal-1")
@dataclass(frozen=True, slots=True)
class Reciprocal:
    """Step size ``1/t``: the weight of the batch over that of everything learnt, so that all rows count alike.

    Examples
    --------
    >>> Reciprocal()(before=300, rows=100, batch_size=1)
    0.25
    """

    averages: ClassVar[bool] = False  # the statistics are those of all batches already

    def __call__(self, before: float, rows: float, batch_size: float) -> float:
        """Return the step of a batch."""
        return rows / (before + rows)


@persistent("schedule-half-life-1")
@dataclass(frozen=True, slots=True)
class HalfLife:
    """Exponential forgetting: a row counts half as much once ``rows`` more have come.

    Parameters
    ----------
    rows : float
        Half-life, rows; above 0.

    Examples
    --------
    >>> HalfLife(100)(before=0, rows=200, batch_size=1)
    0.75
    """

    averages: ClassVar[bool] = False  # the past is to be forgotten
    rows: float

    def __post_init__(self) -> None:
        if not self.rows > 0.0:
            raise ValueError(f"The half-life is {self.rows} rows; give a number above 0.")

    def __call__(self, before: float, rows: float, batch_size: float) -> float:
        """Return the step of a batch."""
        return float(1.0 - 2.0 ** (-rows / self.rows))


def _repeat_step(step: float, batches: float) -> float:
    return float(1.0 - (1.0 - step) ** batches)
