from collections import namedtuple
from dataclasses import replace

import dask.array as da
import matplotlib
import numpy as np
import pytest
import zarr
from sklearn.datasets import load_sample_image

from streamgmm import segment
from streamgmm.images import sheet

matplotlib.use("Agg")
PHOTOGRAPH = load_sample_image("china.jpg")[100:180, 100:190]
Georeference = namedtuple("Georeference", "pixel_size")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("at_hand", [True, False])
def test_the_table_equals_statistics_of_the_pixels(dtype, at_hand, tmp_path):
    image = PHOTOGRAPH.astype(dtype)
    image[:5] = 0
    given = image if at_hand else da.from_array(image, (30, 40, 2))
    segmentation = segment(
        given, 3, nodata=0, random_state=0, georeference=Georeference((0.25, "µm²")), output=tmp_path / "x.zarr"
    )
    labels, table = np.asarray(segmentation.labels[:]), segmentation.table
    pixels = np.bincount(labels.ravel(), minlength=4)[1:]
    np.testing.assert_array_equal(table["pixels"], pixels)
    np.testing.assert_allclose(table["share"], pixels / (labels > 0).sum())
    np.testing.assert_allclose(table["area"], pixels * 0.25)
    means = [image[labels == label].mean(axis=0, dtype=float) for label in (1, 2, 3)]
    np.testing.assert_allclose(table["band_mean"], means, rtol=1e-12)
    assert "area" not in segment(given, model=segmentation.model).table


def test_a_segment_without_pixels_has_no_mean():
    segmentation = segment(PHOTOGRAPH, 3, random_state=0)
    again = segment(np.full((9, 9, 3), PHOTOGRAPH[0, 0], np.uint8), model=segmentation.model, axes="YXC")
    assert np.isnan(again.table["band_mean"]).all(axis=1).sum() == 2 == (again.table["pixels"] == 0).sum()


@pytest.mark.parametrize(
    ("image", "n_segments", "panels_"),
    [
        (PHOTOGRAPH, 3, ["image", "3 segments", "segments over the image", "components"]),
        (PHOTOGRAPH[:, :, 0].astype("f4") * 9, 2, ["image", "2 segments", "segments over the image", "components"]),
        (
            da.from_array(PHOTOGRAPH[:, :, :2], 40),
            range(2, 4),
            ["image", "segments", "", "segments over", "components"],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:3 segments, the most")
def test_the_plot_shows_image_labels_components_and_the_selection(image, n_segments, panels_):
    segmentation = segment(image, n_segments, random_state=0, axes="YXC"[: image.ndim], nodata=0)
    figure = segmentation.plot()
    assert len(figure.axes) == len(panels_)
    for axes, title in zip(figure.axes, panels_, strict=True):
        assert title in axes.get_title()
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), segmentation.labels)
    figure.canvas.draw()


def test_a_large_image_is_thinned_for_the_plot(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "LIMITS", replace(sheet.LIMITS, sheet_pixels=30))
    stored = zarr.create_array(tmp_path / "x.zarr", shape=PHOTOGRAPH.shape, chunks=(32, 32, 3), dtype="uint8")
    stored[:] = PHOTOGRAPH
    segmentation = segment(stored, 3, random_state=0, output=tmp_path / "labels.zarr")
    drawn = segmentation.plot(bands=(2, 0)).axes[1].images[0]
    np.testing.assert_array_equal(drawn.get_array(), segmentation.labels[::3, ::3])
    assert drawn.get_extent() == [-0.5, 89.5, 79.5, -0.5]
