"""Saved selections: a selection in a file, and the generations of one that runs or learns on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.source import Source
from streamgmm.errors import CheckpointError, CheckpointMismatch, CheckpointWarning, CheckpointWriteError
from streamgmm.estimator.saved_model import SavedModel
from streamgmm.fitting.context import FitTask
from streamgmm.persistence.codec import persistent
from streamgmm.persistence.session import (
    REMEDY,
    SavedContent,
    check_same,
    find_resumable,
    load_saved,
    open_writer,
    read_generation_content,
    warn_of_environment,
    write_content,
)
from streamgmm.persistence.store import Generation
from streamgmm.persistence.writer import CheckpointWriter
from streamgmm.selection.context import SelectionStartsState
from streamgmm.selection.race_state import SelectionState

if TYPE_CHECKING:
    from streamgmm.selection.selection import Selection

MAX_STARTS = 256  # for which the manifest of a generation has room
COLUMN_DTYPES = (np.dtype(bool), np.dtype(np.int64), np.dtype(np.float64))  # of a table, besides strings
MIN_SECONDS = 1.0  # between two generations


@persistent("selection-1")
@dataclass(frozen=True, slots=True, eq=False)
class SavedSelection:
    """Candidates and table of a `Selection`; ``best`` is an index of ``models``."""

    models: tuple[SavedModel | None, ...]
    best: int
    table: dict[str, NDArray[Any]]
    criterion: str
    worth: float

    @classmethod
    def from_selection(cls, selection: Selection) -> SavedSelection:
        """Return what is to be saved of a selection."""
        models = tuple(None if model is None else SavedModel.from_model(model) for model in selection.models)
        best = next(index for index, model in enumerate(selection.models) if model is selection.best)
        return cls(models, best, selection.table, selection.criterion, float(selection.worth))

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `Selection`."""
        models = tuple(None if model is None else model.to_model() for model in self.models)
        parts = {"table": self.table, "criterion": self.criterion, "worth": self.worth}
        return {"best": models[self.best], "models": models, **parts}

    def validate(self) -> None:
        """Raise ValueError unless the table is of the candidates, and all of these are fitted."""
        columns = self.table.values()
        if any(column.shape != (len(self.models),) for column in columns):
            raise ValueError("its table is of other candidates")
        if any(column.dtype.kind != "U" and column.dtype not in COLUMN_DTYPES for column in columns):
            raise ValueError("a column of its table is none")
        if not all(model is None or model.fitted.is_fitted for model in self.models):
            raise ValueError("a candidate is not fitted")
        if self.models[self.best] is None or self.criterion not in {*self.table, "gain"}:
            raise ValueError("the best candidate is none")


@persistent("selection-generation-1")
@dataclass(frozen=True, slots=True, eq=False)
class SelectionGeneration:
    """Content of a generation of a selection that runs, or has ended without a call of `partial_fit`.

    Attributes
    ----------
    settings : dict
        Arguments of `streamgmm.select` that the result depends on.
    task : FitTask
        Seed, random state and fingerprint of the rows.
    progress : SelectionState
        State of the current phase.
    """

    settings: dict[str, Any]
    task: FitTask
    progress: SelectionState


def load_selection(path: Path) -> tuple[dict[str, Any], tuple[str, int]]:
    """Return the arguments of a saved selection, and its run and generation; CheckpointError."""
    saved = load_saved(path)
    if isinstance(saved.content, SelectionGeneration):
        raise CheckpointMismatch(
            f"{path} holds a selection that runs or has not been updated since; call select with this checkpoint "
            "and the same X to resume it."
        )
    if not isinstance(saved.content, SavedSelection):
        raise CheckpointMismatch(f"{path} holds a model, not a selection; streamgmm.load reads it.")
    if not path.is_dir():
        return saved.content.arguments(), ("", 0)
    warn_of_environment(path, saved)
    return {**saved.content.arguments(), "checkpoint": path}, (saved.run, saved.number)


def load_running_selection(folder: Path) -> SelectionGeneration | None:
    """Return what a folder holds of a selection that `select` resumes; None where it holds something else."""
    content = load_saved(folder).content
    return content if isinstance(content, SelectionGeneration) else None


def open_selection_writer(checkpoint: Any, position: tuple[str, int]) -> CheckpointWriter:
    """Return a writer that continues a generation; CheckpointMismatch unless it is the newest."""
    writer = open_writer(checkpoint, MIN_SECONDS)
    folder = writer.checkpoint.folder

    def read_position(*generation: Any) -> tuple[str, int]:
        saved = read_generation_content(folder, *generation)
        return saved.run, saved.number

    try:
        if writer.store.read_newest(read_position) != position:
            raise CheckpointMismatch(
                f"{folder} holds a generation that this selection does not continue; read it with Selection.load, or "
                "choose another folder."
            )
    except BaseException:
        writer.store.close()
        raise
    writer.run = position[0]
    return writer


class SelectionCheckpoint:
    """Checkpoint of a running selection, as a context that holds its folder.

    Parameters
    ----------
    checkpoint : str, path-like or Checkpoint
        The folder.
    resume : {'auto', 'never', 'must'}
        Resume if there is a generation; never; or raise CheckpointError if there is none.
    settings : mapping
        Arguments of `streamgmm.select` that the result depends on.
    source : Source
        The rows.
    task : FitTask
        Seed and start of the selection, unless it is resumed.
    random : RandomState
        Random state of the starts.
    """

    def __init__(
        self,
        checkpoint: Any,
        resume: str,
        settings: Mapping[str, Any],
        source: Source,
        task: FitTask,
        random: RandomState,
    ) -> None:
        self.task = replace(task, rows=Fingerprint.from_source(source), random=tuple(random.get_state(legacy=True)))
        self.progress: SelectionState = SelectionStartsState()
        self.position = ("", 0)  # run and number of the latest generation
        self._checkpoint, self._resume, self._settings = checkpoint, resume, dict(settings)

    def __enter__(self) -> Self:
        """Open the folder and read the generation to resume, if any; CheckpointError."""
        self.writer = open_writer(self._checkpoint, MIN_SECONDS)
        try:
            saved = find_resumable(self.writer, self._resume, "selection")
            if saved is not None:
                self._resume_from(self.writer.checkpoint.folder, saved)
        except BaseException:
            self.writer.store.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.store.close()

    def make_content(self, progress: SelectionState) -> SelectionGeneration:
        """Return the content of a generation."""
        return SelectionGeneration(self._settings, self.task, progress)

    def write_last(self, progress: SelectionState) -> None:
        """Write the last generation; only warn if that fails, because the selection has ended."""
        try:
            generation: Generation = write_content(self.writer, self.make_content(progress))
        except CheckpointWriteError as error:
            warnings.warn(f"{error} The selection has ended nevertheless.", CheckpointWarning, stacklevel=5)
            return
        self.position = (self.writer.run, generation.number)

    def _resume_from(self, folder: Path, saved: SavedContent) -> None:
        content = saved.content
        if isinstance(content, SavedSelection):
            raise CheckpointMismatch(
                f"{folder} holds a selection that was updated since; read it with Selection.load, or {REMEDY}"
            )
        if not isinstance(content, SelectionGeneration):
            raise CheckpointMismatch(f"{folder} holds a fit or a stream, not a selection; choose another folder.")
        if content.task.rows is None or self.task.rows is None:
            raise CheckpointError(f"{folder} does not say of which rows its selection is; choose another folder.")
        difference = content.task.rows.describe_difference(self.task.rows)
        check_same(folder, "selection", content.settings, self._settings, difference)
        warn_of_environment(folder, saved)
        self.task, self.progress = content.task, content.progress
        self.writer.run, self.position = saved.run, (saved.run, saved.number)
