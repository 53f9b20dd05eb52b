"""Checkpoints of fits and streams: the content of their generations, and who may resume them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.random import RandomState

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.source import Source
from streamgmm.errors import CheckpointMismatch, InputError
from streamgmm.estimator.fitted_state import FittedState, is_token
from streamgmm.estimator.saved_model import SavedModel, list_savable_settings
from streamgmm.fitting.context import FitState, FitTask
from streamgmm.persistence.codec import encode, persistent
from streamgmm.persistence.session import (
    REMEDY,
    SavedContent,
    check_same,
    find_resumable,
    open_writer,
    warn_of_environment,
    write_content,
)
from streamgmm.persistence.store import Generation
from streamgmm.persistence.writer import Checkpoint, CheckpointWriter, new_run

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture

IRRELEVANT = {"verbose", "verbose_interval", "checkpoint", "resume"}  # settings that change no bit


@persistent("model-generation-1")
@dataclass(frozen=True, slots=True, eq=False)
class ModelGeneration:
    """Content of a generation of a fit or a stream.

    Attributes
    ----------
    model : SavedModel
        The model at this point.
    token : int, str, bytes or None
        Latest token of a stream, which this generation makes durable.
    task : FitTask or None
        Seed and start of the fit; None for a stream.
    progress : FitState or None
        State of a fit that has not ended.
    """

    model: SavedModel
    token: Any = None
    task: FitTask | None = None
    progress: FitState | None = None

    def validate(self) -> None:
        """Raise ValueError unless the token is one."""
        if not is_token(self.token):
            raise ValueError("the token is none")


def make_generation(
    model: GaussianMixture, state: FittedState, task: FitTask | None = None, progress: FitState | None = None
) -> ModelGeneration:
    """Return the content of a generation with the settings of a model and a state."""
    return ModelGeneration(SavedModel.from_model(model, state), state.latest_token, task, progress)


def restore_state(saved: SavedContent) -> FittedState:
    """Return the state in a generation, which says where it is kept."""
    content: ModelGeneration = saved.content
    position = (saved.run, saved.number)
    return replace(content.model.fitted, generation=position, durable_token=content.token, latest_token=content.token)


def mark_written(state: FittedState, writer: CheckpointWriter | None, generation: Generation | None) -> FittedState:
    """Return the state with the generation that holds it, which makes its latest token durable."""
    if writer is None or generation is None:
        return state
    durable = state.durable_token if state.latest_token is None else state.latest_token
    return replace(state, generation=(writer.run, generation.number), durable_token=durable)


def check_is_fit(folder: Path, saved: SavedContent) -> None:
    """Raise CheckpointMismatch where a generation is not of a fit or a stream."""
    if not isinstance(saved.content, ModelGeneration):
        raise CheckpointMismatch(
            f"{folder} holds a selection, not a fit; resume it with select, or read it with Selection.load if it was "
            "updated since. Or choose another folder."
        )


def open_model_writer(model: GaussianMixture, min_seconds: float = 0.0) -> CheckpointWriter | None:
    """Return the open writer of a model, made if it has none for its setting; None without a checkpoint."""
    setting, writer = model.checkpoint, model._writer
    if writer is not None:
        if setting is not None and writer.store.is_open and writer.checkpoint == _as_checkpoint(setting):
            return writer
        writer.store.close()
    if setting is None:
        model._writer = None
        return None
    try:
        encode(list_savable_settings(model), "settings", {})
    except TypeError as error:
        raise InputError(
            f"What the model has to keep cannot be kept in a file: {error}. Set another value, such as one of "
            "streamgmm.algorithms.schedules, or checkpoint=None."
        ) from None
    return open_writer(setting, min_seconds)


def resume_fit(
    model: GaussianMixture, writer: CheckpointWriter, source: Source, task: FitTask, random: RandomState
) -> tuple[SavedContent | None, FitTask]:
    """Return what `fit` resumes, if anything, and its task; CheckpointMismatch where it must not go on."""
    folder = writer.checkpoint.folder
    task = replace(task, rows=Fingerprint.from_source(source), random=tuple(random.get_state(legacy=True)))
    saved = _find_fit(model, writer)
    is_own = saved is not None and model._state.generation is not None and saved.run == model._state.generation[0]
    if saved is None or (saved.content.progress is None and (is_own or task.before is not None)):
        writer.run = new_run()  # another fit of a model that has come to its end
        return None, task
    content: ModelGeneration = saved.content
    if content.task is None:
        raise CheckpointMismatch(
            f"{folder} holds a stream that partial_fit has learnt, and that a fit would end; call partial_fit to "
            f"go on with it, {REMEDY}"
        )
    assert content.task.rows is not None and task.rows is not None  # or nothing would be kept
    difference = content.task.rows.describe_difference(task.rows)
    _check_settings(folder, content, model, may_prolong=content.progress is not None, row_difference=difference)
    if task.before is not None and not is_own:
        if content.task.before is None or content.task.before.version != task.before.version:
            raise CheckpointMismatch(f"{folder} holds a fit that began elsewhere than this warm start; {REMEDY}")
    writer.run = saved.run
    return saved, content.task


def attach_checkpoint(model: GaussianMixture) -> None:
    """Resume the stream in the checkpoint of a model, once, before anything more is learnt."""
    writer = open_model_writer(model)
    if writer is None or writer is model._writer:
        return
    folder = writer.checkpoint.folder
    try:
        saved = _find_fit(model, writer)
        is_new = model._state.n_samples_seen is None
        if saved is not None and saved.content.progress is not None:
            raise CheckpointMismatch(f"{folder} holds a fit that has not ended; resume it with fit, {REMEDY}")
        if saved is not None and is_new:
            _check_settings(folder, saved.content, model, may_prolong=True)
        elif saved is not None and (saved.run, saved.number) != model._state.generation:
            raise CheckpointMismatch(
                f"{folder} holds a generation that this model does not continue; read it with "
                f"GaussianMixture.load, {REMEDY}"
            )
    except BaseException:
        writer.store.close()
        raise
    if saved is not None:
        writer.run = saved.run
        model._state = restore_state(saved) if is_new else model._state
    model._writer = writer


def adopt_state(model: GaussianMixture, state: FittedState) -> None:
    """Set the state after rows were learnt, once a generation holds it if one is due."""
    writer = model._writer
    if writer is not None and writer.is_due(retry=True):
        state = mark_written(state, writer, write_content(writer, make_generation(model, state)))
    model._state = state


def _find_fit(model: GaussianMixture, writer: CheckpointWriter) -> SavedContent | None:
    saved = find_resumable(writer, model.resume, "fit")
    if saved is not None:
        check_is_fit(writer.checkpoint.folder, saved)
        warn_of_environment(writer.checkpoint.folder, saved)
    return saved


def _check_settings(
    folder: Path, content: ModelGeneration, model: GaussianMixture, *, may_prolong: bool, row_difference: str = ""
) -> None:
    free = IRRELEVANT | ({"max_iter"} if may_prolong else set())
    settings = {name: value for name, value in list_savable_settings(model).items() if name not in free}
    check_same(folder, "fit", content.model.settings, settings, row_difference)


def _as_checkpoint(setting: Any) -> Checkpoint:
    return setting if isinstance(setting, Checkpoint) else Checkpoint(setting)
