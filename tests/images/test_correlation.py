"""`effective_n` agrees with theory for fields of known correlation."""

import dask.array as da
import numpy as np
import pytest
from scipy.signal import lfilter

from streamgmm.errors import InputError
from streamgmm.images import effective_n


def field(shape, correlations, seed=0):
    """Return a field, autoregressive along each axis: pixels at distance h are correlated by the power h."""
    found = np.random.default_rng(seed).normal(size=[length + 200 for length in shape])
    for axis, correlation in enumerate(correlations):
        found = lfilter([1], [1, -correlation], found, axis=axis)
    return found[200:, 200:]


@pytest.mark.parametrize("correlations", [(0.0, 0.0), (0.5, 0.5), (0.8, 0.8), (0.9, 0.3)])
def test_an_autoregressive_field_is_worth_what_theory_says(correlations):
    """n·∏(1 − ρ)/(1 + ρ): so is the variance of its mean."""
    shape = (900, 700)
    expected = np.prod(shape) * np.prod([(1 - one) / (1 + one) for one in correlations])
    assert effective_n(field(shape, correlations)) == pytest.approx(expected, rel=0.12)


def test_the_mean_of_a_field_varies_as_that_of_so_many_independent_pixels():
    fields = [field((64, 64), (0.6, 0.4), seed) for seed in range(60)]
    variance = np.mean([one.mean() ** 2 for one in fields])
    predicted = np.mean([one.var() / effective_n(one) for one in fields])
    assert predicted == pytest.approx(variance, rel=0.6)  # a chi-square of 60: five standard errors are 0.9


def test_magnified_pixels_are_worth_no_more():
    noise = np.random.default_rng(0).normal(size=(300, 200))
    for larger in (np.repeat(noise, 3, axis=0), np.kron(noise, np.ones((2, 2)))):
        assert effective_n(larger) == pytest.approx(effective_n(noise), rel=0.03)


def test_units_axes_and_blocks_do_not_matter():
    image = field((300, 400), (0.7, 0.2))
    expected = effective_n(image)
    for same in (image * 1e6 + 1e9, image.T, image[::-1, ::-1], da.from_array(image, chunks=(70, 130))):
        assert effective_n(same) == pytest.approx(expected, rel=1e-6)


def test_the_band_worth_least_counts():
    rough, smooth = field((300, 300), (0.0, 0.0)), field((300, 300), (0.8, 0.8), seed=1)
    both = np.stack([rough, smooth], axis=2)
    assert effective_n(both) == effective_n(smooth) < effective_n(rough)
    assert effective_n(both, bands=[0]) == effective_n(rough)


def test_nodata_is_worth_nothing():
    image = field((400, 400), (0.6, 0.6))
    image[:, :100] = np.nan
    assert effective_n(image) == pytest.approx(effective_n(image[:, 100:]), rel=1e-6)
    mask = np.random.default_rng(0).random((400, 400)) < 0.5
    noise = np.random.default_rng(1).normal(size=(400, 400))
    assert effective_n(noise, mask=mask) == pytest.approx((~mask).sum(), rel=0.05)


def test_a_large_image_is_read_in_16_windows():
    read = []

    def block(block_info=None):
        ((first, _), (second, _)) = block_info[None]["array-location"]
        read.append((first, second))
        return np.random.default_rng([first, second]).normal(size=(500, 500))

    image = da.map_blocks(block, chunks=((500,) * 40, (500,) * 40), dtype=float, meta=np.empty((0, 0)))
    assert effective_n(image) == pytest.approx(image.size, rel=0.05)
    assert len(set(read)) <= 16 * 4


def test_a_constant_image_is_worth_one_pixel():
    assert effective_n(np.full((50, 50), 3.0)) == 1.0


def test_never_more_than_there_are_pixels():
    checked = np.indices((100, 100)).sum(axis=0) % 2
    assert effective_n(checked) == 100 * 100
    assert 1.0 <= effective_n(np.arange(10.0).reshape(2, 5)) <= 10.0


def test_an_image_without_a_pixel_is_refused():
    with pytest.raises(InputError, match="Every pixel of the image is nodata"):
        effective_n(np.full((50, 50), np.nan))
