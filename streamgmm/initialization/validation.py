"""Rows to try mixtures on: some to learn from, others to judge by where there are enough of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamgmm.algorithms.accelerated import Accelerated
from streamgmm.algorithms.batch import Batch
from streamgmm.algorithms.stopping import AcceleratedStop, Tolerance
from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.source import Source
from streamgmm.data.sources import as_source
from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization.starting_points import start
from streamgmm.iteration.run import Stage, Trajectory, run_stages, start_run
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import tree_sum

ENOUGH = 5  # rows for each free parameter, to learn from and to judge by
MOST, LIMIT = 8_192, 16_384  # rows to learn from: more only where many parameters need them
UNSURE = 20  # rows for each free parameter, below which those learnt from hardly tell which optimum is better
LEAF_ROWS = 4_096  # so few rows are shared among threads, too
TOL = 1e-4  # nats a row that are worth a pass
SAME = 11  # decimals of a mean log-likelihood, nats a row, that are no rounding


@dataclass(frozen=True, slots=True, eq=False)
class ValidationSplit:
    """A sample, and what is tried on it.

    Attributes
    ----------
    training, judging : Source
        Disjoint; the same where there are few rows.
    structure : CovarianceStructure
        The family of covariances.
    reg_covar : float
        As the M-step adds it.
    """

    training: Source
    judging: Source
    structure: CovarianceStructure
    reg_covar: float

    @classmethod
    def of(
        cls,
        subsample: Subsample,
        structure: CovarianceStructure,
        n_components: int,
        reg_covar: float,
        seed: int,
        divided: bool = False,
    ) -> ValidationSplit:
        """Deal the rows of a reservoir, or as many of them as are enough; ``divided`` also where they are few.

        Rows with weights are only divided where that is asked for: the heaviest would be in one part alone.
        """
        enough = ENOUGH * n_parameters(structure, n_components, subsample.rows.shape[1])
        usable = np.arange(len(subsample.rows))
        if subsample.weights is not None and np.count_nonzero(subsample.weights) >= n_components:
            usable = np.flatnonzero(subsample.weights)  # rows without a weight say nothing
        order = np.random.default_rng(seed).permutation(usable)
        most = max(MOST, min(enough, LIMIT))
        if subsample.weights is not None and not divided:
            return cls.on(_taken(subsample, order).lighter(most), structure, reg_covar)
        size = min(most, len(order) // 2 if divided else len(order))
        halved = len(order) >= 2 * size  # so few rows that all can be learnt from tell more if they are
        training = _source(_taken(subsample, order[:size]))
        judging = _source(_taken(subsample, order[size : 2 * size])) if halved else training
        return cls(training, judging, structure, reg_covar)

    @classmethod
    def on(cls, subsample: Subsample, structure: CovarianceStructure, reg_covar: float) -> ValidationSplit:
        """All rows, to learn from and to judge by."""
        source = _source(subsample)
        return cls(source, source, structure, reg_covar)

    @property
    def held_out(self) -> bool:
        """Whether rows are judged by that were not learnt from."""
        return self.judging is not self.training

    def begun(self, rows: Subsample, responsibilities: Array) -> Parameters | None:
        """What some rows make of responsibilities; None where that degenerates."""
        try:
            return start(rows, responsibilities, self.structure, self.reg_covar)
        except DegenerateError:
            return None

    def run(self, starts: Sequence[Parameters], passes: int, *, accelerated: bool = False) -> list[Parameters | None]:
        """Mixtures after so many passes of EM, or fewer where little is left to gain.

        None for those that degenerate.
        """
        stage = self._stage(TOL)
        if accelerated:
            algorithm = Accelerated(self.structure, self.reg_covar)
            stage = replace(stage, algorithm=algorithm, stop=AcceleratedStop(TOL, leaves_plateaus=False))
        return [None if one is None else one.parameters for one in self._followed(starts, stage, passes)]

    def ends(self, starts: Sequence[Parameters], tol: float, passes: int) -> list[Trajectory | None]:
        """What becomes of each start by plain EM until a pass gains less than ``tol``, nats a row.

        None for those that degenerate.
        """
        return self._followed(starts, self._stage(tol), passes)

    def _stage(self, tol: float) -> Stage:
        algorithm = Batch(self.structure, self.reg_covar)
        passes = lambda _, taken: _waves(self.training, taken)  # noqa: E731
        return Stage("trial", algorithm, passes, Tolerance(tol), is_recorded=False)

    def _followed(self, starts: Sequence[Parameters], stage: Stage, passes: int) -> list[Trajectory | None]:
        if not starts:
            return []
        try:
            return list(run_stages(start_run(starts), [stage], max_iter=passes))
        except DegenerateError:  # of one of them
            if len(starts) == 1:
                return [None]
            return [self._followed([start], stage, passes)[0] for start in starts]

    def scores(self, candidates: Sequence[Parameters]) -> Array:
        """Mean log-likelihood of each mixture on the rows to judge by, nats a row."""
        tallies = [
            [found.likelihood for (found,) in execution.expect(chunk_group, candidates)]
            for chunk_group in _waves(self.judging, 0)
        ]
        return np.array([tree_sum(parts).mean for parts in zip(*tallies, strict=True)])


def ranked(scores: Array) -> list[int]:
    """Places of the scores, the best first; lest rounding decides, the first of those that differ by no more."""
    return [int(place) for place in np.argsort(-np.round(scores, SAME), kind="stable")]


def survivors(mixtures: Sequence[Parameters | None]) -> list[Parameters]:
    """Those that did not degenerate."""
    return [mixture for mixture in mixtures if mixture is not None]


def at_hand(source: Source) -> Subsample:
    """Rows of a source that is in memory, as one array."""
    chunks = list(source.chunks())
    rows = np.concatenate([chunk.rows for chunk in chunks])
    return Subsample(rows, None if chunks[0].weights is None else np.concatenate([chunk.weights for chunk in chunks]))


def _source(subsample: Subsample) -> Source:
    return as_source(subsample.rows, subsample.weights)


def _taken(subsample: Subsample, places: NDArray[np.intp]) -> Subsample:
    return Subsample(subsample.rows[places], None if subsample.weights is None else subsample.weights[places])


def _waves(source: Source, taken: int) -> Iterator[ChunkGroup]:
    for chunk_group in execution.iter_chunk_groups(source, taken):
        yield replace(chunk_group, leaf_rows=LEAF_ROWS)
