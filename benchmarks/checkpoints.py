"""What a checkpoint costs: ``python -m benchmarks.checkpoints``.

The share of a fit's time that is spent on making and writing generations, as often as they are by default, and the
time of the same fit without.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import numpy as np
import zarr
from sklearn.exceptions import ConvergenceWarning

from benchmarks.timing import Rounds, Table, describe_machine, seconds, verdict
from benchmarks.workloads import mixture
from streamgmm import GaussianMixture
from streamgmm.errors import OrderWarning
from streamgmm.estimator import complete_fit
from streamgmm.persistence.session import CheckpointSession
from streamgmm.persistence.writer import CheckpointWriter

BAR = 0.02


class Spent:
    """Seconds that fits spend on making and writing generations, the number of these, and the seconds of all fits."""

    def __init__(self) -> None:
        self.seconds, self.generations, self.fits, self.fitting, self._inside = 0.0, 0, 0, 0.0, False

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same, its time counted, but for what is called within another one."""

        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return call(*arguments, **named)
            self._inside, begun = True, perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.seconds += perf_counter() - begun
                self._inside = False

        return timed

    @contextmanager
    def watching(self) -> Iterator[None]:
        write = CheckpointWriter.write

        def written(checkpoint_writer: CheckpointWriter, *arguments: Any) -> Any:
            self.generations += 1
            return write(checkpoint_writer, *arguments)

        with (
            mock.patch.object(CheckpointSession, "_write", self.counted(CheckpointSession._write)),
            mock.patch.object(complete_fit, "write_content", self.counted(complete_fit.write_content)),
            mock.patch.object(CheckpointWriter, "write", written),
        ):
            begun = perf_counter()
            yield
        self.fits += 1
        self.fitting += perf_counter() - begun


def settings(toy: bool) -> list[tuple[str, int, int, dict[str, Any]]]:
    """What is fitted: a name, features, components, and how."""
    passes = 3 if toy else 25
    return [
        ("batch, full", 8, 16, {"algorithm": "batch", "tol": 0.0, "max_iter": passes}),
        ("batch, full", 32, 32, {"algorithm": "batch", "tol": 0.0, "max_iter": max(2, passes // 6)}),
        ("auto, full", 8, 16, {"max_iter": passes}),
        ("stepwise, full", 8, 16, {"algorithm": "stepwise", "max_iter": max(2, passes // 5)}),
        ("incremental, 6 passes", 8, 16, {"algorithm": "incremental", "tol": 0.0, "max_iter": max(2, passes // 4)}),
        ("incremental, full", 8, 16, {"algorithm": "incremental", "tol": 0.0, "max_iter": passes}),
        ("batch, diag", 16, 16, {"algorithm": "batch", "covariance_type": "diag", "tol": 0.0, "max_iter": passes}),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--only", default="", help="fits whose name has this in it")
    parser.add_argument("--toy", action="store_true", help="small, to see that it runs")
    given = parser.parse_args(arguments)
    n_rows = 40_000 if given.toy else given.rows
    describe_machine()
    scratch = Path(tempfile.mkdtemp())
    table = Table(fit=40, without=9, with_checkpoint=15, generations=11, share=9, bar=10)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", OrderWarning)
            for name, d, k, how in settings(given.toy):
                if given.only not in name:
                    continue
                n = n_rows * 8 // d
                path = scratch / f"{d}.zarr"
                if not path.exists():
                    rows = zarr.create_array(path, shape=(n, d), chunks=(min(n, 50_000), d), dtype="f4")
                    rows[:] = mixture(n, d, k).astype(np.float32)
                begun = {"init_params": "random_from_data", "random_state": 0, **how}
                spent = Spent()

                def kept(k: int = k, begun: Any = begun, path: Path = path, spent: Spent = spent) -> None:
                    shutil.rmtree(scratch / "fit.ckpt", ignore_errors=True)
                    with spent.watching():
                        GaussianMixture(k, checkpoint=scratch / "fit.ckpt", **begun).fit(path)

                def plain(k: int = k, begun: Any = begun, path: Path = path) -> None:
                    GaussianMixture(k, **begun).fit(path)

                plain()
                rounds = Rounds(1, 1) if given.toy else Rounds(3, 5, 60.0)
                pair = rounds.side_by_side(partial(seconds, kept), partial(seconds, plain))
                share = spent.seconds / spent.fitting
                table.row(
                    f"{n:,} x {d}, k = {k}, {name}",
                    f"{pair.theirs:.2f} s",
                    f"{pair.ours:.2f} s",
                    f"{spent.generations / spent.fits:.1f}",
                    f"{share:.2%}",
                    verdict(100 * share, None if given.toy else 100 * BAR, at_least=False, unit=" %"),
                )
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
