"""The settings and the state of a model as a manifest and arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamgmm.estimator.fitted_state import FittedState
from streamgmm.fitting.partition_statistics import PartitionStatistics
from streamgmm.fitting.streaming import PendingRows, Stream
from streamgmm.fitting.tokens import Tokens
from streamgmm.initialization.multistart import Restarts
from streamgmm.iteration.history import History
from streamgmm.model.em import Expectation
from streamgmm.persistence.codec import encode
from streamgmm.persistence.container import Arrays

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture

ARRAYS = ("weights", "means", "covariances", "precisions", "precisions_cholesky", "lower_bounds")
NUMBERS: dict[str, Any] = {
    "converged": bool,
    "n_iter": int,
    "lower_bound": float,
    "n_samples_seen": int,
    "algorithm": str,
    "n_features_in": int,
}
LEARNING: dict[str, Any] = {
    "history": History | None,
    "restarts": Restarts | None,
    "accumulated": Expectation | None,
    "stream": Stream | None,
    "partition_statistics": PartitionStatistics | None,
    "tokens": Tokens,
    "order_warned": bool,
    "pending": PendingRows,
    "preprocessing": str | None,
}
GIVEN = ("weights_init", "means_init", "precisions_init")


def record(model: GaussianMixture, state: FittedState | None = None) -> tuple[dict[str, Any], Arrays]:
    """Return the settings of a model and its state, or another one, as a manifest and arrays."""
    state = model._state if state is None else state
    settings = dict(model.get_params(deep=False))
    arrays = {name: np.asarray(getattr(state, name)) for name in ARRAYS if getattr(state, name) is not None}
    for name in GIVEN:
        value = settings.pop(name)
        if value is not None:
            arrays[name] = np.asarray(value, np.float64)
    if not isinstance(settings["random_state"], int | np.integer):
        settings["random_state"] = None
    numbers = {name: getattr(state, name) for name in NUMBERS}
    manifest: dict[str, Any] = {
        "settings": {name: encode(value, name, arrays) for name, value in settings.items()},
        "fitted": {name: encode(value, name, arrays) for name, value in numbers.items() if value is not None},
        "criteria": {kind: encode(criterion, kind, arrays) for kind, criterion in (state.criteria or {}).items()},
        "learning": {name: encode(getattr(state, name), name, arrays) for name in LEARNING},
        "feature_names": [str(name) for name in (() if state.feature_names_in is None else state.feature_names_in)],
    }
    return manifest, arrays
