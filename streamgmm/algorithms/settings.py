"""Settings of EM that all algorithms share."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from streamgmm.algorithms.schedules import HalfLife, PowerDecay, Schedule
from streamgmm.algorithms.stepwise import Stepwise
from streamgmm.algorithms.window import WINDOW_ENTRIES
from streamgmm.model.covariances import CovarianceStructure

UPDATES_PER_PASS = 300  # enough steps to reach far, each on enough rows
LEAST_BATCH, LARGEST_BATCH = 1_000, 100_000
BATCHES_PER_HALF_LIFE = 16


@dataclass(frozen=True, slots=True)
class EMSettings:
    """Settings of EM."""

    structure: CovarianceStructure
    reg_covar: float
    batch_size: int | None = None  # rows of an update; None to choose by the number of rows
    schedule: Schedule | None = None  # step sizes; None for the default
    averaging: bool | None = None  # report the sum over all batches; None where the steps of the schedule shrink
    half_life: float | None = None  # rows after which half is forgotten
    window: int | None = None  # rows of a sliding window
    tol: float | None = None  # gain, nats a row, below which a fit has converged; None for the default of the algorithm

    @property
    def is_forgetting(self) -> bool:
        """True where the latest rows count more, so that their order must be kept."""
        is_constant = self.schedule is not None and not self.schedule.averages
        return self.window is not None or self.half_life is not None or is_constant

    def choose_batch_size(self, n_rows: int | None) -> int:
        """Return the rows of an update, where ``n_rows`` are known to come."""
        if self.batch_size is not None:
            size = self.batch_size
        else:
            size = LEAST_BATCH if n_rows is None else min(max(n_rows // UPDATES_PER_PASS, LEAST_BATCH), LARGEST_BATCH)
        if self.window is not None:
            size = min(size, ceil(self.window / WINDOW_ENTRIES))
        if self.half_life is not None:
            size = min(size, ceil(self.half_life / BATCHES_PER_HALF_LIFE))
        return size

    def make_stepwise(self, n_rows: int | None) -> Stepwise:
        """Return stepwise EM with these settings."""
        forgetting = None if self.half_life is None else HalfLife(self.half_life)
        schedule = forgetting or self.schedule or PowerDecay()
        averaging = schedule.averages if self.averaging is None else self.averaging
        batch_size = self.choose_batch_size(n_rows)
        return Stepwise(schedule, batch_size, self.structure, self.reg_covar, averaging, forgetting)
