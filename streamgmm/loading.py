"""A saved model becomes an estimator again. Knows the file's names and the estimator's, not the file's form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm import online
from streamgmm.checkpoint import ARRAYS, GIVEN, LEARNING, NUMBERS, read, unpacked
from streamgmm.criteria import Criterion, Prequential
from streamgmm.errors import CheckpointError
from streamgmm.estimator import GaussianMixture


def load(path: str | os.PathLike[str]) -> GaussianMixture:
    """Read a model that `GaussianMixture.save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    GaussianMixture
        As it was saved.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, foreign, or of a newer format.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from streamgmm import GaussianMixture, load
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> GaussianMixture(1).fit([[0.0], [1.0]]).save(path)
    >>> load(path).means_
    array([[0.5]])
    """
    manifest, arrays = read(Path(path))
    try:
        return _restore(manifest, arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a valid model: {error}. Save it again from a fitted model.") from None


def _restore(manifest: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> GaussianMixture:
    settings: dict[str, Any] = {name: unpacked(value, arrays) for name, value in manifest["settings"].items()}
    settings.update({name: arrays.get(name) for name in GIVEN})
    model = GaussianMixture(**settings)
    model._validate_params()
    for name in NUMBERS:
        if name in manifest["fitted"]:
            setattr(model, name, unpacked(manifest["fitted"][name], arrays))
    kinds: dict[str, type[Criterion | Prequential]] = {
        "exact": Criterion,
        "bound": Criterion,
        "prequential": Prequential,
    }
    criteria = {
        kind: kinds[kind](**{name: unpacked(value, arrays) for name, value in criterion.items()})
        for kind, criterion in manifest["criteria"].items()
    }
    for name in LEARNING:
        value = unpacked(manifest["learning"][name], arrays)
        if value is not None:
            setattr(model, name, value)
    names = manifest["feature_names"]
    if names:
        if [type(name) for name in names] != [str] * model.n_features_in_:
            raise ValueError("it has not one name for each feature")
        model.feature_names_in_ = np.array(names, dtype=object)
    if len(getattr(model, "_waiting", online.Waiting()).rows) and "means_" not in arrays:
        return model
    for name in ARRAYS:
        setattr(model, name, arrays[name])
    model.lower_bounds_, model.criteria_ = arrays["lower_bounds_"].tolist(), criteria
    parameters = model._parameters()
    shapes_agree = parameters.means.shape == (model.n_components, model.n_features_in_) and len(
        parameters.weights
    ) == len(parameters.means)
    if not shapes_agree or not all(np.isfinite(arrays[name]).all() for name in ARRAYS[:-1]):
        raise ValueError("its arrays contradict each other or are not finite")
    return model
