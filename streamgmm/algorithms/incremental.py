"""Incremental EM: every piece of the data keeps its latest statistics, and the M-step sees the sum of all.

Neal & Hinton (1998). From the second pass on there is no step size, and the free energy s·θ + H over all rows never
decreases. In the first, when most pieces have none yet, the M-step sees statistics that move by steps (`Stepwise`), and
each piece keeps its own beside them: the sum of all that ends the pass is then as good as stepwise EM's.

The sum is the root of a tree of which only the paths of changed pieces are added up anew: nothing is ever subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamgmm.algorithms.algorithm import AlgorithmState
from streamgmm.algorithms.partition_columns import EntryColumns
from streamgmm.algorithms.stepwise import Stepwise, StepwiseState
from streamgmm.data.execution import ChunkGroup
from streamgmm.model.em import Expectation, Surrogate
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import tree_sum
from streamgmm.model.statistics import Statistics
from streamgmm.persistence.codec import persistent


class Node(NamedTuple):
    """Sum over an aligned run of entries; a node is never changed, its path is made anew."""

    sum: Expectation
    left: Node | None = None
    right: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class IncrementalColumns:
    """State of incremental EM as it is saved."""

    origin: Array
    kept: EntryColumns
    moving: StepwiseState | None
    visited: EntryColumns


@persistent("incremental-1")
@dataclass(frozen=True, slots=True, eq=False)
class IncrementalState(AlgorithmState):
    """State of incremental EM.

    Attributes
    ----------
    origin : ndarray of shape (k, d)
        Point about which all entries are taken; the means at the beginning of a pass.
    depth : int
        The tree has room for ``2**depth`` entries.
    root : Node or None
        The entries, places without one being None.
    moving : StepwiseState or None
        In the first pass, what the M-step sees.
    visited : tuple of (int, Expectation)
        In the first pass, the entries by their places, each about the means of its time.
    """

    origin: Array
    depth: int = 0
    root: Node | None = None
    moving: StepwiseState | None = None
    visited: tuple[tuple[int, Expectation], ...] = ()

    def to_columns(self) -> IncrementalColumns:
        """Return the entries as a few large arrays; the tree is made anew from them."""
        kept = EntryColumns.from_entries(leaves(self), self.origin)
        return IncrementalColumns(self.origin, kept, self.moving, EntryColumns.from_entries(self.visited))

    @classmethod
    def from_columns(cls, columns: IncrementalColumns) -> IncrementalState:
        """Return the state that `to_columns` made arrays of."""
        state = cls(columns.origin, moving=columns.moving, visited=tuple(columns.visited.entries()))
        return placed(state, dict(columns.kept.entries()))

    def validate(self) -> None:
        """Raise ValueError unless the origin is a finite matrix."""
        if self.origin.ndim != 2 or not np.isfinite(self.origin).all():
            raise ValueError("the origin of the entries is none")


@dataclass(frozen=True, slots=True)
class Incremental:
    """One update a batch of entries.

    Parameters
    ----------
    first : Stepwise
        How the first pass moves.
    start_rows : float or None, default=None
        Rows that the start is worth to it.
    entries : IncrementalState or None, default=None
        What to go on from, if every piece was visited before.
    """

    first: Stepwise
    start_rows: float | None = None
    entries: IncrementalState | None = None

    def init(self, start: Parameters) -> IncrementalState:
        """No entry yet, or those to go on from."""
        if self.entries is not None:
            return self.entries
        return IncrementalState(start.means, moving=self.first.init(start, self.start_rows))

    def update(
        self, state: IncrementalState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[Surrogate | None, IncrementalState]:
        """Put the statistics of entries in the place of their earlier ones, and sum up."""
        visits = list(zip(dict.fromkeys(chunk_group.entries), expectations, strict=True))
        if state.moving is None:
            state = placed(state, dict(visits))
            return self._whole(state, expectations, chunk_group)
        surrogate, moving = self.first.update(state.moving, expectations, chunk_group)
        state = replace(state, moving=moving, visited=(*state.visited, *visits))
        if not chunk_group.last:
            return surrogate, state
        state = placed(replace(state, moving=None, visited=()), dict(state.visited))
        return self._whole(state, expectations, chunk_group)

    def covered(self, state: IncrementalState) -> Expectation | None:
        """Sum over all entries."""
        return None if state.root is None else state.root.sum

    def reported(self, state: IncrementalState) -> Surrogate | None:
        """Nothing: the last surrogate is all entries."""
        return None

    def _whole(
        self, state: IncrementalState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[Surrogate | None, IncrementalState]:
        """All entries, about their means once a pass has ended."""
        if state.root is None or not (chunk_group.last or (chunk_group.complete and expectations)):
            return None, state
        whole = state.root.sum
        latest = tree_sum(expectations) if expectations else whole
        surrogate = Surrogate(whole.statistics, whole.likelihood.rows, latest.likelihood, latest=latest.statistics)
        if chunk_group.last:
            state = recentred(state, whole.statistics.origin + _steps(whole.statistics))
        return surrogate, state


def placed(state: IncrementalState, entries: Mapping[int, Expectation | None]) -> IncrementalState:
    """Put entries in their places, or take those away that are None."""
    depth, root = state.depth, state.root
    while max(entries, default=0) >= 1 << depth:
        root, depth = None if root is None else Node(root.sum, root, None), depth + 1
    made = [(place, _leaf(entry, state.origin)) for place, entry in sorted(entries.items())]
    return replace(state, depth=depth, root=_with_leaves(root, depth, made))


def recentred(state: IncrementalState, origin: Array) -> IncrementalState:
    """All entries about other points, the sums among them made anew."""
    root = _mapped(state.root, state.depth, lambda entry: _about(entry, origin))
    return replace(state, origin=origin, root=root)


def merged(state: IncrementalState, places: Sequence[int] | NDArray[np.int64]) -> IncrementalState:
    """Entries that are given the same place become one; ``places`` has the new one of each, by its old."""
    found: dict[int, list[Expectation]] = {}
    for place, entry in leaves(state):
        found.setdefault(int(places[place]), []).append(entry)
    return placed(IncrementalState(state.origin), {place: tree_sum(parts) for place, parts in found.items()})


def leaves(state: IncrementalState) -> list[tuple[int, Expectation]]:
    """Every entry with its place."""

    def gather(node: Node | None, depth: int, first: int) -> list[tuple[int, Expectation]]:
        if node is None or depth == 0:
            return [] if node is None else [(first, node.sum)]
        return gather(node.left, depth - 1, first) + gather(node.right, depth - 1, first + (1 << (depth - 1)))

    return gather(state.root, state.depth, 0)


def _leaf(entry: Expectation | None, origin: Array) -> Node | None:
    return None if entry is None else Node(_about(entry, origin))


def _joined(left: Node | None, right: Node | None) -> Node | None:
    if left is None or right is None:
        only = left or right
        return None if only is None else Node(only.sum, left, right)
    return Node(left.sum + right.sum, left, right)


def _with_leaves(node: Node | None, depth: int, leaves: Sequence[tuple[int, Node | None]]) -> Node | None:
    """The tree with some leaves in other places' stead: a path that several of them share is added up once."""
    if not leaves:
        return node
    if depth == 0:
        return leaves[0][1]
    left, right = (None, None) if node is None else (node.left, node.right)
    half = 1 << (depth - 1)
    near = [leaf for leaf in leaves if leaf[0] < half]
    far = [(place - half, leaf) for place, leaf in leaves[len(near) :]]
    return _joined(_with_leaves(left, depth - 1, near), _with_leaves(right, depth - 1, far))


def _mapped(node: Node | None, depth: int, function: Callable[[Expectation], Expectation]) -> Node | None:
    if node is None or depth == 0:
        return None if node is None else Node(function(node.sum))
    return _joined(_mapped(node.left, depth - 1, function), _mapped(node.right, depth - 1, function))


def _about(entry: Expectation, origin: Array) -> Expectation:
    return Expectation(entry.statistics.recentred(origin), entry.likelihood)


def _steps(statistics: Statistics) -> Array:
    """From the origin to the mean of each component; none where it has no rows."""
    counts = statistics.counts[:, None]
    return statistics.sums / (counts + (counts <= 1e-6))
