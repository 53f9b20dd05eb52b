"""Draw the picture at the end of the demonstration: image, segments, components, and log-likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demo.pixel_features import FEATURES, mean_colours
from streamgmm import GaussianMixture, plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BACKGROUND, FOREGROUND, FAINT = "#0b0f17", "#e8ecf2", "#2a3342"
STYLE: Any = {
    "figure.facecolor": BACKGROUND,
    "axes.facecolor": BACKGROUND,
    "savefig.facecolor": BACKGROUND,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": FOREGROUND,
    "axes.titlecolor": FOREGROUND,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "text.color": FOREGROUND,
    "xtick.color": "#9aa5b5",
    "ytick.color": "#9aa5b5",
    "grid.color": FAINT,
    "font.size": 10,
}
PLANE = (FEATURES.index("warmth, mean of 5 px"), FEATURES.index("brightness, mean of 5 px"))


def draw_poster(
    picture: NDArray[np.uint8], segments: NDArray[np.uint8], model: GaussianMixture, rows: NDArray[Any]
) -> Figure:
    """Draw the four panels.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3)
        The image, downsampled.
    segments : ndarray of shape (height, width)
        Its labels.
    model : GaussianMixture
        Mixture fitted to `FEATURES`.
    rows : ndarray of shape (n, 15)
        Subsample of the features.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib
    from matplotlib.figure import Figure

    palette = mean_colours(model.means_) ** 0.7  # lightened, so that depths of the sea can be told apart
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(16, 9.6), dpi=120, layout="constrained")
        halves: Any = figure.subfigures(2, 1, height_ratios=(1, 1.05))
        left, right = halves[0].subplots(1, 2)
        left.imshow(_add_alpha(picture))
        left.set_title("NASA's Blue Marble")
        right.imshow(_add_alpha((255 * palette).astype(np.uint8))[segments])
        right.set_title(f"{model.n_components} components of a Gaussian mixture, in their mean colours, lightened")
        for ax in (left, right):
            ax.set_axis_off()
        left, right = halves[1].subplots(1, 2, width_ratios=(1.25, 1))
        _draw_components(model, rows, list(palette), left)
        _draw_log_likelihood(model, right)
    return figure


def _add_alpha(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add an opaque alpha channel; without it matplotlib resamples in float64, at four times the memory."""
    return np.concatenate([colors, np.full_like(colors[..., :1], 255)], axis=-1)


def _draw_components(model: GaussianMixture, rows: NDArray[Any], palette: list[Any], ax: Any) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    counts, x_edges, y_edges = np.histogram2d(rows[:, PLANE[0]], rows[:, PLANE[1]], bins=200)
    extent = (x_edges[0], x_edges[-1], y_edges[0], y_edges[-1])
    shades = LinearSegmentedColormap.from_list("rows", [BACKGROUND, "#7f8da3"])
    ax.imshow(np.log1p(counts).T, cmap=shades, extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
    plot.ellipses(model, PLANE, colors=palette, ax=ax)
    ax.set(xlabel="warmth: red − blue, mean of 5 px", ylabel="brightness, mean of 5 px")
    ax.set_title("The components among the pixels, 1 and 2 standard deviations around their means")


def _draw_log_likelihood(model: GaussianMixture, ax: Any) -> None:
    plot.log_likelihood(model, ax=ax, color="#f2b05e", linewidth=2, markersize=6)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:.0f} M")
    ax.grid(visible=True)
    ax.set_title("Log-likelihood while the rows streamed by")
