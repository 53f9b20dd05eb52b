"""Sessions of checkpoints: what there is to resume, whether it may be resumed, and generations while a fit runs.

A generation and a file hold one registered object, which validates itself when it is decoded.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from streamgmm.errors import CheckpointError, CheckpointMismatch, CheckpointWarning, CheckpointWriteError
from streamgmm.persistence.codec import MALFORMED, decode, encode, is_registered
from streamgmm.persistence.container import Arrays, Manifest, load_file, save_file
from streamgmm.persistence.store import Generation, read_newest
from streamgmm.persistence.writer import Checkpoint, CheckpointWriter, environment

REMEDY = "set resume='never' to begin anew beside it, or choose another folder."
CONTENT = "content"  # of a manifest


@dataclass(frozen=True, slots=True, eq=False)
class SavedContent:
    """Content of a generation.

    Attributes
    ----------
    content : object
        Object of a registered class.
    run : str
        Name of the fit or stream that it belongs to.
    number : int
        Number of the generation.
    environment : dict of str
        Versions and processor, which the last bits depend on.
    """

    content: Any
    run: str
    number: int
    environment: dict[str, str]


def encode_content(content: object) -> tuple[Manifest, Arrays]:
    """Return an object of a registered class as a manifest and arrays; TypeError where a part cannot be saved."""
    arrays: Arrays = {}
    return {CONTENT: encode(content, CONTENT, arrays)}, arrays


def save_object(path: str | os.PathLike[str], content: object) -> None:
    """Write an object of a registered class to a file; TypeError, CheckpointWriteError or OSError if it cannot be."""
    save_file(path, *encode_content(content), partial(_decode_content, Path(path)))


def load_saved(path: str | os.PathLike[str]) -> SavedContent:
    """Return the content of a file (of no run), or of the newest valid generation in a folder.

    CheckpointError where there is none.
    """
    if not os.path.isdir(path):
        return SavedContent(_decode_content(Path(path), *load_file(Path(path))), "", 0, environment())
    saved = read_newest(Path(path), partial(read_generation_content, Path(path)))
    if saved is None:
        raise CheckpointError(f"{path} is a folder without a generation of a checkpoint; there is nothing to load.")
    return saved


def read_generation_content(folder: Path, generation: Generation, manifest: Manifest, arrays: Arrays) -> SavedContent:
    """Return the decoded content of a generation; CheckpointError where it contradicts itself."""
    path = folder / generation.name
    content = _decode_content(path, manifest, arrays)
    try:
        run, saved_in = decode(manifest["run"], arrays, str), decode(manifest["environment"], arrays, dict[str, str])
    except MALFORMED as error:
        raise CheckpointError(f"{path} is not valid: {str(error).rstrip('.')}.") from None
    return SavedContent(content, run, generation.number, saved_in)


def _decode_content(path: Path, manifest: Manifest, arrays: Arrays) -> Any:
    try:
        content = decode(manifest[CONTENT], arrays)
        if not is_registered(content):
            raise TypeError("its content is no saved object")
    except MALFORMED as error:
        reason = str(error).rstrip(".")
        raise CheckpointError(f"{path} is not valid: {reason}. Use another copy, or save it again.") from None
    return content


def open_writer(setting: str | os.PathLike[str] | Checkpoint, min_seconds: float) -> CheckpointWriter:
    """Return a writer whose folder is open; CheckpointLocked where another one has it."""
    writer = CheckpointWriter(setting if isinstance(setting, Checkpoint) else Checkpoint(setting), min_seconds)
    writer.store.open()
    return writer


def write_content(writer: CheckpointWriter, content: object) -> Generation:
    """Write a generation and read it back; TypeError or CheckpointWriteError if it cannot be written."""
    manifest, arrays = encode_content(content)
    manifest |= {"run": writer.run, "environment": encode(environment(), "environment", arrays)}
    return writer.write(manifest, arrays, partial(read_generation_content, writer.checkpoint.folder))


def find_resumable(writer: CheckpointWriter, resume: str, noun: str) -> SavedContent | None:
    """Return the newest valid content if it is to be resumed.

    Parameters
    ----------
    resume : {'auto', 'never', 'must'}
        'auto' resumes if there is a generation, 'never' starts anew, 'must' raises CheckpointError if there is none.
    noun : str
        Fit or selection, for messages.
    """
    if resume == "never":
        return None
    folder = writer.checkpoint.folder
    saved = writer.store.read_newest(partial(read_generation_content, folder))
    if saved is None and resume == "must":
        raise CheckpointError(
            f"{folder} holds nothing to go on with, and resume='must'; give the folder of the earlier {noun}, or set "
            "resume='auto'."
        )
    return saved


def check_same(
    folder: Path, noun: str, saved: Mapping[str, Any], current: Mapping[str, Any], row_difference: str = ""
) -> None:
    """Raise CheckpointMismatch unless settings are equal, and there is no difference in the rows."""
    for name, value in current.items():
        earlier = saved.get(name)
        if isinstance(value, np.ndarray) or isinstance(earlier, np.ndarray):
            equal, difference = np.array_equal(value, earlier), f"another {name}"  # type: ignore[arg-type]
        else:
            equal, difference = bool(value == earlier), f"{name}={earlier!r}, not {value!r}"
        if not equal:
            raise CheckpointMismatch(f"{folder} holds a {noun} with {difference}; set it back, {REMEDY}")
    if row_difference:
        raise CheckpointMismatch(
            f"{folder} holds a {noun} of other rows: X has {row_difference}; pass the same X, {REMEDY}"
        )


def warn_of_environment(folder: Path, saved: SavedContent) -> None:
    """Warn where the last bits may differ from those of an uninterrupted fit."""
    before, now = saved.environment, environment()
    changed = [f"{name} {before.get(name)}, now {now[name]}" for name in now if now[name] != before.get(name)]
    if changed:
        warnings.warn(
            f"{folder} was written in another environment ({'; '.join(changed)}); what is learnt from there on may "
            "differ in the last bits.",
            CheckpointWarning,
            stacklevel=2,
        )


class Progress(Protocol):
    """State of a fit or a selection."""

    def describe(self) -> str:
        """Return in words how far it has come."""


State = TypeVar("State", bound=Progress)


class CheckpointSession(Generic[State]):
    """Context in which a fit runs: writes generations when they are due, and handles Ctrl-C.

    A first Ctrl-C waits until the chunk group is finished, whose rows then need not be read again.

    Parameters
    ----------
    noun : str
        Fit or selection, for messages.
    writer : CheckpointWriter or None
        None where there is no checkpoint.
    state : State
        Where it begins.
    make_content : callable
        Returns what a generation of a state holds.
    leave : callable
        Called with the last state, and with the generation that holds it (or None), when Ctrl-C ends the context.
    """

    def __init__(
        self,
        noun: str,
        writer: CheckpointWriter | None,
        state: State,
        make_content: Callable[[State], object],
        leave: Callable[[State, Generation | None], None] = lambda state, generation: None,
    ) -> None:
        self._noun = noun
        self._writer = writer
        self._state = state
        self._make_content = make_content
        self._leave = leave
        self._interruption = Interruption()

    def __enter__(self) -> Self:
        if self._writer is not None:
            self._interruption.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        try:
            if isinstance(error, KeyboardInterrupt):
                generation = self._write()
                self._leave(self._state, generation)
                if self._writer is not None and generation is not None:
                    where = f"generation {generation.number} of {self._writer.checkpoint.folder}"
                    error.add_note(f"the same {self._noun} goes on from {where} ({self._state.describe()})")
        finally:
            self._interruption.__exit__()

    def watch(self, state: State) -> None:
        """Write a generation of a state if one is due; raise KeyboardInterrupt if Ctrl-C was pressed."""
        self._state = state
        self._interruption.check()
        if self._writer is not None and self._writer.is_due():
            self._write()

    def _write(self) -> Generation | None:
        """Write a generation; a full disk does not end a fit, since the generation before is still there."""
        if self._writer is None:
            return None
        try:
            return write_content(self._writer, self._make_content(self._state))
        except CheckpointWriteError as error:
            warnings.warn(f"{error} The {self._noun} goes on without.", CheckpointWarning, stacklevel=2)
            return None


class Interruption:
    """Context in which a first Ctrl-C waits for `check`, and a second one does not.

    It does nothing on another thread than the main one, nor where the program has a handler of its own.
    """

    def __init__(self) -> None:
        self._requested = False
        self._handler: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._handler = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._requested:
            self._requested = False
            raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True
