"""Folder of generations: each a whole, self-verifying file, of which the newest valid one counts.

The name of a generation carries its number and the SHA-256 of its content, so that a file that is torn, empty or
foreign is never taken for one. No pointer to the newest can be wrong. One process at a time may write.
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
from streamgmm.persistence.atomic import DRAFT, Disk, write_file
from streamgmm.persistence.container import Arrays, Manifest, from_bytes, to_bytes

LOCK = "LOCK"
MIN_KEPT = 3  # verified generations, so that two may be damaged
_NAME = re.compile(r"gen-([0-9]{12}|[1-9][0-9]{12,})-([0-9a-f]{64})\.safetensors")

Content = TypeVar("Content")


@dataclass(frozen=True, slots=True, order=True)
class Generation:
    """File of a store.

    Attributes
    ----------
    number : int
        Number from 1; the highest is the newest.
    digest : str
        SHA-256 of its content, hexadecimal.
    """

    number: int
    digest: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"gen-{self.number:012d}-{self.digest}.safetensors"


Reader = Callable[[Generation, Manifest, Arrays], Content]


def generations(folder: Path, disk: Disk | None = None) -> list[Generation]:
    """Return the generations in a folder by name alone, newest first; CheckpointError where it is no folder."""
    try:
        names = (disk or Disk()).names(folder)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror or error}.") from None
    return _parse_names(names)


def _parse_names(names: list[str]) -> list[Generation]:
    matches = filter(None, map(_NAME.fullmatch, names))
    return sorted((Generation(int(match[1]), match[2]) for match in matches), reverse=True)


def read_generation(folder: Path, generation: Generation, disk: Disk | None = None) -> tuple[Manifest, Arrays]:
    """Return manifest and arrays of one generation; CheckpointError where it is damaged."""
    path = folder / generation.name
    return _verify(path, generation, (disk or Disk()).read(path))


def _verify(path: Path, generation: Generation, content: bytes) -> tuple[Manifest, Arrays]:
    if hashlib.sha256(content).hexdigest() != generation.digest:
        raise CheckpointError(f"{path} is damaged: its content does not match the digest in its name.")
    manifest, arrays = from_bytes(content, path)
    lineage = manifest.get("generation")
    if not isinstance(lineage, dict) or lineage.get("number") != generation.number:
        raise CheckpointError(f"{path} was given another number than it was written with; give it its name back.")
    return manifest, arrays


def read_newest(folder: Path, read: Reader[Content], disk: Disk | None = None) -> Content | None:
    """Return the decoded newest valid generation; None where there has never been one.

    Parameters
    ----------
    read : callable
        Decodes a generation from its manifest and arrays; raises CheckpointError where it contradicts itself.

    Raises
    ------
    CheckpointError
        There are generations, and none is valid: to begin anew would silently lose what they hold.
    NewerFormatError, CheckpointMismatch
        A later version wrote the newest, or it belongs to something else; an older one is not what is wanted.

    Warns
    -----
    CheckpointWarning
        The newest was damaged, and an older one is taken.
    """
    candidates = generations(folder, disk)
    damage: list[str] = []
    for generation in candidates:
        try:
            content = read(generation, *read_generation(folder, generation, disk))
        except (NewerFormatError, CheckpointMismatch):
            raise
        except CheckpointError as error:
            if generations(folder, disk) != candidates:  # a writer has added some since, and may have removed this one
                return read_newest(folder, read, disk)
            damage.append(str(error))
            continue
        if damage:
            warnings.warn(
                f"{' '.join(damage)} Going on from generation {generation.number}, an older one; what was learnt since "
                "then has to be learnt again.",
                CheckpointWarning,
                stacklevel=2,
            )
        return content
    if candidates:
        raise CheckpointError(
            f"{folder} holds {len(candidates)} generations and none is valid: {damage[0]} Restore a copy of one, or "
            "choose another folder to begin anew."
        )
    return None


class Store:
    """Right to write generations to a folder, from `open` to `close` or the end of the process.

    A copy of it, be it by pickle, by `copy.deepcopy` or by a fork, has no such right.

    Parameters
    ----------
    folder : pathlib.Path
    kept : int, default=3
        Verified generations that are not removed.
    disk : Disk, optional
    """

    def __init__(self, folder: Path, kept: int = MIN_KEPT, disk: Disk | None = None) -> None:
        self.folder = folder
        self.kept = kept
        self._disk = disk or Disk()
        self._lock: Any = None
        self._process: int | None = None
        self._verified: list[Generation] = []
        self._last = 0

    def open(self) -> Self:
        """Lock the folder, made if need be, and sweep the drafts of killed writers.

        Raises
        ------
        CheckpointLocked
            Another fit writes to it, in this process or another one.
        CheckpointWriteError
            It cannot be made, read or locked.
        NewerFormatError
            A later version wrote to it, and its generations would be removed in time.
        """
        try:
            self._disk.make_folder(self.folder)
            lock = self._disk.lock(self.folder / LOCK)
        except OSError as error:
            raise self._write_error(error) from error
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
                raise self._write_error(error) from error
            raise
        return self

    @property
    def is_open(self) -> bool:
        """True while the store may be written to."""
        return self._lock is not None and self._process == os.getpid()

    def read_newest(self, read: Reader[Content]) -> Content | None:
        """Return the decoded newest valid generation; see `read_newest`."""
        return read_newest(self.folder, read, self._disk)

    def write(self, manifest: Manifest, arrays: Arrays, read: Reader[object]) -> Generation:
        """Add a generation, which is durable and was decoded by ``read`` once this returns.

        Raises
        ------
        CheckpointWriteError
            It could not be written or read back; those before it are untouched. To try again is to write another one.
        """
        if not self.is_open:
            raise CheckpointWriteError(f"{self.folder} is not open for writing, or was closed; open it.")
        parent = self._verified[0] if self._verified else None
        self._last += 1
        lineage = {"number": self._last, "parent": None if parent is None else parent.name}
        content = to_bytes({**manifest, "generation": lineage}, arrays)
        generation = Generation(self._last, hashlib.sha256(content).hexdigest())
        path = self.folder / generation.name
        try:
            write_file(self._disk, path, content, lambda draft: read(generation, *_verify(path, generation, draft)))
        except OSError as error:
            raise self._write_error(error) from error
        except CheckpointError as error:
            raise CheckpointWriteError(
                f"{self.folder}: the checkpoint was not written, since it could not be read back: {error} What it held "
                "before is untouched."
            ) from error
        self._verified.insert(0, generation)
        try:
            self._retain()
        except (OSError, CheckpointError):
            pass  # too many generations are no harm; the next write tries again
        return generation

    def close(self) -> None:
        """Unlock the folder."""
        if self._lock is not None and self.is_open:
            self._lock.release()
            self._lock = None

    def _prepare(self) -> None:
        """Verify the generations that are there, and sweep drafts."""
        names = self._disk.names(self.folder)
        existing = _parse_names(names)
        if not existing:  # the maker of the folder may have been killed before its name was durable
            self._disk.sync_folder(self.folder.parent)
        self._last = existing[0].number if existing else 0
        self._verified = self._valid(existing)
        for name in filter(DRAFT.fullmatch, names):
            self._disk.remove(self.folder / name)

    def _retain(self) -> None:
        """Remove what is older than the oldest generation to be kept, of those that were verified."""
        self._verified = self._verified[: self.kept]
        if len(self._verified) == self.kept:
            for generation in generations(self.folder, self._disk):
                if generation < self._verified[-1]:
                    self._disk.remove(self.folder / generation.name)

    def _valid(self, existing: list[Generation]) -> list[Generation]:
        """Return the newest valid generations, as many as are kept."""
        valid: list[Generation] = []
        for generation in existing:
            if len(valid) == self.kept:
                break
            try:
                read_generation(self.folder, generation, self._disk)
            except NewerFormatError:
                raise
            except CheckpointError:
                continue
            valid.append(generation)
        return valid

    def _write_error(self, error: OSError) -> CheckpointWriteError:
        return CheckpointWriteError(
            f"{self.folder}: the checkpoint could not be written ({error.strerror or error}); what it held before is "
            "untouched. Make room, or choose another folder."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(self.folder, self.kept, self._disk)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.kept)
