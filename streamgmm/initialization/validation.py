"""Trial runs on a subsample: training rows to fit, validation rows to compare mixtures on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamgmm.algorithms.accelerated import Accelerated
from streamgmm.algorithms.batch import Batch
from streamgmm.algorithms.stopping import AcceleratedStop, Tolerance
from streamgmm.data import execution
from streamgmm.data.execution import ChunkGroup
from streamgmm.data.source import Source
from streamgmm.data.sources import as_source
from streamgmm.data.subsample import Subsample
from streamgmm.errors import DegenerateError
from streamgmm.initialization import search_settings
from streamgmm.initialization.start_methods import estimate_start
from streamgmm.iteration.run import Stage, Trajectory, run_stages, start_run
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.parameters import Array, Parameters
from streamgmm.model.reduction import sum_tree

ROUNDING_DECIMALS = 11  # of a mean log-likelihood, nats a row


def run_em(
    starts: Sequence[Parameters],
    subsample: Subsample,
    structure: CovarianceStructure,
    reg_covar: float,
    *,
    passes: int,
    tol: float,
    accelerated: bool = False,
) -> list[Trajectory]:
    """Run EM on a subsample until a pass gains less than ``tol``, nats a row; DegenerateError if one degenerates."""
    source = as_source(subsample.rows, subsample.weights)
    stage = Stage(
        "subsample",
        Accelerated(structure, reg_covar) if accelerated else Batch(structure, reg_covar),
        lambda _, taken: _small_leaves(source, taken),
        AcceleratedStop(tol, leaves_plateaus=False) if accelerated else Tolerance(tol),
        is_recorded=False,
    )
    return run_stages(start_run(starts), [stage], max_iter=passes)


@dataclass(frozen=True, slots=True, eq=False)
class ValidationSplit:
    """Training and validation rows of a subsample, and the mixtures to fit to them."""

    training: Subsample  # disjoint rows; the same object where rows are too few to hold some out
    validation: Subsample
    structure: CovarianceStructure
    reg_covar: float

    @classmethod
    def from_subsample(
        cls,
        subsample: Subsample,
        structure: CovarianceStructure,
        n_components: int,
        reg_covar: float,
        seed: int,
        hold_out: bool = False,
    ) -> ValidationSplit:
        """Split as many rows as the number of parameters needs; hold rows out where there are enough.

        With ``hold_out`` rows are held out even where they are few or have weights. Otherwise rows with weights are all
        used for both: the heaviest would be in one part only.
        """
        search = search_settings.SEARCH
        usable = np.arange(len(subsample.rows))
        if subsample.weights is not None and np.count_nonzero(subsample.weights) >= n_components:
            usable = np.flatnonzero(subsample.weights)
        order = np.random.default_rng(seed).permutation(usable)
        needed = search.training_rows_per_parameter * n_parameters(structure, n_components, subsample.rows.shape[1])
        largest = max(search.training_rows, min(needed, search.max_training_rows))
        if subsample.weights is not None and not hold_out:
            return cls.from_all_rows(subsample.take(order).thin(largest), structure, reg_covar)
        size = min(largest, len(order) // 2 if hold_out else len(order))
        training = subsample.take(order[:size])
        has_enough = len(order) >= 2 * size  # few rows tell more if all are trained on
        validation = subsample.take(order[size : 2 * size]) if has_enough else training
        return cls(training, validation, structure, reg_covar)

    @classmethod
    def from_all_rows(cls, subsample: Subsample, structure: CovarianceStructure, reg_covar: float) -> ValidationSplit:
        """Use all rows for training and validation."""
        return cls(subsample, subsample, structure, reg_covar)

    @property
    def is_held_out(self) -> bool:
        """True if the validation rows are not trained on."""
        return self.validation is not self.training

    def estimate_start(self, rows: Subsample, responsibilities: Array) -> Parameters | None:
        """Compute starting parameters from responsibilities of some rows; None if they degenerate."""
        try:
            return estimate_start(rows, responsibilities, self.structure, self.reg_covar)
        except DegenerateError:
            return None

    def run_em(
        self, starts: Sequence[Parameters], passes: int, *, accelerated: bool = False
    ) -> list[Parameters | None]:
        """Run EM on the training rows, at most ``passes``; None for mixtures that degenerate."""
        ended = self.run_em_until(starts, search_settings.SEARCH.em_tolerance, passes, accelerated=accelerated)
        return [None if trajectory is None else trajectory.parameters for trajectory in ended]

    def run_em_until(
        self, starts: Sequence[Parameters], tol: float, passes: int, *, accelerated: bool = False
    ) -> list[Trajectory | None]:
        """Run EM on the training rows until a pass gains less than ``tol``, nats a row; None where it degenerates."""
        if not starts:
            return []
        try:
            settings = (self.training, self.structure, self.reg_covar)
            return list(run_em(starts, *settings, passes=passes, tol=tol, accelerated=accelerated))
        except DegenerateError:
            if len(starts) == 1:
                return [None]
            return [self.run_em_until([start], tol, passes, accelerated=accelerated)[0] for start in starts]

    def score_on_validation(self, mixtures: Sequence[Parameters]) -> Array:
        """Return the mean log-likelihood of each mixture on the validation rows, nats a row."""
        source = as_source(self.validation.rows, self.validation.weights)
        likelihoods = [
            [expectation.likelihood for (expectation,) in execution.expect(chunk_group, mixtures)]
            for chunk_group in _small_leaves(source)
        ]
        return np.array([sum_tree(parts).mean for parts in zip(*likelihoods, strict=True)])


def rank_by_score(scores: Array) -> list[int]:
    """Return indices of the scores, best first; of scores that are equal but for rounding, the first comes first."""
    return [int(index) for index in np.argsort(-np.round(scores, ROUNDING_DECIMALS), kind="stable")]


def drop_degenerate(mixtures: Sequence[Parameters | None]) -> list[Parameters]:
    """Return the mixtures that did not degenerate."""
    return [mixture for mixture in mixtures if mixture is not None]


def _small_leaves(source: Source, taken: int = 0) -> Iterator[ChunkGroup]:
    for chunk_group in execution.iter_chunk_groups(source, taken):
        yield replace(chunk_group, leaf_rows=search_settings.SEARCH.leaf_rows)
