"""load(): a model from a file or from a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from streamgmm.errors import CheckpointError
from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.keeping import CheckpointContents
from streamgmm.estimator.restoring import read_model
from streamgmm.persistence.container import load_file
from streamgmm.persistence.store import read_newest


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
    if os.path.isdir(path):
        folder = Path(path)
        held: CheckpointContents | None = read_newest(
            folder, lambda *found: CheckpointContents.of(GaussianMixture, folder, *found)
        )
        if held is None:
            raise CheckpointError(f"{path} is a folder without a generation of a checkpoint; there is nothing to load.")
        return held.model
    return read_model(GaussianMixture, Path(path), *load_file(Path(path)))
