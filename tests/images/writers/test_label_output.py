"""Written labels open in other tools, and are complete or absent."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import pytest
import zarr
from PIL import Image

import streamgmm
from streamgmm import GaussianMixture, segment
from streamgmm.data.sources import as_source
from streamgmm.errors import InputError, ResultError
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.images.image_limits import LIMITS
from streamgmm.images.reading.raster import Georeference
from streamgmm.images.writers import (
    FORMATS,
    LabelDescription,
    LabelOutput,
    label_format,
    label_output,
    ome_zarr_writer,
    palette,
)
from streamgmm.persistence.atomic import folder_lock
from streamgmm.results.block_writer import write
from streamgmm.results.provenance import Provenance

K = 3
SHAPE = (530, 1030)  # more than a tile, and no multiple of anything


def labels(dtype="uint8", shape=SHAPE, seed=0):
    """Stripes of labels, with some nodata."""
    random = np.random.default_rng(seed)
    made = random.integers(0, K + 1, (*shape[:-1], shape[-1] // 100 + 1)).repeat(100, axis=-1)[..., : shape[-1]]
    return made.astype(dtype)


@pytest.fixture(scope="module")
def model():
    return mixture(K)


@cache
def mixture(k):
    """Return a fitted model of the pixels that `_image` writes."""
    rows = np.random.default_rng(0).integers(1, 200, (200, 3))
    return GaussianMixture(k, random_state=0, tol=1, covariance_type="diag").fit(rows)


RECORD_ROWS = as_source(np.arange(12.0).reshape(4, 3))
MEANS = np.array([[10.2, 20.0, 30.0], [90.0, 80.0, 70.6], [200.0, 0.0, 255.0]])
COLOURS = [(10, 20, 30), (90, 80, 71), (200, 0, 255)]
GRID = Georeference("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 4.6e6), (("Y", 10.0), ("X", 10.0)), "metre")
MICRO = Georeference(spacing=(("Z", 2.0), ("Y", 0.5), ("X", 0.25)), unit="micrometer")


@pytest.fixture
def write_labels(tmp_path, model):
    def write_to(name, values, grid=None, axes=None, dtype=np.uint8, **options):
        lazy = da.from_array(values, chunks=(*(1,) * (values.ndim - 2), 200, 500))
        target = LabelOutput.from_path(tmp_path / name, **options)
        target.format.check(values.shape, K, grid)
        axes = axes or "TZYX"[-values.ndim :]
        provenance = Provenance.from_source("segments", get_parameters(model), RECORD_ROWS)
        return target.write(lazy, provenance, LabelDescription(axes, palette(MEANS, np.dtype(dtype)), grid))

    return write_to


@pytest.mark.parametrize(
    ("name", "options"),
    [*((f"l{suffix}", {}) for suffix in FORMATS), ("l.ome.zarr", {"ome_version": "0.4"})],
)
@pytest.mark.parametrize("shape", [SHAPE, (7, 5), (600, 3), (512, 512)])
def test_every_format_returns_the_written_labels_and_leaves_no_other_file(tmp_path, write_labels, name, options, shape):
    values = labels(shape=shape)
    found = write_labels(name, values, **options)
    np.testing.assert_array_equal(np.asarray(found), values)
    assert found.shape == shape and found.dtype == np.uint8
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("most", [LIMITS.write_bytes, 2**18])
def test_a_tiff_opens_in_tifffile_scikit_image_pillow_and_gdal(tmp_path, write_labels, dtype, most, monkeypatch):
    tifffile, imread = pytest.importorskip("tifffile"), pytest.importorskip("skimage.io").imread
    monkeypatch.setattr(label_format, "LIMITS", replace(LIMITS, write_bytes=most))
    values = labels(dtype)
    write_labels("labels.tif", values, MICRO)
    with tifffile.TiffFile(tmp_path / "labels.tif") as file:
        page = file.pages[0]
        assert file.is_bigtiff and page.is_tiled and page.compression == 8 and file.series[0].axes == "YX"
        assert page.tags["GDAL_NODATA"].value == "0"
        assert page.tags["XResolution"].value[0] / page.tags["XResolution"].value[1] == pytest.approx(1e4 / 0.25)
        assert page.tags["YResolution"].value[0] / page.tags["YResolution"].value[1] == pytest.approx(1e4 / 0.5)
        assert page.dtype == dtype
        np.testing.assert_array_equal(file.asarray(), values)
        if dtype == "uint8":
            np.testing.assert_array_equal(page.colormap[:, 1:4].T >> 8, COLOURS)
    np.testing.assert_array_equal(imread(tmp_path / "labels.tif"), values)
    if dtype == "uint8":
        with Image.open(tmp_path / "labels.tif") as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.asarray(picture), values)
    rasterio = pytest.importorskip("rasterio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(tmp_path / "labels.tif") as file:
            assert file.nodata == 0 and file.tags(1)["CLASS_2"] == "segment 2"
            np.testing.assert_array_equal(file.read(1), values)


def test_a_stack_is_a_tiff_of_pages(tmp_path, write_labels):
    tifffile = pytest.importorskip("tifffile")
    values = labels(shape=(3, 530, 520))
    write_labels("labels.tif", values, MICRO)
    with tifffile.TiffFile(tmp_path / "labels.tif") as file:
        assert file.series[0].axes == "ZYX" and len(file.pages) == 3
        np.testing.assert_array_equal(file.asarray(), values)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [SHAPE, (5, 7), (40, 9)])
def test_a_geotiff_has_the_georeference_palette_and_names(tmp_path, write_labels, dtype, shape):
    rasterio = pytest.importorskip("rasterio")
    values = labels(dtype, shape)
    write_labels("labels.tif", values, GRID)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.tif", "labels.tif.aux.xml"]
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert file.crs.to_epsg() == 32633 and tuple(file.transform)[:6] == GRID.transform
        assert file.nodata == 0 and file.dtypes == (dtype,) and file.shape == shape
        assert file.descriptions == ("segments",)
        assert {file.tags(1)[f"CLASS_{label}"] for label in range(4)} == {
            "nodata",
            "segment 1",
            "segment 2",
            "segment 3",
        }
        colours = file.colormap(1)
        assert [colours[label] for label in (1, 2, 3)] == [(*colour, 255) for colour in COLOURS]
        assert file.colorinterp[0].name == "palette" and file.compression.name == "deflate"
        np.testing.assert_array_equal(file.read(1), values)
        np.testing.assert_array_equal(file.read_masks(1) > 0, values > 0)


def test_gdal_knows_the_names_of_the_segments(tmp_path, write_labels):
    """rasterio does not tell names of classes, but a virtual copy of the file has them written in it."""
    shutil = pytest.importorskip("rasterio.shutil")
    write_labels("labels.tif", labels(), GRID)
    shutil.copy(tmp_path / "labels.tif", tmp_path / "copy.vrt", driver="VRT")
    found = [one.text for one in ElementTree.parse(tmp_path / "copy.vrt").iter("Category")]
    assert found == ["nodata", "segment 1", "segment 2", "segment 3"]


def test_a_crs_may_be_wkt(tmp_path, write_labels):
    rasterio = pytest.importorskip("rasterio")
    wkt = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    write_labels("labels.tif", labels(shape=(20, 30)), Georeference(wkt, GRID.transform))
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert file.crs.to_epsg() == 32633


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_labels_of_a_geotiff_are_a_geotiff_on_its_grid(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import Affine

    values = np.random.default_rng(0).integers(1, 200, (3, 60, 70)).astype("uint8")
    place = {"crs": "EPSG:4326", "transform": Affine(0.1, 0, 5, 0, -0.1, 50)}
    with rasterio.open(
        tmp_path / "scene.tif", "w", count=3, height=60, width=70, dtype="uint8", nodata=9, **place
    ) as file:
        file.write(values)
    found = segment(tmp_path / "scene.tif", 3, random_state=0, output=tmp_path / "labels.tif")
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert file.crs.to_epsg() == 4326 and file.transform == place["transform"]
        np.testing.assert_array_equal(file.read(1), np.asarray(found.labels))
        np.testing.assert_array_equal(file.read(1) == 0, (values == 9).any(axis=0))
    assert found.table["pixels"].sum() == (values != 9).all(axis=0).sum()


def _pyramid(group):
    attributes = dict(group.attrs)
    attributes = attributes.get("ome", attributes)
    return attributes, [group[one["path"]] for one in attributes["multiscales"][0]["datasets"]]


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize(
    ("shape", "grid"), [(SHAPE, MICRO), ((3, 300, 520), MICRO), ((300, 280), None), ((7, 9), None)]
)
def test_a_label_image_is_valid_and_opens_in_ome_zarr(tmp_path, write_labels, version, shape, grid):
    models, _ = pytest.importorskip("ome_zarr_models"), pytest.importorskip("ome_zarr")
    values = labels(shape=shape)
    write_labels("cells.ome.zarr", values, grid, ome_version=version)
    group = zarr.open_group(tmp_path / "cells.ome.zarr", mode="r")
    model = {"0.5": models.v05, "0.4": models.v04}[version].ImageLabel
    assert isinstance(models.open_ome_zarr(group), model)

    attributes, levels = _pyramid(group)
    assert group.metadata.zarr_format == (3 if version == "0.5" else 2)
    for number, level in enumerate(levels):
        step = 2**number
        np.testing.assert_array_equal(level[:], values[..., ::step, ::step])
        (transform,) = attributes["multiscales"][0]["datasets"][number]["coordinateTransformations"]
        lengths = dict(grid.spacing) if grid else {}
        expected = [lengths.get(axis, 1.0) * (step if axis in "YX" else 1) for axis in "ZYX"[-len(shape) :]]
        assert transform == {"type": "scale", "scale": expected}
    assert max(levels[-1].shape[-2:]) <= 256 and (len(levels) == 1 or max(levels[-2].shape[-2:]) > 256)
    axes = attributes["multiscales"][0]["axes"]
    assert [axis["name"] for axis in axes] == list("zyx")[-len(shape) :]
    assert all(axis.get("unit") == ("micrometer" if grid else None) for axis in axes)
    assert attributes["image-label"]["colors"][1] == {"label-value": 2, "rgba": [90, 80, 71, 255]}

    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    (node,) = Reader(parse_url(tmp_path / "cells.ome.zarr"))()
    np.testing.assert_array_equal(node.data[0].compute(), values)
    assert set(node.metadata["color"]) == {1, 2, 3}
    if version == "0.4":
        stored = json.loads((tmp_path / "cells.ome.zarr" / "0" / ".zarray").read_text())
        assert stored["dimension_separator"] == "/" and stored["filters"] is None
    elif shape == SHAPE:
        assert levels[0].shards == (1024, 1536) and levels[0].chunks == (512, 512)


def test_metres_are_meters_there_and_degrees_have_no_unit(tmp_path, write_labels):
    write_labels("a.ome.zarr", labels(shape=(9, 9)), GRID)
    write_labels("b.ome.zarr", labels(shape=(9, 9)), Georeference(spacing=(("Y", 0.1), ("X", 0.1)), unit="degree"))
    units = [
        _pyramid(zarr.open_group(tmp_path / name))[0]["multiscales"][0]["axes"][0].get("unit")
        for name in ("a.ome.zarr", "b.ome.zarr")
    ]
    assert units == ["meter", None]


def test_windows_cover_every_pixel_once_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(label_format, "LIMITS", replace(LIMITS, write_bytes=5_000))
    for shape in [(70, 100), (3, 70, 100), (2, 3, 33, 700), (1, 1)]:
        array = np.zeros(shape, np.uint16)
        seen = np.zeros(shape, int)
        for key in label_format.iter_windows(array, 16, 32):
            assert array[key].nbytes <= max(5_000, 16 * 32 * 2) and key[-2].start % 16 == 0 and key[-1].start % 32 == 0
            seen[key] += 1
        assert (seen == 1).all()


def _image(path, version, axes="CYX", shape=(3, 300, 400)):
    values = np.random.default_rng(0).integers(1, 200, shape).astype("uint8")
    group = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2)
    group.create_array("0", shape=shape, dtype="uint8", chunks=(1, 100, 100))[:] = values
    stated = [{"name": axis.lower(), "type": "channel" if axis == "C" else "space"} for axis in axes]
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    attributes = {
        "multiscales": [
            {"version": version, "axes": stated, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
        ]
    }
    group.attrs.update({"ome": {"version": version, **attributes}} if version == "0.5" else attributes)
    return values


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("consolidated", [False, True])
def test_labels_within_an_ome_zarr_image_are_listed_in_it(tmp_path, version, consolidated):
    models = pytest.importorskip("ome_zarr_models")
    path = tmp_path / "scan.zarr"
    values = _image(path, version)
    if consolidated:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(path)
    before = {
        file: file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.suffix != ".json" and file.name != ".zmetadata"
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        first = segment(path, model=mixture(2), output=path / "labels" / "two")
        second = segment(path, model=mixture(3), output=path / "labels" / "three")
        with pytest.raises(FileExistsError):
            segment(path, model=mixture(2), output=path / "labels" / "two")
        third = segment(path, model=mixture(4), output=path / "labels" / "two", overwrite=True)
    assert {file: file.read_bytes() for file in before} == before
    assert first.labels.shape == (300, 400)
    group = zarr.open_group(path, mode="r")
    listing = dict(group["labels"].attrs)
    assert listing.get("ome", listing)["labels"] == ["three", "two"]
    for name, found, k in (("two", third, 4), ("three", second, 3)):
        label = models.open_ome_zarr(group["labels"][name])
        assert type(label).__name__ == "ImageLabel"
        attributes, levels = _pyramid(group["labels"][name])
        np.testing.assert_array_equal(levels[0][:], np.asarray(found.labels))
        assert levels[0][:].max() == k
        assert attributes["image-label"]["source"] == {"image": "../../"}
        assert attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] == [0.5, 0.5]
    labelled = models.open_ome_zarr(group["labels"])
    assert set(labelled.attributes.model_dump().get("labels") or labelled.attributes.ome.labels) == {"two", "three"}
    assert sorted(p.name for p in (path / "labels").iterdir() if p.is_dir()) == ["three", "two"]
    np.testing.assert_array_equal(group["0"][:], values)
    if consolidated:
        assert "labels/two/0" in zarr.open_consolidated(path).metadata.consolidated_metadata.flattened_metadata


@pytest.mark.parametrize("name", ["labels.tif", "labels.ome.zarr", "scan.zarr/labels/cells"])
def test_a_failed_conversion_leaves_no_output_and_resumes(tmp_path, monkeypatch, name):
    image = da.from_array(_image(tmp_path / "scan.zarr", "0.5"), chunks=(3, 100, 400))
    failing = []
    windows = label_format.iter_windows

    def windows_that_end(*given):
        for number, key in enumerate(windows(*given)):
            if failing and number == 0:
                raise OSError(28, "No space left on device")
            yield key

    for module in ("ome_zarr_writer", "tiff_writer"):
        monkeypatch.setattr(f"streamgmm.images.writers.{module}.iter_windows", windows_that_end)
    options = {"output": tmp_path / name, "axes": "CYX", "model": mixture(2)}
    expected = segment(image, axes="CYX", model=mixture(2))
    failing.append(True)
    with pytest.raises(OSError, match="No space left") as error:
        segment(image, **options)
    inside = "labels/" in name
    stage = tmp_path / ("scan.zarr.labels.cells.partial.zarr" if inside else f"{name}.partial.zarr")
    assert f"it goes on from {stage}" in error.value.__notes__[-1]
    assert not (tmp_path / name).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"scan.zarr", stage.name})
    failing.clear()
    chunk, kept = stage / "labels.zarr" / "c" / "1" / "0", []
    before = chunk.stat().st_mtime_ns
    remove_path = label_output.remove_path

    def record_removal(path):
        if path == stage:
            kept.append(chunk.stat().st_mtime_ns)
        remove_path(path)

    monkeypatch.setattr(label_output, "remove_path", record_removal)
    found = segment(image, **options)
    assert kept == [before]  # no label was written again
    np.testing.assert_array_equal(np.asarray(found.labels), expected.labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"scan.zarr", name.partition("/")[0]})


KILLED = """
import os, signal, sys
import numpy as np
from streamgmm import segment
from streamgmm.persistence.atomic import folder_lock
from streamgmm.images.writers import tiff_writer

tiles = tiff_writer._iter_tiles

def kill_after_one_tile(labels):
    for number, tile in enumerate(tiles(labels)):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield tile

tiff_writer._iter_tiles = kill_after_one_tile
segment("image.npy", model="model", output="labels.tif", axes="CYX")
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_killed_conversion_leaves_no_output_and_resumes(tmp_path, monkeypatch):
    pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).integers(1, 200, (3, 300, 1200)).astype("uint8")
    np.save("image.npy", values)
    mixture(2).save("model")
    root = str(Path(streamgmm.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "PYTHONPATH": root}, capture_output=True, check=False
    )
    assert ended.returncode == -9, ended.stderr
    assert not Path("labels.tif").exists() and Path("labels.tif.partial").exists()
    assert Path("labels.tif.partial.zarr", "labels.zarr", "zarr.json").exists()
    found = segment("image.npy", model="model", output="labels.tif", axes="CYX")
    np.testing.assert_array_equal(found.labels, segment(values, model="model", axes="CYX").labels)
    assert sorted(path.name for path in Path().iterdir()) == ["image.npy", "labels.tif", "model"]


def test_labels_that_are_not_listed_yet_are_listed_by_the_same_call(tmp_path, monkeypatch):
    path = tmp_path / "scan.zarr"
    _image(path, "0.5")
    add_to_list = ome_zarr_writer.add_to_list
    monkeypatch.setattr(ome_zarr_writer, "add_to_list", lambda *given: (_ for _ in ()).throw(OSError(5, "gone")))
    with pytest.raises(OSError, match="gone"):
        segment(path, model=mixture(2), output=path / "labels" / "cells")
    assert "cells" not in ome_zarr_writer.list_labels(path / "labels")
    monkeypatch.setattr(ome_zarr_writer, "add_to_list", add_to_list)
    segment(path, model=mixture(2), output=path / "labels" / "cells")
    assert ome_zarr_writer.list_labels(path / "labels") == ["cells"]
    assert sorted(one.name for one in (path / "labels").iterdir()) == ["cells", "zarr.json"]


def test_two_processes_do_not_write_the_same_labels(tmp_path, write_labels):
    with (
        folder_lock(tmp_path / "labels.tif.partial.zarr"),
        pytest.raises(ResultError, match="being written by another process"),
    ):
        write_labels("labels.tif", labels(shape=(20, 30)))


def test_staged_labels_of_other_rows_are_replaced_with_a_warning(tmp_path, write_labels, model):
    other = labels(shape=(20, 30), seed=1)
    folder = tmp_path / "labels.tif.partial.zarr"
    folder.mkdir()
    write(
        da.from_array(other, chunks=10),
        folder / "labels.zarr",
        Provenance.from_source("segments", get_parameters(model), as_source(np.ones((3, 3)))),
    )
    with pytest.warns(UserWarning, match="is replaced, not resumed: it is of other rows"):
        found = write_labels("labels.tif", labels(shape=(20, 30)))
    np.testing.assert_array_equal(found, labels(shape=(20, 30)))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("labels.jpg", {}, f"ends in none of {', '.join(FORMATS)}, and is not IMAGE.zarr/labels/NAME"),
        ("labels.ome.zarr", {"ome_version": "0.6"}, r"ome_version='0.6' is not known; pass one of '0.5', '0.4'"),
        ("labels.tif", {"ome_version": "0.5"}, r"ome_version='0.5' is of OME-Zarr, and .*labels.tif will be none"),
        ("scan.zarr/labels/cells", {"ome_version": "0.5"}, r"but .*scan.zarr is of 0.4; leave it out"),
        ("array.zarr/labels/cells", {}, r"array.zarr is no zarr group"),
        ("group.zarr/labels/cells", {}, r"group.zarr is no OME-Zarr image, so that no labels can be put into it"),
    ],
)
def test_invalid_output_paths_are_refused_in_one_sentence(tmp_path, name, options, message):
    _image(tmp_path / "scan.zarr", "0.4")
    zarr.create_array(tmp_path / "array.zarr", shape=(4, 5), dtype="u1")
    zarr.create_group(tmp_path / "group.zarr")
    with pytest.raises(InputError, match=message) as error:
        LabelOutput.from_path(tmp_path / name, **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "group.zarr" / "labels").exists()


def test_missing_folders_and_existing_files_fail_before_the_work(tmp_path):
    for name in ("nowhere/labels.tif", "nowhere.zarr/labels/cells"):
        with pytest.raises(FileNotFoundError):
            LabelOutput.from_path(tmp_path / name)
    (tmp_path / "labels.tif").touch()
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        LabelOutput.from_path(tmp_path / "labels.tif")
    assert LabelOutput.from_path(tmp_path / "labels.tif", overwrite=True).format is FORMATS[".tif"]


@pytest.mark.parametrize(("library", "grid", "extra"), [("tifffile", None, "tiff"), ("rasterio", GRID, "geo")])
def test_without_a_library_its_extra_is_named_before_the_work(tmp_path, monkeypatch, library, grid, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"pip install 'streamgmm\[{extra}\]'"):
        LabelOutput.from_path(tmp_path / "labels.tif").format.check((30, 40), 3, grid)


def test_a_georeferenced_stack_is_refused_before_the_work(tmp_path):
    with pytest.raises(InputError, match=r"Labels of shape \(4, 30, 40\) lie somewhere on earth.*write them to .zarr"):
        LabelOutput.from_path(tmp_path / "labels.tif").format.check((4, 30, 40), 3, GRID)
    with pytest.raises(
        InputError, match=r"rows and columns only, and the image has shape \(4, 30, 40\); write to .zarr"
    ):
        LabelOutput.from_path(tmp_path / "labels.png").format.check((4, 30, 40), 3, None)


def test_an_output_that_contains_the_image_is_refused(tmp_path):
    path = tmp_path / "scan.zarr"
    values = _image(path, "0.5")
    for image in (path, path / "0", zarr.open_array(path / "0"), zarr.open_group(path)):
        with pytest.raises(InputError, match=r"scan.zarr is the image, or holds it; write the labels somewhere else"):
            segment(image, model=mixture(2), axes="CYX", output=path, overwrite=True)
    np.save(tmp_path / "b.npy", values[0])
    with pytest.raises(FileExistsError):
        segment([tmp_path / "b.npy"], 2, output=path)
    np.testing.assert_array_equal(zarr.open_array(path / "0")[:], values)
