"""A gigapixel in eight segments, the same photograph at four sizes, and published maps: ``-m benchmarks.segmentation``.

Each image is made in a temporary folder out of a photograph of scikit-learn's, segmented by a process of its own, and
deleted. In the table of sizes every pixel has the colour of a pixel near its place in the photograph, so that the image
cannot be compressed to nothing and has the same colours in the same proportions at every size. The gigapixel besides
has noise, as of a sensor: a few million distinct colours. One more has a fourth band, as of the near infrared, whose
values cannot all have a counter: they are found by a hash. Files are in the system's cache where they fit.

What cannot be avoided is timed beside it: reading is to decode all chunks and drop them, by as many threads; it is done
twice, once to count and once to label. Fails above the limits of the gigapixel.

Of images of which somebody else has made a map, the agreement with it is shown beside that of scikit-learn's mixture of
as many components, of the same seed, stopped by the same tolerance: `benchmarks.maps`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image

from benchmarks import maps
from benchmarks.timing import Table, describe_machine, verdict
from streamgmm.data.threads import count

CHUNK = 1024
REACH = 3  # pixels of the photograph from which a pixel may have its colour
FIELDS = 16  # of offsets and noise, that are turned and shifted for each chunk
NOISE = 1.0  # grey levels
GRAIN = 0.3  # of that with four bands
GIGABYTE = 10**9
LIMIT_S, LIMIT_GB = 60.0, 1.5

# The steps of segment(), each timed; what is compiled and imported is before.
SEGMENT = """
import json, sys, warnings
from pathlib import Path
from time import perf_counter, process_time
import numpy as np, zarr
from streamgmm import segment
from examples.demo.process_memory import peak_memory
from streamgmm.images import segmentation_job, segmenting

path, output, k = sys.argv[1], sys.argv[2], int(sys.argv[3])
for n_bands in (3, 4):
    segment(np.random.default_rng(0).integers(0, 5, (64, 64, n_bands), np.uint8), 2, random_state=0)
seconds = {}

def timed(owner, name):
    function = getattr(owner, name)
    def call(*arguments, **options):
        begun = perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds[name] = perf_counter() - begun
    setattr(owner, name, call)

timed(segmentation_job, "count_pixels")
timed(segmenting, "_fit")
timed(segmentation_job.SegmentationJob, "run")
begun, before = perf_counter(), process_time()
found = segment(path, k, random_state=0, output=output)
seconds["all"], seconds["processors"] = perf_counter() - begun, process_time() - before
pixels = int(found.table["pixels"].sum())
assert pixels == np.prod(found.labels.shape)
print(json.dumps([seconds, found.model.n_iter_, bool(found.model.converged_), peak_memory()]))
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a segmentation took.

    Attributes
    ----------
    counting, fit, labels, whole, processors : float
        Seconds; the last of all processors together, which says what the others would be on an idle machine.
    passes : int
        Of the fit over the table.
    converged : bool
        Whether it ended by itself.
    peak : int
        Resident memory of the process, bytes.
    """

    counting: float
    fit: float
    labels: float
    whole: float
    processors: float
    passes: int
    converged: bool
    peak: int


def write_image(path: Path, megapixels: float, noise: float, n_bands: int = 3, seed: int = 0) -> int:
    """Write a photograph, as large as asked for, to zarr; the number of its pixels."""
    photograph = load_sample_image("china.jpg")
    infrared = (photograph @ np.array([-0.3, 0.9, 0.2]) + 40).clip(0, 255).astype(np.uint8)
    photograph = np.concatenate([photograph, infrared[..., None]], axis=2)[..., :n_bands]
    lines, columns = (max(8, round(np.sqrt(megapixels * 1e6 * side))) for side in (2 / 3, 3 / 2))
    stored = zarr.create_array(
        path, shape=(lines, columns, n_bands), chunks=(min(CHUNK, lines), min(CHUNK, columns), n_bands), dtype="uint8"
    )
    random = np.random.default_rng(seed)
    side = min(CHUNK, columns)
    offsets = random.uniform(-REACH, REACH, (FIELDS, side, side, 2)).astype(np.float32)
    grain = np.rint(random.normal(0, noise, (FIELDS if noise else 1, side, side, n_bands))).astype(np.int16)

    def write_chunk(place: tuple[int, int]) -> None:
        here = np.random.default_rng([seed, *place])
        regions = [slice(at * CHUNK, min((at + 1) * CHUNK, n)) for at, n in zip(place, (lines, columns), strict=True)]
        places = [
            np.arange(part.start, part.stop) * (length / n)
            for part, length, n in zip(regions, photograph.shape, (lines, columns), strict=False)
        ]
        shape = tuple(len(part) for part in places)
        field = _turned(offsets[here.integers(FIELDS)], here)[: shape[0], : shape[1]]
        down, across = places[0][:, None] + field[..., 0], places[1] + field[..., 1]
        values = photograph[
            down.astype(np.int32).clip(0, photograph.shape[0] - 1),
            across.astype(np.int32).clip(0, photograph.shape[1] - 1),
        ]
        if noise:
            grains = _turned(grain[here.integers(FIELDS)], here)[: shape[0], : shape[1]]
            values = (values + grains).clip(0, 255).astype(np.uint8)
        stored[tuple(regions)] = values

    with ThreadPoolExecutor(count()) as pool:
        for _ in pool.map(write_chunk, product(range(-(-lines // CHUNK)), range(-(-columns // CHUNK)))):
            pass
    return lines * columns


def _turned(field: NDArray[np.generic], random: np.random.Generator) -> NDArray[np.generic]:
    """The same field, shifted and turned."""
    shifted = np.roll(field, random.integers(len(field), size=2), axis=(0, 1))
    return np.rot90(shifted, random.integers(4))


def segment_in_own_process(path: Path, output: Path, k: int) -> Taken:
    """Segment what is stored, and time the steps."""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SEGMENT, str(path), str(output), str(k)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, passes, converged, peak = json.loads(finished.stdout)
    steps = (seconds[name] for name in ("count_pixels", "_fit", "run", "all", "processors"))
    return Taken(*steps, passes, converged, peak)


def reading_seconds(path: Path) -> float:
    """Time to decode all chunks, a block of whole chunks a task, by as many threads as there are."""
    from benchmarks.timing import seconds

    array = zarr.open_array(path, mode="r")
    starts = range(0, array.shape[0], array.chunks[0])
    width = 5 * array.chunks[1]

    def read(start: int) -> None:
        for left in range(0, array.shape[1], width):
            array[start : start + array.chunks[0], left : left + width]

    def everything() -> None:
        with ThreadPoolExecutor(count()) as pool:
            for _ in pool.map(read, starts):
                pass

    return seconds(everything)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 if the gigapixel took more than the limits."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segmentation", description=__doc__)
    parser.add_argument("--toy", action="store_true", help="a tenth of a megapixel, nothing judged")
    parser.add_argument("--megapixels", type=float, nargs="*", help="sizes; by default 1, 10, 100 and 1000")
    parser.add_argument("--gigapixel", type=float, default=1000.0, help="megapixels of that with noise, 0 for none")
    parser.add_argument("--infrared", type=float, default=100.0, help="megapixels of that with four bands, 0 for none")
    parser.add_argument("--segments", type=int, default=8, metavar="K")
    parser.add_argument("--only", choices=("sizes", "maps"), help="one of the two parts")
    parser.add_argument("--tol", type=float, nargs="*", default=[1e-3], help="of the fits to images with maps")
    options = parser.parse_args(arguments)
    describe_machine()
    failed = options.only != "maps" and _sizes(options)
    if options.only != "sizes":
        maps.show(seeds=1 if options.toy else 3, step=8 if options.toy else 1, tolerances=options.tol)
    return int(failed)


def _sizes(options: argparse.Namespace) -> bool:
    """Whether the gigapixel took more than the limits."""
    sizes = [0.1] if options.toy else [1.0, 10.0, 100.0, 1000.0]
    sizes = sizes if options.megapixels is None else options.megapixels
    largest = 0.1 if options.toy else options.gigapixel
    table = Table(
        image=24,
        reading_s=9,
        counting_s=10,
        fit_s=8,
        passes=8,
        labels_s=8,
        all_s=7,
        cpu_s=6,
        bar=12,
        peak_GB=7,
        limit=10,
    )
    failed = False
    images = [(size, 0.0, 3) for size in sizes] + [(largest, NOISE, 3)] * (largest > 0)
    images += [(0.1 if options.toy else options.infrared, GRAIN, 4)] * (options.infrared > 0)
    for megapixels, noise, n_bands in images:
        judged = noise == NOISE and not options.toy
        with tempfile.TemporaryDirectory(prefix="streamgmm-segmentation-") as folder:
            path = Path(folder) / "image.zarr"
            n_pixels = write_image(path, megapixels, noise, n_bands)
            taken = segment_in_own_process(path, Path(folder) / "labels.zarr", options.segments)
            reading = reading_seconds(path)
        gigabytes = taken.peak / GIGABYTE
        failed |= judged and (taken.whole > LIMIT_S or gigabytes > LIMIT_GB or not taken.converged)
        table.row(
            f"{n_pixels / 1e6:,.1f} MP{', noise' if noise else ''}{', 4 bands' if n_bands == 4 else ''}",
            f"{reading:.2f}",
            f"{taken.counting:.2f}",
            f"{taken.fit:.2f}",
            f"{taken.passes}{'' if taken.converged else ' (max)'}",
            f"{taken.labels:.2f}",
            f"{taken.whole:.2f}",
            f"{taken.processors:.1f}",
            verdict(taken.whole, LIMIT_S if judged else None, at_least=False, unit=" s"),
            f"{gigabytes:.2f}",
            verdict(gigabytes, LIMIT_GB if judged else None, at_least=False, unit=" GB"),
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
