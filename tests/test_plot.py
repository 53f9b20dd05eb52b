import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from streamgmm import GaussianMixture, plot


@pytest.fixture
def rows():
    return np.random.default_rng(0).multivariate_normal([5, -3, 1], [[4, 1, 0], [1, 2, 0], [0, 0, 9]], 500)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_every_point_of_an_ellipse_is_as_many_deviations_from_the_mean(rows, covariance_type):
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(rows)
    ax = plot.ellipses(model, (2, 0), deviations=(1.5,), ax=Figure().subplots())
    drawn = [patch for patch in ax.patches if isinstance(patch, Ellipse) and patch.get_edgecolor()[3] == 1]
    assert len(drawn) == 2
    structured = {
        "full": lambda c: model.covariances_[c],
        "tied": lambda c: model.covariances_,
        "diag": lambda c: np.diag(model.covariances_[c]),
        "spherical": lambda c: model.covariances_[c] * np.eye(3),
    }[covariance_type]
    for component, ellipse in enumerate(drawn):
        covariance = structured(component)[np.ix_([2, 0], [2, 0])]
        path = ellipse.get_path().vertices[:-1:3]  # points of the curve, without its control points
        offsets = (ellipse.get_patch_transform() - mpl.transforms.IdentityTransform()).transform(path)
        offsets = offsets - model.means_[component, [2, 0]]
        distances = np.einsum("ij,jk,ik->i", offsets, np.linalg.inv(covariance), offsets) ** 0.5
        np.testing.assert_allclose(distances, 1.5, rtol=1e-3)


def test_features_may_be_named_and_axes_carry_the_names(rows):
    pandas = pytest.importorskip("pandas")
    model = GaussianMixture(2, random_state=0).fit(pandas.DataFrame(rows, columns=["red", "green", "blue"]))
    ax = plot.ellipses(model, ("blue", 0), ax=Figure().subplots())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("blue", "red")
    with pytest.raises(ValueError, match="no feature 'pink'; it has red, green, blue"):
        plot.ellipses(model, ("pink", 0), ax=Figure().subplots())
    with pytest.raises(ValueError, match="no feature 3; it has 3"):
        plot.ellipses(model, (0, 3), ax=Figure().subplots())


def test_log_likelihood_has_one_point_a_pass_at_the_rows_read(rows):
    model = GaussianMixture(2, random_state=0).fit(rows)
    (line,) = plot.log_likelihood(model, ax=Figure().subplots()).lines
    np.testing.assert_array_equal(line.get_ydata(), model.lower_bounds_)
    np.testing.assert_array_equal(line.get_xdata(), 500 * np.arange(1, model.n_iter_ + 1))


def test_without_matplotlib_the_remedy_is_said(rows, monkeypatch):
    model = GaussianMixture(2, random_state=0).fit(rows)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (plot.ellipses, plot.log_likelihood):
        with pytest.raises(ImportError, match=r"pip install 'streamgmm\[demo\]'"):
            draw(model)
