"""Pictures of a fitted mixture. They read fitted attributes only, so scikit-learn's models may be drawn as well.

matplotlib is imported when something is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    colors = [f"C{component % 10}" for component in range(len(means))] if colors is None else colors
    for mean, covariance, color in zip(means, _marginals(model, columns), colors, strict=True):
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


def _axes(ax: Axes | None) -> Axes:
    """Axes that were given, or the current ones; only these need pyplot."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("Drawing needs matplotlib; install it with: pip install 'streamgmm[demo]'") from None
    return pyplot.gca()


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
    covariances = np.asarray(model.covariances_, np.float64)
    k = len(model.means_)
    if model.covariance_type in ("full", "tied"):
        return np.broadcast_to(covariances[..., columns, :][..., columns], (k, 2, 2))
    variances = covariances[:, columns] if model.covariance_type == "diag" else np.repeat(covariances[:, None], 2, 1)
    return variances[:, :, None] * np.eye(2)
