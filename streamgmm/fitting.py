"""A whole fit: all candidates through the one loop until each has converged or used up its passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamgmm.covariances import CovarianceStructure
from streamgmm.iteration import Step, iterate
from streamgmm.parameters import Parameters
from streamgmm.sources.source import Source
from streamgmm.stopping import Tolerance
from streamgmm.strategies import Batch


@dataclass(slots=True)
class Trajectory:
    """What became of one start.

    Attributes
    ----------
    parameters : Parameters
        The latest.
    lower_bounds : list of float
        Mean log-likelihood in nats a row of the parameters before each M-step.
    converged : bool
    starved : tuple of int
        Components that had no rows in the last M-step.
    """

    parameters: Parameters
    lower_bounds: list[float] = field(default_factory=list)
    converged: bool = False
    starved: tuple[int, ...] = ()

    @property
    def lower_bound(self) -> float:
        """The latest, minus infinity before the first M-step."""
        return self.lower_bounds[-1] if self.lower_bounds else -np.inf


def batch_em(
    source: Source,
    starts: Sequence[Parameters],
    structure: CovarianceStructure,
    *,
    reg_covar: float,
    stop: Tolerance,
    max_iter: int,
    previous: float = -np.inf,
    watch: Callable[[Step], None] | None = None,
) -> list[Trajectory]:
    """Run batch EM from every start in shared passes.

    ``previous`` is the lower bound that the first is compared with, where a fit goes on; ``watch`` sees every step.
    """
    trajectories = [Trajectory(start) for start in starts]
    if max_iter == 0:
        return trajectories
    going = set(range(len(starts)))
    loop = iterate(source, starts, Batch(), structure, reg_covar)
    step = next(loop)
    while True:
        for update in step.updates:
            trajectory = trajectories[update.candidate]
            before = trajectory.lower_bound if trajectory.lower_bounds else previous
            trajectory.lower_bounds.append(update.likelihood.mean)
            trajectory.parameters = update.parameters
            trajectory.starved = update.info.starved
            trajectory.converged = stop(before, update.likelihood.mean)
            if trajectory.converged or len(trajectory.lower_bounds) == max_iter:
                going.discard(update.candidate)
        if watch is not None:
            watch(step)
        if not going:
            loop.close()
            return trajectories
        step = loop.send(going)


def best(trajectories: Sequence[Trajectory]) -> Trajectory:
    """The one with the largest lower bound; the first of equals."""
    return max(trajectories, key=lambda trajectory: trajectory.lower_bound)
