import json

import numpy as np
import pytest
import zarr

from streamgmm import segment
from streamgmm.errors import InputError
from streamgmm.images.reading import open_image

SHAPES = {"YX": (70, 90), "CYX": (3, 70, 90), "ZYX": (5, 70, 90), "TCZYX": (2, 3, 4, 40, 50)}
KINDS = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def write_image_by_hand(path, axes, version="0.5", unit="micrometer", *, levels=3, whole=None, names=None):
    """Write an OME-Zarr image as its specification says."""
    values = np.random.default_rng(0).integers(1, 200, SHAPES[axes]).astype("uint8")
    group = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for level in range(levels):
        step = 2**level
        part = values[..., ::step, ::step]
        options = {} if version == "0.5" else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        group.create_array(
            f"s{level}", shape=part.shape, dtype="uint8", chunks=(1,) * (part.ndim - 2) + (32, 32), **options
        )[:] = part
        scale = [0.25 * step if axis in "YX" else 2.0 for axis in axes]
        datasets.append({"path": f"s{level}", "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    stated = [{"name": axis.lower(), "type": KINDS[axis]} for axis in axes]
    for axis in stated:
        if axis["type"] == "space" and unit:
            axis["unit"] = unit
    multiscales = {"axes": stated, "datasets": datasets, "name": "image"}
    if whole:
        multiscales["coordinateTransformations"] = [{"type": "scale", "scale": whole}]
    metadata = {"multiscales": [{"version": version, **multiscales}]}
    if names:
        metadata["omero"] = {"channels": [{"label": name, "color": "FF0000", "window": {}} for name in names]}
    group.attrs.update({"ome": {"version": version, **metadata}} if version == "0.5" else metadata)
    return values


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", SHAPES)
def test_an_ome_zarr_image_opens_at_its_finest_level_or_at_any_other(tmp_path, version, axes):
    values = write_image_by_hand(tmp_path / "scan.zarr", axes, version)
    for level in (None, 0, 1, 2):
        for image in (tmp_path / "scan.zarr", zarr.open(tmp_path / "scan.zarr", mode="r")):
            raster = open_image(image, level=level)
            step = 2 ** (level or 0)
            assert raster.axes == axes and isinstance(raster.array, zarr.Array)
            np.testing.assert_array_equal(raster.array[:], values[..., ::step, ::step])
            lengths = {"Z": 2.0, "Y": 0.25 * step, "X": 0.25 * step}
            assert dict(raster.georeference.spacing) == {axis: lengths[axis] for axis in axes if axis in "ZYX"}
            assert raster.georeference.unit == "micrometer"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own
def test_images_written_by_ome_zarr_are_read(tmp_path):
    pytest.importorskip("ome_zarr")
    from ome_zarr.writer import write_image

    values = np.random.default_rng(0).integers(1, 200, (3, 300, 400)).astype("uint8")
    write_image(values, zarr.open_group(tmp_path / "scan.ome.zarr", mode="w"), axes="cyx")
    raster = open_image(tmp_path / "scan.ome.zarr")
    assert raster.axes == "CYX"
    np.testing.assert_array_equal(raster.array[:], values)


def test_scales_of_level_and_image_are_multiplied(tmp_path):
    write_image_by_hand(tmp_path / "scan.zarr", "CYX", whole=[1.0, 10.0, 20.0])
    assert dict(open_image(tmp_path / "scan.zarr", level=1).georeference.spacing) == {"Y": 5.0, "X": 10.0}


def test_channel_labels_are_band_names_if_distinct(tmp_path):
    write_image_by_hand(tmp_path / "scan.zarr", "CYX", names=["DAPI", "GFP", "RFP"])
    assert open_image(tmp_path / "scan.zarr").bands == ("DAPI", "GFP", "RFP")
    write_image_by_hand(tmp_path / "same.zarr", "CYX", names=["a", "a", "b"])
    assert open_image(tmp_path / "same.zarr").bands is None


@pytest.mark.parametrize("version", ["0.1", "0.3"])
def test_ome_zarr_0_1_and_0_3_are_read(tmp_path, version):
    axes = {"0.1": "TCZYX", "0.3": "CYX"}[version]
    values = write_image_by_hand(tmp_path / "scan.zarr", axes, "0.4")
    path = tmp_path / "scan.zarr" / ".zattrs"
    metadata = json.loads(path.read_text())
    (multiscales,) = metadata["multiscales"]
    if version == "0.1":
        del multiscales["axes"]
    else:
        multiscales["axes"] = list("cyx")
    for dataset in multiscales["datasets"]:
        del dataset["coordinateTransformations"]
    path.write_text(json.dumps(metadata))
    raster = open_image(tmp_path / "scan.zarr", level=1)
    assert raster.axes == axes and raster.georeference.unit is None
    np.testing.assert_array_equal(raster.array[:], values[..., ::2, ::2])


def test_an_image_within_a_store_is_opened_by_its_path(tmp_path):
    zarr.create_group(tmp_path / "plate.zarr")
    values = write_image_by_hand(tmp_path / "plate.zarr" / "3", "YX")
    np.testing.assert_array_equal(open_image(tmp_path / "plate.zarr" / "3").array[:], values)
    np.testing.assert_array_equal(open_image(tmp_path / "plate.zarr" / "3" / "s1").array[:], values[::2, ::2])


def test_dimension_names_are_axes(tmp_path):
    named = zarr.create_array(tmp_path / "a.zarr", shape=(3, 4, 5), dtype="u1", dimension_names=["band", "y", "x"])
    older = zarr.create_array(tmp_path / "b.zarr", shape=(4, 5), dtype="u1", zarr_format=2)
    older.attrs["_ARRAY_DIMENSIONS"] = ["lat", "lon"]
    other = zarr.create_array(tmp_path / "c.zarr", shape=(3, 4, 5), dtype="u1", dimension_names=["what", "y", "x"])
    assert [open_image(array).axes for array in (named, older, other)] == ["CYX", "YX", None]
    assert open_image(tmp_path / "a.zarr").axes == "CYX"


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (lambda ome: ome["multiscales"][0].pop("datasets"), "metadata cannot be used .KeyError: 'datasets'"),
        (lambda ome: ome["multiscales"][0]["axes"].pop(), "metadata cannot be used"),
        (lambda ome: ome["multiscales"][0]["datasets"][0].update(path="nothing"), "metadata cannot be used"),
        (
            lambda metadata: metadata["multiscales"][0]["axes"][0].update(name="w", type="space"),
            "metadata cannot be used",
        ),
        (lambda ome: ome.update(multiscales=3), "metadata cannot be used"),
    ],
)
def test_unusable_metadata_are_refused_in_one_sentence(tmp_path, break_, message):
    write_image_by_hand(tmp_path / "scan.zarr", "CYX")
    path = tmp_path / "scan.zarr" / "zarr.json"
    metadata = json.loads(path.read_text())
    break_(metadata["attributes"]["ome"])
    path.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=message) as error:
        open_image(tmp_path / "scan.zarr")
    assert "\n" not in str(error.value)


def test_groups_without_a_single_image_are_refused_in_one_sentence(tmp_path):
    zarr.create_group(tmp_path / "empty.zarr")
    group = zarr.create_group(tmp_path / "two.zarr")
    for name in ("a", "b"):
        group.create_array(name, shape=(4, 5), dtype="u1")
    group.create_group("c")
    write_image_by_hand(tmp_path / "scan.zarr", "YX")
    zarr.create_array(tmp_path / "array.zarr", shape=(4, 5), dtype="u1")
    for name, level, message in [
        ("empty.zarr", None, "is no OME-Zarr image and has not just one array: it is empty"),
        ("two.zarr", None, "not just one array: it holds 'a', 'b', 'c'; pass the path of the one you mean"),
        ("scan.zarr", 3, "level=3 was asked for, but .* has 3 levels, counted from 0, the finest"),
        ("scan.zarr", -1, "level=-1 was asked for"),
        ("array.zarr", 1, "level=1 was asked for, but .* holds no other resolutions"),
    ]:
        with pytest.raises(InputError, match=message):
            open_image(tmp_path / name, level=level)


def test_a_level_of_an_ome_zarr_image_is_segmented(tmp_path):
    values = write_image_by_hand(tmp_path / "scan.zarr", "CYX")
    segmentation = segment(tmp_path / "scan.zarr", 2, level=1, random_state=0)
    expected = segment(values[:, ::2, ::2], 2, random_state=0, axes="CYX")
    np.testing.assert_array_equal(segmentation.labels.compute(), expected.labels)
