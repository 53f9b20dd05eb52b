"""A model and its checkpoint: what a generation holds, who may go on with it, and when one is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.sources import Source
from streamgmm.errors import CheckpointError, CheckpointMismatch, CheckpointWarning, CheckpointWriteError, InputError
from streamgmm.estimator.fitted_state import FittedState
from streamgmm.estimator.interruption import Interruption
from streamgmm.estimator.model_file import GIVEN, record
from streamgmm.estimator.restoring import restored
from streamgmm.fitting.context import FitState, FitTask
from streamgmm.persistence.codec import MALFORMED, decode, encode
from streamgmm.persistence.container import Arrays
from streamgmm.persistence.store import Generation
from streamgmm.persistence.writer import Checkpoint, CheckpointWriter, environment, new_run

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture


class Placed(Protocol):
    """A moment of something long."""

    def describe(self) -> str:
        """How far it has come, in words."""


State = TypeVar("State", bound=Placed)
Made = TypeVar("Made")

NO_MATTER = frozenset({"verbose", "verbose_interval", "checkpoint", "resume"})  # settings that change no bit
REMEDY = "set resume='never' to begin anew beside it, or choose another folder."


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointContents:
    """What a generation holds.

    Attributes
    ----------
    model : GaussianMixture
        As it was when it was written.
    settings : dict
        Of it, packed.
    run : str
        Names the fit or stream that it belongs to.
    task, fit_state : FitTask and FitState, or None
        Of a fit that has not ended; the task also of one that has.
    environment : dict of str
        What its bits depend on.
    """

    model: GaussianMixture
    settings: dict[str, Any]
    run: str
    task: FitTask | None
    fit_state: FitState | None
    environment: dict[str, str]

    @classmethod
    def of(
        cls, kind: type[GaussianMixture], folder: Path, generation: Generation, manifest: dict[str, Any], arrays: Arrays
    ) -> CheckpointContents:
        """Read a generation; CheckpointError where it contradicts itself, or is of a selection."""
        if not {"selection", "selected"}.isdisjoint(manifest):
            raise CheckpointMismatch(
                f"{folder} holds a selection, not a fit; select goes on with it, or Selection.load if it has learnt "
                "more since. Or choose another folder."
            )
        try:
            model = restored(kind, manifest, arrays)
            kept = manifest["kept"]
            task = decode(kept["task"], arrays, FitTask | None)
            fit_state = decode(kept["moment"], arrays, FitState | None)
            run = decode(kept["run"], arrays, str)
            made_in = {name: decode(what, arrays, str) for name, what in kept["environment"].items()}
            held = cls(model, _settings(manifest, arrays), run, task, fit_state, made_in)
            model.set_params(checkpoint=_elsewhere(model.checkpoint, folder))
            token = decode(kept["token"], arrays, NDArray[np.int64] | str | bytes | None)
            token = int(token[0]) if isinstance(token, np.ndarray) else token
            position = (run, generation.number)
            model._state = replace(model._state, generation=position, durable_token=token, latest_token=token)
        except MALFORMED as error:
            raise CheckpointError(f"{folder / generation.name} is not a valid checkpoint: {error}.") from None
        return held

    def check_settings(self, model: GaussianMixture, folder: Path, free: frozenset[str] = frozenset()) -> None:
        """Raise CheckpointMismatch where a model has other settings, but for those that are ``free``."""
        now = _settings(*record(model))
        for name in now:
            if name not in NO_MATTER | free and now[name] != self.settings.get(name):
                value = getattr(self.model, name)
                what = f"{name}={value!r}, not {getattr(model, name)!r}" if name not in GIVEN else f"another {name}"
                raise CheckpointMismatch(f"{folder} holds what was learnt with {what}; set it back, {REMEDY}")


def _settings(manifest: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Settings in a form in which equal ones are equal."""
    given = {name: arrays[name].tolist() if name in arrays else None for name in GIVEN}
    return {**manifest["settings"], **given}


def _elsewhere(checkpoint: Any, folder: Path) -> Any:
    """The same setting, for a folder that may have been moved."""
    if isinstance(checkpoint, Checkpoint):
        return Checkpoint(folder, checkpoint.seconds, checkpoint.batches, checkpoint.kept)
    return str(folder)


def state_of(random: RandomState) -> tuple[Any, ...]:
    """What a generator goes on from."""
    state: Any = random.get_state(legacy=True)
    return tuple(state)


def warn_of_changes(folder: Path, before: dict[str, str], now: dict[str, str]) -> None:
    """Warn where bits may differ from those of an uninterrupted fit."""
    changed = [f"{name} {before.get(name)}, now {now[name]}" for name in now if now[name] != before.get(name)]
    if changed:
        warnings.warn(
            f"{folder} was written in another environment ({'; '.join(changed)}); what is learnt from there on may "
            "differ in the last bits.",
            CheckpointWarning,
            stacklevel=2,
        )


def open_writer(model: GaussianMixture, least: float = 0.0) -> CheckpointWriter | None:
    """Return the right to write generations, or None without a checkpoint; the one that the model has, if it has it."""
    setting, own = model.checkpoint, model._writer
    if setting is None:
        if own is not None:
            own.store.close()
            model._writer = None
        return None
    checkpoint = setting if isinstance(setting, Checkpoint) else Checkpoint(setting)
    if own is not None and own.checkpoint == checkpoint and own.store.is_open:
        return own
    if own is not None:
        own.store.close()
    try:
        record(model)
    except TypeError as error:
        raise InputError(
            f"What the model has to keep cannot be kept in a file: {error}. Set another value, such as one of "
            "streamgmm.algorithms.schedules, or checkpoint=None."
        ) from None
    writer = CheckpointWriter(checkpoint, least)
    writer.store.open()
    return writer


def read_contents(model: GaussianMixture, writer: CheckpointWriter) -> CheckpointContents | None:
    """Return the contents to go on with; CheckpointError where there must be some and are none."""
    if model.resume == "never":
        return None
    folder = writer.checkpoint.folder
    held = writer.store.read_newest(partial(CheckpointContents.of, type(model), folder))
    if held is None and model.resume == "must":
        raise CheckpointError(
            f"{folder} holds nothing to go on with, and resume='must'; give the folder of the earlier fit, or set "
            "resume='auto'."
        )
    if held is not None:
        warn_of_changes(folder, held.environment, environment())
    return held


def begin_fit(
    model: GaussianMixture, writer: CheckpointWriter, source: Source, task: FitTask, random: RandomState
) -> tuple[CheckpointContents | None, FitTask]:
    """Return what `fit` goes on with, if anything, and its task; CheckpointError where it must not go on."""
    folder = writer.checkpoint.folder
    task = replace(task, rows=Fingerprint.from_source(source), random=state_of(random))
    held = read_contents(model, writer)
    is_own = held is not None and model._state.generation is not None and held.run == model._state.generation[0]
    if held is None or (held.fit_state is None and (is_own or task.before is not None)):
        writer.run = new_run()  # another fit of a model that has come to its end
        return None, task
    if held.task is None:
        raise CheckpointMismatch(
            f"{folder} holds a stream that partial_fit has learnt, and that a fit would end; call partial_fit to "
            f"go on with it, {REMEDY}"
        )
    held.check_settings(model, folder, frozenset() if held.fit_state is None else frozenset({"max_iter"}))
    difference = "" if held.task.rows is None or task.rows is None else held.task.rows.describe_difference(task.rows)
    if difference:
        raise CheckpointMismatch(f"{folder} holds a fit to other rows: X has {difference}; pass the same X, {REMEDY}")
    versions = [None if one.before is None else one.before.version for one in (task, held.task)]
    if versions[0] is not None and versions[0] != versions[1] and not is_own:
        raise CheckpointMismatch(f"{folder} holds a fit that began elsewhere than this warm start; {REMEDY}")
    writer.run = held.run
    return held, held.task


def attach(model: GaussianMixture) -> None:
    """Go on with the contents of the checkpoint, once, before anything is learnt from a stream."""
    writer = open_writer(model)
    if writer is None or writer is model._writer:
        return
    folder = writer.checkpoint.folder
    try:
        held = read_contents(model, writer)
        is_new = model._state.n_samples_seen is None
        if held is not None and held.fit_state is not None:
            raise CheckpointMismatch(f"{folder} holds a fit that has not ended; call fit to go on with it, {REMEDY}")
        if held is not None and is_new:
            held.check_settings(model, folder, frozenset({"max_iter"}))
        elif held is not None and held.model._state.generation != model._state.generation:
            raise CheckpointMismatch(
                f"{folder} holds something else than this model has learnt; load it to go on with that, {REMEDY}"
            )
    except BaseException:
        writer.store.close()
        raise
    writer.run = writer.run if held is None else held.run
    if held is not None and is_new:
        model._state = held.model._state
    model._writer = writer


def adopt(model: GaussianMixture, state: FittedState) -> None:
    """Set the state after rows were learnt, once a generation holds it if one is due."""
    writer = model._writer
    if writer is not None and writer.is_due(retry=True):
        state = mark_written(state, writer, write_generation(model, state, writer))
    model._state = state


def write_generation(
    model: GaussianMixture,
    state: FittedState,
    writer: CheckpointWriter,
    task: FitTask | None = None,
    fit_state: FitState | None = None,
) -> Generation:
    """Write a generation with the settings of a model and a state, and read it back."""
    manifest, arrays = record(model, state)
    token: Any = state.latest_token
    if token is not None and not isinstance(token, str | bytes):
        token = np.array([token], np.int64)  # it may be negative
    manifest["kept"] = {
        "run": writer.run,
        "task": encode(task, "task", arrays),
        "moment": encode(fit_state, "moment", arrays),
        "environment": environment(),
        "token": encode(token, "token", arrays),
    }
    return writer.write(manifest, arrays, partial(CheckpointContents.of, type(model), writer.checkpoint.folder))


def mark_written(state: FittedState, writer: CheckpointWriter | None, generation: Generation | None) -> FittedState:
    """Return the state with the generation that holds it, which makes its latest token durable."""
    if writer is None or generation is None:
        return state
    durable = state.durable_token if state.latest_token is None else state.latest_token
    return replace(state, generation=(writer.run, generation.number), durable_token=durable)


class CheckpointSession(Generic[State, Made]):
    """Writes generations of a fit while it runs, and takes over what it has come to where it is interrupted.

    Parameters
    ----------
    what : str
        That is interrupted, in a word.
    checkpoint_writer : CheckpointWriter or None
        Says when to write; None where nothing is kept.
    fit_state : FitState or SelectionState
        Where it begins.
    left : callable
        What is to be had of it if it is left at a moment.
    write : callable
        Writes that, and the moment.
    take_over : callable
        Takes it, where it is interrupted.
    """

    def __init__(
        self,
        what: str,
        checkpoint_writer: CheckpointWriter | None,
        fit_state: State,
        left: Callable[[State], Made],
        write: Callable[[Made, State], Generation],
        take_over: Callable[[Made], None],
    ) -> None:
        self._what = what
        self._keeper = checkpoint_writer
        self._moment = fit_state
        self._left = left
        self._write_out = write
        self._take_over = take_over
        self._interruption = Interruption()

    def __enter__(self) -> Self:
        if self._keeper is not None:  # a batch that is finished first is one that need not be read again
            self._interruption.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        try:
            if isinstance(error, KeyboardInterrupt):
                after = self._left(self._moment)
                generation = self._write(after)
                self._take_over(after)
                if self._keeper is not None and generation is not None:  # or there was no room for it
                    where = f"generation {generation.number} of {self._keeper.checkpoint.folder}"
                    error.add_note(f"the same {self._what} goes on from {where} ({self._moment.describe()})")
        finally:
            self._interruption.__exit__()

    def watch(self, fit_state: State) -> None:
        """Take a step."""
        self._moment = fit_state
        self._interruption.check()
        if self._keeper is not None and self._keeper.is_due():
            self._write(self._left(fit_state))

    def _write(self, made: Made) -> Generation | None:
        """Write a generation; a fit does not end because there is no room for it: the one before is still there."""
        if self._keeper is None:
            return None
        try:
            return self._write_out(made, self._moment)
        except CheckpointWriteError as error:
            warnings.warn(f"{error} The {self._what} goes on without.", CheckpointWarning, stacklevel=2)
            return None
