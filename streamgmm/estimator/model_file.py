"""What is kept of a model, and a model in one file of the user's choosing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from streamgmm.fitting.partition_statistics import PartitionStatistics
from streamgmm.fitting.streaming import PendingRows, Stream
from streamgmm.fitting.tokens import Tokens
from streamgmm.initialization.multistart import Restarts
from streamgmm.iteration.history import History
from streamgmm.model.em import Expectation
from streamgmm.persistence.atomic import Disk, write_whole
from streamgmm.persistence.codec import packed
from streamgmm.persistence.container import Arrays, decoded, encoded

ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bounds_")
NUMBERS: dict[str, Any] = {
    "converged_": bool,
    "n_iter_": int,
    "lower_bound_": float,
    "n_samples_seen_": int,
    "algorithm_": str,
    "n_features_in_": int,
}
LEARNING: dict[str, Any] = {
    "history_": History | None,
    "restarts_": Restarts | None,
    "_covered": Expectation | None,
    "_stream": Stream | None,
    "_ledger": PartitionStatistics | None,
    "_tokens": Tokens | None,
    "_warned": bool | None,
    "_waiting": PendingRows | None,
    "_too_few": str | None,
}
GIVEN = ("weights_init", "means_init", "precisions_init")


def save(path: str | os.PathLike[str], manifest: dict[str, Any], arrays: Arrays) -> None:
    """Write a file of the user's choosing; one that was there is replaced once the new one is safe."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target.parent))
    write_whole(Disk(), target, encoded(manifest, arrays), mode=0o644)


def read(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Manifest and arrays of a file whose digest agrees; raises CheckpointError."""
    return decoded(Disk().read(path, follow=True), path)


def record(model: BaseEstimator) -> tuple[dict[str, Any], Arrays]:
    """What a model is, fitted or not, as a manifest and arrays."""
    settings = dict(model.get_params(deep=False))
    arrays = {name: np.asarray(getattr(model, name)) for name in ARRAYS if hasattr(model, name)}
    for name in GIVEN:
        value = settings.pop(name)
        if value is not None:
            arrays[name] = np.asarray(value, np.float64)
    if not isinstance(settings["random_state"], int | np.integer):
        settings["random_state"] = None
    kept = {name: packed(getattr(model, name, None), name, arrays) for name in LEARNING}
    manifest: dict[str, Any] = {
        "settings": {name: packed(value, name, arrays) for name, value in settings.items()},
        "fitted": {name: packed(getattr(model, name), name, arrays) for name in NUMBERS if hasattr(model, name)},
        "criteria": {
            kind: packed(criterion, kind, arrays) for kind, criterion in getattr(model, "criteria_", {}).items()
        },
        "learning": kept,
        "feature_names": [str(name) for name in getattr(model, "feature_names_in_", ())],
    }
    if hasattr(model, "_recipe"):  # of an image, as text, which is not for this layer to understand
        manifest["recipe"] = model._recipe
    return manifest, arrays
