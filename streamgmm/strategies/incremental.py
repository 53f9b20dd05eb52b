"""Incremental EM: every piece of the data keeps its latest statistics, and the M-step sees the sum of all.

Neal & Hinton (1998). There is no step size, and the free energy s·θ + H over the rows covered never decreases. The sum
is the root of a tree of which only the path of the changed piece is added up anew: nothing is ever subtracted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from streamgmm.covariances import CovarianceStructure
from streamgmm.em import Expectation, Surrogate, implied
from streamgmm.execution import Wave
from streamgmm.parameters import Array, Parameters
from streamgmm.statistics import Statistics


class Node(NamedTuple):
    """Sum over an aligned run of entries; a node is never changed, its path is made anew."""

    sum: Expectation
    left: Node | None = None
    right: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """State of incremental EM.

    Attributes
    ----------
    origin : ndarray of shape (k, d)
        Point about which all entries are taken; the means at the beginning of a pass.
    start : Statistics or None
        What the start implies, a unit of weight, until every entry was visited.
    depth : int
        The tree has room for ``2**depth`` entries.
    root : Node or None
        The entries, places without one being None.
    """

    origin: Array
    start: Statistics | None
    depth: int = 0
    root: Node | None = None


@dataclass(frozen=True, slots=True)
class Incremental:
    """One update an entry.

    Parameters
    ----------
    structure : CovarianceStructure
        The family of covariances.
    reg_covar : float
        As the M-step adds it.
    start_rows : float
        Rows that the start is worth in the first pass; fewer in proportion as rows are visited.
    n_rows : float
        Rows of all entries.
    """

    structure: CovarianceStructure
    reg_covar: float
    start_rows: float
    n_rows: float

    def init(self, start: Parameters) -> Entries:
        """No entry yet."""
        return Entries(start.means, implied(start, self.structure, self.reg_covar))

    def update(self, state: Entries, expectation: Expectation | None, wave: Wave) -> tuple[Surrogate | None, Entries]:
        """Put the statistics of an entry in the place of its earlier ones, and sum up."""
        if expectation is not None:
            state = placed(state, wave.entry, expectation)
        if wave.last:
            state = replace(state, start=None)
        if state.root is None or not wave.complete:
            return None, state
        whole = state.root.sum
        surrogate = self._surrogate(state, whole, whole if expectation is None else expectation)
        if wave.last:
            state = recentred(state, surrogate.statistics.origin + _steps(surrogate.statistics))
        return surrogate, state

    def covered(self, state: Entries) -> Expectation | None:
        """Sum over all entries."""
        return None if state.root is None else state.root.sum

    def reported(self, state: Entries) -> Surrogate | None:
        """Nothing: the last surrogate is all entries."""
        return None

    def _surrogate(self, state: Entries, whole: Expectation, latest: Expectation) -> Surrogate:
        rows = float(whole.likelihood.rows)
        if state.start is None or not whole.likelihood.weight > 0.0:
            return Surrogate(whole.statistics, rows, latest.likelihood, latest=latest.statistics)
        left = self.start_rows * max(0.0, 1.0 - rows / self.n_rows)
        statistics = whole.statistics + (whole.likelihood.weight / rows * left) * state.start.recentred(state.origin)
        return Surrogate(statistics, rows + left, latest.likelihood, latest=latest.statistics)


def placed(state: Entries, place: int, expectation: Expectation | None) -> Entries:
    """Put an entry in its place, or take it away with None."""
    depth, root = state.depth, state.root
    while place >= 1 << depth:
        root, depth = None if root is None else Node(root.sum, root, None), depth + 1
    leaf = None
    if expectation is not None:
        leaf = Node(Expectation(expectation.statistics.recentred(state.origin), expectation.likelihood))
    return replace(state, depth=depth, root=_with_leaf(root, depth, place, leaf))


def recentred(state: Entries, origin: Array) -> Entries:
    """All entries about other points, the sums among them made anew."""

    def move(expectation: Expectation) -> Expectation:
        return Expectation(expectation.statistics.recentred(origin), expectation.likelihood)

    return replace(state, origin=origin, root=_mapped(state.root, state.depth, move))


def leaves(state: Entries) -> list[Expectation | None]:
    """Every entry by its place."""

    def gather(node: Node | None, depth: int) -> list[Expectation | None]:
        if depth == 0 or node is None:
            return [None if node is None else node.sum] + [None] * ((1 << depth) - 1)
        return gather(node.left, depth - 1) + gather(node.right, depth - 1)

    return gather(state.root, state.depth)


def _joined(left: Node | None, right: Node | None) -> Node | None:
    if left is None or right is None:
        only = left or right
        return None if only is None else Node(only.sum, left, right)
    return Node(left.sum + right.sum, left, right)


def _with_leaf(node: Node | None, depth: int, place: int, leaf: Node | None) -> Node | None:
    if depth == 0:
        return leaf
    left, right = (None, None) if node is None else (node.left, node.right)
    half = 1 << (depth - 1)
    if place < half:
        left = _with_leaf(left, depth - 1, place, leaf)
    else:
        right = _with_leaf(right, depth - 1, place - half, leaf)
    return _joined(left, right)


def _mapped(node: Node | None, depth: int, function: Callable[[Expectation], Expectation]) -> Node | None:
    if node is None or depth == 0:
        return None if node is None else Node(function(node.sum))
    return _joined(_mapped(node.left, depth - 1, function), _mapped(node.right, depth - 1, function))


def _steps(statistics: Statistics) -> Array:
    """From the origin to the mean of each component; none where it has no rows."""
    counts = statistics.counts[:, None]
    return statistics.sums / (counts + (counts <= 1e-6))
