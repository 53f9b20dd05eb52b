"""One exact EM iteration beside scikit-learn, oneDAL and whoever else is installed: ``python -m benchmarks.peers``.

Everyone starts from the same parameters and uses every processor. An iteration is (fit with 4 − fit with 1) / 3; ours
and theirs are measured in turn, and the median of the rounds is shown. The last columns are the largest differences of
the parameters from scikit-learn's, computed in float64, after 4 iterations.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.adapters import PEERS, SCIKIT_LEARN, Fitted, Peer, difference, streamgmm
from benchmarks.timing import Rounds, Table, describe_machine, per_iteration, verdict
from benchmarks.workloads import FAMILIES, Start, mixture, photographs

ITERATIONS = 4  # after which parameters are compared


ONEDAL, DOUBLE, SHUFFLED = "oneDAL", "ours, float64", "ours, shuffled"


@dataclass(frozen=True, slots=True)
class Workload:
    """Rows to fit, and how many times faster than whom the full family shall be."""

    name: str
    k: int
    make: Callable[[], NDArray[Any]]
    bars: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PeerComparison:
    """Ours on some rows, theirs on the same."""

    workload: Workload
    rows: NDArray[Any]
    start: Start
    reference: Fitted
    rounds: Rounds
    table: Table

    def against(self, name: str, fit: Callable[..., Fitted | None], rows: NDArray[Any], *, judged: bool) -> None:
        """Measure, and print the row of the table."""
        ours = partial(streamgmm, self.rows, self.start)
        theirs = partial(fit, rows, self.start)
        mine = difference(ours(ITERATIONS), self.reference)  # this also compiles what compiles
        try:
            found = theirs(ITERATIONS)
            times = self.rounds.side_by_side(per_iteration(ours), per_iteration(theirs))
        except Exception as error:  # that a peer fails, or runs out of memory, is a result too
            self._print(name, "", type(error).__name__, "failed", "", f"{mine:.0e}", "")
            return
        bar = self.workload.bars.get(name) if judged else None
        self._print(
            name,
            f"{times.ours:.4f}",
            f"{times.theirs:.4f}",
            f"{times.speedup:.2f}",
            verdict(times.speedup, bar, at_least=True),
            f"{mine:.0e}",
            "–" if found is None else f"{difference(found, self.reference):.0e}",
        )

    def _print(self, *cells: str) -> None:
        self.table.row(self.workload.name, self.start.family, self.rows.dtype.name, *cells)


def workloads(toy: bool) -> Iterator[Workload]:
    """In the order of ``--rows``: three mixtures, then photographs, whose pixels stay in their own order."""
    shrink = 1000 if toy else 1
    for n, d, k, bars in (
        (1_000_000, 3, 8, {SCIKIT_LEARN.name: 70.0, ONEDAL: 2.5, DOUBLE: 1.0}),
        (500_000, 16, 16, {SCIKIT_LEARN.name: 25.0, ONEDAL: 2.0, DOUBLE: 1.0}),
        (200_000, 32, 32, {SCIKIT_LEARN.name: 15.0, ONEDAL: 1.5, DOUBLE: 1.0}),
    ):
        rows = n // shrink
        yield Workload(f"{rows:,} x {d}, k = {k}", k, partial(mixture, rows, d, k), {} if toy else bars)
    for name, pixels in photographs().items():
        yield Workload(f"{name}, k = 8", 8, partial(np.array, pixels[::shrink]), {} if toy else {SHUFFLED: 1.0})


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--toy", action="store_true", help="a thousandth of the rows, one round")
    parser.add_argument("--rows", type=int, nargs="+", metavar="ROW", help="workloads, from 1; 4 and on: photographs")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=["full"])
    parser.add_argument("--dtypes", nargs="+", choices=["float64", "float32"], default=["float64", "float32"])
    parser.add_argument("--peers", nargs="+", choices=names, default=names)
    options = parser.parse_args(arguments)

    describe_machine()
    peers = []
    for peer in PEERS:
        if peer.name in options.peers and (reason := peer.missing()) is not None:
            print(f"{peer.name} is left out: {reason}")
        elif peer.name in options.peers:
            peers.append(peer)
    print()
    columns = {"workload": 31, "family": 9, "rows": 7, "peer": 14, "ours s": 7, "theirs s": 8, "times faster": 12}
    table = Table(**columns, bar=9, ours_differs=12, theirs_differ=13)
    rounds = Rounds(1, 1) if options.toy else Rounds()
    for number, workload in enumerate(workloads(options.toy), 1):
        if options.rows is None or number in options.rows:
            for family in options.families:
                measure(workload, family, options.dtypes, peers, rounds, table)


def measure(
    workload: Workload, family: str, dtypes: Sequence[str], peers: Sequence[Peer], rounds: Rounds, table: Table
) -> None:
    """All rows of the table about one workload and one family."""
    rows = workload.make()
    start = Start.found(rows, workload.k, family)
    reference = SCIKIT_LEARN.fit(SCIKIT_LEARN.converted(rows), start, ITERATIONS)
    assert reference is not None
    capable = [peer for peer in peers if family in peer.families]
    if rows.dtype == np.uint8:
        comparison = PeerComparison(workload, rows, start, reference, rounds, table)
        comparison.against(SHUFFLED, streamgmm, np.random.default_rng(0).permutation(rows), judged=family == "full")
        for peer in capable:
            comparison.against(peer.name, peer.fit, peer.converted(rows), judged=False)
        return
    for dtype in dtypes:
        comparison = PeerComparison(workload, rows.astype(dtype), start, reference, rounds, table)
        if dtype == "float32":
            comparison.against(DOUBLE, streamgmm, rows, judged=family == "full")
        for peer in capable:
            judged = (family, dtype) == ("full", "float64")
            comparison.against(peer.name, peer.fit, peer.converted(comparison.rows), judged=judged)


if __name__ == "__main__":
    main()
