"""One pass over zarr beside reading alone plus computing alone: ``python -m benchmarks.outofcore``.

All three use the same threads. Reading alone decodes every task's rows and drops them; computing alone is the same pass
over the same rows in memory. The files are in the system's cache: what is measured is decoding, not the disk.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import zarr

from benchmarks.stored import N_FEATURES, write_rows
from benchmarks.timing import Table, describe_machine, seconds, verdict
from benchmarks.workloads import Start
from streamgmm import GaussianMixture
from streamgmm.data.sources.storage import task_rows
from streamgmm.data.threads import count


def read(array: Any) -> None:
    """Decode a stored array task by task, as many at once as there are threads."""
    step = task_rows(array.shape[1], array.dtype.itemsize, array.chunks[0])
    with ThreadPoolExecutor(count()) as pool:
        for _ in pool.map(lambda start: len(array[start : start + step]), range(0, array.shape[0], step)):
            pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outofcore", description=__doc__)
    parser.add_argument("--toy", action="store_true", help="a megabyte, one round, nothing judged")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the array in memory")
    parser.add_argument("--components", type=int, nargs="+", default=[4, 8, 16], metavar="K")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    gigabytes, rounds, bar = (0.001, 1, None) if options.toy else (options.gigabytes, options.rounds, 1.15)
    describe_machine()
    table = Table(workload=33, pass_s=8, reading_s=9, computing_s=11, ratio=6, bar=10)
    with tempfile.TemporaryDirectory(prefix="streamgmm-outofcore-") as folder:
        path = Path(folder) / "rows.zarr"
        n_rows = write_rows(path, gigabytes)
        stored = zarr.open_array(path, mode="r")
        rows = stored[:]
        for k in options.components:
            start = Start.found(rows, k, "full")
            model = GaussianMixture(
                k, weights_init=start.weights, means_init=start.means, precisions_init=start.precisions, max_iter=0
            ).fit(rows)
            works = (partial(model.score, path), partial(read, stored), partial(model.score, rows))
            for work in works:
                work()
            measured = [[seconds(work) for work in works] for _ in range(rounds)]
            streaming, reading, computing = (median(times) for times in zip(*measured, strict=True))
            ratio = streaming / (reading + computing)
            cells = (f"{streaming:.3f}", f"{reading:.3f}", f"{computing:.3f}", f"{ratio:.2f}")
            table.row(f"{n_rows:,} x {N_FEATURES}, k = {k}", *cells, verdict(ratio, bar, at_least=False))


if __name__ == "__main__":
    main()
