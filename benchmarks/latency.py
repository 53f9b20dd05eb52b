"""What a small fit, an import and the first compiled call cost: ``python -m benchmarks.latency``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import sklearn.mixture

from benchmarks.timing import Measurement, Rounds, Table, describe_machine, seconds, verdict
from benchmarks.workloads import mixture
from streamgmm import GaussianMixture

IMPORT = """
from time import perf_counter
start = perf_counter()
import {module}
print(perf_counter() - start)
"""

MODULES = ("streamgmm", "sklearn.mixture")

# The rows are ready and streamgmm is imported. What is timed: k-means, loading numba and its compiler, compiling or
# reading from the cache, and the fit itself.
FIRST_FIT = """
from time import perf_counter
import numpy as np
from streamgmm import GaussianMixture
rows = np.random.default_rng(0).normal(size=(1500, 2))
model = GaussianMixture(3, random_state=0)
start = perf_counter()
model.fit(rows)
print(perf_counter() - start)
"""


def fresh_process(code: str, **environment: str) -> float:
    """The number that the code prints, run by a new interpreter."""
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(finished.stdout)


def small_fit(estimator: type) -> Measurement:
    """Time of a fit of 1,500 rows with every default, from k-means to convergence."""
    rows = mixture(1500, 2, 3)
    return lambda: seconds(lambda: estimator(3, random_state=0).fit(rows))


def first_fits(repetitions: int) -> tuple[float, float]:
    """Seconds of a process's first fit with an empty cache of compiled code, and with the cache that it left."""
    cold, cached = [], []
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(fresh_process(FIRST_FIT, NUMBA_CACHE_DIR=folder))
            cached.append(fresh_process(FIRST_FIT, NUMBA_CACHE_DIR=folder))
    return median(cold), median(cached)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--toy", action="store_true", help="one repetition of everything")
    toy = parser.parse_args(arguments).toy
    describe_machine()
    table = Table(what=41, ours_ms=9, scikit_learn_ms=15, ours_divided_by_theirs=22, bar=11)

    ours, theirs = small_fit(GaussianMixture), small_fit(sklearn.mixture.GaussianMixture)
    ours(), theirs()  # compiles, and starts the threads
    rounds = Rounds(1, 1) if toy else Rounds(least=101, most=301)
    imports = [lambda module=module: fresh_process(IMPORT.format(module=module)) for module in MODULES]
    for what, pair, bar in (
        ("fit of 1,500 x 2, k = 3", rounds.side_by_side(ours, theirs), 1.0),
        ("import", (Rounds(1, 1) if toy else Rounds(least=11, most=11)).side_by_side(*imports), 1.3),
    ):
        ratio = pair.ours / pair.theirs
        cells = (f"{1000 * pair.ours:.2f}", f"{1000 * pair.theirs:.2f}", f"{ratio:.3f}")
        table.row(what, *cells, "" if toy else verdict(ratio, bar, at_least=False))

    cold, cached = first_fits(1 if toy else 3)
    for what, time, bar in (
        ("first fit, nothing compiled", cold, 3.0),
        ("first fit, compiled code cached", cached, 0.5),
    ):
        table.row(what, f"{1000 * time:.0f}", "", "", "" if toy else verdict(time, bar, at_least=False, unit=" s"))


if __name__ == "__main__":
    main()
