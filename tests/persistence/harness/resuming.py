"""Fits that are killed between any two chunk groups and resumed: cases drawn from a seed."""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any
from unittest import mock

import dask.array as da
import numpy as np
import zarr

from streamgmm import Checkpoint, GaussianMixture
from streamgmm.estimator.saved_model import SavedModel
from streamgmm.initialization.search_settings import SEARCH
from streamgmm.model.covariances import STRUCTURES
from streamgmm.persistence.container import to_bytes
from streamgmm.persistence.session import CheckpointSession, encode_content

SMALL = {  # so that few rows are many chunks and chunk groups
    "streamgmm.data.execution.CHUNKS_PER_GROUP": 2,
    "streamgmm.data.shuffling.GROUP_BYTES": 2**12,
    "streamgmm.data.sources.in_memory.CHUNK_ROWS": 256,
    "streamgmm.data.sources.storage.TASK_BYTES": 2**11,
    "streamgmm.fitting.plan.LARGE": 1_200,
    "streamgmm.initialization.search_settings.SEARCH": replace(
        SEARCH, small_problem=2**12, uncertain_rows_per_parameter=2
    ),
}


class Killed(BaseException):
    """Simulated SIGKILL: only the files are left."""


@contextmanager
def small():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a fit of three passes has not converged
        patches = [mock.patch(name, value) for name, value in SMALL.items()]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


@contextmanager
def killed_after(chunk_groups):
    """Kill a fit after a number of chunk groups, or never if None; yield a list with one item per chunk group."""
    seen, watch = [], CheckpointSession.watch

    def watched(self, fit_state):
        watch(self, fit_state)
        seen.append(type(fit_state).__name__)
        if chunk_groups is not None and len(seen) > chunk_groups:
            raise Killed

    with mock.patch.object(CheckpointSession, "watch", watched):
        yield seen


@dataclass(frozen=True)
class Case:
    settings: dict[str, Any]
    kind: str
    dtype: str
    weighted: bool
    n_features: int
    seed: int

    @classmethod
    def drawn(cls, seed):
        random = np.random.default_rng(seed)
        algorithm = random.choice(["batch", "auto", "stepwise", "incremental"])
        settings = {
            "n_components": int(random.integers(1, 5)),
            "covariance_type": str(random.choice(list(STRUCTURES))),
            "algorithm": str(algorithm),
            "max_iter": int(random.integers(1, 7)),
            "n_init": int(random.integers(1, 3)),
            "init_params": str(random.choice(["auto", "kmeans", "random_from_data", "split"])),
            "random_state": int(random.integers(100)),
        }
        if algorithm in ("batch", "auto"):
            settings["split_merge"] = bool(random.random() < 0.4)
        else:
            settings["batch_size"] = int(random.integers(40, 400))
        n_features = int(random.integers(1, 4))
        if algorithm in ("batch", "auto") and random.random() < 0.5:  # a start that splits and mergers improve
            stuck = np.array([-61.0, -59.0, 30.0])[:, None] * np.ones(n_features)
            settings |= {"n_components": 3, "n_init": 1, "means_init": stuck, "split_merge": True, "max_iter": 20}
        if algorithm == "stepwise" and random.random() < 0.3:
            settings["half_life"] = 300.0
        if random.random() < 0.3:
            settings["tol"] = 1e-3
        kind = str(random.choice(["array", "dask", "zarr", "batches"]))
        if kind == "batches" and algorithm == "incremental":
            kind = "dask"
        dtype, weighted = str(random.choice(["f8", "f4", "i2"])), bool(random.random() < 0.3)
        return cls(settings, kind, dtype, weighted, n_features, seed)

    def data(self):
        """Rows as `fit` takes them, made anew, and weights."""
        random = np.random.default_rng(self.seed)
        n, d = int(random.integers(600, 1_600)), self.n_features
        rows = random.normal(size=(n, d)) * 10 + random.choice([-60, 0, 60], size=(n, 1))
        if random.random() < 0.3:
            rows = rows[np.argsort(rows[:, 0])]
        rows = rows.astype(self.dtype)
        weights = random.integers(0, 3, n).astype(float) if self.weighted else None
        lengths = random.multinomial(n, np.full(7, 1 / 7))
        cut = np.concatenate([[0], np.cumsum(lengths)])
        if self.kind == "array":
            return rows, weights
        if self.kind == "dask":
            return (
                da.from_array(rows, (tuple(lengths), d)),
                None if weights is None else da.from_array(weights, (tuple(lengths),)),
            )
        if self.kind == "zarr":
            return zarr.array(rows, chunks=(100, d)), weights
        parts = [slice(first, stop) for first, stop in pairwise(cut)]
        if weights is None:
            return lambda: (rows[part] for part in parts), None
        return lambda: (rows[part] for part in parts), lambda: (weights[part] for part in parts)

    def fitted(self, checkpoint=None, **settings):
        rows, weights = self.data()
        model = GaussianMixture(**self.settings, checkpoint=checkpoint, **settings)
        return model.fit(rows, sample_weight=weights)


def content(model):
    """Return the saved content of a model without the path of its checkpoint."""
    return to_bytes(*encode_content(SavedModel.from_model(model.set_params(checkpoint=None, resume="auto"))))


@cache
def uninterrupted(seed):
    """Return the content of an uninterrupted fit and its chunk groups."""
    with small(), killed_after(None) as seen:
        return content(Case.drawn(seed).fitted()), seen


def resumed(case, folder, random, kills):
    """Return the model after a number of kills at random chunk groups, and the states it was killed in."""
    _, seen = uninterrupted(case.seed)
    with small():
        places = []
        for _ in range(kills):
            with killed_after(int(random.integers(len(seen)))) as lived:
                try:
                    case.fitted(Checkpoint(folder, batches=int(random.integers(1, 4))))
                    break
                except Killed:
                    places.append(lived[-1])
        return case.fitted(Checkpoint(folder, batches=5)), places
