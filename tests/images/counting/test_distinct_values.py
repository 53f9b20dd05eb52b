"""The estimated number of distinct values is a lower bound, near the truth for equally common values."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.images.counting import distinct_values
from streamgmm.images.counting.distinct_values import estimate_distinct_values, estimate_species
from streamgmm.images.image import Image


@pytest.fixture(autouse=True)
def shorten_runs(monkeypatch):
    """Sample runs of few pixels, since the images are small."""
    monkeypatch.setattr(distinct_values, "LIMITS", replace(distinct_values.LIMITS, sample_run_pixels=2**8))


plots_ = st.lists(st.frozensets(st.integers(0, 30)), min_size=1, max_size=8)


@given(plots_, st.floats(0, 1e9), st.floats(0, 1e9))
def test_the_number_of_species_increases_with_sampling_units_from_the_observed_number(plots, more, most):
    plots, seen = [np.array(sorted(plot), int) for plot in plots], len(frozenset().union(*plots))
    few, many = (estimate_species(plots, len(plots) + extra) for extra in sorted([more, most]))
    assert seen <= few <= many * (1 + 1e-12) < np.inf
    assert estimate_species(plots, len(plots)) == pytest.approx(seen)


def draw_plots(n_species, skew, seed=0, n_plots=16, size=4_000):
    """Draw the species of random individuals on each plot; later species are rarer."""
    shares = np.arange(1, n_species + 1, dtype=float) ** -skew
    random = np.random.default_rng(seed)
    return [np.unique(random.choice(n_species, size, p=shares / shares.sum())) for _ in range(n_plots)]


@pytest.mark.parametrize("n_species", [300, 20_000, 500_000])
def test_richness_of_equally_common_species_is_near_the_truth(n_species):
    assert estimate_species(draw_plots(n_species, 0.0), 1e6) == pytest.approx(n_species, rel=0.15)


@pytest.mark.parametrize("skew", [0.5, 1.0, 1.5])
def test_richness_with_many_rare_species_is_a_lower_bound(skew):
    for seed in range(5):
        assert estimate_species(draw_plots(20_000, skew, seed), 1e6) < 1.05 * 20_000


def test_richness_extrapolates_linearly_if_no_species_is_seen_twice():
    plots = np.arange(16 * 1_000).reshape(16, -1)
    assert estimate_species(plots, 1_600) == pytest.approx(1_600_000, rel=0.01)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2**16, (*shape, 4), np.uint16)


def cut(image, how):
    return da.from_array(image, chunks=(*how, 4)) if how else image


@pytest.mark.parametrize("chunks", [None, (300, 400), (7, 400), (64, 64), (300, 3)])
@pytest.mark.parametrize("where", ["all", "lower half", "right half", "every other line", "a tenth"])
def test_the_distinct_values_of_noise_are_estimated_wherever_it_lies(where, chunks):
    image = np.full((300, 400, 4), 7, np.uint16)
    part = {
        "all": np.s_[:],
        "lower half": np.s_[150:],
        "right half": np.s_[:, 200:],
        "every other line": np.s_[::2],
        "a tenth": np.s_[30:60],
    }[where]
    image[part] = noise(image[part].shape[:2])
    expected = estimate_distinct_values(Image.from_array(cut(image, chunks), axes="YXC"))
    share = {"all": 1.0, "a tenth": 0.1}.get(where, 0.5)
    n_runs = 16 * share  # some more or fewer of the runs may be on it
    assert share * (1 - 2 / n_runs) < expected / 120_000 < share * (1 + 2.5 / n_runs)


@pytest.mark.parametrize("chunks", [None, (50, 400), (64, 64)])
def test_nodata_is_not_counted_as_a_value(chunks):
    image = np.random.default_rng(0).integers(0, 6, (300, 400, 4), np.uint8)
    image[:250, :] = 200
    pixels = Image.from_array(cut(image, chunks), axes="YXC", nodata=200)
    assert estimate_distinct_values(pixels) == pytest.approx(6**4, rel=0.3)
    assert (
        estimate_distinct_values(Image.from_array(cut(image, chunks), axes="YXC", mask=np.ones((300, 400), bool))) == 0
    )


def test_the_estimate_reads_few_chunks_and_always_the_same():
    image, read = noise((512, 512)), []

    def record_block(block, block_info=None):
        read.append(block_info[0]["chunk-location"])
        return block

    lazy = da.from_array(image, chunks=(16, 16, 4)).map_blocks(record_block, dtype=image.dtype, meta=image[:0, :0, :0])
    first = estimate_distinct_values(Image.from_array(lazy, axes="YXC"))
    lines, columns = ({place[axis] for place in read} for axis in (0, 1))
    assert len(read) == 16 and min(len(lines), len(columns)) >= 8  # of 32
    assert estimate_distinct_values(Image.from_array(lazy, axes="YXC")) == first
    assert sorted(read[16:]) == sorted(read[:16])
