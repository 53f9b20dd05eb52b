"""Images that somebody else has made a map of: how well segments agree with it, beside scikit-learn's mixture."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from time import perf_counter

import numpy as np
from sklearn.mixture import GaussianMixture

from benchmarks.shipped_images import IMAGES, MappedImage, NotShippedError
from benchmarks.timing import Table
from streamgmm import segment

LARGEST = 2_000_000  # pixels, of which scikit-learn's fit takes seconds: of a larger image every few
PASSES = 1_000


def show(seeds: int, step: int, tolerances: Sequence[float]) -> None:
    """Print a row for each image that a package which is installed ships, and each tolerance."""
    table = Table(
        image=17,
        k=2,
        pixels=10,
        tol=6,
        agreement=10,
        of_scikit_learn=16,
        least_difference=17,
        seconds=8,
        its_seconds=12,
    )
    for name, read in IMAGES.items():
        try:
            image = read()
        except (NotShippedError, ImportError) as reason:
            print(f"{name}: {reason}")
            continue
        few = np.count_nonzero(image.valid) / LARGEST
        image = image.thinned(max(step, int(np.ceil(few ** (1 / image.regions.ndim)))))
        for tol in tolerances:
            ours, theirs = zip(*(_both(image, seed, tol) for seed in range(seeds)), strict=True)
            table.row(
                name,
                str(image.n_regions),
                f"{np.count_nonzero(image.valid):,}",
                f"{tol:g}",
                f"{median(share for share, _ in ours):.4%}",
                f"{median(share for share, _ in theirs):.4%}",
                f"{min(mine - its for (mine, _), (its, _) in zip(ours, theirs, strict=True)):+.4%}",
                f"{median(taken for _, taken in ours):.2f}",
                f"{median(taken for _, taken in theirs):.2f}",
            )


def _both(image: MappedImage, seed: int, tol: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Agreement and seconds, ours and scikit-learn's; its rows are made before the clock runs."""
    k, rule = image.n_regions, {"random_state": seed, "tol": tol, "max_iter": PASSES}
    begun = perf_counter()
    ours = segment(image.values, k, axes=image.axes, nodata=image.nodata, **rule).labels
    taken = perf_counter() - begun
    rows, theirs = image.rows, np.zeros(image.regions.shape, np.int64)
    begun = perf_counter()
    theirs[image.valid] = GaussianMixture(k, **rule).fit_predict(rows)
    return (image.agreement(ours), taken), (image.agreement(theirs), perf_counter() - begun)
