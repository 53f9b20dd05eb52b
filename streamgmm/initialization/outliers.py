"""Components for poorly explained rows, which a uniform subsample misses where they are rare.

The first full pass of a fit also draws rows that are far from every component, farther rows more often, as in k-means‖
(Bahmani et al., 2012). Where EM on a dense neighbourhood of them finds a component that pays for its parameters, the
cheapest pair of others is merged to make room. The gain on these rows is known, since hardly any is missing from the
sample; the loss elsewhere is estimated on a uniform subsample, so passes over all rows decide.

A few wild rows get no component, and neither do rows that have nothing in common: a component needs two different rows
per parameter, must be rare, and hardly wider than all rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.source import Chunk
from streamgmm.data.subsample import KeyedRows, Subsample, keep_smallest_keys
from streamgmm.errors import DegenerateError
from streamgmm.initialization import search_settings
from streamgmm.initialization.split_merge import ComponentArrays, rank_merges
from streamgmm.initialization.validation import ValidationSplit, drop_degenerate
from streamgmm.kernels.e_step import accumulate, make_kernels
from streamgmm.model.covariances import CovarianceStructure
from streamgmm.model.criteria import n_parameters
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array, Parameters

RELOCATED = "repair: rows that no component explained"


class OutlierSampler:
    """Sampler of poorly explained rows: a `streamgmm.data.execution.RowTap` for one pass.

    Rows are drawn by priority with random numbers of their own, so that neither chunks nor their order change the draw.
    ``drawn`` are the rows of an interrupted pass.
    """

    def __init__(self, seed: int, n_features: int, drawn: KeyedRows | None = None, size: int | None = None) -> None:
        self.seed = seed
        self.size = search_settings.SEARCH.outlier_rows if size is None else size
        self.drawn = drawn
        self.draw = partial(_draw_outliers, seed=seed, far=compute_outlier_radius(n_features), size=self.size)

    def take(self, drawn: list[KeyedRows]) -> None:
        """Keep the rows drawn from one chunk group."""
        self.drawn = keep_smallest_keys([*([] if self.drawn is None else [self.drawn]), *drawn], self.size)

    def subsample(self, parameters: Parameters) -> Subsample:
        """Return the sample at the end of the pass; ``parameters`` are those under which the rows were read."""
        assert self.drawn is not None
        drawn = self.drawn.subsample(self.size)
        rows = drawn.rows.astype(np.float64)
        distances = compute_squared_distances(rows, parameters) / compute_outlier_radius(rows.shape[1])
        return Subsample(rows, drawn.row_weights / np.maximum(distances, 1.0))


def _draw_outliers(
    rows: NDArray[Any], weights: Array | None, chunk: Chunk, distances: Array, *, seed: int, far: float, size: int
) -> KeyedRows:
    """Draw rows of a chunk whose squared distance exceeds ``far``; their keyed weights grow with the distance."""
    from streamgmm.kernels import hashing

    outliers = np.flatnonzero(distances > far)
    sizes = distances[outliers] / far
    if weights is not None:
        sizes *= weights[outliers]
        outliers, sizes = outliers[sizes > 0.0], sizes[sizes > 0.0]
    # chunks of unknown length have random numbers of their own
    first = chunk.index << 40 if chunk.start is None else chunk.start
    keys = np.empty(len(outliers))
    hashing.draw_uniform(np.uint64(seed), (first + outliers).astype(np.uint64), keys)
    kept = keep_smallest_keys([KeyedRows(keys / sizes, outliers, sizes)], size)
    return replace(kept, rows=rows[kept.rows])


@cache
def compute_outlier_radius(n_features: int) -> float:
    """Return the squared distance, in standard deviations, beyond which a row counts as poorly explained."""
    from scipy.special import chdtri  # takes long to load

    return float(chdtri(n_features, search_settings.SEARCH.outlier_tail))


def compute_squared_distances(rows: NDArray[Any], parameters: Parameters) -> Array:
    """Compute the squared distance of each row from the nearest component, in that component's standard deviations."""
    distances = np.empty(len(rows))
    accumulate(rows, None, make_kernels([parameters]), distances)
    return distances


# ---------------------------------------------------------------------- relocation


def propose_relocation(
    sampler: OutlierSampler,
    read: Parameters,
    parameters: Parameters,
    likelihood: LogLikelihood,
    subsample: Callable[[], Subsample],
    structure: CovarianceStructure,
    reg_covar: float,
) -> Parameters | None:
    """Propose a mixture with components relocated to poorly explained rows; None if there is nothing to gain.

    ``read`` and ``likelihood`` are those of the pass that drew the rows, ``parameters`` those after it. ``subsample``
    returns a uniform subsample, and is called only if there are enough poorly explained rows.
    """
    outliers = sampler.subsample(read)
    if len(outliers.rows) < _min_rows(parameters, structure):
        return None
    uniform = subsample()
    if likelihood.rows <= len(uniform.rows):  # the subsample has all rows
        return None
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of wild rows, which lead to nothing
            rows = _join_samples(uniform, read, outliers, likelihood.weight)
            split = ValidationSplit.from_all_rows(rows, structure, reg_covar)
            return _relocate(parameters, outliers, likelihood.weight, split, np.random.default_rng(sampler.seed))
    except (DegenerateError, np.linalg.LinAlgError):
        return None


def _relocate(
    parameters: Parameters, outliers: Subsample, weight: float, split: ValidationSplit, random: np.random.Generator
) -> Parameters | None:
    """Return the mixture that gains most, or None; ``split`` stands for all rows and ends with the outliers."""
    search = search_settings.SEARCH
    new = _find_new_components(parameters, outliers, weight, split, random)
    (before,) = split.run_em([parameters], search.move_passes) if new else (None,)
    if before is None:
        return None
    best: Parameters | None = None
    largest = -np.inf
    price = _price(parameters, split.structure, weight)
    for number, after in enumerate(_make_room(parameters, new, split), 1):
        gain, error = _estimate_gain(before, after, split.validation, len(outliers.rows))
        if gain > number * price - search.relocation_errors * error and gain - number * price > largest:
            best, largest = after, gain - number * price
    return best


def _join_samples(uniform: Subsample, parameters: Parameters, outliers: Subsample, weight: float) -> Subsample:
    """Join well explained rows of the uniform subsample, weighted to stand for all such rows, and the outliers."""
    rows = uniform.rows.astype(np.float64)
    ordinary = compute_squared_distances(rows, parameters) <= compute_outlier_radius(parameters.n_features)
    weights = uniform.row_weights[ordinary]
    total = max(weight - outliers.row_weights.sum(), 0.0)
    weights = weights * (total / max(weights.sum(), np.finfo(np.float64).tiny))
    return Subsample(np.concatenate([rows[ordinary], outliers.rows]), np.concatenate([weights, outliers.row_weights]))


def _make_room(parameters: Parameters, new: list[ComponentArrays], split: ValidationSplit) -> Iterator[Parameters]:
    """Yield mixtures with the first one, two, … new components and as many others merged.

    All new components take part while pairs are merged: else those that do would widen until they have the rows of the
    others.
    """
    search, k = search_settings.SEARCH, parameters.n_components
    components = ComponentArrays.from_parameters(parameters)
    added = new[0]
    for component in new[1:]:
        added = added.append(component)
    components = replace(components, weights=(1.0 - added.weights.sum()) * components.weights).append(added)
    for n_old in range(k, k - len(new), -1):
        merged = drop_degenerate(split.run_em(_merge_candidates(components, n_old, split), search.merge_passes))
        if not merged:
            return
        (ended,) = split.run_em([merged[int(split.score_on_validation(merged).argmax())]], search.move_passes)
        if ended is None:
            return
        components = ComponentArrays.from_parameters(ended)
        try:
            first = components.drop(*range(k, len(components.weights))).to_parameters(split.structure)
        except DegenerateError:
            return
        yield from drop_degenerate(split.run_em([first], search.merge_passes))


def _merge_candidates(components: ComponentArrays, n_old: int, split: ValidationSplit) -> list[Parameters]:
    """Merge cheap pairs of the lightest of the first ``n_old`` components; the merged component comes first."""
    search, candidates = search_settings.SEARCH, []
    light = np.argsort(components.weights[:n_old], kind="stable")[: search.max_merge_components]
    pairs = light[np.column_stack(np.triu_indices(len(light), 1))]
    for _, i, j in rank_merges(components, pairs)[: search.moves_per_round]:
        try:
            mixture = components.merge_pair(i, j).append(components.drop(i, j)).to_parameters(split.structure)
        except DegenerateError:
            continue
        candidates.append(mixture)
    return candidates


def _estimate_gain(before: Parameters, after: Parameters, rows: Subsample, n_outliers: int) -> tuple[float, float]:
    """Estimate how much more likely all rows are after than before, nats, and the standard error of the estimate.

    The error is that of the uniform subsample; the gain on the outliers is certain.
    """
    gains = _log_densities(rows.rows, after) - _log_densities(rows.rows, before)
    ordinary = slice(0, len(gains) - n_outliers)
    deviations = rows.row_weights[ordinary] * (gains[ordinary] - gains[ordinary].mean())
    return float(rows.row_weights @ gains), float(np.linalg.norm(deviations))


# ---------------------------------------------------------------------- new components


def _n_component_parameters(parameters: Parameters, structure: CovarianceStructure) -> int:
    k, d = parameters.means.shape
    return n_parameters(structure, k + 1, d) - n_parameters(structure, k, d)


def _min_rows(parameters: Parameters, structure: CovarianceStructure) -> int:
    """Return the number of different rows that a component needs."""
    per_parameter = search_settings.SEARCH.min_rows_per_parameter
    return max(parameters.n_features + 1, per_parameter * _n_component_parameters(parameters, structure))


def _price(parameters: Parameters, structure: CovarianceStructure, weight: float) -> float:
    """Return the nats that a component must gain, as for BIC."""
    return 0.5 * _n_component_parameters(parameters, structure) * log(max(weight, 2.0))


def _find_new_components(
    parameters: Parameters, outliers: Subsample, weight: float, split: ValidationSplit, random: np.random.Generator
) -> list[ComponentArrays]:
    """Find components that are worth their price beside the mixture, each among rows of its own."""
    excess = compute_squared_distances(outliers.rows, parameters) / compute_outlier_radius(parameters.n_features) - 1.0
    outliers, excess = outliers.take(excess > 0.0), excess[excess > 0.0]
    components: list[ComponentArrays] = []
    while len(components) < min(search_settings.SEARCH.max_new_components, parameters.n_components - 1):
        best = _find_new_component(parameters, outliers, excess, weight, split, random)
        if best is None:
            break
        _, component, own = best
        components.append(component)
        outliers, excess = outliers.take(~own), excess[~own]
    return components


def _find_new_component(
    parameters: Parameters,
    outliers: Subsample,
    excess: Array,
    weight: float,
    split: ValidationSplit,
    random: np.random.Generator,
) -> tuple[float, ComponentArrays, NDArray[np.bool_]] | None:
    """Find the component that gains most; return its gain, nats, the component, and a mask of its own outliers."""
    search, least = search_settings.SEARCH, _min_rows(parameters, split.structure)
    odds = outliers.row_weights * np.minimum(excess, search.outlier_max_excess)
    n_seeds = min(search.outlier_seeds, int(np.count_nonzero(odds)))
    if len(odds) < least or not n_seeds:
        return None
    known, others = _log_densities(outliers.rows, parameters), ComponentArrays.from_parameters(parameters)
    seeds = random.choice(len(odds), n_seeds, replace=False, p=odds / odds.sum())
    neighbourhoods = _find_dense_neighbourhoods(outliers, known, others, seeds, least, weight)
    best: tuple[float, ComponentArrays, NDArray[np.bool_]] | None = None
    for members in islice(neighbourhoods, search.outlier_candidates):
        fitted = _fit_component(outliers, known, members, weight, split)
        if fitted is None or (best is not None and fitted[0] <= best[0]):
            continue
        _, component, own = fitted
        n_different = len(np.unique(outliers.rows[own], axis=0))
        has_rows = min(n_different, component.weights[0] * weight) >= least
        is_rare = component.weights[0] <= search.max_new_weight
        if has_rows and is_rare and _relative_variance(component, others) <= search.max_new_variance:
            best = fitted
    return best if best is not None and best[0] > _price(parameters, split.structure, weight) else None


def _find_dense_neighbourhoods(
    outliers: Subsample, known: Array, others: ComponentArrays, seeds: NDArray[np.intp], least: int, weight: float
) -> Iterator[NDArray[np.bool_]]:
    """Yield masks of the rows around seeds, the most promising first: those where a round component gains most.

    Each reaches as far as the average component, or as is needed for ``least`` rows.
    """
    average = np.tensordot(others.weights / others.weights.sum(), others.covariances, axes=1)
    root = np.linalg.cholesky(_as_matrix(average))
    d, neighbourhoods = len(root), []
    white = np.linalg.solve(root, outliers.rows.T).T
    log_scale = float(np.log(root.diagonal()).sum())
    for seed in seeds:
        squares = ((white - white[seed]) ** 2).sum(axis=1)
        near = squares <= max(d, np.partition(squares, least - 1)[least - 1])
        weights = outliers.row_weights[near]
        variance = float(weights @ squares[near] / weights.sum()) / d + np.finfo(np.float64).tiny
        density = log(weights.sum() / weight) - log_scale - 0.5 * d * (log(2.0 * np.pi * variance) + 1.0)
        neighbourhoods.append((float(weights @ np.maximum(density - known[near], 0.0)), int(seed), near))
    covered = np.zeros(len(white), bool)
    for _, seed, near in sorted(neighbourhoods, key=lambda neighbourhood: -neighbourhood[0]):
        if not covered[seed]:
            covered |= near
            yield near


def _fit_component(
    outliers: Subsample, known: Array, members: NDArray[np.bool_], weight: float, split: ValidationSplit
) -> tuple[float, ComponentArrays, NDArray[np.bool_]] | None:
    """Run EM for one component beside a fixed mixture; return gain, component and own rows, or None.

    Rows that are outliers of the component, too, are not assigned to it: it would widen until it has all of them.
    """
    far, shares = compute_outlier_radius(outliers.rows.shape[1]), members.astype(np.float64)
    for _ in range(search_settings.SEARCH.outlier_passes):
        counts = outliers.row_weights * shares
        share = float(counts.sum() / weight)
        if not 0.0 < share < 1.0:
            return None
        try:
            component = ComponentArrays.from_rows(outliers.rows, counts, split.structure, split.reg_covar)
            mixture = component.to_parameters(split.structure)
        except (DegenerateError, np.linalg.LinAlgError):
            return None
        rest = known + np.log1p(-share)
        own = _log_densities(outliers.rows, mixture) + log(share)
        both = np.logaddexp(own, rest)
        near = compute_squared_distances(outliers.rows, mixture) <= far
        shares = np.where(near, np.exp(own - both), 0.0)
    ordinary = weight - float(outliers.row_weights.sum())
    gain = float(outliers.row_weights @ (np.where(near, both, rest) - known)) + ordinary * float(np.log1p(-share))
    return gain, replace(component, weights=np.array([share])), shares > 0.5


def _relative_variance(component: ComponentArrays, others: ComponentArrays) -> float:
    """Return the largest variance of a component in any direction, relative to that of the whole mixture."""
    shares = others.weights / others.weights.sum()
    deviations = others.means - shares @ others.means
    variance = _as_matrix(np.tensordot(shares, others.covariances, axes=1)) + (shares * deviations.T) @ deviations
    root = np.linalg.inv(np.linalg.cholesky(variance))
    return float(np.linalg.eigvalsh(root @ _as_matrix(component.covariances[0]) @ root.T)[-1])


def _as_matrix(covariance: Array) -> Array:
    return covariance if covariance.ndim == 2 else np.diag(covariance)


def _log_densities(rows: Array, parameters: Parameters) -> Array:
    from streamgmm.kernels.kernel import Kernel

    return Kernel.from_parameters(parameters).log_densities(rows)
