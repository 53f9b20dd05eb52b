"""Split and merge moves: losses from moments, gains from rows."""

import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.data.subsample import Subsample
from streamgmm.initialization.search_settings import SEARCH
from streamgmm.initialization.split_merge import (
    ComponentArrays,
    log_joint,
    propose_moves,
    rank_merges,
    rank_splits,
    resize_mixture,
    split_and_merge,
)
from streamgmm.initialization.validation import ValidationSplit
from streamgmm.model.covariances import STRUCTURES, Full
from streamgmm.model.em import make_parameters
from streamgmm.testing import oracle
from streamgmm.testing.examples import assert_same_parameters, law, mixture

FAMILIES = list(STRUCTURES)
SEEDS, SIZES, COMPONENTS = st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 6)

CENTRES = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])


def parts_of(k, d, random, offset=0.0):
    return ComponentArrays.from_parameters(mixture(Full(), k, d, random, offset))


def clusters(n=800, seed=0):
    """Four, far from each other."""
    random = np.random.default_rng(seed)
    return CENTRES[random.integers(4, size=n)] + random.normal(size=(n, 2))


def overlapping(n=1500, seed=0):
    random = np.random.default_rng(seed)
    means = 2.0 * random.normal(size=(5, 2))
    return means[random.integers(5, size=n)] + random.normal(size=(n, 2))


def of_unit_variance(means, family="full"):
    structure, means = STRUCTURES[family], np.asarray(means, float)
    k, d = means.shape
    shape = structure.shape(k, d)
    covariances = np.broadcast_to(np.eye(d) if len(shape) == 3 else 1.0, shape).copy()
    return make_parameters(np.full(k, 1 / k), means, covariances, structure)


def on(rows, family="full", weights=None, reg_covar=1e-6):
    return ValidationSplit.from_all_rows(Subsample(rows, weights), STRUCTURES[family], reg_covar)


# ---------------------------------------------------------------------- moments


@law
@given(SEEDS, COMPONENTS, SIZES, st.sampled_from([0.0, -1e3, 1e6]))
def test_the_halves_of_a_component_merge_into_it(seed, k, d, offset):
    random = np.random.default_rng(seed)
    parts = parts_of(k, d, random, offset)
    place = int(random.integers(k))
    weight = parts.weights[place]
    split = parts.drop(place).append(parts.halve(place), weight)
    assert len(split.weights) == k + 1
    assert np.linalg.eigvalsh(split.covariances).min() > 0.0
    whole = split.merge(k - 1, k)
    np.testing.assert_allclose(whole.weights[-1], weight, rtol=1e-14)
    np.testing.assert_allclose(whole.means[-1], parts.means[place], rtol=1e-15, atol=1e-12)
    np.testing.assert_allclose(whole.covariances[-1], parts.covariances[place], rtol=0, atol=1e-9)


@law
@given(SEEDS, SIZES, st.integers(1, 40), st.integers(1, 40))
def test_a_merged_component_has_the_moments_of_the_rows_of_both(seed, d, n, m):
    random = np.random.default_rng(seed)
    groups = [random.normal(size=(size, d)) + shift for size, shift in ((n, 0.0), (m, 3.0), (7, -5.0))]
    parts = ComponentArrays(
        np.array([n, m, 7]) / (n + m + 7),
        np.stack([group.mean(axis=0) for group in groups]),
        np.stack([np.cov(group.T, bias=True).reshape(d, d) for group in groups]),
    )
    merged, both = parts.merge_pair(0, 1), np.concatenate(groups[:2])
    np.testing.assert_allclose(merged.means[0], both.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(merged.covariances[0], np.cov(both.T, bias=True).reshape(d, d), atol=1e-11)


@pytest.mark.parametrize("family", FAMILIES)
@law
@given(SEEDS, COMPONENTS, SIZES)
def test_component_arrays_convert_back_to_the_same_mixture(family, seed, k, d):
    structure = STRUCTURES[family]
    parameters = mixture(structure, k, d, np.random.default_rng(seed))
    assert_same_parameters(ComponentArrays.from_parameters(parameters).to_parameters(structure), parameters)


@pytest.mark.parametrize("family", FAMILIES)
@law
@given(SEEDS, COMPONENTS, SIZES)
def test_joint_densities_agree_with_the_oracle(family, seed, k, d):
    random = np.random.default_rng(seed)
    parameters, rows = mixture(STRUCTURES[family], k, d, random), random.normal(size=(20, d))
    np.testing.assert_allclose(log_joint(rows, parameters), oracle.log_densities(rows, parameters), rtol=1e-9)


# ---------------------------------------------------------------------- losses of merges


@law
@given(SEEDS, COMPONENTS, SIZES)
def test_only_a_merge_of_equal_components_loses_nothing(seed, k, d):
    parts = parts_of(k, d, np.random.default_rng(seed))
    losses = rank_merges(parts)
    assert losses == sorted(losses)
    assert {(one, other) for _, one, other in losses} == set(combinations(range(k), 2))
    assert losses[0][0] > 0.0
    twins = parts.drop(0).append(parts.drop(*range(1, k)).append(parts.drop(*range(1, k)), 0.3), 0.5)
    (least, *pair) = rank_merges(twins)[0]
    assert pair == [k - 1, k]
    assert abs(least) < 1e-12


@law
@given(SEEDS, COMPONENTS, SIZES)
def test_a_loss_is_the_divergence_of_both_components_from_the_merged_one(seed, k, d):
    parts = parts_of(k, d, np.random.default_rng(seed))
    for loss, *pair in rank_merges(parts):
        merged, divergence = parts.merge_pair(*pair), 0.0
        inverse = np.linalg.inv(merged.covariances[0])
        for one in pair:
            ratio, step = inverse @ parts.covariances[one], parts.means[one] - merged.means[0]
            gaussian = np.trace(ratio) + step @ inverse @ step - d - np.log(np.linalg.det(ratio))
            divergence += 0.5 * parts.weights[one] * gaussian
        assert loss == pytest.approx(divergence, rel=1e-7, abs=1e-10)


@law
@given(SEEDS, COMPONENTS, SIZES)
def test_an_affine_map_of_the_rows_changes_no_loss(seed, k, d):
    random = np.random.default_rng(seed)
    parts = parts_of(k, d, random)
    turn = random.normal(size=(d, d)) + 3.0 * np.eye(d)
    moved = ComponentArrays(parts.weights, parts.means @ turn.T + 100.0, turn @ parts.covariances @ turn.T)
    before, after = ({tuple(pair): loss for loss, *pair in rank_merges(one)} for one in (parts, moved))
    for pair, loss in before.items():
        assert after[pair] == pytest.approx(loss, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_loss_bounds_the_divergence_from_the_reduced_mixture(seed):
    # Runnalls (2007). Of 24 means of 20,000 draws each, one is 6 standard errors too high by chance once in 4e7 runs.
    random, structure, k = np.random.default_rng(seed), STRUCTURES["full"], 4
    parameters = mixture(structure, k, 2, random)
    parts = ComponentArrays.from_parameters(parameters)
    labels = random.choice(k, size=20_000, p=parts.weights)
    rows = parts.means[labels] + np.einsum(
        "nij,nj->ni", np.linalg.cholesky(parts.covariances)[labels], random.normal(size=(len(labels), 2))
    )
    density = np.logaddexp.reduce(oracle.log_densities(rows, parameters), axis=1)
    for loss, one, other in rank_merges(parts):
        reduced = parts.merge(one, other).to_parameters(structure)
        lost = density - np.logaddexp.reduce(oracle.log_densities(rows, reduced), axis=1)
        assert lost.mean() <= loss + 6.0 * lost.std() / np.sqrt(len(rows))


@law
@given(SEEDS, COMPONENTS, SIZES, st.data())
def test_losses_of_some_pairs_and_in_parts_are_the_same_numbers(seed, k, d, data):
    parts = parts_of(k, d, np.random.default_rng(seed))
    whole = rank_merges(parts)
    chosen = data.draw(st.lists(st.sampled_from(whole), unique=True))
    pairs = np.array([pair for _, *pair in chosen], np.intp).reshape(-1, 2)
    for portion in (1, 3, 1024):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.modules[ComponentArrays.__module__], "PAIR_ENTRIES", portion)
            assert rank_merges(parts) == whole
            assert rank_merges(parts, pairs) == sorted(chosen)


def test_one_component_has_no_pair_to_merge():
    assert rank_merges(parts_of(1, 3, np.random.default_rng(0))) == []


# ---------------------------------------------------------------------- what a split gains


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_the_component_on_two_clusters_gains_most_by_a_split(family, seed):
    trials = on(clusters(seed=seed), family)
    (before,) = trials.run_em([of_unit_variance([[0, 0], [9, 4.5], [0, 9]], family)], 30)
    found = rank_splits(before, trials)
    assert [gain for gain, *_ in found] == sorted((gain for gain, *_ in found), reverse=True)
    gain, index, halves = found[0]
    assert index == 1
    assert halves.weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(halves.means[np.argsort(halves.means[:, 1])], CENTRES[[1, 3]], atol=0.5)
    if family != "tied":  # in which other components gain as well
        parts = ComponentArrays.from_parameters(before)
        after = parts.drop(1).append(halves, parts.weights[1]).to_parameters(trials.structure)
        gained = trials.score_on_validation([after])[0] - trials.score_on_validation([before])[0]
        assert 0.8 * gained < gain < 1.01 * gained


@pytest.mark.parametrize("family", FAMILIES)
def test_splits_of_weighted_rows_are_those_of_repeated_rows(family):
    rows = overlapping(400)
    copies = np.random.default_rng(1).integers(0, 4, len(rows))
    start = of_unit_variance([[-2, 0], [2, 0], [0, 2]], family)
    mine = rank_splits(start, on(rows, family, copies.astype(float)))
    theirs = rank_splits(start, on(np.repeat(rows, copies, axis=0), family))
    assert [index for _, index, _ in mine] == [index for _, index, _ in theirs]
    np.testing.assert_allclose([gain for gain, *_ in mine], [gain for gain, *_ in theirs], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e3])
def test_a_common_factor_of_all_weights_changes_no_split(factor):
    rows, start = overlapping(400), of_unit_variance([[-2, 0], [2, 0], [0, 2]])
    one, other = (rank_splits(start, on(rows, weights=np.full(len(rows), weight))) for weight in (1.0, factor))
    assert [index for _, index, _ in one] == [index for _, index, _ in other]
    np.testing.assert_allclose([gain for gain, *_ in one], [gain for gain, *_ in other], rtol=1e-6)


def test_a_component_of_too_few_rows_is_not_split():
    rows = np.concatenate([clusters(400), [[1e3, 1e3], [1e3, 1e3 + 1], [1e3 + 1, 1e3]]])
    found = rank_splits(of_unit_variance([*CENTRES, [1e3, 1e3]]), on(rows))
    assert sorted(index for _, index, _ in found) == [0, 1, 2, 3]


# ---------------------------------------------------------------------- moves


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_move_keeps_the_number_of_components_and_the_mean_of_all(family, k):
    trials = on(overlapping(600), family)
    (before,) = trials.run_em([mixture(STRUCTURES[family], k, 2, np.random.default_rng(k))], 5)
    found = list(propose_moves(before, trials))
    assert bool(found) == (k > 2)  # two to merge, and another to split
    for move in found:
        assert move.means.shape == before.means.shape
        assert move.covariances.shape == before.covariances.shape
        assert move.weights.min() > 0.0
        assert move.weights.sum() == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(move.weights @ move.means, before.weights @ before.means, atol=0.2)


@pytest.mark.parametrize("seed", range(3))
def test_the_most_promising_move_comes_first(seed):
    trials = on(overlapping(seed=seed))
    (before,) = trials.run_em([of_unit_variance([[-2, 0], [2, 0], [0, 2]])], 5)
    parts = ComponentArrays.from_parameters(before)
    gains = {index: gain for gain, index, _ in rank_splits(before, trials)}
    promises = {
        3 - one - other: (gains[3 - one - other] - loss, parts.merge_pair(one, other).means[0])
        for loss, one, other in rank_merges(parts)
    }
    expected = [mean for _, mean in sorted(promises.values(), key=lambda promise: -promise[0])]
    found = [move.means[0] for move in propose_moves(before, trials)]  # the merged component, then two halves
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_moves_leave_a_bad_optimum_and_return_their_gains(family):
    trials = on(clusters(), family)
    (stuck,) = trials.run_em([of_unit_variance([[-0.5, 0], [0.5, 0], [0, 9], [9, 4.5]], family)], 30)
    assert split_and_merge(stuck, trials, trials, 0) == (stuck, [])
    better, gains = split_and_merge(stuck, trials, trials, 5)
    before, after = trials.score_on_validation([stuck, better])
    assert after - before == pytest.approx(sum(gains), rel=1e-6)
    assert min(gains) > SEARCH.min_move_gain
    for centre in CENTRES:
        assert np.linalg.norm(better.means - centre, axis=1).min() < 0.5


def test_a_move_that_is_better_on_training_rows_only_is_rejected():
    # a third of the clusters' rows are elsewhere: what is better of the one is worse of all
    few, rest = on(clusters()), np.random.default_rng(0).normal([[40.0, 0.0]], 1.0, size=(20_000, 2))
    whole = on(np.concatenate([clusters(), rest]))
    (stuck,) = whole.run_em([of_unit_variance([[0, 0], [0, 9], [9, 4.5], [40, 0]])], 30)
    better, gains = split_and_merge(stuck, few, whole, 5)
    assert whole.score_on_validation([better])[0] == pytest.approx(
        whole.score_on_validation([stuck])[0] + sum(gains), abs=1e-12
    )
    assert np.linalg.norm(better.means - [40.0, 0.0], axis=1).min() < 0.5


# ---------------------------------------------------------------------- resizing


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_a_resized_mixture_has_the_requested_number_of_components(family, k):
    trials = on(overlapping(600), family)
    (before,) = trials.run_em([of_unit_variance([[-2, 0], [2, 0], [0, 2]], family)], 20)
    after = resize_mixture(before, k, trials)
    assert after.means.shape == (k, 2)
    assert after.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.isfinite(after.precision_factors).all()
    low, high = sorted([before, after], key=lambda one: one.n_components)
    assert k == 3 or np.diff(trials.score_on_validation([low, high])) > 0.0
    if k <= 3:
        np.testing.assert_allclose(after.weights @ after.means, before.weights @ before.means, atol=1e-12)
    assert (after is before) == (k == 3)


def test_a_mixture_grows_even_if_rows_are_too_few_to_rank_splits():
    trials = on(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert resize_mixture(of_unit_variance([[0, 0]]), 4, trials).n_components == 4


def test_a_shrinking_mixture_merges_the_nearest_components():
    before = of_unit_variance([[0, 0], [0.1, 0], [9, 0], [9.1, 0], [0, 9]])
    after = resize_mixture(before, 3, on(clusters()))
    np.testing.assert_allclose(np.sort(after.means[:, 0]), [0.0, 0.05, 9.05], atol=1e-9)
    np.testing.assert_allclose(np.sort(after.weights), [0.2, 0.4, 0.4], atol=1e-12)
