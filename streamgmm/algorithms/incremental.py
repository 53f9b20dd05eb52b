"""Incremental EM: every partition of the data keeps its latest statistics, and the M-step sees the sum of all.

Neal & Hinton (1998). From the second pass on there is no step size, and the free energy s·θ + H over all rows never
decreases. In the first pass, when most partitions have no statistics yet, the M-step sees the moving statistics of
stepwise EM, and each partition keeps its own beside them.

The sum is the root of a binary tree of which only the paths of changed partitions are added up anew: nothing is ever
subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamgmm.algorithms.algorithm import Algorithm, AlgorithmState, UpdateInfo
from streamgmm.algorithms.partition_columns import EntryColumns
from streamgmm.algorithms.stepwise import Stepwise, StepwiseState
from streamgmm.data.execution import ChunkGroup
from streamgmm.model.em import Expectation, maximize
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import sum_tree
from streamgmm.model.statistics import Statistics
from streamgmm.persistence.codec import persistent


class Node(NamedTuple):
    """Sum over an aligned run of partitions; immutable, a changed path is made anew."""

    sum: Expectation
    left: Node | None = None
    right: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class IncrementalColumns:
    """State of incremental EM as it is saved."""

    parameters: Parameters
    origin: Array
    entries: EntryColumns
    moving: StepwiseState | None
    visited: EntryColumns


@persistent("incremental-1")
@dataclass(frozen=True, slots=True, eq=False)
class IncrementalState(AlgorithmState):
    """State of incremental EM."""

    parameters: Parameters
    origin: Array  # (k, d): origin of all entries: the means at the beginning of a pass
    depth: int = 0  # the tree has room for ``2**depth`` partitions
    root: Node | None = None  # the entries of the partitions; None for a partition without one
    moving: StepwiseState | None = None  # moving statistics, in the first pass
    # entries of the first pass by partition, each about the means of its time
    visited: tuple[tuple[int, Expectation], ...] = ()

    def to_columns(self) -> IncrementalColumns:
        """Return the entries as a few large arrays, from which the tree is made anew."""
        entries = EntryColumns.from_entries(list_entries(self), self.origin)
        visited = EntryColumns.from_entries(self.visited)
        return IncrementalColumns(self.parameters, self.origin, entries, self.moving, visited)

    @classmethod
    def from_columns(cls, columns: IncrementalColumns) -> IncrementalState:
        """Return the state that `to_columns` made arrays of."""
        visited = tuple(columns.visited.entries())
        state = cls(columns.parameters, columns.origin, moving=columns.moving, visited=visited)
        return replace_entries(state, dict(columns.entries.entries()))

    def validate(self) -> None:
        """Raise ValueError unless the origin is a finite matrix of the shape of the means."""
        if self.origin.shape != self.parameters.means.shape or not np.isfinite(self.origin).all():
            raise ValueError("the origin of the entries is of another mixture, or not finite")


@dataclass(frozen=True, slots=True)
class Incremental(Algorithm[IncrementalState]):
    """Incremental EM, one update for each batch of partitions."""

    first: Stepwise  # algorithm of the first pass; it holds the covariance structure and the regularization
    start_rows: float = 0.0  # rows that the start was learnt from
    entries: IncrementalState | None = None  # state to continue from, if every partition was visited before

    def init(self, start: Parameters) -> IncrementalState:
        """Return the state without entries, or with those to continue from."""
        if self.entries is not None:
            return replace(self.entries, parameters=start)
        return IncrementalState(start, start.means, moving=self.first.init(start, self.start_rows))

    def update(
        self, state: IncrementalState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[IncrementalState, UpdateInfo | None]:
        """Replace the entries of the partitions read, and maximize on the sum."""
        visits = list(zip(dict.fromkeys(chunk_group.partitions), expectations, strict=True))
        if state.moving is None:
            return self._maximize(replace_entries(state, dict(visits)), expectations, chunk_group)
        moving, info = self.first.update(state.moving, expectations, chunk_group)
        visited = (*state.visited, *visits)
        if not chunk_group.ends_pass:
            return replace(state, parameters=moving.parameters, moving=moving, visited=visited), info
        state = replace_entries(replace(state, moving=None, visited=()), dict(visited))
        return self._maximize(state, expectations, chunk_group)

    def accumulated(self, state: IncrementalState) -> Expectation | None:
        """Return the sum over all partitions."""
        return None if state.root is None else state.root.sum

    def _maximize(
        self, state: IncrementalState, expectations: Sequence[Expectation], chunk_group: ChunkGroup
    ) -> tuple[IncrementalState, UpdateInfo | None]:
        """Maximize on the sum of all entries, which are recentred to their means when a pass has ended."""
        if state.root is None or not (chunk_group.ends_pass or (chunk_group.ends_batch and expectations)):
            return state, None
        whole = state.root.sum
        latest = sum_tree(expectations) if expectations else whole
        rows = float(whole.likelihood.rows)
        structure, reg_covar = self.first.structure, self.first.reg_covar
        parameters, m_step = maximize(whole.statistics, structure, reg_covar, effective_rows=rows)
        if chunk_group.ends_pass:
            state = recentre_entries(state, _compute_means(whole.statistics))
        return replace(state, parameters=parameters), UpdateInfo(latest, rows, m_step)


def replace_entries(state: IncrementalState, entries: Mapping[int, Expectation | None]) -> IncrementalState:
    """Set the entries of some partitions; None removes one."""
    depth, root = state.depth, state.root
    while max(entries, default=0) >= 1 << depth:
        root, depth = None if root is None else Node(root.sum, root, None), depth + 1
    leaves = [
        (index, None if entry is None else Node(entry.recentred(state.origin)))
        for index, entry in sorted(entries.items())
    ]
    return replace(state, depth=depth, root=_replace_leaves(root, depth, leaves))


def recentre_entries(state: IncrementalState, origin: Array) -> IncrementalState:
    """Take all entries about another origin, and add them up anew."""
    root = _map_leaves(state.root, state.depth, lambda entry: entry.recentred(origin))
    return replace(state, origin=origin, root=root)


def merge_entries(state: IncrementalState, indices: Sequence[int] | NDArray[np.int64]) -> IncrementalState:
    """Merge partitions that get the same index; ``indices`` has the new index of each, by its old."""
    groups: dict[int, list[Expectation]] = {}
    for index, entry in list_entries(state):
        groups.setdefault(int(indices[index]), []).append(entry)
    merged = {index: sum_tree(parts) for index, parts in groups.items()}
    return replace_entries(IncrementalState(state.parameters, state.origin), merged)


def list_entries(state: IncrementalState) -> list[tuple[int, Expectation]]:
    """Return every entry with the index of its partition."""

    def gather(node: Node | None, depth: int, first: int) -> list[tuple[int, Expectation]]:
        if node is None or depth == 0:
            return [] if node is None else [(first, node.sum)]
        return gather(node.left, depth - 1, first) + gather(node.right, depth - 1, first + (1 << (depth - 1)))

    return gather(state.root, state.depth, 0)


def _join(left: Node | None, right: Node | None) -> Node | None:
    if left is None or right is None:
        child = left or right
        return None if child is None else Node(child.sum, left, right)
    return Node(left.sum + right.sum, left, right)


def _replace_leaves(node: Node | None, depth: int, leaves: Sequence[tuple[int, Node | None]]) -> Node | None:
    """Return the tree with some leaves replaced; a path that several of them share is added up once."""
    if not leaves:
        return node
    if depth == 0:
        return leaves[0][1]
    left, right = (None, None) if node is None else (node.left, node.right)
    half = 1 << (depth - 1)
    near = [leaf for leaf in leaves if leaf[0] < half]
    far = [(index - half, leaf) for index, leaf in leaves[len(near) :]]
    return _join(_replace_leaves(left, depth - 1, near), _replace_leaves(right, depth - 1, far))


def _map_leaves(node: Node | None, depth: int, function: Callable[[Expectation], Expectation]) -> Node | None:
    if node is None or depth == 0:
        return None if node is None else Node(function(node.sum))
    return _join(_map_leaves(node.left, depth - 1, function), _map_leaves(node.right, depth - 1, function))


def _compute_means(statistics: Statistics) -> Array:
    """Return the mean of each component; its origin where it has no rows."""
    counts = statistics.counts[:, None]
    means: Array = statistics.origin + statistics.sums / (counts + (counts <= 1e-6))
    return means
