"""A selection and its checkpoint: what a generation holds, and who may go on with it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from numpy.random import RandomState

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.sources import Source
from streamgmm.errors import CheckpointError, CheckpointMismatch, CheckpointWarning, CheckpointWriteError
from streamgmm.estimator.keeping import REMEDY, state_of, warn_of_changes
from streamgmm.fitting.context import FitTask
from streamgmm.persistence.codec import MALFORMED, decode, encode
from streamgmm.persistence.container import Arrays
from streamgmm.persistence.store import Generation, read_newest
from streamgmm.persistence.writer import Checkpoint, CheckpointWriter, environment
from streamgmm.selection.context import SelectionStartsState
from streamgmm.selection.files import KEY
from streamgmm.selection.race_state import SelectionState

Settings = Mapping[str, Any]

MOST_STARTS = 256  # that the manifest of a generation has room for


@dataclass(frozen=True, slots=True, eq=False)
class SelectionContents:
    """What a generation of a selection holds.

    Attributes
    ----------
    settings : dict
        Arguments of `streamgmm.select` that the result depends on.
    task : FitTask
        What it was begun with, beside these.
    choice : SelectionState
        How far it has come.
    run : str
        Names the selection.
    number : int
        Of the generation.
    environment : dict of str
        What its bits depend on.
    """

    settings: dict[str, Any]
    task: FitTask
    choice: SelectionState
    run: str
    number: int
    environment: dict[str, str]

    @classmethod
    def of(cls, folder: Path, generation: Generation, manifest: dict[str, Any], arrays: Arrays) -> Self:
        """Read a generation; CheckpointError where it contradicts itself, or is of a fit."""
        if KEY in manifest:
            raise CheckpointMismatch(
                f"{folder} holds a selection that has learnt more rows since it was made; Selection.load goes on with "
                f"that, or {REMEDY}"
            )
        if "selection" not in manifest:
            raise CheckpointMismatch(f"{folder} holds a fit or a stream, not a selection; choose another folder.")
        try:
            kept = manifest["selection"]
            settings = {name: decode(value, arrays) for name, value in kept["settings"].items()}
            made_in = {name: decode(value, arrays, str) for name, value in kept["environment"].items()}
            task, choice = decode(kept["task"], arrays, FitTask), decode(kept["choice"], arrays, SelectionState)
            return cls(settings, task, choice, decode(kept["run"], arrays, str), generation.number, made_in)
        except MALFORMED as error:
            raise CheckpointError(f"{folder / generation.name} is not a valid checkpoint: {error}.") from None

    def check(self, settings: Settings, rows: Fingerprint, folder: Path) -> None:
        """Raise CheckpointMismatch where a selection is another one."""
        for name, value in settings.items():
            if value != self.settings.get(name):
                raise CheckpointMismatch(
                    f"{folder} holds a selection with {name}={self.settings.get(name)!r}, not {value!r}; set it back, "
                    f"{REMEDY}"
                )
        difference = "" if self.task.rows is None else self.task.rows.describe_difference(rows)
        if difference:
            raise CheckpointMismatch(
                f"{folder} holds a selection by other rows: X has {difference}; pass the same X, {REMEDY}"
            )


class SelectionCheckpoint:
    """The right to write generations of a selection, and what there was to go on with. A context manager.

    Parameters
    ----------
    checkpoint : str, path-like or Checkpoint
        The folder.
    resume : {'auto', 'never', 'must'}
        As in `GaussianMixture`.
    settings : mapping
        Arguments of `streamgmm.select` that the result depends on: strings, numbers, tuples of them and None.
    source : Source
        The rows.
    task : FitTask
        What the selection begins with, if it is not gone on with.
    random : RandomState
        Of its starts.
    """

    def __init__(
        self, checkpoint: Any, resume: str, settings: Settings, source: Source, task: FitTask, random: RandomState
    ) -> None:
        self.task = replace(task, rows=Fingerprint.from_source(source), random=state_of(random))
        self.choice: SelectionState = SelectionStartsState()
        self._settings = dict(settings)
        self.checkpoint_writer = CheckpointWriter(
            checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint), min_seconds=1.0
        )
        self._resume = resume
        self._number = 0

    @property
    def place(self) -> tuple[str, int]:
        """Which selection it is, and the number of its latest generation."""
        return self.checkpoint_writer.run, self._number

    def __enter__(self) -> Self:
        """Open the folder and find what it holds; CheckpointError where it is not to be gone on with."""
        store, folder = self.checkpoint_writer.store.open(), self.checkpoint_writer.checkpoint.folder
        try:
            held = None
            if self._resume != "never":
                held = store.read_newest(partial(SelectionContents.of, folder))
            if held is None and self._resume == "must":
                raise CheckpointError(
                    f"{folder} holds nothing to go on with, and resume='must'; give the folder of the earlier "
                    "selection, or set resume='auto'."
                )
            if held is not None:
                assert self.task.rows is not None  # or nothing would be kept
                held.check(self._settings, self.task.rows, folder)
                warn_of_changes(folder, held.environment, environment())
                self.task, self.choice, self.checkpoint_writer.run = held.task, held.choice, held.run
                self._number = held.number
        except BaseException:
            store.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.checkpoint_writer.store.close()

    def write(self, choice: SelectionState) -> Generation:
        """Write a generation."""
        arrays: Arrays = {}
        kept = {
            "settings": {name: encode(value, name, arrays) for name, value in self._settings.items()},
            "run": self.checkpoint_writer.run,
            "task": encode(self.task, "task", arrays),
            "choice": encode(choice, "choice", arrays),
            "environment": environment(),
        }
        read = partial(SelectionContents.of, self.checkpoint_writer.checkpoint.folder)
        generation = self.checkpoint_writer.write({"selection": kept}, arrays, read)
        self._number = generation.number
        return generation

    def write_last(self, choice: SelectionState) -> None:
        """Write a generation of what has ended, whose result is there whether or not there is room for it."""
        try:
            self.write(choice)
        except CheckpointWriteError as error:
            warnings.warn(f"{error} The selection has ended nevertheless.", CheckpointWarning, stacklevel=5)


def held_choice(folder: Path) -> SelectionContents | None:
    """What a folder holds of a selection; None where it holds something else, or nothing."""
    try:
        return read_newest(folder, partial(SelectionContents.of, folder))
    except CheckpointMismatch:
        return None
