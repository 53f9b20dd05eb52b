"""EM algorithms, one file each, and the table of their names. They know nothing of where rows come from.

To add an algorithm, write a file with a state and the functions of `streamgmm.algorithms.algorithm.Algorithm`, and add
a row here. The estimator, the command line and the plan of a fit read the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from streamgmm.algorithms.accelerated import Accelerated
from streamgmm.algorithms.algorithm import Algorithm
from streamgmm.algorithms.batch import Batch
from streamgmm.algorithms.incremental import Incremental
from streamgmm.algorithms.settings import EMSettings
from streamgmm.algorithms.stopping import AcceleratedStop, SafeguardedTolerance, StoppingRule, Tolerance


def stop_by_tolerance(settings: EMSettings, gain: float, before_moves: bool) -> StoppingRule:
    """Return scikit-learn's rule, with its default of 1e-3."""
    return Tolerance(1e-3 if settings.tol is None else settings.tol)


def stop_by_remaining_gain(settings: EMSettings, gain: float, before_moves: bool) -> StoppingRule:
    """Return the rule for accelerated EM; that of a tolerance where one was set."""
    if settings.tol is not None:
        return SafeguardedTolerance(settings.tol)
    return AcceleratedStop(gain, leaves_plateaus=not before_moves)


@dataclass(frozen=True, slots=True)
class AlgorithmEntry:
    """Row of the table of algorithms.

    Attributes
    ----------
    purpose : str
        Half a sentence for the help of the command line.
    make : callable
        Returns the algorithm for settings and a number of rows (None where it is unknown).
    reading : {'pass', 'batches', 'partitions'}
        Chunk groups of the algorithm: whole passes in storage order, shuffled batches, or fixed partitions of the rows.
    stop : callable
        Returns the stopping rule for settings, the gain in nats a row that is not worth a pass, and whether split and
        merge moves follow.
    """

    purpose: str
    make: Callable[[EMSettings, int | None], Algorithm[Any]]
    reading: Literal["pass", "batches", "partitions"] = "pass"
    stop: Callable[[EMSettings, float, bool], StoppingRule] = stop_by_tolerance


ALGORITHMS: dict[str, AlgorithmEntry] = {
    "batch": AlgorithmEntry(
        "exact EM, one update per pass", lambda settings, n_rows: Batch(settings.structure, settings.reg_covar)
    ),
    "accelerated": AlgorithmEntry(
        "batch EM with safeguarded quasi-Newton steps",
        lambda settings, n_rows: Accelerated(settings.structure, settings.reg_covar),
        stop=stop_by_remaining_gain,
    ),
    "stepwise": AlgorithmEntry(
        "one update per batch, good after one pass",
        lambda settings, n_rows: settings.make_stepwise(n_rows),
        "batches",
    ),
    "incremental": AlgorithmEntry(
        "keeps statistics of partitions, so that the verb update reads new rows only",
        lambda settings, n_rows: Incremental(replace(settings, half_life=None).make_stepwise(n_rows)),
        "partitions",
    ),
}
