"""A saved model becomes an estimator again. Knows the file's names and the estimator's, not the file's form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm import online
from streamgmm.checkpoint import ARRAYS, GIVEN, LEARNING, NUMBERS, read, unpacked
from streamgmm.covariances import STRUCTURES
from streamgmm.criteria import Criterion, Prequential
from streamgmm.errors import CheckpointError
from streamgmm.estimator import GaussianMixture

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


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
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a valid model: {error}. Save it again from a fitted model.") from None


def _restore(manifest: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> GaussianMixture:
    settings: dict[str, Any] = {name: unpacked(value, arrays) for name, value in manifest["settings"].items()}
    settings.update({name: arrays.get(name) for name in GIVEN})
    model = GaussianMixture(**settings)
    model._validate_params()
    for name, value in manifest["fitted"].items():
        setattr(model, name, unpacked(value, arrays, NUMBERS[name]))
    kinds: dict[str, type[Criterion | Prequential]] = {
        "exact": Criterion,
        "bound": Criterion,
        "prequential": Prequential,
    }
    criteria = {kind: unpacked(criterion, arrays, kinds[kind]) for kind, criterion in manifest["criteria"].items()}
    for name, kept in LEARNING.items():
        value = unpacked(manifest["learning"][name], arrays, kept)
        if value is not None:
            setattr(model, name, value)
    names = manifest["feature_names"]
    if names != []:
        if type(names) is not list or [type(name) for name in names] != [str] * model.n_features_in_:
            raise ValueError("it has not one name for each feature")
        model.feature_names_in_ = np.array(names, dtype=object)
    waiting = getattr(model, "_waiting", online.Waiting()).rows
    if waiting and "means_" not in arrays:
        if {rows.shape[1] for rows in waiting} != {model.n_features_in_} or model.n_samples_seen_ != sum(
            map(len, waiting)
        ):
            raise ValueError("the rows that wait are others")
        return model
    if manifest["fitted"].keys() != NUMBERS.keys():
        raise ValueError("it is not fitted")
    for name in ARRAYS:
        setattr(model, name, arrays[name])
    model.lower_bounds_, model.criteria_ = arrays["lower_bounds_"].tolist(), criteria
    if not _agrees(model, arrays):
        raise ValueError("its arrays contradict each other or are not finite")
    return model


def _agrees(model: GaussianMixture, arrays: dict[str, NDArray[Any]]) -> bool:
    """Whether all arrays are of the model's own shape, and a mixture."""
    k, d = model.n_components, model.n_features_in_
    shape = tuple(STRUCTURES[model.covariance_type].public_shape(k, d))
    shapes = ((k,), (k, d), shape, shape, shape, (len(model.lower_bounds_),))
    fitted = [arrays[name] for name in ARRAYS]
    if any(array.shape != due or array.dtype not in FLOATS for array, due in zip(fitted, shapes, strict=True)):
        return False
    stream, ledger, covered = (getattr(model, name, None) for name in ("_stream", "_ledger", "_covered"))
    learnt = [
        *([] if stream is None else [stream.parameters.means, stream.reported.means]),
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
