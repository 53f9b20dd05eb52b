"""Fit a zarr array chunk by chunk, and write its labels to zarr; only a few chunks are in memory at a time."""

from pathlib import Path
from tempfile import TemporaryDirectory

import dask.array as da
import numpy as np
import zarr

from streamgmm import GaussianMixture


def write_rows(path: Path, n_chunks: int = 16, chunk_rows: int = 100_000) -> None:
    """Write three overlapping clusters in four dimensions, a chunk at a time."""
    shape = (n_chunks * chunk_rows, 4)
    rows = zarr.create_array(path, shape=shape, chunks=(chunk_rows, 4), dtype="float32")
    centres = np.array([[0, 0, 0, 0], [3, 1, 0, 2], [-2, 2, 4, 0]])
    for index in range(n_chunks):
        random = np.random.default_rng(index)
        labels = random.choice(3, size=chunk_rows, p=[0.5, 0.3, 0.2])
        part = slice(index * chunk_rows, (index + 1) * chunk_rows)
        rows[part] = (centres[labels] + random.normal(size=(chunk_rows, 4))).astype("float32")


with TemporaryDirectory() as folder:
    source = Path(folder, "rows.zarr")
    write_rows(source)

    model = GaussianMixture(n_components=3, random_state=0).fit(source)
    print("weights", np.sort(model.weights_).round(3))
    print(f"{model.n_iter_} passes over {model.n_samples_seen_:,} rows, BIC {model.criteria_['exact'].bic:,.0f}")

    labels = model.predict(da.from_zarr(str(source)))  # lazy: nothing is computed yet
    da.to_zarr(labels.astype("uint8"), str(Path(folder, "labels.zarr")))
    print("rows per component", np.sort(np.bincount(zarr.open_array(str(Path(folder, "labels.zarr")), mode="r")[:])))
