"""A folder of generations: each a whole, self-verifying file, of which the newest valid one counts.

A generation's name carries its number and the SHA-256 of its content, so that a file that is torn, empty or somebody
else's is never taken for one. There is no pointer to the newest that could be wrong. One process at a time may write.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from streamgmm.errors import (
    CheckpointError,
    CheckpointLocked,
    CheckpointMismatch,
    CheckpointWarning,
    CheckpointWriteError,
    NewerFormatError,
)
from streamgmm.persistence.atomic import DRAFT, Disk, Lock, write_whole
from streamgmm.persistence.container import Arrays, decoded, encoded

LOCK = "LOCK"
KEPT = 3  # generations that were verified, so that two may be damaged
_NAME = re.compile(r"gen-([0-9]{12}|[1-9][0-9]{12,})-([0-9a-f]{64})\.safetensors")

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, order=True)
class Generation:
    """Which file of a store.

    Attributes
    ----------
    number : int
        Counted from 1; the highest is the newest.
    digest : str
        SHA-256 of its content, hexadecimal.
    """

    number: int
    digest: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"gen-{self.number:012d}-{self.digest}.safetensors"


def generations(folder: Path, disk: Disk | None = None) -> list[Generation]:
    """What a folder holds, by name alone, the newest first; CheckpointError where it is no folder."""
    try:
        names = (disk or Disk()).names(folder)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror or error}.") from None
    return _named(names)


def _named(names: list[str]) -> list[Generation]:
    matches = filter(None, map(_NAME.fullmatch, names))
    return sorted((Generation(int(match[1]), match[2]) for match in matches), reverse=True)


def verified(folder: Path, generation: Generation, disk: Disk | None = None) -> tuple[dict[str, Any], Arrays]:
    """Manifest and arrays of one generation; CheckpointError where it is damaged."""
    path = folder / generation.name
    content = (disk or Disk()).read(path)
    if hashlib.sha256(content).hexdigest() != generation.digest:
        raise CheckpointError(f"{path} is damaged: its content does not match the digest in its name.")
    manifest, arrays = decoded(content, path)
    lineage = manifest.get("generation")
    if not isinstance(lineage, dict) or lineage.get("number") != generation.number:
        raise CheckpointError(f"{path} was given another number than it was written with; give it its name back.")
    return manifest, arrays


def newest(
    folder: Path, make: Callable[[Generation, dict[str, Any], Arrays], Made], disk: Disk | None = None
) -> Made | None:
    """What ``make`` makes of the newest valid generation; None where there has never been one.

    ``make`` raises CheckpointError of a generation that contradicts itself.

    Raises
    ------
    CheckpointError
        There are generations, and none is valid: to begin anew would be to lose what they hold without a word.
    NewerFormatError, CheckpointMismatch
        The newest was written by a later version, or is of something else; an older one would not be what is wanted.

    Warns
    -----
    CheckpointWarning
        The newest was damaged, and an older one is taken.
    """
    found = generations(folder, disk)
    damage: list[str] = []
    for generation in found:
        try:
            made = make(generation, *verified(folder, generation, disk))
        except (NewerFormatError, CheckpointMismatch):
            raise
        except CheckpointError as error:
            if generations(folder, disk) != found:  # a writer has added some since, and may have removed this one
                return newest(folder, make, disk)
            damage.append(str(error))
            continue
        if damage:
            warnings.warn(
                f"{' '.join(damage)} Going on from generation {generation.number}, an older one; what was learnt since "
                "then has to be learnt again.",
                CheckpointWarning,
                stacklevel=2,
            )
        return made
    if found:
        raise CheckpointError(
            f"{folder} holds {len(found)} generations and none is valid: {damage[0]} Restore a copy of one, or choose "
            "another folder to begin anew."
        )
    return None


class Store:
    """The right to write generations to a folder, from `open` to `close` or the end of the process.

    A copy of it, be it by pickle, by `copy.deepcopy` or by a fork, has no such right.
    """

    def __init__(self, folder: Path, kept: int = KEPT, disk: Disk | None = None) -> None:
        self.folder = folder
        self.kept = kept
        self._disk = disk or Disk()
        self._lock: Lock | None = None
        self._process: int | None = None
        self._verified: list[Generation] = []
        self._last = 0

    def open(self) -> Self:
        """Lock the folder, made if need be, and sweep what a writer that was killed has left.

        Raises
        ------
        CheckpointLocked
            Another fit is writing to it, in this process or another one.
        CheckpointWriteError
            It cannot be made, read or locked.
        NewerFormatError
            A later version wrote to it, and what it wrote would be removed in time.
        """
        try:
            self._disk.make_folder(self.folder)
            lock = self._disk.lock(self.folder / LOCK)
        except OSError as error:
            raise self._failed(error) from error
        if lock is None:
            raise CheckpointLocked(
                f"{self.folder} is being written to by another fit; give each its own checkpoint, or wait for it."
            )
        self._lock, self._process = lock, os.getpid()
        try:
            self._prepare()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise
        return self

    @property
    def is_open(self) -> bool:
        """Whether it may be written to."""
        return self._lock is not None and self._process == os.getpid()

    def newest(self, make: Callable[[Generation, dict[str, Any], Arrays], Made]) -> Made | None:
        """See `newest`."""
        return newest(self.folder, make, self._disk)

    def write(self, manifest: dict[str, Any], arrays: Arrays) -> Generation:
        """Add a generation; it is durable once this returns.

        Raises
        ------
        CheckpointWriteError
            It could not be written; those before it are untouched. To try again is to write another one.
        """
        if not self.is_open:
            raise CheckpointWriteError(f"{self.folder} is not open for writing, or was closed; open it.")
        parent = self._verified[0] if self._verified else None
        self._last += 1
        lineage = {"number": self._last, "parent": None if parent is None else parent.name}
        content = encoded({**manifest, "generation": lineage}, arrays)
        generation = Generation(self._last, hashlib.sha256(content).hexdigest())
        try:
            write_whole(self._disk, self.folder / generation.name, content)
        except OSError as error:
            raise self._failed(error) from error
        self._verified.insert(0, generation)
        try:
            self._retain()
        except (OSError, CheckpointError):
            pass  # too many generations are no harm; the next write tries again
        return generation

    def close(self) -> None:
        """Give the folder free."""
        if self._lock is not None and self.is_open:
            self._lock.release()
            self._lock = None

    def _prepare(self) -> None:
        """Look at what there is, and sweep drafts."""
        names = self._disk.names(self.folder)
        found = _named(names)
        if not found:  # who made the folder may have been killed before its name was durable
            self._disk.sync_folder(self.folder.parent)
        self._last = found[0].number if found else 0
        self._verified = self._valid(found)
        for name in filter(DRAFT.fullmatch, names):
            self._disk.remove(self.folder / name)

    def _retain(self) -> None:
        """Remove what is older than the oldest generation to be kept, of those that were verified."""
        self._verified = self._verified[: self.kept]
        if len(self._verified) == self.kept:
            for generation in generations(self.folder, self._disk):
                if generation < self._verified[-1]:
                    self._disk.remove(self.folder / generation.name)

    def _valid(self, found: list[Generation]) -> list[Generation]:
        valid: list[Generation] = []
        for generation in found:
            if len(valid) == self.kept:
                break
            try:
                verified(self.folder, generation, self._disk)
            except NewerFormatError:
                raise
            except CheckpointError:
                continue
            valid.append(generation)
        return valid

    def _failed(self, error: OSError) -> CheckpointWriteError:
        return CheckpointWriteError(
            f"{self.folder}: the checkpoint could not be written ({error.strerror or error}); what it held before is "
            "untouched. Make room, or choose another folder."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(self.folder, self.kept, self._disk)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.kept)
