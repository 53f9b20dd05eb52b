"""After EM has converged: components that explain nothing are put to use, and neighbouring optima are tried.

What is proposed was refined on a sample; it is taken only where EM over all rows comes to a higher likelihood with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from streamgmm.covariances import CovarianceStructure
from streamgmm.errors import DegenerateError
from streamgmm.fitting import Stage, Trajectory, best, fit
from streamgmm.history import Record
from streamgmm.initialization import Reservoir
from streamgmm.iteration import Step
from streamgmm.parameters import Parameters
from streamgmm.search.moves import FIRST_PASSES, MORE_PASSES, MOST_MOVES, WORTH, Parts, merge_losses, moves, resized
from streamgmm.search.trials import Trials, survivors

ALIKE = 1e-4  # nats a row of theirs, up to which two components are one
NEAR = 0.1  # squared standard deviations, beyond which they are not
PROPOSED = 2  # of the moves that do best on the sample


def faults(trajectory: Trajectory) -> Iterator[tuple[str, Parts]]:
    """What makes components useless, in words, and the mixture without them: from statistics alone."""
    parts = Parts.of(trajectory.parameters)
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


def refined(candidates: list[Parameters], score: float, trials: Trials) -> list[Parameters]:
    """The best of some mixtures after more EM on the sample, as far as they are better than what has that score."""
    ran = survivors(trials.run(candidates, FIRST_PASSES))
    order = np.argsort(-trials.scores(ran))[:PROPOSED] if ran else ()
    settled = survivors(trials.run([ran[place] for place in order], MORE_PASSES, accelerated=True))
    scores = trials.scores(settled) if settled else ()
    return [one for one, now in zip(settled, scores, strict=True) if now > score + WORTH]


def finished(
    trajectory: Trajectory,
    stage: Stage,
    structure: CovarianceStructure,
    *,
    reg_covar: float,
    passes: int,
    split_merge: bool,
    sample: Callable[[], Reservoir],
    watch: Callable[[Step], None] | None = None,
) -> Trajectory:
    """The trajectory, gone on with as long as a repair or, if wanted, a split and merge is an improvement.

    ``passes`` may be spent; ``stage`` is how; ``sample`` is called at most once, and only where it is needed.
    """
    trials: Trials | None = None
    refused = False
    while passes > 0:
        wanting = None if refused else next(faults(trajectory), None)
        if wanting is None and not split_merge:
            break
        parameters = trajectory.parameters
        if trials is None:
            trials = Trials.of(sample(), structure, parameters.n_components, reg_covar, 0)
        found = trajectory
        try:
            if wanting is not None:
                name, kept = wanting
                candidates = [resized(kept.mixture(structure), parameters.n_components, trials)]
            else:
                name, candidates = "split and merge", list(islice(moves(parameters, trials), MOST_MOVES))
            settled = trials.run([parameters], MORE_PASSES, accelerated=True)[0] or parameters
            candidates = refined(candidates, float(trials.scores([settled])[0]), trials)
            if candidates:
                plan = [replace(stage, most=None)]
                tried = fit(candidates, plan, structure, reg_covar=reg_covar, max_iter=passes, watch=watch)
                passes -= max(len(one.lower_bounds) for one in tried)
                found = best([trajectory, *tried])
        except DegenerateError:  # of a mixture that was only to be tried
            passes = 0
        if found is not trajectory:
            trajectory = _joined(trajectory, name, found)
            refused = False
        elif wanting is None:
            break
        else:
            refused = True
    return trajectory


def _joined(before: Trajectory, name: str, after: Trajectory) -> Trajectory:
    """One trajectory of two, with a record of what led from one to the other."""
    record = Record(name, 0, before.lower_bound, before.parameters.weights, 0.0)
    history = before.history.appended(record)
    for later in after.history:
        history = history.appended(later)
    return replace(after, lower_bounds=[*before.lower_bounds, *after.lower_bounds], history=history)
