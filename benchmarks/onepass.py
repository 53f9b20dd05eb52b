"""What one pass is worth, against batch EM from the same start: the section ``quality`` of ``benchmarks.online``.

Batch EM until it converges is the reference: of every fit the table shows the mean over held-out rows of its
log-density less that of the reference, nats a row, over the seeds, and the typical standard error of one seed's
difference. A pass is good where it loses at most 0.1 ν/N (a fifth of what it costs to estimate ν parameters from N
rows) or 2e-4, or no more than the third pass of batch EM; their median shall lose no more than that of the sixth pass,
or as little. Of rows sorted by a feature less is asked (3e-2, or what the third pass loses), but a method whose result
depends on their order has to say so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from benchmarks.timing import Table, verdict
from benchmarks.workloads import Population, Start, in_regions, ragged
from streamgmm import GaussianMixture
from streamgmm.errors import OrderWarning
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import n_parameters

HELD_OUT = 200_000
ROWS_TO_START = 10_000
MOST_PASSES = 400  # of the reference
SORTED_BAR = -3e-2  # rows sorted by a feature cannot be learnt well in one pass; the user shall be told

LAYOUTS = ("random", "image", "sorted")
SHAPES = ((2, 3), (4, 8), (8, 8), (16, 16), (3, 8))
SEPARATIONS = {(2, 3): 2.5, (16, 16): 4.0, (3, 8): 2.0, (8, 16): 4.0}  # 3 for all others

THIRD, SIXTH, CONVERGED = "batch, pass 3", "batch, pass 6", "batch, converged"
STEPWISE, INCREMENTAL, PARTIAL = "stepwise", "incremental", "partial_fit"
METHODS = (STEPWISE, INCREMENTAL, PARTIAL)
WARN = (STEPWISE, PARTIAL)  # whose result depends on the order of the rows; pieces are visited in a permuted one

COLUMNS = {"workload": 24, "separation": 10, "layout": 6, "method": 16, "passes": 6}
COLUMNS |= {"minimum": 9, "10 %": 9, "median": 9, "90 %": 9, "standard error": 14}
COLUMNS |= {"good seeds": 10, "every seed": 10, "bar of the median": 18, "order warnings": 14}


@dataclass(frozen=True, slots=True)
class Workload:
    """So many rows of a population of one shape."""

    n: int
    d: int
    k: int

    @property
    def separation(self) -> float:
        """Typical distance of two components, standard deviations."""
        return SEPARATIONS.get((self.d, self.k), 3.0)

    @property
    def allowed(self) -> float:
        """Nats a row that one pass may lose."""
        return max(2e-4, 0.1 * n_parameters(STRUCTURES["full"], self.k, self.d) / self.n)

    def __str__(self) -> str:
        return f"{self.n:,} x {self.d}, k = {self.k}"

    def drawn(self, seed: int) -> SampledRows:
        """Rows of it and everyone's start, found on the first of them, which are as good as any."""
        random = np.random.default_rng([seed, self.d, self.k])
        population = Population.overlapping(self.d, self.k, self.separation, random)
        rows, labels = population.draw(self.n, random)
        held_out, _ = population.draw(min(HELD_OUT, self.n), random)
        return SampledRows(
            rows, labels, held_out, Start.converged(rows[: min(ROWS_TO_START, self.n // 10)], self.k, seed)
        )


@dataclass(frozen=True, slots=True, eq=False)
class SampledRows:
    """Rows in random order with the components that they are of, rows to judge by, and a start."""

    rows: NDArray[np.float64]
    labels: NDArray[np.intp]
    held_out: NDArray[np.float64]
    start: Start


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one fit did: nats a row above converged batch EM, with the standard error, and whether it spoke of order."""

    difference: float
    error: float = 0.0
    warned: bool = False


def good_seeds(layout: str, method: str, outcomes: Sequence[Outcome], thirds: Sequence[Outcome], allowed: float) -> int:
    """How many seeds did as well after one pass as they shall: each beside its own third pass of batch EM."""
    least = SORTED_BAR if layout == "sorted" else -allowed
    told = layout != "sorted" or method not in WARN
    return sum(
        one.difference >= min(least, third.difference) and (one.warned or told)
        for one, third in zip(outcomes, thirds, strict=True)
    )


def least_median(layout: str, sixths: Sequence[Outcome], allowed: float) -> float | None:
    """What the median over the seeds shall reach: that of pass 6, unless losing more is allowed anyway."""
    return None if layout == "sorted" else min(-allowed, median(one.difference for one in sixths))


def paired(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    """Mean difference of two log-densities of the same rows, and its standard error."""
    differences = mine - theirs
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))


def observed(fit: Callable[[], Any]) -> tuple[Any, bool]:
    """What a fit returns, and whether it warned of the order of the rows; that it did not converge was its order."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("always", OrderWarning)
        model = fit()
    for other in caught:
        if not issubclass(other.category, OrderWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return model, any(issubclass(warning.category, OrderWarning) for warning in caught)


def learnt_in_pieces(model: GaussianMixture, rows: NDArray[np.float64], lengths: Sequence[int]) -> GaussianMixture:
    """The model after a call of partial_fit for every piece, in the order of storage."""
    for piece in np.split(rows, np.cumsum(lengths)[:-1]):
        model.partial_fit(piece)
    return model


def rows_of_a_batch(n: int) -> int:
    """What 'auto' means to `fit`, for partial_fit, which cannot know how many rows will come."""
    return min(max(1_000, n // 300), 100_000)


def batch_passes(rows: NDArray[np.float64], start: Start, held_out: NDArray[np.float64]) -> dict[str, Any]:
    """Log-densities of held-out rows under batch EM after 3 passes, after 6 and at its end, and how many those were.

    One fit that is gone on with: a warm start goes through the same parameters as if it had never stopped.
    """
    found: dict[str, Any] = {"passes": 0}
    model = GaussianMixture(**start.settings, algorithm="batch", warm_start=True)
    for name, most, tol in ((THIRD, 3, 0.0), (SIXTH, 3, 0.0), (CONVERGED, MOST_PASSES - 6, 1e-7)):
        observed(partial(model.set_params(max_iter=most, tol=tol).fit, rows))
        found["passes"] += model.n_iter_
        found[name] = model.score_samples(held_out)
    return found


def arranged(layout: str, drawn: SampledRows, random: np.random.Generator) -> NDArray[np.float64]:
    """Rows in the order in which they shall be stored."""
    if layout == "random":
        return drawn.rows
    return drawn.rows[in_regions(drawn.labels, random) if layout == "image" else np.argsort(drawn.rows[:, 0])]


def one_pass(
    rows: NDArray[np.float64], stored: Any, start: Start, seed: int, random: np.random.Generator
) -> dict[str, tuple[GaussianMixture, bool]]:
    """Every method after one pass: `fit` from storage, partial_fit from ragged pieces, one row and more."""
    n = len(rows)
    settings = {**start.settings, "random_state": seed}
    fits: dict[str, Callable[[], GaussianMixture]] = {
        method: partial(GaussianMixture(**settings, algorithm=method, max_iter=1).fit, stored)
        for method in (STEPWISE, INCREMENTAL)
    }
    online = GaussianMixture(**settings, batch_size=rows_of_a_batch(n))
    fits[PARTIAL] = partial(learnt_in_pieces, online, rows, ragged(n, max(1, 2 * n // 300), random))
    return {method: observed(fit) for method, fit in fits.items()}


def compete(workload: Workload, layouts: Sequence[str], seed: int) -> tuple[dict[tuple[str, str], Outcome], int]:
    """Outcome by layout and method for one seed, and the passes of the reference.

    All layouts are orders of the same rows, so that batch EM, which does not care, is run once: its layout is "any".
    Rows in random order are an array at hand; those in another are stored in chunks of unequal lengths.
    """
    drawn = workload.drawn(seed)
    batch = batch_passes(drawn.rows, drawn.start, drawn.held_out)
    outcomes = {("any", name): Outcome(*paired(batch[name], batch[CONVERGED])) for name in (THIRD, SIXTH, CONVERGED)}
    for layout in layouts:
        random = np.random.default_rng(seed)
        rows = arranged(layout, drawn, random)
        chunks = tuple(ragged(workload.n, workload.n // 10, random)), workload.d
        stored = rows if layout == "random" else da.from_array(rows, chunks, name=False)
        for method, (model, warned) in one_pass(rows, stored, drawn.start, seed, random).items():
            difference, error = paired(model.score_samples(drawn.held_out), batch[CONVERGED])
            outcomes[layout, method] = Outcome(difference, error, warned)
    return outcomes, batch["passes"]


def quality(workloads: Sequence[Workload], layouts: Sequence[str], seeds: int, judged: bool) -> None:
    """Print the table: the rows of a workload as soon as all its seeds are known."""
    table = Table(**COLUMNS)
    for workload in workloads:
        runs = [compete(workload, layouts, seed) for seed in range(seeds)]
        outcomes = {key: [found[key] for found, _ in runs] for key in runs[0][0]}
        passes = {THIRD: 3, SIXTH: 6, CONVERGED: median(count for _, count in runs)}
        for (layout, method), differences in outcomes.items():
            cells = [str(workload), f"{workload.separation:g}", layout, method, f"{passes.get(method, 1):g}"]
            cells += described(differences)
            cells += ["", "", "", ""] if layout == "any" else verdicts(workload, outcomes, layout, method, judged)
            table.row(*cells)


def described(outcomes: Sequence[Outcome]) -> list[str]:
    """Cells about the differences of all seeds."""
    quantiles = np.quantile([one.difference for one in outcomes], [0.0, 0.1, 0.5, 0.9])
    return [f"{value:.2e}" for value in (*quantiles, median(one.error for one in outcomes))]


def verdicts(
    workload: Workload, outcomes: Mapping[tuple[str, str], Sequence[Outcome]], layout: str, method: str, judged: bool
) -> list[str]:
    """Cells about the bars."""
    mine, allowed = outcomes[layout, method], workload.allowed
    good = good_seeds(layout, method, mine, outcomes["any", THIRD], allowed)
    least = least_median(layout, outcomes["any", SIXTH], allowed)
    return [
        str(good),
        verdict(good, len(mine) if judged else None, at_least=True),
        verdict(median(one.difference for one in mine), least if judged else None, at_least=True),
        str(sum(one.warned for one in mine)),
    ]
