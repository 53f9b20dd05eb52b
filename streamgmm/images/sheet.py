"""The figure of a segmentation: image, labels, both over each other, and components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm import plot
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.images.image import Image
from streamgmm.images.image_limits import LIMITS
from streamgmm.images.reading.lazy_arrays import get_chunks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from streamgmm.images.segmentation import Segmentation

OPACITY = 0.45  # of labels over an image


def draw_sheet(segmentation: Segmentation, image: Image, bands: tuple[int, int], figure: Figure | None) -> Figure:
    """Draw a segmentation on a figure."""
    figure = plot.create_figure() if figure is None else figure
    model, selection = segmentation.model, segmentation.selection
    figure.set_size_inches(11 if selection is None else 15, 8)
    mosaic: Any = [["image", "labels"], ["overlay", "mixture"]]
    panels = figure.subplot_mosaic(mosaic if selection is None else [[*row, "gain"] for row in mosaic])
    *_, height, width = segmentation.labels.shape
    step = max(1, -(-max(height, width) // LIMITS.sheet_pixels))
    labels, values = _thin(segmentation.labels, 2, step), _thin(image.values, 3, step)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    picture = _to_picture(values, labels > 0)
    k = len(model.means_)
    colors = plot.component_colors(k)
    panels["image"].imshow(picture, extent=extent, interpolation="nearest")
    _draw_labels(panels["labels"], labels, colors, extent)
    panels["overlay"].imshow(picture.mean(axis=2), cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    _draw_labels(panels["overlay"], labels, colors, extent, alpha=np.where(labels > 0, OPACITY, 1.0))
    if image.n_bands > 1 and np.shape(model.means_)[1] > 1:
        plot.ellipses(model, bands, colors=colors, ax=panels["mixture"])
    else:
        _draw_densities(panels["mixture"], model, colors)
    titles = {"image": "image", "labels": f"{k} segments", "overlay": "segments over the image"}
    for name, title in {**titles, "mixture": "components"}.items():
        panels[name].set_title(title)
    if selection is not None:
        plot.selection(selection, ax=panels["gain"])
    return figure


def _thin(array: Any, n_axes: int, step: int) -> NDArray[Any]:
    """Read every ``step``-th pixel of the last axes, and the middle of the others."""
    import dask.array as da

    if not isinstance(array, np.ndarray | da.Array):
        array = da.from_array(array, get_chunks(array))
    for _ in range(array.ndim - n_axes):
        array = array[array.shape[0] // 2]
    return np.asarray(array[::step, ::step])


def _to_picture(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return up to three bands as RGB from 0 to 1; other than 8 bits are stretched, and nodata is white."""
    bands = values[..., :3] if values.shape[-1] >= 3 else values[..., :1]
    picture = np.ones((*values.shape[:2], bands.shape[-1]))
    low, high = 0.0, 255.0
    for band in range(bands.shape[-1]):
        pixels = bands[..., band][valid].astype(np.float64)
        if values.dtype != np.uint8 and len(pixels):
            low, high = np.percentile(pixels, (2, 98))
        picture[..., band][valid] = ((pixels - low) / (high - low if high > low else 1.0)).clip(0, 1)
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _draw_labels(ax: Axes, labels: NDArray[Any], colors: Any, extent: Any, alpha: Any = None) -> None:
    from matplotlib.colors import ListedColormap

    colormap, last = ListedColormap(["white", *colors]), len(colors) + 0.5
    ax.imshow(labels, cmap=colormap, vmin=-0.5, vmax=last, alpha=alpha, extent=extent, interpolation="nearest")


def _draw_densities(ax: Axes, model: Any, colors: Any) -> None:
    """Draw the weighted densities of the first feature."""
    parameters = get_parameters(model)
    means, deviations = parameters.means[:, 0], np.sqrt(parameters.variances()[:, 0])
    for mean, deviation, weight, color in zip(means, deviations, parameters.weights, colors, strict=True):
        values = mean + deviation * np.linspace(-4, 4, 200)
        density = np.exp(-0.5 * ((values - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        ax.fill_between(values, weight * density, color=color, alpha=OPACITY)
    ax.set(xlabel="feature 0", ylabel="density")
