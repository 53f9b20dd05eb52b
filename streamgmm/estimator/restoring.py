"""What was saved of a model becomes a model again. Knows its attributes, not the form of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from streamgmm.errors import CheckpointError
from streamgmm.estimator.model_file import ARRAYS, GIVEN, LEARNING, NUMBERS
from streamgmm.fitting.streaming import PendingRows
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import Criterion, HeldOut, Prequential
from streamgmm.persistence.codec import MALFORMED, decode
from streamgmm.persistence.container import Arrays

Mixture = TypeVar("Mixture")

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
KINDS: dict[str, type[Criterion | Prequential | HeldOut]] = {
    "exact": Criterion,
    "bound": Criterion,
    "prequential": Prequential,
    "heldout": HeldOut,
}


def read_model(kind: type[Mixture], path: Path, manifest: dict[str, Any], arrays: Arrays) -> Mixture:
    """Return the model of a file; CheckpointError where it contradicts itself, or holds a selection."""
    if "selected" in manifest:
        raise CheckpointError(f"{path} holds a selection; Selection.load reads it.")
    try:
        model: Mixture = restored(kind, manifest, arrays)
    except MALFORMED as error:
        raise CheckpointError(f"{path} is not a valid model: {error}. Save it again from a fitted model.") from None
    return model


def restored(kind: type[Mixture], manifest: dict[str, Any], arrays: Arrays) -> Any:
    """The model that was saved, fitted or not; one of MALFORMED where that is of no model."""
    settings: dict[str, Any] = {name: decode(value, arrays) for name, value in manifest["settings"].items()}
    settings.update({name: arrays.get(name) for name in GIVEN})
    model: Any = kind(**settings)
    model._validate_params()
    for name, value in manifest["fitted"].items():
        setattr(model, name, decode(value, arrays, NUMBERS[name]))
    criteria = {name: decode(criterion, arrays, KINDS[name]) for name, criterion in manifest["criteria"].items()}
    for name, kept in LEARNING.items():
        value = decode(manifest["learning"][name], arrays, kept)
        if value is not None:
            setattr(model, name, value)
    if "recipe" in manifest:
        model._recipe = decode(manifest["recipe"], arrays, str)
    names = manifest["feature_names"]
    if names != []:
        if type(names) is not list or [type(name) for name in names] != [str] * model.n_features_in_:
            raise ValueError("it has not one name for each feature")
        model.feature_names_in_ = np.array(names, dtype=object)
    if "means_" not in arrays:
        if manifest["fitted"].keys() - {"n_features_in_", "n_samples_seen_"}:
            raise ValueError("it is fitted, and has no parameters")
        waiting = getattr(model, "_waiting", PendingRows()).rows
        if {rows.shape[1] for rows in waiting} - {getattr(model, "n_features_in_", None)} or getattr(
            model, "n_samples_seen_", 0
        ) != sum(map(len, waiting)):
            raise ValueError("the rows that wait are others")
        return model
    if manifest["fitted"].keys() != NUMBERS.keys() or hasattr(model, "_too_few"):
        raise ValueError("it has parameters, and is not fitted")
    for name in ARRAYS:
        setattr(model, name, arrays[name])
    model.lower_bounds_, model.criteria_ = arrays["lower_bounds_"].tolist(), criteria
    if not _agrees(model, arrays):
        raise ValueError("its arrays contradict each other or are not finite")
    return model


def _agrees(model: Any, arrays: Arrays) -> bool:
    """Whether all arrays are of the model's own shape, and a mixture."""
    k, d = model.n_components, model.n_features_in_
    shape = tuple(STRUCTURES[model.covariance_type].public_shape(k, d))
    shapes = ((k,), (k, d), shape, shape, shape, (len(model.lower_bounds_),))
    fitted = [arrays[name] for name in ARRAYS]
    if any(array.shape != due or array.dtype not in FLOATS for array, due in zip(fitted, shapes, strict=True)):
        return False
    stream, ledger, covered = (getattr(model, name, None) for name in ("_stream", "_ledger", "_covered"))
    learnt = [
        *([] if stream is None else [stream.state.parameters.means, stream.reported.means]),
        *([] if ledger is None else [ledger.entries.origin]),
        *([] if covered is None else [covered.statistics.origin]),
    ]
    finite = all(np.isfinite(array).all() for array in fitted[:-1])
    with np.errstate(all="ignore"):
        parameters = model._parameters()
        proper = (
            np.isfinite(parameters.log_determinants()).all()
            and parameters.weights.max() > 0 <= parameters.weights.min()
        )
    return finite and bool(proper) and all(means.shape == (k, d) for means in learnt)
