"""Written labels: only the same call resumes them, and chunks and shards change nothing."""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image

from streamgmm import GaussianMixture, segment
from streamgmm.errors import ResultError
from streamgmm.images import segmentation_job
from streamgmm.images.image_limits import LIMITS
from streamgmm.results.stored_array import check

PHOTOGRAPH = load_sample_image("china.jpg")[100:180, 100:190]
MODEL = segment(PHOTOGRAPH, 3, random_state=0).model


def interrupt(path):
    """Turn a complete result into an interrupted one: rename it, and remove one file."""
    partial = path.rename(path.with_name(path.name + ".partial"))
    next(file for file in sorted(partial.glob("c/**/*")) if file.is_file()).unlink()


def mask_pixel(shape, pixel):
    mask = np.zeros(shape, bool)
    mask[pixel] = True
    return mask


MASK = mask_pixel((80, 90), (41, 43))
OTHER = mask_pixel((80, 90), (41, 44))


@pytest.mark.parametrize(
    ("first_options", "options", "reason"),
    [
        ({"nodata": 0}, {"nodata": 17}, "nodata 0, not 17"),
        ({}, {"nodata": 17}, "nodata null, not 17"),
        ({"bands": [0, 1, 2]}, {"bands": [2, 1, 0]}, "other rows"),
        ({}, {"bands": [0, 1, 2]}, "bands null, not"),
        ({"mask": MASK}, {"mask": OTHER}, "mask "),
        ({"mask": MASK}, {}, "other rows|mask "),
        ({"mask": da.from_array(MASK, 20)}, {"mask": da.from_array(OTHER, 20)}, "mask "),
    ],
)
def test_labels_of_other_arguments_are_replaced_with_a_warning(tmp_path, first_options, options, reason):
    path, lazy = tmp_path / "labels.zarr", da.from_array(PHOTOGRAPH, (20, 30, 3))
    segment(lazy, model=MODEL, output=path, **first_options)
    interrupt(path)
    with pytest.warns(UserWarning, match=f"is replaced, not resumed: it is of ({reason})"):
        segmentation = segment(lazy, model=MODEL, output=path, **options)
    np.testing.assert_array_equal(segmentation.labels, segment(PHOTOGRAPH, model=MODEL, **options).labels)


@pytest.mark.parametrize("kind", ["numpy", "list", "dask", "zarr"])
def test_the_same_mask_resumes_in_any_container(tmp_path, kind):
    stored = zarr.create_array(tmp_path / "mask.zarr", shape=MASK.shape, chunks=(20, 30), dtype=bool)
    stored[:] = MASK
    mask = {"numpy": MASK, "list": MASK.tolist(), "dask": da.from_array(MASK, 20), "zarr": stored}[kind]
    path, lazy = tmp_path / "labels.zarr", da.from_array(PHOTOGRAPH, (20, 30, 3))
    segment(lazy, model=MODEL, output=path, mask=mask, nodata=3)
    interrupt(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segment(lazy, model=MODEL, output=path, mask=mask, nodata=3)


@settings(max_examples=6)
@given(chunks=st.tuples(st.integers(30, 80), st.integers(30, 90)), tile=st.sampled_from([16, 24, 1024]))
def test_chunks_and_shards_change_no_label(chunks, tile):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(segmentation_job, "LIMITS", replace(LIMITS, label_tile=tile))
        lazy = da.from_array(PHOTOGRAPH, (*chunks, 3))
        segmentation = segment(lazy, model=MODEL, nodata=17, output=Path(folder, "x.zarr"))
        check(Path(folder, "x.zarr"))
        np.testing.assert_array_equal(segmentation.labels, segment(PHOTOGRAPH, model=MODEL, nodata=17).labels)


def test_a_large_block_is_a_shard_of_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation_job, "LIMITS", replace(LIMITS, label_tile=16))
    segmentation = segment(da.from_array(PHOTOGRAPH, (48, 64, 3)), model=MODEL, output=tmp_path / "x.zarr")
    assert (segmentation.labels.shards, segmentation.labels.chunks) == ((48, 64), (16, 16))
    file = tmp_path / "x.zarr" / "c" / "0" / "1"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ResultError, match=r"shard c/0/1 \(0:48, 64:90\) is damaged"):
        check(tmp_path / "x.zarr")


@pytest.mark.parametrize("probabilities", [True, "largest"])
def test_probabilities_equal_predict_proba_and_are_zero_for_nodata(tmp_path, probabilities):
    image = PHOTOGRAPH.astype(np.float32)
    image[3, 4] = np.nan
    model = GaussianMixture(4, random_state=0, max_iter=10, tol=1e-2).fit(PHOTOGRAPH.reshape(-1, 3))
    expected = model.predict_proba(np.nan_to_num(image).reshape(-1, 3)).reshape(80, 90, 4)
    expected[3, 4] = 0
    expected = expected.max(axis=2) if probabilities == "largest" else expected
    lazy = da.from_array(image, (30, 40, 3))
    for output in (None, tmp_path / "labels.zarr"):
        segmentation = segment(lazy, model=model, probabilities=probabilities, output=output)
        assert segmentation.probabilities.dtype == np.float16
        np.testing.assert_allclose(np.asarray(segmentation.probabilities[:]), expected, atol=5e-4)
    assert isinstance(segmentation.probabilities, zarr.Array)
    check(tmp_path / "labels_probabilities.zarr")
    with pytest.raises(FileExistsError):
        segment(lazy, model=model, probabilities=probabilities, output=tmp_path / "labels.zarr")
    segment(lazy, model=model, output=tmp_path / "other.zarr")
    (tmp_path / "other_probabilities.zarr").mkdir()
    with pytest.raises(FileExistsError):
        segment(
            lazy, model=model, probabilities=probabilities, output=tmp_path / "third.zarr", overwrite=False
        ) and segment(lazy, model=model, probabilities=probabilities, output=tmp_path / "other.zarr")


def test_probabilities_resume(tmp_path):
    lazy = da.from_array(PHOTOGRAPH, (30, 40, 3))
    with dask.config.set(scheduler="synchronous"):
        segmentation = segment(lazy, model=MODEL, probabilities=True, output=tmp_path / "x.zarr")
        expected, kept = segmentation.probabilities[:], tmp_path / "x_probabilities.zarr" / "c" / "1" / "1" / "0"
        (tmp_path / "x.zarr").rename(tmp_path / "x.zarr.partial")
        interrupt(tmp_path / "x_probabilities.zarr")
        modified = (tmp_path / "x_probabilities.zarr.partial" / "c" / "1" / "1" / "0").stat().st_mtime_ns
        again = segment(lazy, model=MODEL, probabilities=True, output=tmp_path / "x.zarr")
    assert kept.stat().st_mtime_ns == modified
    np.testing.assert_array_equal(again.probabilities, expected)
