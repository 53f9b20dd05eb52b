"""A segmented image on one sheet: image, labels, both over each other, and components. It decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm import plot
from streamgmm.images.image import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 1_000  # pixels across a panel
VEIL = 0.45  # opacity of labels over an image


def drawn(found: Any, image: Image, bands: tuple[int, int], figure: Figure | None) -> Figure:
    """The sheet of a segmentation."""
    figure = plot.new_figure() if figure is None else figure
    selected = found.selection is not None
    figure.set_size_inches(15 if selected else 11, 8)
    grid = figure.subplot_mosaic(
        [["image", "labels", "gain"], ["both", "mixture", "gain"]]
        if selected
        else [["image", "labels"], ["both", "mixture"]]
    )
    *_, height, width = found.labels.shape
    step = max(1, -(-max(height, width) // SHOWN))
    labels = _plane(found.labels, 2, step)
    values = _plane(image.values, 3, step)
    edges = (-0.5, width - 0.5, height - 0.5, -0.5)
    picture = _picture(values, labels > 0)
    k = len(found.model.means_)
    colors = plot.component_colors(k)
    grid["image"].imshow(picture, extent=edges, interpolation="nearest")
    _draw_labels(grid["labels"], labels, colors, edges)
    grid["both"].imshow(picture.mean(axis=2), cmap="gray", vmin=0, vmax=1, extent=edges, interpolation="nearest")
    _draw_labels(grid["both"], labels, colors, edges, alpha=np.where(labels > 0, VEIL, 1.0))
    for name, title in (("image", "image"), ("labels", f"{k} segments"), ("both", "segments over the image")):
        grid[name].set_title(title)
    if image.n_bands > 1 and np.shape(found.model.means_)[1] > 1:
        plot.ellipses(found.model, bands, colors=colors, ax=grid["mixture"])
    else:
        _draw_densities(grid["mixture"], found.model, colors)
    grid["mixture"].set_title("components")
    if selected:
        plot.selection(found.selection, ax=grid["gain"])
    return figure


def _plane(array: Any, n_axes: int, step: int) -> NDArray[Any]:
    """Every few pixels of the last axes of an array; of those before them the middle. Blocks are read one by one."""
    import dask.array as da

    if not isinstance(array, np.ndarray | da.Array):
        array = da.from_array(array, getattr(array, "shards", None) or array.chunks)
    for _ in range(array.ndim - n_axes):
        array = array[array.shape[0] // 2]
    return np.asarray(array[::step, ::step])


def _picture(values: NDArray[Any], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Up to three bands as red, green and blue between 0 and 1, other than bytes stretched; white where nothing is."""
    chosen = values[..., :3] if values.shape[-1] >= 3 else values[..., :1]
    picture = np.ones((*values.shape[:2], chosen.shape[-1]))
    low, high = 0.0, 255.0
    for band in range(chosen.shape[-1]):
        some = chosen[..., band][there].astype(np.float64)
        if values.dtype != np.uint8 and len(some):
            low, high = np.percentile(some, (2, 98))
        picture[..., band][there] = ((some - low) / (high - low if high > low else 1.0)).clip(0, 1)
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _draw_labels(ax: Axes, labels: NDArray[Any], colors: Any, edges: Any, alpha: Any = None) -> None:
    from matplotlib.colors import ListedColormap

    colormap, last = ListedColormap(["white", *colors]), len(colors) + 0.5
    ax.imshow(labels, cmap=colormap, vmin=-0.5, vmax=last, alpha=alpha, extent=edges, interpolation="nearest")


def _draw_densities(ax: Axes, model: Any, colors: Any) -> None:
    """Weighted densities of the components of one band."""
    means = np.asarray(model.means_, np.float64)[:, 0]
    variances = np.broadcast_to(np.asarray(model.covariances_, np.float64).reshape(-1), means.shape)
    deviations = np.sqrt(variances)
    for mean, deviation, weight, color in zip(means, deviations, model.weights_, colors, strict=True):
        places = mean + deviation * np.linspace(-4, 4, 200)
        density = np.exp(-0.5 * ((places - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        ax.fill_between(places, weight * density, color=color, alpha=VEIL)
    ax.set(xlabel="feature 0", ylabel="density")
