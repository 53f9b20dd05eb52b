import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from sklearn import mixture

from streamgmm import GaussianMixture, plot, segment
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.iteration.history import History, Record
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.statistics import expand_covariances


@pytest.fixture
def rows():
    return np.random.default_rng(0).multivariate_normal([5, -3, 1], [[4, 1, 0], [1, 2, 0], [0, 0, 9]], 500)


@pytest.fixture
def panels():
    return Figure().subplots(3, sharex=True)


def model_with(*records):
    """A model with a history and nothing else."""
    return SimpleNamespace(history_=History(records))


def record(stage="online", rows=10, log_likelihood=-1.0, occupancy=(0.25, 0.75), drift=1.0):
    return Record(stage, rows, log_likelihood, np.array(occupancy), drift)


@pytest.mark.parametrize("covariance_type", STRUCTURES)
def test_every_point_of_an_ellipse_has_the_same_mahalanobis_distance_from_the_mean(rows, covariance_type):
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(rows)
    ax = plot.ellipses(model, (2, 0), deviations=(1.5,), ax=Figure().subplots())
    outlines = [patch for patch in ax.patches if isinstance(patch, Ellipse) and patch.get_edgecolor()[3] == 1]
    assert len(outlines) == 2
    covariances = expand_covariances(get_parameters(model).covariances, 2, 3)
    for mean, covariance, ellipse in zip(model.means_, covariances, outlines, strict=True):
        covariance = covariance if covariance.ndim == 2 else np.diag(covariance)
        path = ellipse.get_path().vertices[:-1:3]  # points of the curve, without its control points
        offsets = (ellipse.get_patch_transform() - mpl.transforms.IdentityTransform()).transform(path) - mean[[2, 0]]
        precision = np.linalg.inv(covariance[np.ix_([2, 0], [2, 0])])
        distances = np.einsum("ij,jk,ik->i", offsets, precision, offsets) ** 0.5
        np.testing.assert_allclose(distances, 1.5, rtol=1e-3)


def test_features_may_be_given_by_name_and_label_the_axes(rows):
    pandas = pytest.importorskip("pandas")
    model = GaussianMixture(2, random_state=0).fit(pandas.DataFrame(rows, columns=["red", "green", "blue"]))
    ax = plot.ellipses(model, ("blue", 0), ax=Figure().subplots())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("blue", "red")
    with pytest.raises(ValueError, match="no feature 'pink'; it has red, green, blue"):
        plot.ellipses(model, ("pink", 0), ax=Figure().subplots())
    with pytest.raises(ValueError, match="no feature 3; it has 3"):
        plot.ellipses(model, (0, 3), ax=Figure().subplots())


def test_log_likelihood_has_one_point_per_pass_at_the_rows_read(rows):
    model = GaussianMixture(2, random_state=0).fit(rows)
    (line,) = plot.log_likelihood(model, ax=Figure().subplots()).lines
    np.testing.assert_array_equal(line.get_ydata(), model.lower_bounds_)
    np.testing.assert_array_equal(line.get_xdata(), 500 * np.arange(1, model.n_iter_ + 1))


def test_history_draws_each_record_as_a_level_as_wide_as_its_rows(rows, panels):
    start = GaussianMixture(2, random_state=0).fit(rows)  # without it the subsample of the start would be a stage
    start_parameters = {f"{name}_init": getattr(start, f"{name}_") for name in ("weights", "means", "precisions")}
    model = GaussianMixture(2, batch_size=60, **start_parameters)
    for part in np.split(rows, [77, 180, 300, 350]):
        model.partial_fit(part)
    columns = model.history_.columns()
    assert len(set(columns["rows"])) > 1  # a batch is not always full
    ends = np.cumsum(columns["rows"])
    axes = plot.history(model, axes=panels)
    drawn = [(axes[0], columns["log_likelihood"]), (axes[2], np.maximum(columns["drift"], 1e-3))]
    for panel, levels in drawn:
        points = panel.lines[-1].get_xydata()
        np.testing.assert_array_equal(points[1::2], np.column_stack([ends, levels]))
        np.testing.assert_array_equal(points[::2], np.column_stack([[0, *ends[:-1]], levels]))
    tops = columns["occupancy"].cumsum(axis=1)
    for component, band in enumerate(axes[1].collections):
        corners = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices}
        assert {(x, round(y, 9)) for x, y in zip(ends, tops[:, component], strict=True)} <= corners
    assert all(panel.get_xlim() == (0, 500) for panel in axes)
    assert axes[1].get_ylim() == (0, 1) and axes[2].get_yscale() == "log" and axes[2].get_xlabel() == "rows read"
    assert not axes[0].texts and len(axes[0].lines) == 1  # one stage needs no name


def test_the_drift_panel_marks_the_level_of_chance(panels):
    drift = plot.history(model_with(record(drift=0.2)), axes=panels)[2]
    assert list(drift.lines[0].get_ydata()) == [1, 1]
    (text,) = drift.texts
    assert (text.get_text(), text.xy) == ("chance alone", (1, 1))
    assert drift.get_ylim()[0] < 0.2 and drift.get_ylim()[1] > 1


def test_bands_of_occupancy_have_the_colors_of_the_ellipses_and_names_beside_them(panels):
    model = model_with(record(occupancy=(0.2, 0.75, 0.05)))
    bands = plot.history(model, axes=panels)[1]
    assert [to_rgb(band.get_facecolor()[0]) for band in bands.collections] == [to_rgb(f"C{c}") for c in range(3)]
    assert [(text.get_text(), text.xy[1]) for text in bands.texts] == [("component 0", 0.1), ("component 1", 0.575)]
    bands = plot.history(model, axes=Figure().subplots(3), colors=["red", "k", "blue"])[1]
    assert [to_rgb(band.get_facecolor()[0]) for band in bands.collections] == [(1, 0, 0), (0, 0, 0), (0, 0, 1)]


def test_history_marks_the_start_of_every_stage(panels):
    stages = ["stepwise", "stepwise", "incremental", "batch", "batch", "online"]
    axes = plot.history(model_with(*[record(stage, rows) for rows, stage in enumerate(stages, 1)]), axes=panels)
    begins = [0, 3, 6, 15]
    for panel, others in zip(axes, (1, 0, 2), strict=True):
        lines = [line.get_xdata() for line in panel.lines[others:]]
        assert lines == [[begin, begin] for begin in begins]
    names = ["stepwise", "incremental", "batch", "online"]
    assert [text.get_text() for text in axes[0].texts] == names
    assert [text.xy for text in axes[0].texts] == [(begin, 1) for begin in begins]


def test_history_skips_records_without_rows_and_drift_that_is_unknown(panels):
    drifts = [2.0, 0.0, np.nan, 1e-30, 8.0]
    records = [record(drift=drift) for drift in drifts]
    idle = record(rows=0, drift=1e9)
    axes = plot.history(model_with(idle, *records, idle), axes=panels)
    axes[0].figure.canvas.draw()
    assert axes[2].get_xlim() == (0, 50)
    np.testing.assert_array_equal(axes[2].lines[-1].get_ydata()[1::2], [2.0, 1e-3, np.nan, 1e-3, 8.0])
    for drift in (0.0, np.nan):
        plot.history(model_with(record(drift=drift)), axes=Figure().subplots(3))[0].figure.canvas.draw()


def test_a_single_record_is_one_level(panels):
    axes = plot.history(model_with(record(rows=7)), axes=panels)
    assert [list(axes[0].lines[0].get_xdata()), list(axes[0].lines[0].get_ydata())] == [[0, 7], [-1, -1]]
    assert axes[0].get_xlim() == (0, 7)


def test_models_without_a_history_are_refused(rows):
    without_updates = GaussianMixture(2, random_state=0, max_iter=0).fit(rows)
    for model in (without_updates, mixture.GaussianMixture(2).fit(rows), model_with(record(rows=0))):
        with pytest.raises(ValueError, match=f"This {type(model).__name__} has no history to draw"):
            plot.history(model)


def test_history_draws_on_given_axes_without_pyplot(panels, monkeypatch):
    model = model_with(record())
    with monkeypatch.context() as without:
        without.setattr(plot, "_import_pyplot", None)
        assert list(plot.history(model, axes=list(panels))) == list(panels)
        assert list(plot.history(model, axes=panels[:, None])) == list(panels)
    with pytest.raises(ValueError, match="expected 3"):
        plot.history(model, axes=panels[:2])


def test_history_creates_a_figure_whose_panels_share_the_horizontal_axis():
    mpl.use("agg")
    axes = plot.history(model_with(record(), record(rows=20)))
    assert axes.shape == (3,) and len({panel.figure for panel in axes}) == 1
    axes[0].set_xlim(5, 15)
    assert axes[2].get_xlim() == (5, 15)
    mpl.pyplot.close(axes[0].figure)


def test_without_matplotlib_the_error_names_the_package_to_install(rows, monkeypatch):
    model = GaussianMixture(2, random_state=0).fit(rows)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (plot.ellipses, plot.log_likelihood, plot.history):
        with pytest.raises(ImportError, match=r"pip install 'streamgmm\[demo\]'"):
            draw(model)


def test_segments_are_drawn_in_the_colours_of_their_components():
    image = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 100).reshape(10, 50)
    segmentation = segment(image, 2, random_state=0, nodata=0)
    drawn = plot.segments(segmentation, ax=Figure().subplots()).images[0]
    colours = drawn.to_rgba(np.asarray(drawn.get_array()))[:, :, :3]
    for label, colour in [(0, "white"), (1, "C0"), (2, "C1")]:
        assert np.abs(colours[segmentation.labels == label] - to_rgb(colour)).max() < 1e-6
        assert (segmentation.labels == label).any()
    other = plot.segments(segmentation, colors=["red", "blue"], ax=Figure().subplots()).images[0]
    np.testing.assert_allclose(other.to_rgba(2)[:3], to_rgb("blue"))


def test_a_large_image_is_drawn_at_a_lower_resolution(monkeypatch):
    monkeypatch.setattr(plot, "MAX_PIXELS", 10)
    segmentation = SimpleNamespace(labels=np.ones((30, 40), np.uint8), model=SimpleNamespace(means_=np.zeros((2, 1))))
    drawn = plot.segments(segmentation, ax=Figure().subplots()).images[0]
    assert drawn.get_array().shape == (8, 10)
    assert drawn.get_extent() == [0, 40, 30, 0]
