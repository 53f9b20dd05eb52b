"""Peak memory of a fit, flat in the number of rows: ``python -m benchmarks.memory``. Fails above the limit.

Each size is written to a temporary folder, fitted by a process of its own, and deleted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.stored import GIGABYTE, write_rows
from benchmarks.timing import Table, describe_machine

# Three iterations from the library's own start are five passes: for the start, three, and one for the final tally. What
# is timed is one more. The peak is that of the process since it began to run this: ru_maxrss also counts what the
# process held that started it, so it is used only where the system does not tell.
FIT = """
import json, resource, sys, warnings
from pathlib import Path
from time import perf_counter
from streamgmm import GaussianMixture

path, k = sys.argv[1], int(sys.argv[2])
model = GaussianMixture(k, algorithm="batch", max_iter=3, tol=0, random_state=0)
warnings.simplefilter("ignore")
model.fit(path)
start = perf_counter()
model.score(path)
pass_seconds = perf_counter() - start
status = Path("/proc/self/status")
if status.exists():
    peak = 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([peak, pass_seconds]))
"""


def fit_in_own_process(path: Path, k: int) -> tuple[int, float]:
    """Peak memory in bytes of a process that fits what is stored, and the seconds of one more pass."""
    finished = subprocess.run(
        [sys.executable, "-c", FIT, str(path), str(k)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    peak, pass_seconds = json.loads(finished.stdout)
    return peak, pass_seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 if a fit took more than the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--toy", action="store_true", help="one array of a megabyte, unless sizes are given")
    parser.add_argument("--gigabytes", type=float, nargs="+", help="sizes of the arrays; by default 0.1, 1 and 8")
    parser.add_argument("--limit", type=float, default=1.0, help="gigabytes that a process may take")
    parser.add_argument("--components", type=int, default=8, metavar="K")
    options = parser.parse_args(arguments)
    describe_machine()
    table = Table(array_GB=8, rows=13, peak_GB=7, limit=10, ns_per_row_and_pass=19)
    above = False
    for gigabytes in options.gigabytes or ([0.001] if options.toy else [0.1, 1.0, 8.0]):
        with tempfile.TemporaryDirectory(prefix="streamgmm-memory-") as folder:
            path = Path(folder) / "rows.zarr"
            n_rows = write_rows(path, gigabytes, options.components)
            peak, pass_seconds = fit_in_own_process(path, options.components)
        exceeded = peak > options.limit * GIGABYTE
        above |= exceeded
        judged = f"{options.limit:g} {'EXCEEDED' if exceeded else 'kept'}"
        table.row(
            f"{gigabytes:g}", f"{n_rows:,}", f"{peak / GIGABYTE:.3f}", judged, f"{1e9 * pass_seconds / n_rows:.1f}"
        )
    return int(above)


if __name__ == "__main__":
    sys.exit(main())
