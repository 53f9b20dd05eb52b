"""What asv follows from commit to commit: times, peak memory, and how close the numbers are to scikit-learn's.

``params`` are asv's; ``toy`` are the parameters with which the tests run the same code. Names and units are asv's, too.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.datasets import load_sample_image

from benchmarks.adapters import difference, scikit_learn, streamgmm
from benchmarks.stored import write_rows
from benchmarks.workloads import FAMILIES, Start, mixture
from streamgmm import GaussianMixture
from streamgmm.kernels.e_step import expect
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import make_parameters, maximize
from streamgmm.model.parameters import Parameters

Shape = tuple[int, int, int]  # rows, features, components
SHAPES: tuple[Shape, ...] = ((200_000, 3, 8), (100_000, 16, 16), (40_000, 32, 32))
SMALL: tuple[Shape, ...] = ((300, 3, 2), (300, 6, 3))


def parameters(start: Start) -> Parameters:
    """The start in the library's own type."""
    structure = STRUCTURES[start.family]
    covariances = start.covariances.reshape(structure.shape(*start.means.shape))
    return make_parameters(start.weights, start.means, covariances, structure)


class Expectation:
    """The E-step alone, on one thread."""

    param_names: ClassVar = ["family", "shape", "dtype"]
    params: ClassVar = [FAMILIES, SHAPES, ("float64", "float32")]
    toy: ClassVar = [FAMILIES, SMALL, ("float64", "float32")]

    def setup(self, family: str, shape: Shape, dtype: str) -> None:
        """Rows and parameters; whatever is compiled is compiled here."""
        n, d, k = shape
        self.rows = mixture(n, d, k).astype(dtype)
        self.parameters = parameters(Start.found(self.rows, k, family))
        expect(self.rows[:100], self.parameters)

    def time_expect(self, family: str, shape: Shape, dtype: str) -> None:
        """Statistics and log-likelihood of the rows."""
        expect(self.rows, self.parameters)


class Maximization:
    """The M-step alone; it never sees rows."""

    param_names: ClassVar = ["family", "shape"]
    params: ClassVar = [FAMILIES, SHAPES]
    toy: ClassVar = [FAMILIES, SMALL]

    def setup(self, family: str, shape: Shape) -> None:
        """Statistics of some rows."""
        n, d, k = shape
        rows = mixture(min(n, 20_000), d, k)
        self.structure = STRUCTURES[family]
        (expectation,) = expect(rows, parameters(Start.found(rows, k, family)))
        self.statistics = expectation.statistics

    def time_maximize(self, family: str, shape: Shape) -> None:
        """Parameters from statistics."""
        maximize(self.statistics, self.structure, 1e-6)


class Fit:
    """Four iterations from given parameters, on every processor."""

    param_names: ClassVar = ["family", "shape"]
    params: ClassVar = [FAMILIES, SHAPES]
    toy: ClassVar = [FAMILIES, SMALL]

    def setup(self, family: str, shape: Shape) -> None:
        """Rows and start."""
        n, d, k = shape
        self.rows = mixture(n, d, k)
        self.start = Start.found(self.rows, k, family)
        streamgmm(self.rows[:1000], self.start, 1)

    def time_four_iterations(self, family: str, shape: Shape) -> None:
        """Through the estimator."""
        streamgmm(self.rows, self.start, 4)

    def track_difference_from_scikit_learn(self, family: str, shape: Shape) -> float:
        """Of the parameters after four iterations."""
        return difference(streamgmm(self.rows, self.start, 4), scikit_learn(self.rows, self.start, 4))

    track_difference_from_scikit_learn.unit = "relative"  # type: ignore[attr-defined]


class Prediction:
    """Labels and densities."""

    param_names: ClassVar = ["family", "shape"]
    params: ClassVar = [FAMILIES, SHAPES]
    toy: ClassVar = [FAMILIES, SMALL]

    def setup(self, family: str, shape: Shape) -> None:
        """A fitted model, used once."""
        n, d, k = shape
        self.rows = mixture(n, d, k)
        self.model = GaussianMixture(k, covariance_type=family, max_iter=0, random_state=0).fit(self.rows[:2000])
        self.model.predict(self.rows[:100]), self.model.score_samples(self.rows[:100])

    def time_predict(self, family: str, shape: Shape) -> None:
        """Labels."""
        self.model.predict(self.rows)

    def time_score_samples(self, family: str, shape: Shape) -> None:
        """Log-densities."""
        self.model.score_samples(self.rows)


class Small:
    """What someone at a prompt waits for."""

    def setup(self) -> None:
        """Rows, and everything compiled."""
        self.rows = mixture(1500, 2, 3)
        self.time_fit()

    def time_fit(self) -> None:
        """From k-means to convergence."""
        GaussianMixture(3, random_state=0).fit(self.rows)

    def timeraw_import(self) -> str:
        """The import, in a process of its own."""
        return "import streamgmm"


class Streaming:
    """A fit to a zarr array; its peak memory must not depend on the number of rows."""

    param_names: ClassVar = ["gigabytes"]
    params: ClassVar = [[0.1, 0.4, 1.6]]
    toy: ClassVar = [[0.001]]
    timeout = 600

    def setup(self, gigabytes: float) -> None:
        """Write the array."""
        self.folder = tempfile.TemporaryDirectory(prefix="streamgmm-asv-")
        self.path = Path(self.folder.name) / "rows.zarr"
        write_rows(self.path, gigabytes)

    def teardown(self, gigabytes: float) -> None:
        """Delete it."""
        self.folder.cleanup()

    def peakmem_fit(self, gigabytes: float) -> None:
        """Start, two iterations and the final tally."""
        self._fitted()

    def track_log_likelihood_gained_per_pass(self, gigabytes: float) -> float:
        """By the second iteration."""
        bounds = self._fitted().lower_bounds_
        return float(bounds[1] - bounds[0])

    track_log_likelihood_gained_per_pass.unit = "nats a row"  # type: ignore[attr-defined]

    def _fitted(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge
            return GaussianMixture(8, algorithm="batch", max_iter=2, tol=0, random_state=0).fit(self.path)


class Photograph:
    """Pixels in their own order beside the same pixels shuffled: what the coherence of an image is worth."""

    param_names: ClassVar = ["order"]
    params: ClassVar = [["own", "shuffled"]]
    toy: ClassVar = params

    def setup(self, order: str) -> None:
        """Pixels, as they are stored."""
        pixels = load_sample_image("china.jpg").reshape(-1, 3)
        self.start = Start.found(pixels, 8, "full")
        self.pixels = np.random.default_rng(0).permutation(pixels) if order == "shuffled" else pixels
        streamgmm(self.pixels[:1000], self.start, 1)

    def time_four_iterations(self, order: str) -> None:
        """Through the estimator."""
        streamgmm(self.pixels, self.start, 4)
