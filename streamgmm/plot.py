"""Pictures of a fitted mixture. They read fitted attributes only, so scikit-learn's models may be drawn as well.

matplotlib is imported when something is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.information_criteria import CRITERIA, likelihood_criteria
from streamgmm.model.statistics import expand_covariances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_DRIFT = 1e-3  # scores below are drawn as this: 0 has no place on a log scale
NOTE: dict[str, Any] = {"textcoords": "offset points", "color": "0.4", "fontsize": "small"}  # text beside a panel
SHOWN = 2_000  # pixels across a drawing of an image
LEGIBLE = 0.08  # share of a component that has room for its name


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
        Of any covariance type.
    features : pair of int or str, default=(0, 1)
        Columns, or their names where the model has seen names, on the horizontal and the vertical axis.
    deviations : sequence of float, default=(1.0, 2.0)
        Radii, in standard deviations.
    colors : sequence of matplotlib colours of length n_components, optional
        One for each component; matplotlib's own cycle by default.
    ax : matplotlib Axes, optional
        Where to draw; the current axes by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    from matplotlib.patches import Ellipse

    columns = [_column(model, feature) for feature in features]
    means = np.asarray(model.means_)[:, columns]
    for mean, covariance, color in zip(means, _marginals(model, columns), _colors(len(means), colors), strict=True):
        variances, axes = np.linalg.eigh(covariance)
        width, height = 2 * np.sqrt(variances.clip(0))
        angle = np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))
        for place, radius in enumerate(sorted(deviations, reverse=True)):
            inner = place == len(deviations) - 1
            shape = {"xy": tuple(mean), "width": radius * width, "height": radius * height, "angle": angle}
            ax.add_patch(Ellipse(**shape, facecolor=color, alpha=0.45 if inner else 0.2, linewidth=0))
            ax.add_patch(Ellipse(**shape, facecolor="none", edgecolor=color, linewidth=1.2))
    ax.autoscale_view()
    names = getattr(model, "feature_names_in_", None)
    ax.set(
        **{
            f"{axis}label": f"feature {column}" if names is None else names[column]
            for axis, column in zip("xy", columns, strict=True)
        }
    )
    return ax


def log_likelihood(model: Any, *, ax: Axes | None = None, **line: Any) -> Axes:
    """Draw the mean log-likelihood against the rows read, one point a pass.

    Parameters
    ----------
    model : fitted GaussianMixture
        Its ``lower_bounds_`` are drawn.
    ax : matplotlib Axes, optional
        Where to draw; the current axes by default.
    **line
        Properties of the line, as in `matplotlib.axes.Axes.plot`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    bounds = np.asarray(model.lower_bounds_)
    rows = model.n_samples_seen_ * np.arange(1, len(bounds) + 1)
    ax.plot(rows, bounds, **{"marker": "o", **line})
    ax.set(xlabel="rows read", ylabel="log-likelihood, nats a row")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    return ax


def history(
    model: Any, *, axes: Sequence[Axes] | NDArray[Any] | None = None, colors: Sequence[Any] | None = None
) -> NDArray[Any]:
    """Draw what the model went through, update by update: log-likelihood, occupancy and drift, in three panels.

    Parameters
    ----------
    model : fitted GaussianMixture
        Its ``history_`` is drawn.
    axes : three matplotlib Axes, optional
        Where to draw, from top to bottom; those of a new figure by default.
    colors : sequence of matplotlib colours of length n_components, optional
        One for each component; by default those of `ellipses`.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, of shape (3,)

    Raises
    ------
    ValueError
        The model has no history, as scikit-learn's models, or none with rows, or there are not three axes.
    ImportError
        A new figure is needed, and matplotlib is not installed.

    Notes
    -----
    Rows read run from left to right; rows that several passes read count once a pass. Each record is a level, as wide
    as its rows: few where an update is a batch, many where it is a pass or where updates long past were merged. Where
    the model went through several stages, lines divide them, with their names at the top.

    Log-likelihood
        In nats a row, of the rows of each update under the parameters before it. It rises while the model learns, and
        then stays level. It falls where rows come that the model does not expect.
    Occupancy
        Share of each component in these rows, the first at the bottom. Bands that stay as wide as they are belong to a
        mixture that has settled; one that thins out is a component that loses its rows.
    Drift
        How far these rows are from what the model expects, squared, in units of what chance alone gives: of rows that
        the model has not seen and that are like those it has learnt, 1 on average or less, and somewhat more while it
        has learnt few. A single peak is one strange batch; a score that stays above 10, a drift. It sinks far below 1
        where rows are read again until the model has converged. Longer batches score higher for the same shift, and of
        merged updates the largest score counts. 0.001 stands for all that is less.
    """
    columns = _columns_of_history(model)
    if axes is None:
        figure, axes = _pyplot().subplots(3, sharex=True, figsize=(8, 6), layout="constrained")
        figure.align_ylabels()
    panels = likelihood, occupancy, drift = np.ravel(np.asarray(axes))
    edges = np.concatenate([[0], np.cumsum(columns["rows"])])
    rows = np.repeat(edges, 2)[1:-1]  # each record from where it begins to where it ends
    shares = np.repeat(columns["occupancy"], 2, axis=0).T
    line: dict[str, Any] = {"color": "0.2", "linewidth": 1.0}

    likelihood.plot(rows, np.repeat(columns["log_likelihood"], 2), **line)
    likelihood.set_ylabel("log-likelihood,\nnats a row")
    occupancy.stackplot(rows, shares, colors=_colors(len(shares), colors), alpha=0.75, linewidth=0)
    occupancy.set(ylabel="share of\neach component", ylim=(0, 1))
    tops = np.cumsum(shares[:, -1])
    for component in np.flatnonzero(shares[:, -1] >= LEGIBLE):
        _note(occupancy, tops[component] - shares[component, -1] / 2, f"component {component}")
    drift.set_yscale("log")
    drift.axhline(1, color="0.5", linewidth=0.8, linestyle="--")  # first, so that there is something positive
    _note(drift, 1, "chance alone")
    drift.plot(rows, np.repeat(np.maximum(columns["drift"], NO_DRIFT), 2), **line)
    drift.set(xlabel="rows read", ylabel="drift score")
    for panel in panels:
        panel.set_xlim(0, edges[-1])
        panel.xaxis.set_major_formatter("{x:,.0f}")
    _divide(panels, columns["stage"], edges)
    return panels


def segments(found: Any, *, colors: Sequence[Any] | None = None, ax: Axes | None = None) -> Axes:
    """Draw the labels of a segmented image, in the colours in which `ellipses` draws the components; nodata is white.

    Parameters
    ----------
    found : Segmentation
        What `streamgmm.segment` returned. Of a large image every few pixels are drawn.
    colors : sequence of matplotlib colours of length k, optional
        One for each segment; matplotlib's own cycle by default.
    ax : matplotlib Axes, optional
        Where to draw; the current axes by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    from matplotlib.colors import ListedColormap

    height, width = found.labels.shape
    step = max(1, max(height, width) // SHOWN)
    k = len(found.model.means_)
    colormap = ListedColormap(["white", *_colors(k, colors)])
    ax.imshow(
        np.asarray(found.labels[::step, ::step]),
        cmap=colormap,
        vmin=-0.5,
        vmax=k + 0.5,
        interpolation="nearest",
        extent=(0, width, height, 0),
    )
    return ax


def selection(found: Any, *, ax: Axes | None = None) -> Axes:
    """Draw BIC and AIC against the number of components, a curve a family; the chosen candidate is marked.

    Parameters
    ----------
    found : Selection
        What `streamgmm.select` returned. Where it chose by ICL, that is drawn, too; where by the evidence of rows that
        have arrived since, that alone; where by rows held out or the prequential score, their log-density alone, with
        error bars for rows held out: a standard error of the difference from the best to either side. Where
        `streamgmm.segment` chose, what each size gains over the next smaller.
    ax : matplotlib Axes, optional
        Where to draw; the current axes by default.

    Returns
    -------
    matplotlib.axes.Axes

    Notes
    -----
    Lower is better, but for log-densities. Small points are candidates that were dropped: their criteria are of what
    they had come to by then, and no lower than they would have become.
    """
    ax = _axes(ax)
    table, chosen = found.table, found.criterion
    criteria = [criterion.name for criterion in likelihood_criteria()]
    density = chosen not in criteria and chosen != "evidence"
    drawn = [name for name in criteria if name == chosen or CRITERIA[name].allows_early_dropping]
    names = drawn if chosen in criteria else [chosen]
    lines = dict(zip(names, cycle(("-", ":", "--", "-.")), strict=False))
    labels = {"prequential": "rows before they were learnt", "evidence": "evidence", "gain": "gain"}
    labels |= {criterion.name: criterion.label for criterion in CRITERIA.values()}
    families = list(dict.fromkeys(table["covariance_type"].tolist()))
    for family, color in zip(families, _colors(len(families), None), strict=True):
        own = np.flatnonzero(table["covariance_type"] == family)
        own = own[np.argsort(table["n_components"][own], kind="stable")]
        sizes, dropped = table["n_components"][own], table["dropped"][own]
        for name in names:
            values, label = table[name][own], f"{labels[name]}, {family}"
            ax.plot(sizes, values, lines[name], color=color, label=label)
            for some, area in ((dropped, 8), (~dropped, 30)):
                ax.scatter(sizes[some], values[some], s=area, color=color)
            if name == "heldout":
                ax.errorbar(sizes, values, table["heldout_error"][own], fmt="none", color=color, capsize=3)
    place = next(number for number, model in enumerate(found.models) if model is found.best)
    at = table["n_components"][place], table[chosen][place]
    ax.scatter(*at, s=160, facecolors="none", edgecolors="0.2", zorder=3, label=f"chosen: {at[0]} components")
    units = "gain over the next smaller, nats a row" if chosen == "gain" else "log-density, nats a row"
    ax.set(xlabel="components", ylabel=units if density else "criterion, nats x 2")
    ax.locator_params(axis="x", integer=True)
    ax.legend(fontsize="small")
    return ax


def _columns_of_history(model: Any) -> dict[str, NDArray[Any]]:
    """Columns of the history, less the records of no rows: they have no width."""
    columns: dict[str, NDArray[Any]] = model.history_.columns() if hasattr(model, "history_") else {}
    if not columns or not columns["rows"].any():
        raise ValueError(
            f"This {type(model).__name__} has no history to draw; streamgmm's models have, once they learnt."
        )
    return {name: column[columns["rows"] > 0] for name, column in columns.items()}


def _note(panel: Axes, height: float, text: str) -> None:
    """Text to the right of a panel."""
    panel.annotate(text, (1, height), (4, 0), ("axes fraction", "data"), va="center", **NOTE)


def _divide(panels: NDArray[Any], stages: NDArray[Any], edges: NDArray[Any]) -> None:
    """A line in every panel where a stage begins, with its name above the first; none where all is one stage."""
    changes = np.flatnonzero(stages[1:] != stages[:-1]) + 1
    for record in [0, *changes] if len(changes) else []:
        for panel in panels:
            panel.axvline(edges[record], color="0.5", linewidth=0.8)
        place, units = (edges[record], 1), ("data", "axes fraction")
        panels[0].annotate(stages[record], place, (4, 3), units, rotation=45, rotation_mode="anchor", **NOTE)


def new_figure() -> Figure:
    """A figure that no window shows, to be saved.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    _pyplot()
    from matplotlib.figure import Figure

    return Figure(figsize=(8, 5), layout="constrained")


def _axes(ax: Axes | None) -> Axes:
    """Axes that were given, or the current ones; only these need pyplot."""
    return _pyplot().gca() if ax is None else ax


def _pyplot() -> Any:
    """matplotlib.pyplot, or the remedy."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("Drawing needs matplotlib; install it with: pip install 'streamgmm[demo]'") from None
    return pyplot


def component_colors(k: int) -> list[str]:
    """matplotlib's own cycle, a colour for each component."""
    return [f"C{component % 10}" for component in range(k)]


def _colors(k: int, colors: Sequence[Any] | None) -> Sequence[Any]:
    """Colours that were given, or those of matplotlib's own cycle."""
    return component_colors(k) if colors is None else colors


def _column(model: Any, feature: int | str) -> int:
    """Place of a feature that is given by its place or its name."""
    n_features = int(np.shape(model.means_)[1])
    if isinstance(feature, str):
        names: list[str] = list(getattr(model, "feature_names_in_", ()))
        if feature not in names:
            raise ValueError(f"The model has no feature {feature!r}; it has {', '.join(names) or 'no names'}.")
        return names.index(feature)
    if not -n_features <= feature < n_features:
        raise ValueError(f"The model has no feature {feature}; it has {n_features}, counted from 0.")
    return feature % n_features


def _marginals(model: Any, columns: list[int]) -> NDArray[np.float64]:
    """Covariances of two features, shape (k, 2, 2)."""
    k, d = np.shape(model.means_)
    shape = STRUCTURES[model.covariance_type].shape(k, d)
    covariances = expand_covariances(np.asarray(model.covariances_, np.float64).reshape(shape), k, d)
    if covariances.ndim == 2:
        return covariances[:, columns, None] * np.eye(2)
    return covariances[:, columns][:, :, columns]
