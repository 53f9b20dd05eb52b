"""Plots of fitted mixtures, selections and segmentations.

They read fitted attributes only, so that scikit-learn's models can be drawn as well. matplotlib is imported when
something is drawn; an ImportError says how to install it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.information_criteria import CRITERIA, list_likelihood_criteria
from streamgmm.model.statistics import expand_covariances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIN_DRIFT = 1e-3  # smaller drift scores are drawn at this value, since a log scale has no 0
MAX_PIXELS = 2_000  # pixels across a drawing of labels
LABELLED_SHARE = 0.08  # share of a component that leaves room for its name
NOTE: dict[str, Any] = {"textcoords": "offset points", "color": "0.4", "fontsize": "small"}  # text beside a panel


def ellipses(
    model: Any,
    features: tuple[int | str, int | str] = (0, 1),
    *,
    deviations: Sequence[float] = (1.0, 2.0),
    colors: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw each component as ellipses around its mean, in the plane of two features.

    Parameters
    ----------
    model : fitted GaussianMixture
        Mixture of any covariance type.
    features : pair of int or str, default=(0, 1)
        Columns, or their names if the model was fitted with names, on the horizontal and the vertical axis.
    deviations : sequence of float, default=(1.0, 2.0)
        Radii in standard deviations.
    colors : sequence of matplotlib colours of length n_components, optional
        Colour of each component; matplotlib's own cycle by default.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; the current axes by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        The model has no such feature.
    """
    ax = _import_pyplot().gca() if ax is None else ax
    from matplotlib.patches import Ellipse

    columns = [_feature_index(model, feature) for feature in features]
    means = np.asarray(model.means_)[:, columns]
    colors = component_colors(len(means)) if colors is None else colors
    for mean, covariance, color in zip(means, _marginal_covariances(model, columns), colors, strict=True):
        variances, directions = np.linalg.eigh(covariance)
        width, height = 2 * np.sqrt(variances.clip(0))
        angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
        for radius in sorted(deviations, reverse=True):
            shape = {"xy": tuple(mean), "width": radius * width, "height": radius * height, "angle": angle}
            alpha = 0.45 if radius == min(deviations) else 0.2
            ax.add_patch(Ellipse(**shape, facecolor=color, alpha=alpha, linewidth=0))
            ax.add_patch(Ellipse(**shape, facecolor="none", edgecolor=color, linewidth=1.2))
    ax.autoscale_view()
    names = getattr(model, "feature_names_in_", None)
    x_label, y_label = (f"feature {column}" if names is None else names[column] for column in columns)
    ax.set(xlabel=x_label, ylabel=y_label)
    return ax


def log_likelihood(model: Any, *, ax: Axes | None = None, **line: Any) -> Axes:
    """Draw the mean log-likelihood against the number of rows read, one point per pass.

    Parameters
    ----------
    model : fitted GaussianMixture
        Mixture whose ``lower_bounds_`` are drawn.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; the current axes by default.
    **line
        Properties of the line, passed to `matplotlib.axes.Axes.plot`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _import_pyplot().gca() if ax is None else ax
    bounds = np.asarray(model.lower_bounds_)
    rows = model.n_samples_seen_ * np.arange(1, len(bounds) + 1)
    ax.plot(rows, bounds, **{"marker": "o", **line})
    ax.set(xlabel="rows read", ylabel="log-likelihood, nats a row")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    return ax


def history(
    model: Any, *, axes: Sequence[Axes] | NDArray[Any] | None = None, colors: Sequence[Any] | None = None
) -> NDArray[Any]:
    """Draw log-likelihood, occupancy and drift of every update of a model, in three panels.

    Parameters
    ----------
    model : fitted GaussianMixture
        Mixture whose ``history_`` is drawn.
    axes : three matplotlib.axes.Axes, optional
        Axes to draw on, from top to bottom; those of a new figure by default.
    colors : sequence of matplotlib colours of length n_components, optional
        Colour of each component; by default those of `ellipses`.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (3,)

    Raises
    ------
    ValueError
        The model has no history, as scikit-learn's models, or none with rows, or there are not three axes.

    Notes
    -----
    The horizontal axis counts rows read; a row counts once per pass. Each record is a level as wide as its rows: narrow
    for a batch, wide for a pass or for merged old updates. Vertical lines divide stages, with their names at the top.

    Log-likelihood
        Mean over the rows of each update under the parameters before it, in nats. It rises while the model learns, then
        stays level. It falls if rows arrive that the model does not expect.
    Occupancy
        Share of each component in these rows, the first at the bottom. Bands of constant width show a converged
        mixture; a band that gets thinner is a component that loses its rows.
    Drift
        Squared distance of these rows from the expectation of the model, in units of pure chance. Unseen rows of the
        learnt distribution score 1 on average or less, and somewhat more while the model has learnt few. A single peak
        is one unusual batch; a score that stays above 10 is a drift. Rows that are read again until convergence score
        far below 1. Longer batches score higher for the same shift, and merged updates keep the largest score. Scores
        below 0.001 are drawn at 0.001.
    """
    columns = _history_columns(model)
    if axes is None:
        figure, axes = _import_pyplot().subplots(3, sharex=True, figsize=(8, 6), layout="constrained")
        figure.align_ylabels()
    panels = likelihood, occupancy, drift = np.ravel(np.asarray(axes))
    edges = np.concatenate([[0], np.cumsum(columns["rows"])])
    rows = np.repeat(edges, 2)[1:-1]  # start and end of each record
    shares = np.repeat(columns["occupancy"], 2, axis=0).T
    line: dict[str, Any] = {"color": "0.2", "linewidth": 1.0}

    likelihood.plot(rows, np.repeat(columns["log_likelihood"], 2), **line)
    likelihood.set_ylabel("log-likelihood,\nnats a row")
    colors = component_colors(len(shares)) if colors is None else colors
    occupancy.stackplot(rows, shares, colors=colors, alpha=0.75, linewidth=0)
    occupancy.set(ylabel="share of\neach component", ylim=(0, 1))
    tops = np.cumsum(shares[:, -1])
    for component in np.flatnonzero(shares[:, -1] >= LABELLED_SHARE):
        _annotate_right(occupancy, tops[component] - shares[component, -1] / 2, f"component {component}")
    drift.set_yscale("log")
    drift.axhline(1, color="0.5", linewidth=0.8, linestyle="--")  # first, so that the log scale has a positive value
    _annotate_right(drift, 1, "chance alone")
    drift.plot(rows, np.repeat(np.maximum(columns["drift"], MIN_DRIFT), 2), **line)
    drift.set(xlabel="rows read", ylabel="drift score")
    for panel in panels:
        panel.set_xlim(0, edges[-1])
        panel.xaxis.set_major_formatter("{x:,.0f}")
    _divide_stages(panels, columns["stage"], edges)
    return panels


def segments(segmentation: Any, *, colors: Sequence[Any] | None = None, ax: Axes | None = None) -> Axes:
    """Draw the labels of a segmented image in the colours of `ellipses`; nodata is white.

    Parameters
    ----------
    segmentation : Segmentation
        Result of `streamgmm.segment`. A large image is drawn at a lower resolution.
    colors : sequence of matplotlib colours of length n_segments, optional
        Colour of each segment; matplotlib's own cycle by default.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; the current axes by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _import_pyplot().gca() if ax is None else ax
    from matplotlib.colors import ListedColormap

    height, width = segmentation.labels.shape
    step = max(1, max(height, width) // MAX_PIXELS)
    k = len(segmentation.model.means_)
    ax.imshow(
        np.asarray(segmentation.labels[::step, ::step]),
        cmap=ListedColormap(["white", *(component_colors(k) if colors is None else colors)]),
        vmin=-0.5,
        vmax=k + 0.5,
        interpolation="nearest",
        extent=(0, width, height, 0),
    )
    return ax


def selection(selection: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the criteria of a selection against the number of components, one curve per covariance type.

    The curves depend on the criterion that chose the model:

    * an information criterion: it, and all that need no responsibilities.
    * 'heldout': the log-density of held-out rows; error bars are standard errors of the difference from the best.
    * 'evidence' or 'prequential', after rows have arrived: that score.
    * 'gain', in a segmentation: the log-likelihood gained over the next smaller size.

    Parameters
    ----------
    selection : Selection
        Result of `streamgmm.select`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; the current axes by default.

    Returns
    -------
    matplotlib.axes.Axes

    Notes
    -----
    Lower is better, except for log-densities. Small points are candidates that were dropped early. Their criteria are
    those of their last pass, and would not have become higher.
    """
    ax = _import_pyplot().gca() if ax is None else ax
    table, chosen = selection.table, selection.criterion
    criteria = [criterion.name for criterion in list_likelihood_criteria()]
    is_density = chosen not in criteria and chosen != "evidence"
    names = [chosen]
    if chosen in criteria:
        names = [name for name in criteria if name == chosen or CRITERIA[name].allows_early_dropping]
        names = [name for name in names if name in table]  # a saved selection may know fewer criteria
    labels = {"prequential": "rows before they were learnt", "evidence": "evidence", "gain": "gain"}
    labels |= {criterion.name: criterion.label for criterion in CRITERIA.values()}
    families = list(dict.fromkeys(table["covariance_type"].tolist()))
    for family, color in zip(families, component_colors(len(families)), strict=True):
        rows = np.flatnonzero(table["covariance_type"] == family)
        rows = rows[np.argsort(table["n_components"][rows], kind="stable")]
        sizes, dropped = table["n_components"][rows], table["dropped"][rows]
        for name, style in zip(names, cycle(("-", ":", "--", "-.")), strict=False):
            values = table[name][rows]
            ax.plot(sizes, values, style, color=color, label=f"{labels.get(name, name)}, {family}")
            ax.scatter(sizes, values, s=np.where(dropped, 8, 30), color=color)
            if f"{name}_error" in table:
                ax.errorbar(sizes, values, table[f"{name}_error"][rows], fmt="none", color=color, capsize=3)
    best = next(index for index, model in enumerate(selection.models) if model is selection.best)
    size, value = table["n_components"][best], table[chosen][best]
    ax.scatter(size, value, s=160, facecolors="none", edgecolors="0.2", zorder=3, label=f"chosen: {size} components")
    density_label = "gain over the next smaller, nats a row" if chosen == "gain" else "log-density, nats a row"
    ax.set(xlabel="components", ylabel=density_label if is_density else "criterion, nats x 2")
    ax.locator_params(axis="x", integer=True)
    ax.legend(fontsize="small")
    return ax


def create_figure() -> Figure:
    """Return a figure to be saved, which no window shows."""
    _import_pyplot()
    from matplotlib.figure import Figure

    return Figure(figsize=(8, 5), layout="constrained")


def component_colors(k: int) -> list[str]:
    """Return a colour for each component, from matplotlib's own cycle."""
    return [f"C{component % 10}" for component in range(k)]


def _history_columns(model: Any) -> dict[str, NDArray[Any]]:
    """Return the history without records of no rows, which have no width."""
    columns: dict[str, NDArray[Any]] = model.history_.columns() if hasattr(model, "history_") else {}
    if not columns or not columns["rows"].any():
        raise ValueError(
            f"This {type(model).__name__} has no history to draw; streamgmm's models have, once they learnt."
        )
    return {name: column[columns["rows"] > 0] for name, column in columns.items()}


def _annotate_right(panel: Axes, height: float, text: str) -> None:
    panel.annotate(text, (1, height), (4, 0), ("axes fraction", "data"), va="center", **NOTE)


def _divide_stages(panels: NDArray[Any], stages: NDArray[Any], edges: NDArray[Any]) -> None:
    """Draw a line where a stage begins, and its name above the first panel; nothing if there is one stage."""
    changes = np.flatnonzero(stages[1:] != stages[:-1]) + 1
    for record in [0, *changes] if len(changes) else []:
        for panel in panels:
            panel.axvline(edges[record], color="0.5", linewidth=0.8)
        position, units = (edges[record], 1), ("data", "axes fraction")
        panels[0].annotate(stages[record], position, (4, 3), units, rotation=45, rotation_mode="anchor", **NOTE)


def _import_pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("Drawing needs matplotlib; install it with: pip install 'streamgmm[demo]'") from None
    return pyplot


def _feature_index(model: Any, feature: int | str) -> int:
    n_features = int(np.shape(model.means_)[1])
    if isinstance(feature, str):
        names: list[str] = list(getattr(model, "feature_names_in_", ()))
        if feature not in names:
            raise ValueError(f"The model has no feature {feature!r}; it has {', '.join(names) or 'no names'}.")
        return names.index(feature)
    if not -n_features <= feature < n_features:
        raise ValueError(f"The model has no feature {feature}; it has {n_features}, counted from 0.")
    return feature % n_features


def _marginal_covariances(model: Any, columns: list[int]) -> NDArray[np.float64]:
    """Return the covariances of two features, shape (k, 2, 2)."""
    k, d = np.shape(model.means_)
    shape = STRUCTURES[model.covariance_type].shape(k, d)
    covariances = expand_covariances(np.asarray(model.covariances_, np.float64).reshape(shape), k, d)
    if covariances.ndim == 2:
        return covariances[:, columns, None] * np.eye(2)
    return covariances[:, columns][:, :, columns]
