"""load(): a model from a file or from a checkpoint."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from streamgmm.errors import CheckpointError
from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.model_checkpoint import check_is_fit, restore_state
from streamgmm.estimator.saved_model import SavedModel
from streamgmm.persistence.session import load_saved
from streamgmm.persistence.writer import Checkpoint


def load(path: str | os.PathLike[str]) -> GaussianMixture:
    """Read a model that `GaussianMixture.save` wrote, or what a checkpoint holds.

    Parameters
    ----------
    path : str or path-like
        The file, or the folder of a checkpoint.

    Returns
    -------
    GaussianMixture
        As it was saved. Of a checkpoint, what its newest valid generation holds: of a fit that has not ended, the
        parameters that it has come to, if any, with ``converged_`` False; `fit` goes on with it, and `partial_fit` with
        a stream.

    Raises
    ------
    CheckpointError
        The file or folder is missing, empty, damaged, foreign, of a newer format, or holds a `Selection`.

    Warns
    -----
    CheckpointWarning
        The newest generation was damaged, and an older one was read.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from streamgmm import GaussianMixture, load
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> GaussianMixture(1).fit([[0.0], [1.0]]).save(path)
    >>> load(path).means_
    array([[0.5]])
    """
    saved = load_saved(path)
    if os.path.isdir(path):
        folder = Path(path)
        check_is_fit(folder, saved)
        model: GaussianMixture = saved.content.model.to_model()
        setting, model._state = model.checkpoint, restore_state(saved)
        # the folder may have been moved
        model.checkpoint = replace(setting, path=folder) if isinstance(setting, Checkpoint) else str(folder)
        return model
    if not isinstance(saved.content, SavedModel):
        raise CheckpointError(f"{path} holds a selection; Selection.load reads it.")
    return saved.content.to_model()
