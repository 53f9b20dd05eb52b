"""Statistics of each partition of the rows, which a model fitted by incremental EM keeps, and their revision.

`PartitionStatistics` are immutable; a revision makes others. So a call that fails leaves everything as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from streamgmm.algorithms.incremental import Incremental, IncrementalState, merge_entries, replace_entries
from streamgmm.algorithms.settings import EMSettings
from streamgmm.algorithms.stopping import MaxPasses
from streamgmm.data.partitions import Indices, Partitions, max_partitions
from streamgmm.data.source import Source
from streamgmm.errors import InputError
from streamgmm.fitting.plan import count_entry_bytes
from streamgmm.iteration.run import Stage, Trajectory, run_stages, start_run
from streamgmm.model.em import Expectation, maximize
from streamgmm.model.parameters import Parameters
from streamgmm.persistence.codec import persistent


@persistent("partition-statistics-1")
@dataclass(frozen=True, slots=True, eq=False)
class PartitionStatistics:
    """Statistics of each partition of the rows that a model has learnt."""

    partitions: Partitions  # the rows of each entry
    entries: IncrementalState  # each under the parameters of its time
    is_weighted: bool = False  # the rows have sample weights

    @property
    def accumulated(self) -> Expectation | None:
        """Sum of all entries."""
        return None if self.entries.root is None else self.entries.root.sum

    def extend(self, source: Source, again: tuple[int, int] | None) -> tuple[PartitionStatistics, Indices]:
        """Return the partitions of a source to which rows were appended, and the indices of those to be read.

        These have new rows, or rows in the range ``again``, whether they were forgotten or not.
        """
        partitions = self.partitions.extend(source)
        indices = partitions.find_overlapping(self.partitions.n_rows, partitions.n_rows)
        if again is not None:
            partitions = replace(partitions, forgotten=partitions.forgotten.remove(*again))
            indices = np.union1d(indices, partitions.find_overlapping(*again))
        return replace(self, partitions=partitions), indices

    def forget(self, first: int, stop: int) -> tuple[PartitionStatistics, Indices]:
        """Remove the entries that have rows to be forgotten; return also the indices of those to be read anew."""
        before = self.partitions
        partitions = replace(before, forgotten=before.forgotten.add(first, stop))
        overlapping = before.find_overlapping(first, stop).tolist()
        changed = [index for index in overlapping if partitions.row_ranges(index) != before.row_ranges(index)]
        remaining = np.array([index for index in changed if partitions.row_ranges(index)], np.int64)
        entries = replace_entries(self.entries, dict.fromkeys(changed))
        return replace(self, partitions=partitions, entries=entries), remaining

    def coarsen(self, indices: Indices, most: int) -> tuple[PartitionStatistics, Indices]:
        """Merge neighbouring partitions until at most ``most`` are left; return also the new indices."""
        partitions, entries = self.partitions, self.entries
        while partitions.n_partitions > most:
            partitions, new = partitions.coarsen()
            entries, indices = merge_entries(entries, new), np.unique(new[indices])
        return replace(self, partitions=partitions, entries=entries), indices


def revise_partitions(
    statistics: PartitionStatistics,
    source: Source,
    indices: Indices,
    start: Parameters,
    settings: EMSettings,
    seed: int,
    stage: str,
) -> tuple[PartitionStatistics, Trajectory]:
    """Read some partitions once each, and update the parameters after each batch of them."""
    most = max_partitions(count_entry_bytes(settings, start.n_components, start.n_features))
    statistics, indices = statistics.coarsen(indices, most)
    first = replace(settings, window=None, half_life=None).make_stepwise(source.n_rows)
    algorithm = Incremental(first, entries=statistics.entries)
    passes = partial(statistics.partitions.iter_chunk_groups, source, int(first.batch_size), seed, only=indices)
    (trajectory,) = run_stages(start_run([start]), [Stage(stage, algorithm, passes, MaxPasses())], max_iter=1)
    assert isinstance(trajectory.state, IncrementalState)
    return replace(statistics, entries=trajectory.state), trajectory


def maximize_partitions(statistics: PartitionStatistics, settings: EMSettings) -> Parameters:
    """Return the parameters of all partitions: one M-step, nothing read."""
    whole = statistics.accumulated
    if whole is None:
        raise InputError("That would leave no rows; fit the model anew on those that shall stay.")
    rows = float(whole.likelihood.rows)
    return maximize(whole.statistics, settings.structure, settings.reg_covar, effective_rows=rows)[0]
