"""The demonstration: an image becomes more features than fit the memory allowed, and is segmented by them out of core.

Each step says what it does, how long it took and what it left on disk; the last one says whether memory was kept.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import dask
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from streamgmm import GaussianMixture
from streamgmm.cli.landscape import FEATURES, thinned, write_features
from streamgmm.cli.memory import peak_memory, return_freed_memory
from streamgmm.data import threads
from streamgmm.data.sources import as_source
from streamgmm.data.subsample import sample
from streamgmm.fitting.progress import rows_bar
from streamgmm.results.atomic_folder import complete_or_absent
from streamgmm.results.block_writer import write
from streamgmm.results.provenance import Record

LIMIT = 512 * 10**6  # bytes
N_THREADS = 2  # each holds chunks while it works: more would take more memory
NOISE = 16.0  # squared grey levels: colours nearer than 4 are alike, so that no component is spent on one shade of sea
TOLERANCE = 0.02  # nats a row: the map does not change to the eye any more
MOST_ITERATIONS = 12
SHOWN = 1_080  # pixels across in the picture


def demonstrate(
    read_image: Callable[[], NDArray[np.uint8]],
    folder: Path,
    *,
    out: TextIO,
    n_components: int = 10,
    compared_rows: int = 50_000,
    limit: int = LIMIT,
) -> bool:
    """Run the demonstration.

    Parameters
    ----------
    read_image : callable
        Gives an array of shape (height, width, 3): grey levels of red, green and blue. Not an array, so that nobody
        else keeps it in memory.
    folder : pathlib.Path
        Where its files go; made if need be.
    out : text stream
        Where it reports.
    n_components : int, default=10
        Segments.
    compared_rows : int, default=50_000
        Rows of the iteration that scikit-learn does, too.
    limit : int, default=512_000_000
        Bytes that the process may have in memory at once, in its whole life.

    Returns
    -------
    bool
        Whether the limit was kept.
    """
    begun = time.perf_counter()
    return_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(*(folder / name for name in ("features.zarr", "model.gmm", "labels.zarr", "demo.png")))

    def say(line: str = "") -> None:
        print(line, file=out, flush=True)

    with threads.limit(N_THREADS), dask.config.set(num_workers=N_THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        made = _timed(lambda: prepare(read_image(), files.features))
        height, width = made.result.shape
        n_rows, size = height * width, 4 * height * width * len(FEATURES)
        say(f"{width:,} x {height:,} pixels, {len(FEATURES)} features: {_megabytes(size)}; {_megabytes(limit)} allowed")
        say(f"1. features written in {made.seconds:.1f} s: {_on_disk(files.features)}")

        model = GaussianMixture(
            n_components,
            tol=TOLERANCE,
            max_iter=MOST_ITERATIONS,
            reg_covar=NOISE,
            random_state=0,
            verbose=1,
            algorithm="batch",  # batches of online EM are drawn from 128 MiB while as much is read: too much for here
        )
        fitted = _timed(lambda: model.fit(files.features))
        model.save(files.model)
        n_passes = model.n_iter_ + 2
        say(f"2. {n_components} components fitted in {fitted.seconds:.1f} s: {_on_disk(files.model)}")
        say(
            f"   {n_passes} passes: one for a sample to start from, {model.n_iter_} of EM, one for the final likelihood"
        )

        labelled = _timed(lambda: label(model, files, (height, width)))
        say(f"3. {n_rows:,} pixels labelled in {labelled.seconds:.1f} s: {_on_disk(files.labels)}")

        rows = sample(as_source(files.features), compared_rows, seed=1).rows
        compared = compare(model, rows)
        say(f"4. one iteration of EM on {len(rows):,} of the rows, from the same start, beside scikit-learn's:")
        say(f"   {compared.ours:.3f} s and {compared.theirs:.3f} s, a ratio of {compared.theirs / compared.ours:.1f}")
        say(f"   largest relative difference of a parameter {compared.difference:.0e}")

        drawn = _timed(lambda: draw(made.result.picture, model, rows, files))
        say(f"5. drawn in {drawn.seconds:.1f} s: {_on_disk(files.drawing)}")

    peak = peak_memory()
    say()
    say(f"rows     {n_rows:,} a pass, {n_passes * n_rows / fitted.seconds:,.0f} a second")
    say(f"passes   {n_passes}, in which {n_passes * size / 1e9:.1f} GB of features went by")
    say(f"memory   peak {_megabytes(peak)} of {_megabytes(limit)} allowed{'' if peak <= limit else ': EXCEEDED'}")
    say(f"time     {time.perf_counter() - begun:.0f} s")
    say(f"files    {', '.join(str(path) for path in files)}")
    return peak <= limit


class Files(NamedTuple):
    """What a demonstration leaves."""

    features: Path
    model: Path
    labels: Path
    drawing: Path


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image whose features are on disk.

    Attributes
    ----------
    shape : tuple of int
        Height and width.
    picture : ndarray of shape (n, m, 3)
        The image, small.
    """

    shape: tuple[int, int]
    picture: NDArray[np.uint8]


def prepare(image: NDArray[np.uint8], features: Path) -> Prepared:
    """Write the features of an image; what is kept of it is small."""
    height, width = image.shape[:2]
    with rows_bar(height * width, "features") as bar, complete_or_absent(features, overwrite=True) as partial:
        write_features(image, partial, bar.update)
    return Prepared((height, width), thinned(image, step=max(1, width // SHOWN)))


def label(model: GaussianMixture, files: Files, shape: tuple[int, int]) -> None:
    """Write the label of every pixel as an image."""
    source = as_source(files.features)
    labels = model.predict(source).astype(np.uint8).reshape(shape)
    with rows_bar(shape[0] * shape[1], "labels") as bar:
        record = Record.of("labels", model, source)
        write(labels, files.labels, record, overwrite=True, wrote=lambda lines: bar.update(lines * shape[1]))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One iteration beside scikit-learn's.

    Attributes
    ----------
    difference : float
        Largest relative difference of a parameter.
    ours, theirs : float
        Seconds; the best of three.
    """

    difference: float
    ours: float
    theirs: float


def compare(model: GaussianMixture, rows: NDArray[Any]) -> Comparison:
    """Run one iteration of EM and the evaluation after it, here and in scikit-learn, from one start, in float64."""
    from sklearn.mixture import GaussianMixture as Reference

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
    theirs = [_timed(lambda: Reference(**start).fit(rows)) for _ in range(3)]
    difference = max(
        float(np.max(np.abs(mine - reference) / np.abs(reference)))
        for name in ("weights_", "means_", "covariances_")
        for mine, reference in [(getattr(ours[0].result, name), getattr(theirs[0].result, name))]
    )
    return Comparison(difference, min(run.seconds for run in ours), min(run.seconds for run in theirs))


def draw(picture: NDArray[np.uint8], model: GaussianMixture, rows: NDArray[Any], files: Files) -> None:
    """Draw the image and what was made of it."""
    import zarr

    from streamgmm.cli.poster import poster

    labels = zarr.open_array(files.labels, mode="r")
    step = labels.shape[1] // picture.shape[1]
    poster(picture, np.asarray(labels[::step, ::step]), model, rows).savefig(files.drawing)


@dataclass(frozen=True, slots=True)
class _Timed:
    result: Any
    seconds: float


def _timed(work: Callable[[], Any]) -> _Timed:
    begun = time.perf_counter()
    timed = _Timed(work(), time.perf_counter() - begun)
    return_freed_memory()
    return timed


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.2g} MB"


def _on_disk(path: Path) -> str:
    files = path.rglob("*") if path.is_dir() else [path]
    return f"{path}, {_megabytes(sum(file.stat().st_size for file in files if file.is_file()))}"
