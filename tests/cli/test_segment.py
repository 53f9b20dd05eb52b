import numpy as np
import pytest
import zarr

from streamgmm import load, segment
from streamgmm.results.stored_array import check


@pytest.fixture
def image():
    """Three stripes of different colours, and a row of nodata."""
    random = np.random.default_rng(0)
    stripes = np.repeat([[20, 30, 40], [90, 80, 100], [160, 170, 150]], 20, axis=0)
    values = (stripes[None] + random.normal(scale=5, size=(50, 60, 3))).astype(np.uint8)
    values[7] = 255
    return values


@pytest.fixture
def stored(image, tmp_path):
    path = tmp_path / "image.zarr"
    zarr.create_array(path, shape=(3, 50, 60), chunks=(3, 16, 32), dtype="uint8")[:] = np.moveaxis(image, 2, 0)
    return path


def test_segment_writes_the_labels_that_the_library_returns(run, image, stored, tmp_path):
    labels, saved = tmp_path / "labels.zarr", tmp_path / "model.gmm"
    options = ["--axes", "CYX", "--bands", "2,0", "--nodata", "255", "--order", "weight", "--covariance", "diag"]
    code, out, err = run("segment", stored, "-k", 3, "-o", labels, *options, "--seed", 5, "--save", saved)
    expected = segment(
        image, 3, bands=[2, 0], nodata=255, order="weight", covariance_type="diag", random_state=5, axes="YXC"
    )
    assert code == 0, err
    check(labels)
    np.testing.assert_array_equal(zarr.open_array(labels)[:], expected.labels)
    assert not expected.labels[7].any()
    np.testing.assert_array_equal(load(saved).means_, expected.model.means_)
    assert "labels of 60 x 50 pixels, uint8" in out
    assert f"    1  {expected.table['pixels'][0]:15,} pixels" in out


def test_options_of_features_match_the_library(run, image, stored, tmp_path):
    labels = tmp_path / "labels.zarr"
    options = ["--axes", "CYX", "--window", "3", "--coordinates", "2.5", "--scaling", "standard", "--quiet"]
    assert run("segment", stored, "-k", 3, "-o", labels, *options) == (0, "", "")
    opened = zarr.open_array(stored, mode="r")
    expected = segment(opened, 3, axes="CYX", window=3, coordinates=2.5, scaling="standard", random_state=0)
    np.testing.assert_array_equal(zarr.open_array(labels)[:], expected.labels.compute())
    assert run("segment", stored, "-k", 3, "-o", labels, "--axes", "CYX", "--window", "4", "--overwrite")[0] == 1
    assert run("segment", stored, "-k", 3, "-o", labels, "--colour", "hsv")[0] == 2


def test_a_volume_is_segmented(run, image, tmp_path):
    np.save(tmp_path / "volume.npy", image[None, ..., 0])
    code, out, err = run("segment", tmp_path / "volume.npy", "-k", 3, "-o", tmp_path / "labels.zarr", "--axes", "ZYX")
    assert code == 0, err
    assert "labels of 60 x 50 x 1 pixels, uint8" in out


def test_a_saved_model_labels_another_image(run, stored, tmp_path):
    saved, one, other = tmp_path / "model.gmm", tmp_path / "one.zarr", tmp_path / "other.zarr"
    assert run("segment", stored, "-k", 3, "--axes", "CYX", "-o", one, "--save", saved, "--quiet") == (0, "", "")
    again = ("segment", stored, "--model", saved, "--axes", "CYX", "-o", other, "--quiet")
    assert run(*again) == (0, "", "")
    np.testing.assert_array_equal(zarr.open_array(one)[:], zarr.open_array(other)[:])
    code, _, err = run(*again)
    assert code == 1 and "it exists" in err
    assert run(*again, "--overwrite")[0] == 0
    assert "segments, shape (50, 60), uint8" in run("info", other)[1]


def test_the_number_of_segments_is_chosen_and_every_candidate_is_printed(run, stored, tmp_path):
    options = ["--axes", "CYX", "--nodata", 255]
    for number, text in enumerate(("auto", "2:4", "3,4")):
        labels, sheet = tmp_path / f"{number}.zarr", tmp_path / f"{number}.png"
        code, out, err = run("segment", stored, "-k", text, *options, "-o", labels, "--plot", sheet)
        assert code == 0, err
        assert zarr.open_array(labels)[:].max() == 3
        assert "gain, nats/row" in out and f"{sheet}: image, labels and components" in out
        assert [line.split()[0] for line in out.splitlines() if line.endswith("best")] == ["3"]
        assert sheet.read_bytes()[:4] == b"\x89PNG"


def test_probabilities_are_written_beside_the_labels(run, stored, tmp_path):
    options = ["-k", 3, "--axes", "CYX", "--probabilities"]
    code, out, err = run("segment", stored, *options, "largest", "-o", tmp_path / "labels.zarr")
    assert code == 0, err
    check(tmp_path / "labels_probabilities.zarr")
    assert "labels_probabilities.zarr: probabilities, float16" in out
    code, _, err = run("segment", stored, *options, "all", "-o", tmp_path / "labels.png")
    assert code == 1 and "--probabilities are written beside labels in .zarr" in err


def test_an_unusable_image_is_reported_in_one_line(run, stored, model, tmp_path):
    for arguments, expected in [
        (["-k", 3, "--axes", "YX"], "does not name the axes"),
        (["--model", model, "--axes", "CYX", "--bands", "0"], "The model is of 3 bands"),
        (["--model", model, "--axes", "CYX", "--seed", 1], "nothing is fitted; leave out random_state"),
    ]:
        code, _, err = run("segment", stored, "-o", tmp_path / "labels.zarr", *arguments)
        assert code == 1 and err.startswith("streamgmm: error: ") and expected in err and err.count("\n") == 1
    for arguments in (["-k", "0"], ["-k", "3", "--bands", "a"], ["-k", "3", "--nodata", "x"], []):
        assert run("segment", stored, "-o", tmp_path / "labels.zarr", *arguments)[0] == 2


def test_help_ends_with_examples(run):
    assert "streamgmm segment scan.zarr -k 6 -o labels.zarr" in run("segment", "--help")[1]


def test_a_level_of_a_geotiff_is_labelled_as_a_geotiff(run, image, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    scene, labels = tmp_path / "scene.tif", tmp_path / "labels.tif"
    georeference = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "nodata": 255}
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    with rasterio.open(scene, "w", count=3, height=50, width=60, dtype="uint8", **georeference, **tiles) as file:
        file.write(np.moveaxis(image, 2, 0))
        file.build_overviews([2])
    code, out, err = run("segment", scene, "-k", 3, "-o", labels, "--level", 1)
    assert code == 0, err
    assert "labels of 30 x 25 pixels, uint8" in out
    with rasterio.open(labels) as file:
        assert file.shape == (25, 30) and file.transform.a == 20 and file.crs.to_epsg() == 32633
    code, _, err = run("segment", scene, "-k", 3, "-o", tmp_path / "other.tif", "--level", 4)
    assert code == 1 and "has 2 levels, counted from 0, the finest" in err and err.count("\n") == 1
