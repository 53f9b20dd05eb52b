"""After EM has converged: components that explain nothing are put to use, and neighbouring optima are tried.

What is proposed was refined on a sample; it is taken only where EM over all rows comes to a higher likelihood with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization.split_merge import (
    FIRST_PASSES,
    MORE_PASSES,
    MOST_MOVES,
    PROPOSED,
    WORTH,
    ComponentArrays,
    merge_losses,
    moves,
    resize_mixture,
)
from streamgmm.initialization.validation import ValidationSplit, survivors
from streamgmm.iteration.history import Record
from streamgmm.iteration.loop import Step
from streamgmm.iteration.run import Run, Stage, Trajectory, best, fit
from streamgmm.iteration.stopping import AcceleratedStop
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent

ALIKE = 1e-4  # nats a row of theirs, up to which two components are one
NEAR = 0.1  # squared standard deviations, beyond which they are not
MOVED, LAST = "split and merge", "further EM"


def faults(trajectory: Trajectory) -> Iterator[tuple[str, ComponentArrays]]:
    """What makes components useless, in words, and the mixture without them: from statistics alone."""
    parts = ComponentArrays.of(trajectory.parameters)
    if starved := trajectory.starved:
        which = f"component {starved[0]}" if len(starved) == 1 else f"components {', '.join(map(str, starved))}"
        yield f"repair: {which} had no rows", parts.without(*starved)
        return
    for loss, one, other in merge_losses(parts, _near(trajectory.parameters)):
        weight = float(parts.weights[one] + parts.weights[other])
        if loss > ALIKE * weight:
            break
        yield (
            f"repair: components {one} and {other} were the same",
            parts.without(one, other).beside(parts.merged(one, other), weight),
        )


def _near(parameters: Parameters) -> NDArray[np.intp]:
    """Pairs of components of which one mean is near the other, in the one's standard deviations."""
    factors, found = parameters.precision_factors, []
    for one, mean in enumerate(parameters.means[:-1]):
        steps, factor = parameters.means[one + 1 :] - mean, factors[one % len(factors)]
        whitened = steps @ factor if factors.ndim == 3 else steps * factor
        others = one + 1 + np.flatnonzero((whitened**2).sum(axis=1) < NEAR)
        found.append(np.column_stack([np.full(len(others), one), others]))
    return np.concatenate([np.empty((0, 2), np.intp), *found])


def refined(candidates: list[Parameters], score: float, trials: ValidationSplit) -> list[Parameters]:
    """The best of some mixtures after more EM on the sample, as far as they are better than what has that score."""
    ran = survivors(trials.run(candidates, FIRST_PASSES))
    order = np.argsort(-trials.scores(ran))[:PROPOSED] if ran else ()
    settled = survivors(trials.run([ran[place] for place in order], MORE_PASSES, accelerated=True))
    scores = trials.scores(settled) if settled else ()
    return [one for one, now in zip(settled, scores, strict=True) if now > score + WORTH]


@persistent("refinement-1")
@dataclass(frozen=True, slots=True, eq=False)
class RefinementState:
    """Where the finish of a fit stands.

    Attributes
    ----------
    trajectory : Trajectory
        The best so far.
    passes : int
        That may yet be spent.
    refused : bool
        Whether a repair was tried that was no improvement.
    name : str
        What is being tried on all rows.
    run : Run or None
        How far that has come.
    """

    trajectory: Trajectory
    passes: int
    refused: bool = False
    name: str = ""
    run: Run | None = None


def refine(
    finishing: RefinementState,
    stage: Stage,
    structure: CovarianceStructure,
    *,
    reg_covar: float,
    split_merge: bool,
    sample: Callable[[], Subsample],
    watch: Callable[[Step, RefinementState], None] | None = None,
) -> Trajectory:
    """The trajectory, gone on with as long as a repair or, if wanted, a split and merge is an improvement.

    ``stage`` is how; ``sample`` is called at most once, and only where it is needed. EM goes on after the last
    move where it was left before its end, or a plateau was taken for it.
    """

    def saw(step: Step, run: Run) -> None:
        if watch is not None:
            watch(step, replace(finishing, run=run))

    trials: ValidationSplit | None = None
    while finishing.passes > 0:
        trajectory = finishing.trajectory
        tried: list[Trajectory] = []
        with suppress(DegenerateError):  # of a mixture that was only to be tried
            if finishing.run is None:
                wanting = None if finishing.refused else next(faults(trajectory), None)
                if wanting is None and not split_merge:
                    break
                if trials is None:
                    trials = ValidationSplit.of(sample(), structure, trajectory.parameters.n_components, reg_covar, 0)
                finishing = replace(finishing, name=MOVED if wanting is None else wanting[0])
                candidates = _proposed(trajectory.parameters, None if wanting is None else wanting[1], trials)
                if candidates:
                    finishing = replace(finishing, run=Run(tuple(Trajectory(one) for one in candidates)))
            if finishing.run is not None:
                plan = [replace(_patient(stage) if finishing.name == LAST else stage, most=None)]
                tried = fit(finishing.run, plan, structure, reg_covar=reg_covar, max_iter=finishing.passes, watch=saw)
        name, found = finishing.name, best([trajectory, *tried])
        improved = found is not trajectory
        passes = finishing.passes - max((len(one.lower_bounds) for one in tried), default=0)
        finishing = RefinementState(_joined(trajectory, name, found) if improved else trajectory, passes, not improved)
        if name == LAST:
            break
        if name == MOVED and not improved:
            if trajectory.converged and _patient(stage) is stage:
                break
            finishing = replace(finishing, name=LAST, run=Run((Trajectory(trajectory.parameters),)))
    return finishing.trajectory


def _patient(stage: Stage) -> Stage:
    """The same, but for plateaus."""
    if not isinstance(stage.stop, AcceleratedStop) or stage.stop.patient:
        return stage
    return replace(stage, stop=replace(stage.stop, patient=True))


def _proposed(parameters: Parameters, kept: ComponentArrays | None, trials: ValidationSplit) -> list[Parameters]:
    """What is better on the sample: with all components again beside those that are kept, or by moves."""
    if kept is not None:
        candidates = [resize_mixture(kept.mixture(trials.structure), parameters.n_components, trials)]
    else:
        candidates = list(islice(moves(parameters, trials), MOST_MOVES))
    settled = trials.run([parameters], MORE_PASSES, accelerated=True)[0] or parameters
    return refined(candidates, float(trials.scores([settled])[0]), trials)


def _joined(before: Trajectory, name: str, after: Trajectory) -> Trajectory:
    """One trajectory of two, with a record of what led from one to the other."""
    record = Record(name, 0, before.lower_bound, before.parameters.weights, 0.0)
    history = before.history.appended(record)
    for later in after.history:
        history = history.appended(later)
    return replace(after, lower_bounds=(*before.lower_bounds, *after.lower_bounds), history=history)
