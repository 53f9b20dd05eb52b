"""A selection that was made, and learns on, in one file or as generations of a checkpoint; and back."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import CheckpointError, CheckpointMismatch
from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.keeping import warn_of_changes
from streamgmm.estimator.model_file import record
from streamgmm.estimator.restoring import restored
from streamgmm.persistence.codec import MALFORMED, decode, encode
from streamgmm.persistence.container import Arrays, load_file, save_file
from streamgmm.persistence.store import Generation, read_newest
from streamgmm.persistence.writer import Checkpoint, CheckpointWriter, environment

if TYPE_CHECKING:
    from streamgmm.selection.selection import Selection

KEY = "selected"  # of a manifest
KINDS = (np.dtype(bool), np.dtype(np.int64), np.dtype(np.float64))  # of columns of a table, beside words
ComponentArrays = dict[str, Any]  # arguments of `Selection`


def save_selection(selection: Selection, path: str | os.PathLike[str]) -> None:
    """Write a selection to one file; one that was there is replaced once the new one is safe."""
    save_file(path, *_recorded(selection), partial(_parts, Path(path)))


def load_parts(path: str | os.PathLike[str]) -> ComponentArrays:
    """What makes the selection in a file, or in the newest valid generation of a checkpoint; CheckpointError."""
    if not os.path.isdir(path):
        return _parts(Path(path), *load_file(Path(path)))
    folder = Path(path)
    held = read_newest(folder, partial(held_parts, folder))
    if held is None:
        raise CheckpointError(f"{path} is a folder without a generation of a checkpoint; there is nothing to load.")
    warn_of_changes(folder, held.pop("environment"), environment())
    return held


def held_parts(folder: Path, generation: Generation, manifest: dict[str, Any], arrays: Arrays) -> ComponentArrays:
    """What makes the selection in a generation, and the environment that it was written in."""
    if "selection" in manifest:
        raise CheckpointMismatch(
            f"{folder} holds a selection that has learnt no rows since it was made, or is not yet made; call select "
            "with this checkpoint and the same X to go on with it."
        )
    parts = _parts(folder / generation.name, manifest, arrays)
    try:
        made_in = {name: decode(value, arrays, str) for name, value in manifest["environment"].items()}
    except MALFORMED as error:
        raise CheckpointError(f"{folder / generation.name} is not a valid checkpoint: {error}.") from None
    return {**parts, "checkpoint": folder, "place": _place(generation, manifest, arrays), "environment": made_in}


def opened(checkpoint: Any, place: tuple[str, int]) -> CheckpointWriter:
    """The right to write generations that go on from one; CheckpointMismatch where the newest is another."""
    checkpoint_writer = CheckpointWriter(
        checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint), min_seconds=1.0
    )
    store, folder = checkpoint_writer.store.open(), checkpoint_writer.checkpoint.folder
    try:
        if store.read_newest(_place) != place:
            raise CheckpointMismatch(
                f"{folder} holds something else than this selection has learnt; Selection.load goes on with that, or "
                "choose another folder."
            )
    except BaseException:
        store.close()
        raise
    checkpoint_writer.run = place[0]
    return checkpoint_writer


def write(checkpoint_writer: CheckpointWriter, selection: Selection) -> tuple[str, int]:
    """Write a generation; which one it is."""
    manifest, arrays = _recorded(selection)
    manifest |= {"run": checkpoint_writer.run, "environment": environment()}
    read = partial(held_parts, checkpoint_writer.checkpoint.folder)
    generation = checkpoint_writer.write(manifest, arrays, read)
    return checkpoint_writer.run, generation.number


def _place(generation: Generation, manifest: dict[str, Any], _: Arrays) -> tuple[str, int]:
    """Which selection a generation is of, and its number."""
    try:
        run: str = decode(manifest.get("selection", manifest)["run"], {}, str)
    except MALFORMED as error:
        raise CheckpointError(f"generation {generation.number} names no selection: {error}.") from None
    return run, generation.number


def _recorded(selection: Selection) -> tuple[dict[str, Any], Arrays]:
    arrays: Arrays = {}
    models: list[dict[str, Any] | None] = []
    for place, model in enumerate(selection.models):
        manifest, own = ({}, {}) if model is None else record(model)
        arrays |= {f"{place}.{name}": array for name, array in own.items()}
        models.append(manifest or None)
    table = [
        [name, encode(column if column.dtype.kind != "U" else tuple(column.tolist()), f"table.{name}", arrays)]
        for name, column in selection.table.items()
    ]
    parts = {
        "best": next(place for place, model in enumerate(selection.models) if model is selection.best),
        "criterion": selection.criterion,
        "worth": encode(float(selection.worth), "worth", arrays),
        "models": models,
        "table": table,
    }
    return {KEY: parts}, arrays


def _parts(path: Path, manifest: dict[str, Any], arrays: Arrays) -> ComponentArrays:
    if KEY not in manifest:
        raise CheckpointMismatch(f"{path} holds a model, not a selection; streamgmm.load reads it.")
    try:
        kept = manifest[KEY]
        models = tuple(_model(place, one, arrays) for place, one in enumerate(kept["models"]))
        table = {name: _column(decode(column, arrays)) for name, column in kept["table"]}
        best, criterion = models[decode(kept["best"], arrays, int)], decode(kept["criterion"], arrays, str)
        if best is None or criterion not in {*table, "gain"} or any(len(one) != len(models) for one in table.values()):
            raise ValueError("its table is of other candidates")
        worth = decode(kept["worth"], arrays, float)
    except MALFORMED as error:
        raise CheckpointError(f"{path} is not a valid selection: {error}.") from None
    return {"best": best, "table": table, "criterion": criterion, "models": models, "worth": worth}


def _model(place: int, manifest: dict[str, Any] | None, arrays: Arrays) -> GaussianMixture | None:
    if manifest is None:
        return None
    prefix = f"{place}."
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    model: GaussianMixture = restored(GaussianMixture, manifest, own)
    if not hasattr(model, "means_"):
        raise ValueError("a candidate is not fitted")
    return model


def _column(values: Any) -> NDArray[Any]:
    column = np.array(values) if isinstance(values, tuple) else values
    if not (
        isinstance(column, np.ndarray) and column.ndim == 1 and (column.dtype.kind == "U" or column.dtype in KINDS)
    ):
        raise TypeError("a column of its table is none")
    return column
