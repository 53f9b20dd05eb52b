"""Where fits begin and where they end: ``python -m benchmarks.starts``.

quality: a fit with every default beside the best of ten of scikit-learn's, on real and generated data. moves: whether
components get where they are needed. acceleration: passes of accelerated EM beside plain EM. cost: seconds of the
initialization beside one pass of EM, and how often it reads the data.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import fmean, median
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from sklearn import mixture
from sklearn.utils import check_random_state

from benchmarks.datasets import DataSet, data_sets, eruptions, faithful, iris, wine
from benchmarks.onepass import observed
from benchmarks.timing import Rounds, Table, describe_machine, per_iteration, seconds, verdict
from benchmarks.workloads import Population, Start
from benchmarks.workloads import mixture as mixed
from streamgmm import GaussianMixture
from streamgmm.algorithms.accelerated import Accelerated, AcceleratedState
from streamgmm.algorithms.algorithm import Algorithm
from streamgmm.algorithms.batch import Batch
from streamgmm.algorithms.settings import EMSettings
from streamgmm.algorithms.stopping import AcceleratedStop, MaxPasses
from streamgmm.data import execution
from streamgmm.data.sources import Source, as_source
from streamgmm.estimator.estimator_settings import draw_seed, em_settings, user_start
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.fitting import plan as planning
from streamgmm.fitting.context import FitContext, FitTask
from streamgmm.fitting.starts_phase import StartsPhase, StartsState
from streamgmm.iteration.loop import Event
from streamgmm.iteration.run import Run, Stage, run_stages, start_run
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.parameters import Parameters

SECTIONS = ("quality", "moves", "acceleration", "cost")

FLOOR = 1e-3  # of the mean variance of the rows: added to every variance, so that no fit can win by collapsing
EQUAL = 1e-9  # nats a row: rounding, and the last step of either
NEAR, WORST = 1e-4, 1e-3  # nats a row below scikit-learn's: hardly anything; what no seed may lose
GOOD_SHARE = 0.9  # of the seeds

Rows = NDArray[np.float64]

# ---------------------------------------------------------------------- quality


@dataclass(frozen=True, slots=True)
class Fitted:
    """What became of one fit: nats a row of its own rows and of others, its passes, and its seconds.

    It has collapsed where some covariance is, in some direction, hardly more than what was added to it.
    """

    trained: float
    held_out: float
    passes: int
    seconds: float
    collapsed: bool


def fitted(model: Any, rows: Rows, held_out: Rows, floor: float) -> Fitted:
    """Fit it, ours or scikit-learn's."""
    time = seconds(partial(observed, partial(model.fit, rows)))
    collapsed = float(np.linalg.eigvalsh(model.covariances_).min()) < 2.0 * floor
    return Fitted(float(model.score(rows)), float(model.score(held_out)), int(model.n_iter_), time, collapsed)


def opponents(chosen: DataSet, seed: int) -> tuple[Fitted, Fitted]:
    """Ours with every default, and the best of ten of scikit-learn's; the same is added to every variance."""
    rows, held_out = chosen.drawn(seed)
    floor = FLOOR * float(rows.var(axis=0).mean())
    settings: dict[str, Any] = {"n_components": chosen.k, "reg_covar": floor, "random_state": seed}
    ours = fitted(GaussianMixture(**settings), rows, held_out, floor)
    return ours, fitted(mixture.GaussianMixture(**settings, n_init=10), rows, held_out, floor)


def lead(ours: Fitted, theirs: Fitted, of: str = "held_out") -> float:
    """Nats a row that ours is above theirs; a fit that has collapsed is below any that has not."""
    if ours.collapsed != theirs.collapsed:
        return -np.inf if ours.collapsed else np.inf
    return float(getattr(ours, of) - getattr(theirs, of))


def quality(sets: Sequence[DataSet], seeds: int, judged: bool) -> None:
    """Print a row for each data set as soon as all its seeds are known, and one for all of them."""
    print(f"\n{seeds} seeds; differences are ours less theirs, nats a held-out row\n")
    columns = {"data set": 17, "rows": 12, "k": 2, "at least theirs": 15, "bar": 9, "within 1e-4": 11}
    columns |= {"worst": 9, "bar of the worst": 16, "median": 9, "of its own rows": 15, "passes": 6}
    table = Table(**columns, their_passes=12, collapsed=9, theirs_collapsed=16, times_faster=12)
    everything: list[tuple[Fitted, Fitted]] = []
    for chosen in sets:
        rows = chosen.drawn(0)[0]
        observed(partial(GaussianMixture(chosen.k, max_iter=3).fit, rows[:1000]))  # compiles, and starts the threads
        pairs = [opponents(chosen, seed) for seed in range(seeds)]
        shape = f"{len(rows):,} x {rows.shape[1]}"
        table.row(chosen.name, shape, str(chosen.k), *compared(pairs, judged))
        everything += pairs
    table.row("all", "", "", *compared(everything, judged))


def compared(pairs: Sequence[tuple[Fitted, Fitted]], judged: bool) -> list[str]:
    """Cells about all seeds: ours beside theirs."""
    leads = [lead(*pair) for pair in pairs]
    good = sum(one >= -EQUAL for one in leads)
    least = int(np.ceil(GOOD_SHARE * len(pairs)))
    return [
        *(str(good), verdict(good, least if judged else None, at_least=True)),
        str(sum(one >= -NEAR for one in leads)),
        *(f"{min(leads):.1e}", verdict(min(leads), -WORST if judged else None, at_least=True)),
        f"{median(ours.held_out - theirs.held_out for ours, theirs in pairs):.1e}",
        str(sum(lead(*pair, "trained") >= -EQUAL for pair in pairs)),
        *(f"{fmean(one.passes for one in side):.1f}" for side in zip(*pairs, strict=True)),
        *(str(sum(one.collapsed for one in side)) for side in zip(*pairs, strict=True)),
        f"{median(theirs.seconds / ours.seconds for ours, theirs in pairs):.2f}",
    ]


# ---------------------------------------------------------------------- moves

APART = 4.0  # standard deviations between neighbours among eight
CLOSE = 0.5  # standard deviations between a component and the Gaussian that it shall find
MOVED_SHARE = 0.95  # of the seeds


def ring() -> Rows:
    """Eight means on a circle."""
    angles = np.arange(8) * (np.pi / 4.0)
    return APART / (2.0 * np.sin(np.pi / 8.0)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def grid() -> Rows:
    """Eight means in two lines of four."""
    return APART * np.array([[x, y] for x in range(4) for y in range(2)], dtype=np.float64)


def triangle() -> Rows:
    """Three means, far from each other."""
    return 12.0 * np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])


def round_gaussians(means: Rows, n: int, random: np.random.Generator) -> tuple[Rows, Rows]:
    """Rows of as many Gaussians of variance 1 and of one size, turned at random, and their means."""
    angle = random.uniform(0.0, 2.0 * np.pi)
    turned = means @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    k, d = means.shape
    return Population(np.full(k, 1.0 / k), turned, np.tile(np.eye(d), (k, 1, 1))).draw(n, random)[0], turned


def right(found: Rows, means: Rows) -> bool:
    """Whether every mean has a component of its own near it, and no component is left over."""
    distances = np.linalg.norm(means[:, None] - found, axis=2)
    nearest = distances.argmin(axis=1)
    return sorted(nearest) == list(range(len(found))) and bool((distances.min(axis=1) <= CLOSE).all())


def grown(means: Rows, n: int, k: int, seed: int) -> bool:
    """Whether a fit with ``k`` components that goes on with all finds the right ones."""
    rows, means = round_gaussians(means, n, np.random.default_rng(seed))
    model = GaussianMixture(k, random_state=seed)
    observed(partial(model.fit, rows))
    if k < len(means):
        model.set_params(n_components=len(means), warm_start=True, split_merge=True)
        observed(partial(model.fit, rows))
    return right(model.means_, means)


def misplaced(means: Rows) -> dict[str, Any]:
    """Arguments of a fit to three clusters that starts with two components on the first, and one on the others."""
    between = 0.5 * (means[1] - means[2])
    wide = np.linalg.inv(np.eye(2) + np.outer(between, between))
    aside = 0.5 * np.array([1.0, 0.0])
    return {
        "n_components": 3,
        "weights_init": np.array([1.0, 1.0, 4.0]) / 6.0,
        "means_init": np.array([means[0] + aside, means[0] - aside, 0.5 * (means[1] + means[2])]),
        "precisions_init": np.array([np.eye(2), np.eye(2), wide]),
    }


def freed(n: int, split_merge: bool, seed: int) -> bool:
    """Whether a fit to three clusters gets away from a bad start."""
    rows, means = round_gaussians(triangle(), n, np.random.default_rng(seed))
    model = GaussianMixture(**misplaced(means), random_state=seed, split_merge=split_merge)
    observed(partial(model.fit, rows))
    return right(model.means_, means)


def moves(n_eight: int, n_three: int, seeds: int, judged: bool) -> None:
    """Print in how many seeds the components found the right places."""
    print(f"\neight: {n_eight:,} x 2, {APART:g} standard deviations apart; three: {n_three:,} x 2; {seeds} seeds\n")
    table = Table(what=38, right=5, bar=11)
    tries: dict[str, tuple[Callable[[int], bool], bool]] = {}
    for name, means in (("ring", ring()), ("grid", grid())):
        for k in (1, 4):
            tries[f"eight, {name}, from k = {k}"] = partial(grown, means, n_eight, k), True
        tries[f"eight, {name}, k = 8 at once"] = partial(grown, means, n_eight, 8), False
    tries["three, two misplaced, split_merge"] = partial(freed, n_three, True), True
    tries["three, two misplaced"] = partial(freed, n_three, False), False
    for name, (attempt, has_bar) in tries.items():
        share = sum(attempt(seed) for seed in range(seeds)) / seeds
        table.row(name, f"{share:.0%}", verdict(share, MOVED_SHARE if judged and has_bar else None, at_least=True))


# ---------------------------------------------------------------------- acceleration

FULL = STRUCTURES["full"]
SAME = 1e-3  # nats a row: two ends that are no further apart are one optimum
NATS = 0.1  # in all: what may remain to be gained where passes are counted up to
FINE = 1e-6  # nats a row: the same, where more is asked
SLOW = 100  # passes that plain EM takes from a start that is called slow
TINY, NARROW = 1e-9, 1e-6  # of the mean variance: added to every variance, and what only a collapsed component is below
ROUNDING = 1e-9  # nats a row that the likelihood may fall in a pass; more is added to variances, the more it may


@dataclass(frozen=True, slots=True, eq=False)
class Climb:
    """Log-likelihoods of one run, nats a row: of each pass and of each accepted pass; and the end.

    A fit would have ended after ``settled`` passes.
    """

    read: Rows
    kept: Rows
    parameters: Parameters
    settled: int

    @property
    def end(self) -> float:
        """The highest."""
        return float(self.read.max())

    @property
    def narrowest(self) -> float:
        """The smallest variance of any component in any direction."""
        return float(np.linalg.eigvalsh(self.parameters.covariances).min())

    @property
    def largest_fall(self) -> float:
        """Largest fall of the accepted log-likelihood."""
        return float((np.maximum.accumulate(self.kept) - self.kept).max())

    def passes(self, level: float) -> int | None:
        """Passes until one read rows with parameters as good as this."""
        reached = np.flatnonzero(self.read >= level)
        return int(reached[0]) + 1 if len(reached) else None


def climb(rows: Rows, start: Parameters, algorithm: Algorithm[Any], reg_covar: float, passes: int) -> Climb:
    """So many passes, whatever they gain.

    A rejected step costs its pass; the fit continues from the last accepted one.
    """
    source = as_source(rows)
    settings = EMSettings(FULL, reg_covar)
    has_settled = AcceleratedStop(planning.compute_negligible_gain(source, settings, start.n_components))
    latest, kept, ends = [], [], []

    def watch(event: Event, run: Run) -> Run:
        for update in event.updates:
            ((_, state),) = event.position.states
            latest.append(update.info.latest.likelihood.mean)
            kept.append((getattr(state, "accepted", None) or update.info.latest).likelihood.mean)
            if isinstance(state, AcceleratedState) and has_settled(run.trajectories[0].lower_bounds, state):
                ends.append(event.number)
        return run

    stage = Stage("climb", algorithm, lambda number, taken: execution.iter_chunk_groups(source, taken), MaxPasses())
    (trajectory,) = run_stages(start_run([start]), [stage], max_iter=passes, adjust=watch)
    return Climb(np.array(latest), np.array(kept), trajectory.parameters, (*ends, passes)[0])


@dataclass(frozen=True, slots=True, eq=False)
class Ascents:
    """Plain and accelerated EM from one start."""

    plain: Climb
    accelerated: Climb

    @classmethod
    def of(cls, rows: Rows, reg_covar: float, passes: int, **start: Any) -> Ascents:
        """From a start that these arguments of an estimator say."""
        model = GaussianMixture(**start, max_iter=0, reg_covar=reg_covar).fit(rows)
        algorithms = Batch(FULL, reg_covar), Accelerated(FULL, reg_covar)
        return cls(*(climb(rows, get_parameters(model), algorithm, reg_covar, passes) for algorithm in algorithms))

    @classmethod
    def at_random(cls, rows: Rows, k: int, seed: int, reg_covar: float, passes: int) -> Ascents:
        """From components that begin on random rows."""
        return cls.of(rows, reg_covar, passes, n_components=k, init_params="random_from_data", random_state=seed)

    @property
    def end(self) -> float:
        """The higher of the two ends."""
        return max(self.plain.end, self.accelerated.end)

    @property
    def narrowest(self) -> float:
        """The smallest variance of any component of either."""
        return min(self.plain.narrowest, self.accelerated.narrowest)

    @property
    def same(self) -> bool:
        """Whether both end in the same optimum."""
        return abs(self.plain.end - self.accelerated.end) <= SAME

    @property
    def as_good(self) -> bool:
        """Whether accelerated EM ends where plain EM does, or above."""
        return self.accelerated.end >= self.plain.end - SAME

    @property
    def settled(self) -> bool:
        """The same of accelerated EM that ends by its rule."""
        return bool(self.accelerated.kept[self.accelerated.settled - 1] >= self.plain.end - SAME)

    def passes(self, remaining: float) -> tuple[int, int]:
        """Passes of plain and of accelerated EM until no more remains to be gained, nats a row; all if never."""
        counts = (one.passes(self.end - remaining) for one in (self.plain, self.accelerated))
        plain, accelerated = (len(self.plain.read) if found is None else found for found in counts)
        return plain, accelerated


def overlapping(d: int, k: int, separation: float, seed: int) -> tuple[Population, np.random.Generator]:
    """A population, and where its rows come from."""
    random = np.random.default_rng([seed, d, k])
    return Population.overlapping(d, k, separation, random), random


def rows_of(n: int, d: int, k: int, separation: float) -> Rows:
    """Rows of one of them."""
    population, random = overlapping(d, k, separation, 0)
    return population.draw(n, random)[0]


def slow_starts(rows: Rows, k: int, passes: int, least: int, apart: float) -> Iterator[tuple[int, Ascents]]:
    """Random starts, with their seeds, from which plain EM is slow and both ways lead to one optimum.

    The ends are at most ``apart``, nats a row.
    """
    for seed in range(100):
        ascents = Ascents.at_random(rows, k, seed, 1e-6, passes)
        same = abs(ascents.plain.end - ascents.accelerated.end) <= apart
        if same and ascents.passes(NATS / len(rows))[0] >= least:
            yield seed, ascents


def slow(n: int, passes: int, judged: bool) -> None:
    """Print passes where plain EM is slow."""
    least, bar = (SLOW, 3.0) if judged else (1, None)
    apart = FINE if judged else SAME  # some optima are only a few nats apart, and a few passes lead to none
    print(f"\nslow: random starts from which plain EM takes {least} passes and more\n")
    columns = {"workload": 34, "seed": 4, "plain": 5, "accelerated": 11, "times fewer": 11}
    table = Table(**columns, **{"to 1e-6": 10, "there times fewer": 17, "bar": 7})
    cases = (
        ("faithful, k = 3", eruptions(), 3, 3, passes),
        ("faithful, k = 4", eruptions(), 4, 1, passes),
        (f"{n:,} x 4, k = 8, separation 2", rows_of(n, 4, 8, 2.0), 8, 1, 3 * passes),
    )
    for name, rows, k, starts, most in cases:
        for seed, ascents in islice(slow_starts(rows, k, most, least, apart), starts):
            plain, accelerated = ascents.passes(NATS / len(rows))
            fine = ascents.passes(FINE)
            cells = [name, str(seed), str(plain), str(accelerated), f"{plain / accelerated:.2f}"]
            cells += [f"{fine[0]}, {fine[1]}", f"{fine[0] / fine[1]:.2f}"]
            table.row(*cells, verdict(fine[0] / fine[1], bar, at_least=True))


def easy(n: int, passes: int, seeds: int, judged: bool) -> None:
    """Print passes where there is nothing to accelerate: each component begins on the Gaussian that it shall find."""
    print(f"\neasy: separation 8, from the true means and round components, sums over {seeds} seeds\n")
    table = Table(workload=24, one_optimum=11, plain=5, accelerated=11, ratio=5, bar=9)
    for d, k in ((4, 4), (8, 8), (16, 8)):
        found = [well_begun(n, d, k, seed, passes) for seed in range(seeds)]
        same = [ascents.passes(NATS / n) for ascents in found if ascents.same]
        plain, accelerated = (sum(side) for side in zip(*same, strict=True)) if same else (0, 0)
        ratio = accelerated / plain if plain else float("nan")
        cells = [f"{n:,} x {d}, k = {k}", f"{len(same)} of {seeds}", str(plain), str(accelerated), f"{ratio:.2f}"]
        table.row(*cells, verdict(ratio, 1.1 if judged else None, at_least=False))


def well_begun(n: int, d: int, k: int, seed: int, passes: int) -> Ascents:
    """From a good start on well separated components."""
    population, random = overlapping(d, k, 8.0, seed)
    settings = {"weights_init": np.full(k, 1.0 / k), "means_init": population.means}
    settings["precisions_init"] = np.tile(np.eye(d), (k, 1, 1))
    return Ascents.of(population.draw(n, random)[0], 1e-6, passes, n_components=k, **settings)


def random_starts(n: int, passes: int, starts: int, judged: bool) -> None:
    """Print how often accelerated EM ends where plain EM does, and whether it ever went down."""
    print(f"\nrandom starts: {starts} on each, {passes} passes, {3 * passes} where components overlap most\n")
    columns = {"workload": 34, "collapsed": 9, "as good": 7, "bar": 10, "above": 5, "below": 5, "largest fall": 12}
    table = Table(**columns, bar_of_fall=13, settled_as_good=15)
    real = {"iris": iris(), "wine": wine(), "faithful": faithful()}
    sets = {f"{name}, k = 3": (rows, 3, passes) for name, rows in real.items()}
    for d, k, separation, most in ((2, 3, 2.5, passes), (4, 8, 4.0, passes), (4, 8, 2.0, 3 * passes)):
        sets[f"{n:,} x {d}, k = {k}, separation {separation:g}"] = rows_of(n, d, k, separation), k, most
    everything: list[Ascents] = []
    for name, (rows, k, most) in sets.items():
        variance = float(rows.var(axis=0).mean())
        found = [Ascents.at_random(rows, k, seed, TINY * variance, most) for seed in range(starts)]
        sound = [one for one in found if one.narrowest >= NARROW * variance]
        table.row(name, str(len(found) - len(sound)), *climbed(sound, False))
        everything += sound
    table.row("all", str(starts * len(sets) - len(everything)), *climbed(everything, judged))


def climbed(found: Sequence[Ascents], judged: bool) -> list[str]:
    """Cells about many starts."""
    share = fmean(one.as_good for one in found) if found else float("nan")
    fall = max((one.accelerated.largest_fall for one in found), default=float("nan"))
    return [
        *(f"{share:.1%}", verdict(share, 0.99 if judged else None, at_least=True)),
        str(sum(one.as_good and not one.same for one in found)),
        str(sum(not one.as_good for one in found)),
        *(f"{fall:.1e}", verdict(fall, ROUNDING if judged else None, at_least=False)),
        f"{fmean(one.settled for one in found):.1%}" if found else "",
    ]


# ---------------------------------------------------------------------- cost


def initialize(model: GaussianMixture, source: Source) -> None:
    """What a fit does before its first pass: a sample is read, and a start is found on it."""
    settings, k = em_settings(model), model.n_components
    algorithm = planning.choose_algorithm(model.algorithm, source, settings, k, is_warm_start=False)
    context = FitContext(
        source=source,
        settings=settings,
        task=FitTask(None, algorithm, draw_seed(model.random_state), (), None, -np.inf),
        n_components=k,
        n_init=model.n_init,
        init_params=model.init_params,
        max_iter=model.max_iter,
        split_merge=model.split_merge,
        random=check_random_state(model.random_state),
        user_start=user_start(model, source.n_features),
    )
    StartsPhase(context).run(StartsState(), lambda event, state: None)


def reads(rows: Rows, k: int, n_chunks: int) -> list[int]:
    """How often the initialization computes each chunk of a dask array."""
    computed: list[int] = []

    def noted(block: Rows, block_id: tuple[int, int]) -> Rows:
        computed.append(block_id[0])
        return block

    lazy = da.from_array(rows, chunks=(-(-len(rows) // n_chunks), rows.shape[1]), name=False)
    watched = lazy.map_blocks(noted, dtype=rows.dtype, meta=np.empty((0, 0)))
    initialize(GaussianMixture(k, random_state=0), as_source(watched))
    return [computed.count(number) for number in range(lazy.numblocks[0])]


def cost(n: int, judged: bool) -> None:
    """Print seconds of the initialization and of one pass of batch EM over the same rows, in turn."""
    print("\ninitialization, reading included, beside one pass of batch EM\n")
    columns = {"workload": 24, "initialization s": 16, "pass s": 8, "passes": 6, "bar": 7}
    table = Table(**columns, chunks=6, most_reads_of_one=17)
    rounds = Rounds(least=3, most=5) if judged else Rounds(least=1, most=1)
    for d, k in ((3, 8), (8, 16)):
        rows = mixed(n, d, k)
        start = Start.found(rows, k, "full")

        def passes(number: int, rows: Rows = rows, start: Start = start) -> None:
            model = GaussianMixture(**start.settings, algorithm="batch", tol=0.0, max_iter=number)
            observed(partial(model.fit, rows))

        ours = partial(initialize, GaussianMixture(k, random_state=0), as_source(rows))
        ours()  # compiles
        pair = rounds.side_by_side(partial(seconds, ours), per_iteration(passes))
        counts = reads(rows, k, 32)
        table.row(
            *(f"{n:,} x {d}, k = {k}", f"{pair.ours:.3f}", f"{pair.theirs:.3f}", f"{pair.ours / pair.theirs:.2f}"),
            verdict(pair.ours / pair.theirs, 1.0 if judged else None, at_least=False),
            *(str(len(counts)), f"{max(counts)} {verdict(max(counts), 1 if judged else None, at_least=False)}"),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts", description=__doc__)
    parser.add_argument("--toy", action="store_true", help="a few hundred rows, one seed, nothing judged")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--seeds", type=int, help="of quality and moves; by default 20")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="data sets of quality; by default all")
    options = parser.parse_args(arguments)
    toy, judged = options.toy, not options.toy
    seeds = options.seeds or (1 if toy else 20)

    describe_machine()
    if "quality" in options.only:
        sets = data_sets(300, 300) if toy else data_sets()
        unknown = set(options.sets or ()) - {one.name for one in sets}
        if unknown:
            parser.error(f"no data set {', '.join(sorted(unknown))}; there are {', '.join(one.name for one in sets)}")
        quality([one for one in sets if not options.sets or one.name in options.sets], seeds, judged)
    if "moves" in options.only:
        moves(1000 if toy else 20_000, 300 if toy else 3000, seeds, judged)
    if "acceleration" in options.only:
        n = 500 if toy else 20_000
        slow(n, 30 if toy else 2000, judged)
        easy(n, 30 if toy else 300, 1 if toy else 10, judged)
        random_starts(300 if toy else 2000, 30 if toy else 1000, 2 if toy else 30, judged)
    if "cost" in options.only:
        cost(5000 if toy else 10_000_000, judged)


if __name__ == "__main__":
    main()
