"""What is kept of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from streamgmm.fitting.partition_statistics import PartitionStatistics
from streamgmm.fitting.streaming import PendingRows, Stream
from streamgmm.fitting.tokens import Tokens
from streamgmm.initialization.multistart import Restarts
from streamgmm.iteration.history import History
from streamgmm.model.em import Expectation
from streamgmm.persistence.codec import encode
from streamgmm.persistence.container import Arrays

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
    kept = {name: encode(getattr(model, name, None), name, arrays) for name in LEARNING}
    manifest: dict[str, Any] = {
        "settings": {name: encode(value, name, arrays) for name, value in settings.items()},
        "fitted": {name: encode(getattr(model, name), name, arrays) for name in NUMBERS if hasattr(model, name)},
        "criteria": {
            kind: encode(criterion, kind, arrays) for kind, criterion in getattr(model, "criteria_", {}).items()
        },
        "learning": kept,
        "feature_names": [str(name) for name in getattr(model, "feature_names_in_", ())],
    }
    if hasattr(model, "_recipe"):  # of an image, as text, which is not for this layer to understand
        manifest["recipe"] = model._recipe
    return manifest, arrays
