"""Turn an image into more features than the allowed memory holds, and segment it by them out of core.

Each step reports what it does, how long it took and what it wrote; the last line compares peak memory to the limit.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import dask
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from demo.pixel_features import FEATURES, downsample, write_features
from demo.process_memory import peak_memory, return_freed_memory
from streamgmm import GaussianMixture
from streamgmm.data import threads
from streamgmm.data.sources import as_source
from streamgmm.data.subsample import draw_subsample
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.fitting.progress import create_rows_bar
from streamgmm.persistence.atomic import atomic_output
from streamgmm.results.block_writer import write
from streamgmm.results.provenance import Provenance

MEMORY_LIMIT = 512 * 10**6  # bytes
N_THREADS = 2  # each holds chunks while it works: more threads would take more memory
REG_COVAR = 16.0  # squared grey levels: no component is spent on a single shade of sea
TOLERANCE = 0.02  # nats a row: after this the map no longer changes to the eye
MAX_ITERATIONS = 12
PICTURE_WIDTH = 1_080  # pixels


class Files(NamedTuple):
    """Paths of the files that the demonstration writes."""

    features: Path
    model: Path
    labels: Path
    picture: Path


def demonstrate(
    read_image: Callable[[], NDArray[np.uint8]],
    folder: Path,
    *,
    out: TextIO,
    n_components: int = 10,
    compared_rows: int = 50_000,
    limit: int = MEMORY_LIMIT,
) -> bool:
    """Run the demonstration.

    Parameters
    ----------
    read_image : callable
        Returns an array of shape (height, width, 3): grey levels of red, green and blue. A function, so that no caller
        keeps the image in memory.
    folder : pathlib.Path
        Folder of the files; created if missing.
    out : text stream
        Stream of the report.
    n_components : int, default=10
        Number of segments.
    compared_rows : int, default=50_000
        Rows of the iteration that is also run in scikit-learn.
    limit : int, default=512_000_000
        Allowed peak memory of the process, bytes.

    Returns
    -------
    bool
        True if peak memory stayed within the limit.
    """
    start = time.perf_counter()
    return_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(*(folder / name for name in ("features.zarr", "model.gmm", "labels.zarr", "demo.png")))

    def report(line: str = "") -> None:
        print(line, file=out, flush=True)

    with threads.limit(N_THREADS), dask.config.set(num_workers=N_THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        (shape, picture), seconds = _timed(lambda: prepare(read_image(), files.features))
        n_rows = shape[0] * shape[1]
        size = 4 * n_rows * len(FEATURES)
        pixels = f"{shape[1]:,} x {shape[0]:,} pixels"
        report(f"{pixels}, {len(FEATURES)} features: {_megabytes(size)}; {_megabytes(limit)} allowed")
        report(f"1. features written in {seconds:.1f} s: {_on_disk(files.features)}")

        model = GaussianMixture(
            n_components,
            tol=TOLERANCE,
            max_iter=MAX_ITERATIONS,
            reg_covar=REG_COVAR,
            random_state=0,
            verbose=1,
            algorithm="batch",  # stepwise EM would hold 128 MiB of rows while it reads as many: too much here
        )
        _, fit_seconds = _timed(lambda: model.fit(files.features))
        model.save(files.model)
        n_passes = model.n_iter_ + 2
        report(f"2. {n_components} components fitted in {fit_seconds:.1f} s: {_on_disk(files.model)}")
        report(
            f"   {n_passes} passes: one for a sample to start from, {model.n_iter_} of EM, one for the final likelihood"
        )

        _, seconds = _timed(lambda: write_labels(model, files, shape))
        report(f"3. {n_rows:,} pixels labelled in {seconds:.1f} s: {_on_disk(files.labels)}")

        rows = draw_subsample(as_source(files.features), compared_rows, seed=1).rows
        difference, ours, theirs = compare_with_scikit_learn(model, rows)
        report(f"4. one iteration of EM on {len(rows):,} of the rows, from the same start, beside scikit-learn's:")
        report(f"   {ours:.3f} s and {theirs:.3f} s, a ratio of {theirs / ours:.1f}")
        report(f"   largest relative difference of a parameter {difference:.0e}")

        _, seconds = _timed(lambda: draw(picture, model, rows, files))
        report(f"5. drawn in {seconds:.1f} s: {_on_disk(files.picture)}")

    peak = peak_memory()
    report()
    report(f"rows     {n_rows:,} a pass, {n_passes * n_rows / fit_seconds:,.0f} a second")
    report(f"passes   {n_passes}, in which {n_passes * size / 1e9:.1f} GB of features went by")
    report(f"memory   peak {_megabytes(peak)} of {_megabytes(limit)} allowed{'' if peak <= limit else ': EXCEEDED'}")
    report(f"time     {time.perf_counter() - start:.0f} s")
    report(f"files    {', '.join(str(path) for path in files)}")
    return peak <= limit


def prepare(image: NDArray[np.uint8], features: Path) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    """Write the features of an image; return its height and width, and a small copy of it."""
    height, width = image.shape[:2]
    with create_rows_bar(height * width, "features") as bar, atomic_output(features, overwrite=True) as partial:
        write_features(image, partial, bar.update)
    return (height, width), downsample(image, step=max(1, width // PICTURE_WIDTH))


def write_labels(model: GaussianMixture, files: Files, shape: tuple[int, int]) -> None:
    """Write the label of every pixel as an array of the shape of the image."""
    source = as_source(files.features)
    labels = model.predict(source).astype(np.uint8).reshape(shape)
    with create_rows_bar(shape[0] * shape[1], "labels") as bar:
        parameters = get_parameters(model)
        provenance = Provenance.from_source("labels", parameters, source)
        write(labels, files.labels, provenance, overwrite=True, progress=lambda height: bar.update(height * shape[1]))


def compare_with_scikit_learn(model: GaussianMixture, rows: NDArray[Any]) -> tuple[float, float, float]:
    """Run one iteration of EM here and in scikit-learn, in float64, from the parameters of a model.

    Returns
    -------
    difference : float
        Largest relative difference of a parameter.
    ours, theirs : float
        Seconds; the best of three runs.
    """
    from sklearn.mixture import GaussianMixture as ScikitLearnMixture

    rows, weights = rows.astype(np.float64), model.weights_.astype(np.float64)
    start = {
        "n_components": model.n_components,
        "covariance_type": model.covariance_type,
        "weights_init": weights / weights.sum(),
        "means_init": model.means_.astype(np.float64),
        "precisions_init": model.precisions_.astype(np.float64),
        "reg_covar": model.reg_covar,
        "max_iter": 1,
        "tol": 0.0,
    }
    ours = [_timed(lambda: GaussianMixture(**start).fit(rows)) for _ in range(3)]
    theirs = [_timed(lambda: ScikitLearnMixture(**start).fit(rows)) for _ in range(3)]
    difference = 0.0
    for name in ("weights_", "means_", "covariances_"):
        fitted, reference = getattr(ours[0][0], name), getattr(theirs[0][0], name)
        difference = max(difference, float(np.max(np.abs(fitted - reference) / np.abs(reference))))
    return difference, min(seconds for _, seconds in ours), min(seconds for _, seconds in theirs)


def draw(picture: NDArray[np.uint8], model: GaussianMixture, rows: NDArray[Any], files: Files) -> None:
    """Draw the image, its segments and the components."""
    import zarr

    from demo.poster import draw_poster

    labels = zarr.open_array(files.labels, mode="r")
    step = labels.shape[1] // picture.shape[1]
    draw_poster(picture, np.asarray(labels[::step, ::step]), model, rows).savefig(files.picture)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result, seconds = work(), time.perf_counter() - start
    return_freed_memory()
    return result, seconds


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.2g} MB"


def _on_disk(path: Path) -> str:
    files = path.rglob("*") if path.is_dir() else [path]
    return f"{path}, {_megabytes(sum(file.stat().st_size for file in files if file.is_file()))}"
