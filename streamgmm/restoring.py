"""What was saved of a model becomes a model again. Knows its attributes, not the form of files."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from streamgmm.checkpoint import ARRAYS, GIVEN, LEARNING, NUMBERS, Arrays, unpacked
from streamgmm.criteria import Criterion, Prequential
from streamgmm.fitted import FittedMixture

Mixture = TypeVar("Mixture", bound=FittedMixture)

KINDS: dict[str, type[Criterion | Prequential]] = {
    "exact": Criterion,
    "bound": Criterion,
    "prequential": Prequential,
}


def restored(kind: type[Mixture], manifest: dict[str, Any], arrays: Arrays) -> Mixture:
    """The model that was saved, fitted or not.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        What was saved contradicts itself, or is of no model.
    """
    settings: dict[str, Any] = {name: unpacked(value, arrays) for name, value in manifest["settings"].items()}
    settings.update({name: arrays.get(name) for name in GIVEN})
    model = kind(**settings)
    model._validate_params()
    for name in NUMBERS:
        if name in manifest["fitted"]:
            setattr(model, name, unpacked(manifest["fitted"][name], arrays))
    for name in LEARNING:
        value = unpacked(manifest["learning"].get(name), arrays)
        if value is not None:
            setattr(model, name, value)
    names = manifest["feature_names"]
    if names:
        if [type(name) for name in names] != [str] * model.n_features_in_:
            raise ValueError("it has not one name for each feature")
        model.feature_names_in_ = np.array(names, dtype=object)
    if "n_features_in_" not in manifest["fitted"] or "converged_" not in manifest["fitted"]:
        if set(arrays) & {"weights_", "means_"}:
            raise ValueError("it has parameters, and does not say of what")
        return model
    for name in ARRAYS:
        setattr(model, name, arrays[name])
    model.lower_bounds_ = arrays["lower_bounds_"].tolist()
    model.criteria_ = {
        name: KINDS[name](**{part: unpacked(value, arrays) for part, value in criterion.items()})
        for name, criterion in manifest["criteria"].items()
    }
    parameters = model._parameters()
    k, d = model.n_components, model.n_features_in_
    if parameters.means.shape != (k, d) or len(parameters.weights) != k:
        raise ValueError("its arrays contradict each other")
    if not all(np.isfinite(arrays[name]).all() for name in ARRAYS[:-1]):
        raise ValueError("its arrays are not finite")
    return model
