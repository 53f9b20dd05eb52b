"""What was saved of a model becomes a model again. Knows its attributes, not the form of files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamgmm.errors import CheckpointError
from streamgmm.estimator.fitted_state import FittedState
from streamgmm.estimator.model_file import ARRAYS, GIVEN, LEARNING, NUMBERS
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import Criterion, HeldOut, Prequential
from streamgmm.persistence.codec import MALFORMED, decode
from streamgmm.persistence.container import Arrays

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
KINDS: dict[str, type[Criterion | Prequential | HeldOut]] = {
    "exact": Criterion,
    "bound": Criterion,
    "prequential": Prequential,
    "heldout": HeldOut,
}


def read_model(kind: type[GaussianMixture], path: Path, manifest: dict[str, Any], arrays: Arrays) -> GaussianMixture:
    """Return the model of a file; CheckpointError where it contradicts itself, or holds a selection."""
    if "selected" in manifest:
        raise CheckpointError(f"{path} holds a selection; Selection.load reads it.")
    try:
        return restored(kind, manifest, arrays)
    except MALFORMED as error:
        raise CheckpointError(f"{path} is not a valid model: {error}. Save it again from a fitted model.") from None


def restored(kind: type[GaussianMixture], manifest: dict[str, Any], arrays: Arrays) -> GaussianMixture:
    """Return the model that was saved, fitted or not; one of MALFORMED where that is of no model."""
    settings: dict[str, Any] = {name: decode(value, arrays) for name, value in manifest["settings"].items()}
    settings.update({name: arrays.get(name) for name in GIVEN})
    model = kind(**settings)
    model._validate_params()
    fields = {name: decode(value, arrays, NUMBERS[name]) for name, value in manifest["fitted"].items()}
    criteria = {name: decode(criterion, arrays, KINDS[name]) for name, criterion in manifest["criteria"].items()}
    fields |= {name: decode(manifest["learning"][name], arrays, kept) for name, kept in LEARNING.items()}
    names = manifest["feature_names"]
    if names != []:
        if type(names) is not list or [type(name) for name in names] != [str] * fields["n_features_in"]:
            raise ValueError("it has not one name for each feature")
        fields["feature_names_in"] = np.array(names, dtype=object)
    pending = fields["pending"]
    if "means" not in arrays:
        if manifest["fitted"].keys() - {"n_features_in", "n_samples_seen"}:
            raise ValueError("it is fitted, and has no parameters")
        widths = {rows.shape[1] for rows in pending.rows}
        if widths - {fields.get("n_features_in")} or fields.get("n_samples_seen", 0) != sum(map(len, pending.rows)):
            raise ValueError("the rows that wait are others")
        model._state = FittedState(**fields)
        return model
    if manifest["fitted"].keys() != NUMBERS.keys() or pending.n_rows:
        raise ValueError("it has parameters, and is not fitted")
    fields |= {name: arrays[name] for name in ARRAYS}
    fields["lower_bounds"] = tuple(arrays["lower_bounds"].tolist())
    model._state = FittedState(**fields, criteria=criteria)
    if not _agrees(model, arrays):
        raise ValueError("its arrays contradict each other or are not finite")
    return model


def _agrees(model: GaussianMixture, arrays: Arrays) -> bool:
    """Return whether all arrays are of the model's own shape, and a mixture."""
    state, structure = model._state, STRUCTURES[model.covariance_type]
    k, d = model.n_components, model.n_features_in_
    shape = tuple(structure.public_shape(k, d))
    shapes = ((k,), (k, d), shape, shape, shape, (len(model.lower_bounds_),))
    fitted = [arrays[name] for name in ARRAYS]
    if any(array.shape != due or array.dtype not in FLOATS for array, due in zip(fitted, shapes, strict=True)):
        return False
    stream, kept, accumulated = state.stream, state.partition_statistics, state.accumulated
    learnt = [
        *([] if stream is None else [stream.state.parameters.means, stream.reported.means]),
        *([] if kept is None else [kept.entries.origin]),
        *([] if accumulated is None else [accumulated.statistics.origin]),
    ]
    finite = all(np.isfinite(array).all() for array in fitted[:-1])
    with np.errstate(all="ignore"):
        parameters = state.parameters(structure)
        proper = (
            np.isfinite(parameters.log_determinants()).all()
            and parameters.weights.max() > 0 <= parameters.weights.min()
        )
    return finite and bool(proper) and all(means.shape == (k, d) for means in learnt)
