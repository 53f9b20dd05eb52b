"""Learning in few passes, and from a stream: ``python -m benchmarks.online``.

quality: every method after one pass, beside batch EM from the same start. race: time to scikit-learn's converged
held-out log-likelihood. curve: that likelihood against the rows read, as a picture. stream: memory and time of a call
of partial_fit, of which there are many.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import mixture

from benchmarks.onepass import (
    LAYOUTS,
    MOST_PASSES,
    SHAPES,
    Workload,
    observed,
    paired,
    quality,
    rows_of_a_batch,
)
from benchmarks.timing import Table, describe_machine, seconds, verdict
from streamgmm import GaussianMixture

SECTIONS = ("quality", "race", "curve", "stream")
SIZES = (300_000, 1_000_000, 3_000_000)
PICTURE = Path(__file__).with_name("online.png")
PASSES = 12  # of the curve
ROUNDING = 1e-12  # nats a row: batch EM goes through the same parameters as scikit-learn

Point = tuple[int, float, float]  # rows read; nats a row above converged batch EM, and the standard error


def race(workload: Workload, rounds: int, bar: float | None) -> None:
    """Print seconds and passes of whole fits. The pass that ends every fit is in its seconds, not in its passes."""
    drawn = workload.drawn(0)
    print(f"\n{workload}, separation {workload.separation:g}; {len(drawn.held_out):,} rows held out\n")
    columns = {"method": 16, "seconds": 7, "passes": 6, "held out": 9, "difference": 10, "standard error": 14}
    table = Table(**columns, at_least_theirs=15, within_two_errors=17, times_faster=12)
    theirs = mixture.GaussianMixture(**drawn.start.settings, max_iter=1000)
    time = seconds(partial(observed, partial(theirs.fit, drawn.rows)))
    densities = theirs.score_samples(drawn.held_out)
    table.row("scikit-learn", f"{time:.2f}", str(theirs.n_iter_), f"{densities.mean():.5f}", "", "", "", "", "")
    best, faster = "none", 0.0
    for name, more in {"stepwise, 1 pass": {"max_iter": 1}, "auto": {}, "batch": {}}.items():
        settings = {**drawn.start.settings, "random_state": 0, **more}
        ours = GaussianMixture(**settings, algorithm=name.split(",")[0])
        observed(partial(ours.fit, drawn.rows[:1000]))  # compiles, and starts the threads
        mine = median(seconds(partial(observed, partial(ours.fit, drawn.rows))) for _ in range(rounds))
        found = ours.score_samples(drawn.held_out)
        difference, error = paired(found, densities)
        reached = difference >= -ROUNDING, difference >= -ROUNDING - 2.0 * error
        table.row(
            *(name, f"{mine:.2f}", str(ours.n_iter_), f"{found.mean():.5f}", f"{difference:.1e}", f"{error:.1e}"),
            *("yes" if one else "no" for one in reached),
            f"{time / mine:.1f}",
        )
        if any(reached) and time / mine > faster:
            best, faster = name, time / mine
    print(f"\nfastest of ours that reached it: {best}, {faster:.1f} times {verdict(faster, bar, at_least=True)}")


def points(workload: Workload, passes: int) -> Iterator[tuple[str, list[Point]]]:
    """What every method knew when, by name; of partial_fit more often at first."""
    drawn = workload.drawn(0)
    rows, settings = drawn.rows, {**drawn.start.settings, "random_state": 0}
    reference = GaussianMixture(**settings, algorithm="batch", tol=1e-7, max_iter=MOST_PASSES)
    converged = observed(partial(reference.fit, rows))[0].score_samples(drawn.held_out)

    def point(model: GaussianMixture, n_rows: int) -> Point:
        return n_rows, *paired(model.score_samples(drawn.held_out), converged)

    yield "start", [point(GaussianMixture(**settings, max_iter=0).fit(rows[:1000]), 0)]
    online = GaussianMixture(**settings, batch_size=rows_of_a_batch(workload.n))
    pieces = np.array_split(rows, 300)
    looks = {int(number) for number in np.rint(np.geomspace(1, len(pieces), 90))}
    found = []
    for number, piece in enumerate(pieces, 1):
        online.partial_fit(piece)
        if number in looks:
            found.append(point(online, online.n_samples_seen_))
    yield "partial_fit", found
    stops: dict[str, dict[str, Any]] = {"incremental": {"tol": 0.0}, "auto": {}, "batch": {"tol": 0.0}}
    for algorithm, more in stops.items():
        found = []
        for most in range(1, passes + 1):  # from the start each time: a warm start would forget the stage it was in
            model = GaussianMixture(**settings, algorithm=algorithm, max_iter=most, **more)
            observed(partial(model.fit, rows))
            if model.n_iter_ == most:
                found.append(point(model, most * workload.n))
        yield algorithm, found


def curve(workload: Workload, passes: int, picture: Path) -> None:
    """Print the points, every eighth of partial_fit, and draw all of them."""
    title = f"{workload}, separation {workload.separation:g}"
    print(f"\n{title}; differences of the held-out mean from that of converged batch EM\n")
    table = Table(method=12, rows_read=10, difference=10, standard_error=14)
    curves: dict[str, list[Point]] = {}
    for name, found in points(workload, passes):
        curves[name] = found
        for n_rows, difference, error in found[::-8][::-1] if name == "partial_fit" else found:
            table.row(name, f"{n_rows:,}", f"{difference:.1e}", f"{error:.1e}")
    draw(curves, title, picture)
    print(f"\n{picture.name}: {picture.stat().st_size / 1000:.0f} kB")


def draw(curves: dict[str, list[Point]], title: str, picture: Path) -> None:
    """Write the picture, 1000 x 500 pixels. Differences are linear below 1e-4, where they change their sign."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), dpi=100, layout="constrained")
    ax = figure.subplots()
    ax.axhline(curves["start"][0][1], color="0.6", linestyle=":", label="start")
    ax.axhline(0.0, color="0.6", linewidth=1)
    for name, marker in (("partial_fit", "."), ("incremental", "s"), ("auto", "^"), ("batch", "o")):
        n_rows, differences, _ = zip(*curves[name], strict=True)
        ax.plot(n_rows, differences, marker=marker, markersize=4, linewidth=1.2, label=name)
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=1e-4)
    ax.set(xlabel="rows read", ylabel="held-out log-likelihood, nats a row\nabove converged batch EM", title=title)
    highest = max(difference for found in curves.values() for _, difference, _ in found)
    ax.set_ylim(top=max(3e-5, 2.0 * highest))
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right")
    figure.savefig(picture)


def resident() -> int:
    """Resident memory of this process, bytes: now where the system tells, else the largest so far."""
    sizes = Path("/proc/self/statm")
    if sizes.exists():
        return int(sizes.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def allocated() -> int:
    """Bytes that Python and NumPy hold, while tracemalloc counts them."""
    return tracemalloc.get_traced_memory()[0]


def followed(
    workload: Workload, calls: int, warm_up: int, memory: Callable[[], int]
) -> tuple[float, NDArray[np.float64]]:
    """Growth of memory in bytes a call, by least squares over 100 looks at it, and the seconds of every call."""
    drawn = Workload((calls + warm_up) * workload.n, workload.d, workload.k).drawn(0)
    model = GaussianMixture(**drawn.start.settings, random_state=0)
    times = np.zeros(calls)
    numbers, sizes = [], []
    for number, batch in enumerate(np.split(drawn.rows, calls + warm_up), -warm_up):
        begun = perf_counter()
        model.partial_fit(batch, token=number)
        if number >= 0:
            times[number] = perf_counter() - begun
            if number % max(1, calls // 100) == 0:
                numbers.append(number)
                sizes.append(memory())
    return float(np.polyfit(numbers, sizes, 1)[0]), times


def stream(workload: Workload, calls: int, warm_up: int, judged: bool) -> None:
    """Print what a call of partial_fit adds to memory, and whether it gets slower."""
    print(f"\n{calls:,} calls of {workload}, after {warm_up:,}\n")
    table = Table(what=37, value=14, bar=15)
    most, slowest = (1024, 1.1) if judged else (None, None)
    growth, times = followed(workload, calls, warm_up, resident)
    table.row("resident memory", f"{growth:.0f} B a call", verdict(growth, most, at_least=False, unit=" B"))
    first, last = (float(np.median(part)) for part in (times[: calls // 10], times[-(calls // 10) :]))
    table.row("median time, first tenth", f"{1e3 * first:.3f} ms", "")
    table.row("median time, last tenth", f"{1e3 * last:.3f} ms", "")
    table.row("last divided by first", f"{last / first:.3f}", verdict(last / first, slowest, at_least=False))
    tracemalloc.start()
    try:
        growth, _ = followed(workload, calls // 5, warm_up, allocated)
    finally:
        tracemalloc.stop()
    what = f"allocated memory, {calls // 5:,} calls more"
    table.row(what, f"{growth:.0f} B a call", verdict(growth, most, at_least=False, unit=" B"))


def shape(text: str) -> tuple[int, int]:
    """d and k, from "d,k"."""
    d, k = text.split(",")
    return int(d), int(k)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.online", description=__doc__)
    parser.add_argument("--toy", action="store_true", help="a few thousand rows, two seeds, nothing judged")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--seeds", type=int, help="of quality; by default 20")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="rows of quality")
    parser.add_argument("--shapes", type=shape, nargs="+", metavar="D,K", help="features and components of quality")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--picture", type=Path, help="where curve draws; by default online.png, beside this module")
    options = parser.parse_args(arguments)
    toy, judged = options.toy, not options.toy

    describe_machine()
    if "quality" in options.only:
        sizes, shapes = options.sizes or ([3000] if toy else SIZES), options.shapes or ([(2, 3)] if toy else SHAPES)
        workloads = [Workload(n, d, k) for n in sizes for d, k in shapes]
        quality(workloads, options.layouts, options.seeds or (2 if toy else 20), judged)
    if "race" in options.only:
        race(Workload(5000 if toy else 5_000_000, 8, 16), 1 if toy else 3, 50.0 if judged else None)
    if "curve" in options.only:
        workload, passes = (Workload(5000, 4, 8), 3) if toy else (Workload(2**20, 4, 8), PASSES)
        with tempfile.TemporaryDirectory(prefix="streamgmm-online-") as folder:
            curve(workload, passes, options.picture or (Path(folder) / PICTURE.name if toy else PICTURE))
    if "stream" in options.only:
        stream(Workload(100, 4, 8), 300 if toy else 10_000, 20 if toy else 500, judged)


if __name__ == "__main__":
    main()
