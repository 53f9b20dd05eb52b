"""Disks to prove the store on: one that tells what is durable from what is not, and one that is told of every call."""

from __future__ import annotations

import copy
import errno
import itertools
import math
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from streamgmm.errors import CheckpointError
from streamgmm.persistence.atomic import Disk

ROOT = Path("/")
FOLDER = ROOT / "fit.ckpt"
MOST = 400  # combinations of what several files may hold; a protocol that syncs has no more than one such file
CALLS = [name for name in vars(Disk) if not name.startswith("_")]  # so that a call that is added is not forgotten


class File:
    """Content as programs see it, and as a power loss would leave it at the least."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.durable = content
        self.dropped = False  # a sync failed, and the system will not say so again

    def outcomes(self) -> list[bytes]:
        """What may be found after a power loss."""
        new, old = self.content, self.durable
        if new == old:
            return [new]
        half = len(new) // 2
        torn = [new[:length] for length in (0, 1, 7, 8, 511, 512, half, len(new) - 1) if length < len(new)]
        holes = [bytes(len(new)), new[:half] + bytes(len(new) - half), bytes(half) + new[half:]]
        garbage = random.Random(len(new)).randbytes(len(new))
        mixed = [garbage, new[:half] + garbage[half:], garbage[:half] + new[half:], new[:half] + old[half:], old]
        return list(dict.fromkeys([new, *torn, *holes, *mixed]))


class Folder:
    """Names as programs see them, those that are durable, and the changes in between."""

    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}
        self.durable: dict[str, File | Folder] = {}
        self.pending: list[list[dict[str, File | Folder | None]]] = []  # what each change may come to, all of it last

    def change(self, *effects: dict[str, File | Folder | None]) -> None:
        """A change that comes to one of these effects, or to none; programs see the last."""
        _apply(self.names, effects[-1])
        self.pending.append([{}, *effects])

    def outcomes(self) -> Iterator[dict[str, File | Folder]]:
        """What may be found after a power loss: any changes may have happened, whatever their order was."""
        n = len(self.pending)
        if n <= 5:
            choices = itertools.product(*self.pending)
        else:  # too many: those up to one of them, all but one, and one alone
            none, whole = [effects[0] for effects in self.pending], [effects[-1] for effects in self.pending]
            mixes = [
                *([*whole[:place], *none[place:]] for place in range(n + 1)),
                *([*whole[:place], none[place], *whole[place + 1 :]] for place in range(n)),
                *([*none[:place], whole[place], *none[place + 1 :]] for place in range(n)),
            ]
            choices = iter(mixes)
        for choice in choices:
            names = dict(self.durable)
            for effect in choice:
                _apply(names, effect)
            yield names


class MemoryDisk(Disk):
    """A disk that keeps what was synced apart from what was not.

    Unsynced content may be lost, torn, zeros or garbage after a power loss, in part or as a whole; unsynced changes of
    names may have happened or not, in any order, and a rename may leave both names.
    """

    def __init__(self) -> None:
        self.root = Folder()
        self._files: dict[int, File] = {}
        self._numbers = itertools.count(3)
        self._locks: set[Path] = set()

    def names(self, folder):
        return sorted(self._folder(folder).names)

    def make_folder(self, folder):
        parent = self._folder(folder.parent)
        if folder.name not in parent.names:
            parent.change({folder.name: Folder()})

    def lock(self, path):
        if path in self._locks:
            return None
        self._locks.add(path)
        return _Lock(self._locks, path)

    def create(self, path, mode):
        folder = self._folder(path.parent)
        if path.name in folder.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        file = File()
        folder.change({path.name: file})
        return self._opened(file)

    def emptied(self, path, mode):
        """Open a file to write to it, emptied if it is there: what no protocol should."""
        file = self._folder(path.parent).names.get(path.name)
        if file is None:
            return self.create(path, mode)
        file.content = b""
        return self._opened(file)

    def write(self, file, content):
        self._files[file].content += bytes(content)
        return len(content)

    def sync(self, file):
        if not self._files[file].dropped:
            self._files[file].durable = self._files[file].content

    def close(self, file):
        del self._files[file]

    def read(self, path, *, follow=False):
        try:
            file = self._folder(path.parent).names[path.name]
        except (OSError, KeyError):
            raise CheckpointError(f"{path} cannot be read: it is missing.") from None
        if not isinstance(file, File) or len(file.content) < 8:
            raise CheckpointError(f"{path} is no saved model.")
        return file.content

    def rename(self, before, after):
        folder = self._folder(before.parent)
        if before.name not in folder.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(before))
        file = folder.names[before.name]
        folder.change({after.name: file}, {before.name: None, after.name: file})

    def remove(self, path):
        folder = self._folder(path.parent)
        if path.name in folder.names:
            folder.change({path.name: None})

    def sync_folder(self, folder):
        node = self._folder(folder)
        node.durable, node.pending = dict(node.names), []

    def drop(self, file: int) -> None:
        """A sync fails: what was not durable never will be, whatever later syncs say."""
        self._files[file].dropped = True

    def restarted(self) -> MemoryDisk:
        """What another process finds once this one was killed: all of it, durable or not."""
        disk = copy.deepcopy(self)
        disk._files.clear()
        disk._locks.clear()
        return disk

    def after_power_loss(self) -> Iterator[tuple[Any, MemoryDisk]]:
        """Every disk that may be found after a power loss now, and what tells it from the others."""
        seen = set()
        for tree in _trees(self.root):
            if tree not in seen:
                seen.add(tree)
                disk = MemoryDisk()
                disk.root = _made(tree)
                yield tree, disk

    def _folder(self, path: Path) -> Folder:
        node: Any = self.root
        for part in path.parts[1:]:
            node = node.names.get(part) if isinstance(node, Folder) else None
        if not isinstance(node, Folder):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return node

    def _opened(self, file: File) -> int:
        number = next(self._numbers)
        self._files[number] = file
        return number


class _Lock:
    def __init__(self, locks: set[Path], path: Path) -> None:
        self._locks, self._path = locks, path

    def release(self) -> None:
        self._locks.discard(self._path)


def _apply(names: dict[str, Any], effect: dict[str, Any]) -> None:
    for name, node in effect.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _trees(folder: Folder) -> Iterator[Any]:
    """Everything that may be found in a folder, as frozen sets of names with contents."""
    for names in folder.outcomes():
        options = [
            [(name, found) for found in (node.outcomes() if isinstance(node, File) else _trees(node))]
            for name, node in names.items()
        ]
        if math.prod(map(len, options)) <= MOST:
            yield from map(frozenset, itertools.product(*options))
        else:  # too many: one is not as programs saw it
            whole = [found[0] for found in options]
            yield frozenset(whole)
            for place, found in enumerate(options):
                yield from (frozenset([*whole[:place], one, *whole[place + 1 :]]) for one in found[1:])


def _made(tree: Any) -> Folder:
    folder = Folder()
    for name, found in tree:
        folder.names[name] = File(found) if isinstance(found, bytes) else _made(found)
    folder.durable = dict(folder.names)
    return folder


class Killed(BaseException):
    """The process is no more. Nothing cleans up after it."""


class Watched(Disk):
    """Another disk, of which somebody is told before and after every call, and may raise something.

    Calls are counted from 0. Once `Killed` was raised, every call raises it, as if nothing more were done.
    """

    def __init__(
        self,
        disk: Disk,
        before: Callable[[int, str], None] = lambda number, call: None,
        after: Callable[[int, str], None] = lambda number, call: None,
    ) -> None:
        self.disk = disk
        self.calls: list[str] = []
        self.syncs: list[int] = []  # descriptors
        self._before, self._after = before, after
        self._dead = False

    def heal(self) -> None:
        """Nobody is told any more."""
        self._before = self._after = lambda number, call: None

    def call(self, name: str, *given: Any, **named: Any) -> Any:
        """One call."""
        if self._dead:
            raise Killed
        number = len(self.calls)
        self.calls.append(name)
        if name == "sync":
            self.syncs.append(given[0])
        try:
            self._before(number, name)
            result = getattr(self.disk, name)(*given, **named)
            self._after(number, name)
        except Killed:
            self._dead = True
            raise
        except OSError as error:
            if name == "sync":
                self.drop(given[0])
            if name == "read":  # as `Disk` has it
                raise CheckpointError(f"{given[0]} cannot be read: {error}.") from None
            raise
        return result

    def drop(self, file: int) -> None:
        """A sync has failed."""
        if isinstance(self.disk, Watched | MemoryDisk):
            self.disk.drop(file)


def _passed_on(name: str) -> Any:
    def method(self: Watched, *given: Any, **named: Any) -> Any:
        return self.call(name, *given, **named)

    return method


for _name in [*CALLS, "emptied"]:
    setattr(Watched, _name, _passed_on(_name))


def killed_at(disk: Disk, point: int, when: str, run: Callable[[Disk], object]) -> bool:
    """Run on a disk until it is killed before or after a call; whether it was."""

    def kill(number: int, call: str) -> None:
        if number == point:
            raise Killed

    try:
        run(Watched(disk, **{when: kill}))
    except Killed:
        return True
    return False
