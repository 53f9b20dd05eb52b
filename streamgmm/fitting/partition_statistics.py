"""What a model that was fitted incrementally keeps of its rows: an entry for each piece, and how entries are revised.

A `PartitionStatistics` is never changed; revising makes another. So a call that fails leaves everything as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from streamgmm.algorithms.incremental import Incremental, IncrementalState, merged, placed
from streamgmm.data.partitions import Partitions, Places, most_entries
from streamgmm.data.source import Source
from streamgmm.errors import InputError
from streamgmm.fitting.plan import EMSettings, entry_bytes
from streamgmm.iteration.run import Stage, Trajectory, fit
from streamgmm.iteration.stopping import MaxPasses
from streamgmm.model.em import Expectation, Surrogate
from streamgmm.model.em import update as m_step
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent


@persistent("partition-statistics-1")
@dataclass(frozen=True, slots=True, eq=False)
class PartitionStatistics:
    """Which rows a model has learnt, and what it keeps of them.

    Attributes
    ----------
    pieces : Partitions
        The rows of each entry.
    entries : IncrementalState
        Their statistics, each under the parameters of its time.
    weighted : bool
        Whether rows have sample weights.
    """

    pieces: Partitions
    entries: IncrementalState
    weighted: bool = False

    @property
    def covered(self) -> Expectation | None:
        """Sum of all entries."""
        return None if self.entries.root is None else self.entries.root.sum

    def grown(self, source: Source, again: tuple[int, int] | None) -> tuple[PartitionStatistics, Places]:
        """The ledger of a source to which rows were appended, and the places of entries to be made.

        These are entries of new rows, and of the rows ``again``, whether they were withdrawn or not.
        """
        pieces = self.pieces.grown(source)
        places = pieces.overlapping(self.pieces.n_rows, pieces.n_rows)
        if again is not None:
            pieces = replace(pieces, withdrawn=pieces.withdrawn.without(*again))
            places = np.union1d(places, pieces.overlapping(*again))
        return replace(self, pieces=pieces), places

    def without(self, first: int, stop: int) -> tuple[PartitionStatistics, Places]:
        """The ledger less the entries that have rows to be withdrawn, and the places of those of which some is left."""
        pieces = replace(self.pieces, withdrawn=self.pieces.withdrawn.joined(first, stop))
        places = self.pieces.overlapping(first, stop)
        changed = [int(place) for place in places if pieces.spans(place) != self.pieces.spans(place)]
        left = np.array([place for place in changed if pieces.spans(place)], np.int64)
        return replace(self, pieces=pieces, entries=placed(self.entries, dict.fromkeys(changed))), left

    def coarsened(self, places: Places, most: int) -> tuple[PartitionStatistics, Places]:
        """At most so many entries, by neighbours becoming one."""
        pieces, entries = self.pieces, self.entries
        while pieces.count > most:
            pieces, new = pieces.coarser()
            entries, places = merged(entries, new), np.unique(new[places])
        return replace(self, pieces=pieces, entries=entries), places


def revised(
    ledger: PartitionStatistics,
    source: Source,
    places: Places,
    start: Parameters,
    learning: EMSettings,
    seed: int,
    stage: str,
) -> tuple[PartitionStatistics, Trajectory]:
    """Make the entries at some places, each piece read once, and what becomes of the parameters."""
    most = most_entries(entry_bytes(learning, start.n_components, start.n_features))
    ledger, places = ledger.coarsened(places, most)
    lasting = replace(learning, window=None, half_life=None)
    strategy = Incremental(lasting.stepwise(source.n_rows), entries=ledger.entries)
    passes = partial(ledger.pieces.chunk_groups, source, int(strategy.first.batch_size), seed, only=places)
    (trajectory,) = fit(
        [start],
        [Stage(stage, strategy, passes, 1, MaxPasses())],
        learning.structure,
        reg_covar=learning.reg_covar,
        max_iter=1,
    )
    assert isinstance(trajectory.state, IncrementalState)
    return replace(ledger, entries=trajectory.state), trajectory


def settled(ledger: PartitionStatistics, start: Parameters, learning: EMSettings) -> Parameters:
    """Parameters of the entries that there are: one M-step, nothing read."""
    covered = ledger.covered
    if covered is None:
        raise InputError("That would leave no rows; fit the model anew on those that shall stay.")
    surrogate = Surrogate(covered.statistics, covered.likelihood.rows, covered.likelihood)
    return m_step(surrogate, start, learning.structure, learning.reg_covar)[0]
