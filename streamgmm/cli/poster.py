"""The picture at the end of the demonstration: image, segments, components, and how the fit went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm import GaussianMixture, plot
from streamgmm.cli.landscape import FEATURES, colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER, INK, FAINT = "#0b0f17", "#e8ecf2", "#2a3342"
STYLE: Any = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "text.color": INK,
    "xtick.color": "#9aa5b5",
    "ytick.color": "#9aa5b5",
    "grid.color": FAINT,
    "font.size": 10,
}
PLANE = (FEATURES.index("warmth, mean of 5 px"), FEATURES.index("brightness, mean of 5 px"))


def poster(
    picture: NDArray[np.uint8], segments: NDArray[np.uint8], model: GaussianMixture, rows: NDArray[Any]
) -> Figure:
    """Draw everything.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3)
        The image, small.
    segments : ndarray of shape (height, width)
        Its labels.
    model : GaussianMixture
        Fitted to `FEATURES`.
    rows : ndarray of shape (n, 15)
        Some of them.
    """
    import matplotlib
    from matplotlib.figure import Figure

    palette = vivid(colours(model.means_))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(16, 9.6), dpi=120, layout="constrained")
        halves: Any = figure.subfigures(2, 1, height_ratios=(1, 1.05))
        left, right = halves[0].subplots(1, 2)
        left.imshow(_opaque(picture))
        left.set_title("NASA's Blue Marble")
        right.imshow(_opaque((255 * palette).astype(np.uint8))[segments])
        right.set_title(f"{model.n_components} components of a Gaussian mixture, in their mean colours, lightened")
        for ax in (left, right):
            ax.set_axis_off()
        left, right = halves[1].subplots(1, 2, width_ratios=(1.25, 1))
        _components(model, rows, list(palette), left)
        _progress(model, right)
    return figure


def vivid(colors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dark colours made lighter, so that the depths of the sea can be told apart."""
    return np.asarray(colors**0.7)


def _opaque(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Red, green, blue and alpha; without alpha matplotlib would resample in float64, of four times the size."""
    return np.concatenate([colors, np.full_like(colors[..., :1], 255)], axis=-1)


def _components(model: GaussianMixture, rows: NDArray[Any], palette: list[Any], ax: Any) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    counts, across, up = np.histogram2d(rows[:, PLANE[0]], rows[:, PLANE[1]], bins=200)
    extent = (across[0], across[-1], up[0], up[-1])
    shades = LinearSegmentedColormap.from_list("rows", [PAPER, "#7f8da3"])
    ax.imshow(np.log1p(counts).T, cmap=shades, extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
    plot.ellipses(model, PLANE, colors=palette, ax=ax)
    ax.set(xlabel="warmth: red − blue, mean of 5 px", ylabel="brightness, mean of 5 px")
    ax.set_title("The components among the pixels, 1 and 2 standard deviations around their means")


def _progress(model: GaussianMixture, ax: Any) -> None:
    plot.log_likelihood(model, ax=ax, color="#f2b05e", linewidth=2, markersize=6)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:.0f} M")
    ax.grid(visible=True)
    ax.set_title("Log-likelihood while the rows streamed by")
