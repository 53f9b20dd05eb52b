import numpy as np
import pytest
import zarr
from PIL import Image

from streamgmm import segment
from streamgmm.results.block_writer import _BlockSink
from streamgmm.results.stored_array import check

COLOURS = np.array([[20, 30, 40], [90, 80, 100], [160, 170, 150]])


@pytest.fixture
def images(tmp_path):
    """Three pictures of one kind, of different sizes and with other shares of the same three colours."""
    random, paths = np.random.default_rng(0), []
    for number, shares in enumerate([(1, 1, 1), (5, 1, 1), (1, 2, 6)]):
        regions = random.choice(3, (30 + 5 * number, 40), p=np.divide(shares, sum(shares)))
        values = (COLOURS[regions] + random.normal(scale=5, size=(*regions.shape, 3))).astype(np.uint8)
        paths.append(tmp_path / f"{'abc'[number]}.png")
        Image.fromarray(values).save(paths[-1])
    return paths


def expected(images, **options):
    return segment([str(path) for path in images], 3, random_state=0, **options)


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


def test_several_images_share_a_model_and_get_labels_in_a_new_folder(run, images, tmp_path):
    folder = tmp_path / "labels"
    code, out, err = run("segment", *images, "-k", 3, "-o", folder, "--save", tmp_path / "all.gmm")
    assert code == 0, err
    assert files_of(folder) == ["a.zarr", "b.zarr", "c.zarr"]
    for path, one in zip(images, expected(images), strict=True):
        labels = folder / f"{path.stem}.zarr"
        check(labels)
        np.testing.assert_array_equal(zarr.open_array(labels)[:], one.labels)
        assert f"{labels}: labels of {one.labels.shape[1]} x {one.labels.shape[0]} pixels, uint8" in out
        assert f"    1  {one.table['pixels'][0]:15,} pixels" in out
    assert run("segment", *images, "--model", tmp_path / "all.gmm", "-o", tmp_path / "again", "--quiet") == (0, "", "")
    for name in files_of(folder):
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "again" / name)[:], zarr.open_array(folder / name)[:])


def test_a_pattern_names_the_labels_and_the_picture_of_each_image(run, images, tmp_path):
    (tmp_path / "sheets").mkdir()
    images = images[:2]
    options = ["-k", "2:4", "-o", tmp_path / "labels" / "{}_segments.png", "--plot", tmp_path / "sheets" / "{}.png"]
    code, out, err = run("segment", *images, *options)
    assert code == 0, err
    assert files_of(tmp_path / "labels") == [f"{name}_segments.png" for name in "ab"]
    assert files_of(tmp_path / "sheets") == ["a.png", "b.png"]
    for path, one in zip(images, expected(images), strict=True):
        with Image.open(tmp_path / "labels" / f"{path.stem}_segments.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), one.labels)
        assert f"{tmp_path / 'sheets' / path.name}: image, labels and components" in out
    assert out.count("gain, nats/row") == 1  # one choice, which is of all


def test_probabilities_are_beside_the_labels_of_each(run, images, tmp_path):
    folder = tmp_path / "labels"
    assert run("segment", *images, "-k", 3, "-o", folder, "--probabilities", "largest", "--quiet") == (0, "", "")
    assert files_of(folder) == [f"{name}{end}.zarr" for name in "abc" for end in ("", "_probabilities")]


def test_one_image_may_go_to_a_folder_too(run, images, tmp_path):
    assert run("segment", images[1], "-k", 3, "-o", tmp_path / "labels", "--quiet") == (0, "", "")
    labels = zarr.open_array(tmp_path / "labels" / "b.zarr")[:]
    np.testing.assert_array_equal(labels, expected(images[1:2])[0].labels)


def test_files_of_one_band_are_bands_of_one_image_unless_the_output_is_a_folder(run, images, tmp_path):
    with Image.open(images[0]) as picture:
        values = np.asarray(picture)
    bands = [tmp_path / f"B{number}.npy" for number in range(3)]
    for number, path in enumerate(bands):
        np.save(path, values[..., number])
    for output in (tmp_path / "one.zarr", tmp_path / "each"):
        code, out, err = run("segment", *bands, "-k", 3, "-o", output)
        assert code == 0, err
        assert out.count("labels of") == (1 if output.suffix else 3)
    together = segment(values, 3, random_state=0, axes="YXC")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "one.zarr")[:], together.labels)
    apart = segment([values[..., number] for number in range(3)], 3, random_state=0)
    for path, one in zip(bands, apart, strict=True):
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "each" / f"{path.stem}.zarr")[:], one.labels)


def test_unusable_arguments_are_reported_in_one_line_and_leave_no_file(run, images, tmp_path):
    (tmp_path / "other").mkdir()
    same = tmp_path / "other" / "a.png"
    same.write_bytes(images[0].read_bytes())
    grey = tmp_path / "grey.png"
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(grey)
    before = files_of(tmp_path)
    folder = ["-o", tmp_path / "new"]
    for arguments, message in [
        ([*images, "-o", tmp_path / "x.zarr"], "3 images are given, and"),
        ([images[0], same, *folder], "have one name"),
        ([images[0], grey, *folder], "Image 1 has 1 bands of uint8, and image 0 has 3"),
        ([images[0], tmp_path / "none.png", *folder], "there is nothing"),
        ([*images, *folder, "--plot", tmp_path / "x.png"], "is one picture; put {} into it"),
        ([*images, "-o", tmp_path / "new" / "{}.tif", "--probabilities", "all"], "beside labels in .zarr"),
        ([*images, "-o", tmp_path / "{}.png"], "it exists"),
        ([*images, "-o", tmp_path / "new" / "deeper"], "No such file or directory"),
        ([*images, "-o", tmp_path / "new{}" / "x.zarr"], "No such file or directory"),
        ([*images, "-o", tmp_path / "{}.zarr", "--save", tmp_path / "b.zarr"], "cannot go to one path"),
        ([*images, "-o", tmp_path / "new" / "{}.xyz"], "ends in none of"),
    ]:
        code, _, err = run("segment", *arguments, "-k", 3)
        assert code == 1 and err.startswith("streamgmm: error: ") and message in err and err.count("\n") == 1, err
        assert files_of(tmp_path) == before
    code, _, err = run("segment", *images, "-k", 3, "-o", tmp_path / "{}.png", "--overwrite")
    assert code == 1 and "is the image, or holds it" in err


def test_a_failure_between_images_is_resumed_with_overwrite(run, images, tmp_path, monkeypatch):
    put, calls = _BlockSink.__call__, []

    def failing(self, number, values):
        calls.append(number)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return put(self, number, values)

    monkeypatch.setattr(_BlockSink, "__call__", failing)
    arguments = ("segment", *images, "-k", 3, "-o", tmp_path / "labels", "--quiet")
    assert run(*arguments)[0] == 1
    monkeypatch.setattr(_BlockSink, "__call__", put)
    assert files_of(tmp_path / "labels") == ["a.zarr", "b.zarr.partial"]
    code, _, err = run(*arguments)
    assert code == 1 and "it exists" in err
    assert run(*arguments, "--overwrite") == (0, "", "")
    for path, one in zip(images, expected(images), strict=True):
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "labels" / f"{path.stem}.zarr")[:], one.labels)
