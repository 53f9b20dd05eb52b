"""Files that are damaged, malformed or forged, what reading them comes to, and what it must never do."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import pickle
import random
import struct
import sys
import tempfile
import time
import warnings
import weakref
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from disks import FOLDER, MemoryDisk
from golden import FOLDER as GOLDEN
from golden import SELECTION, rows
from kills import forking
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from streamgmm import GaussianMixture, Selection, load
from streamgmm.errors import CheckpointError, CheckpointWarning
from streamgmm.estimator.model_checkpoint import check_is_fit
from streamgmm.persistence import container
from streamgmm.persistence.session import read_generation_content
from streamgmm.persistence.store import Generation, Store, generations, read_newest
from streamgmm.persistence.writer import Checkpoint

KEY = container.KEY
FORBIDDEN = {
    *("pickle.find_class", "exec", "compile", "import", "marshal.loads", "code.__new__", "subprocess.Popen"),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.putenv", "os.remove", "os.rename"),
    *("ctypes.dlopen", "ctypes.dlsym", "socket.connect", "socket.bind", "socket.getaddrinfo", "shutil.rmtree"),
}
_listening: list[list[str]] = []
sys.addaudithook(lambda event, given: [heard.append(event) for heard in _listening if event in FORBIDDEN] and None)


@contextlib.contextmanager
def overheard() -> Iterator[list[str]]:
    """What is done meanwhile that reading a file never has to do. Everything was imported and compiled before."""
    events: list[str] = []
    read_back(small())
    _listening.append(events)
    try:
        yield events
    finally:
        _listening.remove(events)


@cache
def small() -> bytes:
    """As small a file as a fitted model gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        GaussianMixture(1, random_state=0).fit([[0.0], [1.0]]).save(path)
        return path.read_bytes()


@cache
def _scratch() -> Path:
    folder = tempfile.TemporaryDirectory()
    weakref.finalize(_scratch, folder.cleanup)
    return Path(folder.name) / "model"


def read_back(content: bytes) -> GaussianMixture:
    """What `load` makes of a file of this content."""
    _scratch().write_bytes(content)
    return load(_scratch())


def read_selection(content: bytes) -> Selection:
    """What `Selection.load` makes of a file of this content."""
    _scratch().write_bytes(content)
    return Selection.load(_scratch())


def outcome(content: bytes, read: Callable[[bytes], Any] = read_back) -> str:
    """'refused', 'read', or the name of an error that should not have been."""
    try:
        read(content)
    except CheckpointError:
        return "refused"
    except Exception as error:
        return type(error).__name__
    return "read"


def flipped(content: bytes, step: int) -> Iterator[bytes]:
    """Every ``step``-th bit."""
    for bit in range(0, 8 * len(content), step):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def truncated(content: bytes, step: int) -> Iterator[bytes]:
    """Every ``step``-th shorter one."""
    return (content[:length] for length in range(0, len(content), step))


def of_a_file(full: bool) -> dict[str, Counter[str]]:
    """Flips and truncations of a file on this machine's disk, read by `load`."""
    return {
        "bits flipped in a file": Counter(map(outcome, flipped(small(), 1 if full else 61))),
        "truncations of a file": Counter(map(outcome, truncated(small(), 1 if full else 17))),
    }


def of_a_generation(full: bool) -> dict[str, Counter[str]]:
    """The same of the newest generation of a store: the one before has to be found."""
    memory = MemoryDisk()
    store = Store(FOLDER, disk=memory).open()
    found = container.from_bytes(small(), Path("model"))
    *_, last = (store.write({"which": which, **found[0]}, found[1], _unread) for which in ("first", "last"))
    file = memory.root.names[FOLDER.name].names[last.name]
    content = file.content

    def read(damaged):
        file.content = damaged
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            which = read_newest(FOLDER, lambda generation, manifest, arrays: manifest["which"], memory)
        told = [warning.category for warning in caught] == [CheckpointWarning]
        if which == "first" and told:
            raise CheckpointError("passed over")

    return {
        "bits flipped in a generation": Counter(outcome(bad, read) for bad in flipped(content, 1 if full else 61)),
        "truncations of a generation": Counter(outcome(bad, read) for bad in truncated(content, 1 if full else 17)),
    }


def _unread(*content: Any) -> None:
    """Decode nothing."""


def sealed(manifest: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    """A file with a digest that is right."""
    manifest = {**manifest, "sha256": container._digest(manifest, arrays)}
    return save_arrays(arrays, metadata={KEY: json.dumps(manifest)})


def headed(header: bytes | str, payload: bytes = b"") -> bytes:
    """A file with a header."""
    header = header if isinstance(header, bytes) else header.encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + payload


def tensors(**entries: Any) -> str:
    """A header with tensors as (dtype, shape, offsets)."""
    parts = {name: dict(zip(("dtype", "shape", "data_offsets"), entry, strict=True)) for name, entry in entries.items()}
    return json.dumps({"__metadata__": {KEY: '{"format":1}'}, **parts})


def manifested(text: str) -> bytes:
    """A file with a manifest of any text."""
    return headed(json.dumps({"__metadata__": {KEY: text}}))


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("means_.npy", bytes(2**26))
    return file.getvalue()


class _Evil:
    def __reduce__(self):
        return os.system, ("true",)


HUGE = 2**63 - 1

MALFORMED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "seven bytes": lambda: bytes(7),
    "eight bytes": lambda: bytes(8),
    "eight bytes that promise two": lambda: (2).to_bytes(8, "little"),
    "zeros": lambda: bytes(4096),
    "ones": lambda: b"\xff" * 4096,
    "text": lambda: b"not a model at all, just some text",
    "a pickle": lambda: pickle.dumps(_Evil()),
    "a pickle in a manifest": lambda: manifested(
        json.dumps({"format": 1, "sha256": pickle.dumps(_Evil(), 0).decode()})
    ),
    "a zip bomb": _zip_bomb,
    "a numpy file": lambda: _npy(),
    "a header longer than the file": lambda: (10**6).to_bytes(8, "little") + b"{}",
    "a header as long as can be said": lambda: b"\xff" * 8 + b"{}",
    "a header of half the range": lambda: (2**63).to_bytes(8, "little") + b"{}",
    "a header one byte too long": lambda: _lying(1),
    "a header one byte too short": lambda: _lying(-1),
    "a header of no length": lambda: _lying(-(10**9)),
    "a header and nothing else": lambda: small()[: 8 + int.from_bytes(small()[:8], "little")],
    "something behind the end": lambda: small() + b"\0",
    "much behind the end": lambda: small() + bytes(2**20),
    "something before the beginning": lambda: b"\0" + small(),
    "the file twice": lambda: 2 * small(),
    "a list as header": lambda: headed("[]"),
    "a text as header": lambda: headed('"text"'),
    "a number as header": lambda: headed("17"),
    "null as header": lambda: headed("null"),
    "an empty header": lambda: headed("{}"),
    "no JSON as header": lambda: headed("{]"),
    "deep lists as header": lambda: headed("[" * 100_000),
    "deep objects as header": lambda: headed('{"a":' * 100_000),
    "invalid UTF-8 in the header": lambda: headed(b'{"__metadata__":{"streamgmm":"\xff\xfe"}}'),
    "a lone surrogate in the header": lambda: headed('{"__metadata__":{"streamgmm":"\ud800"}}'),
    "a lone surrogate, escaped": lambda: headed('{"__metadata__":{"streamgmm":"\\ud800"}}'),
    "a byte order mark": lambda: headed("\ufeff{}"),
    "UTF-16": lambda: headed(json.dumps({"__metadata__": {}}).encode("utf-16")),
    "NUL in the header": lambda: headed(b'{"__metadata__":\0{}}'),
    "duplicate keys in the header": lambda: headed('{"__metadata__":{"streamgmm":"{}"},"__metadata__":{}}'),
    "duplicate tensors": lambda: headed(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        '"__metadata__":{"streamgmm":"{}"}}',
        b"1",
    ),
    "metadata that is a number": lambda: headed('{"__metadata__":3}'),
    "metadata that is null": lambda: headed('{"__metadata__":null}'),
    "a manifest that is a number": lambda: headed('{"__metadata__":{"streamgmm":3}}'),
    "metadata of another program": lambda: save_arrays({"a": np.ones(2)}, metadata={"format": "pt"}),
    "no metadata": lambda: save_arrays({"a": np.ones(2)}),
    "no manifest": lambda: manifested(""),
    "a manifest that is null": lambda: manifested("null"),
    "a manifest that is a list": lambda: manifested("[]"),
    "a manifest that is a text": lambda: manifested('"format"'),
    "an empty manifest": lambda: manifested("{}"),
    "a manifest with duplicate keys": lambda: manifested('{"format":1,"format":1}'),
    "NaN in the manifest": lambda: manifested('{"format":NaN}'),
    "Infinity in the manifest": lambda: manifested('{"format":1,"a":-Infinity}'),
    "a number beyond all in the manifest": lambda: manifested('{"format":1,"a":1e999}'),
    "a huge integer in the manifest": lambda: manifested('{"format":1,"a":' + "9" * 10_000 + "}"),
    "a huge integer as format": lambda: manifested('{"format":' + "9" * 4_000 + "}"),
    "a format that is a text": lambda: manifested('{"format":"1"}'),
    "a format that is true": lambda: sealed({**_manifest(), "format": True}, _arrays()),
    "a format that is 0": lambda: sealed({**_manifest(), "format": 0}, _arrays()),
    "a format below 0": lambda: sealed({**_manifest(), "format": -1}, _arrays()),
    "a format that is later": lambda: sealed({**_manifest(), "format": 2}, _arrays()),
    "a digest that is none": lambda: manifested('{"format":1,"sha256":null}'),
    "a digest of nothing": lambda: manifested(json.dumps({"format": 1, "sha256": hashlib.sha256().hexdigest()})),
    "deep lists in the manifest": lambda: manifested("[" * 100_000),
    "deep objects in the manifest": lambda: manifested('{"a":' * 100_000),
    "deep lists that are sealed": lambda: _deep(),
    "a manifest that is not ASCII": lambda: manifested('{"format":1,"a":"\U0001f600"}'),
    "a shape beyond all": lambda: headed(tensors(a=("F64", [HUGE], [0, 8])), bytes(8)),
    "a shape whose product overflows": lambda: headed(tensors(a=("F64", [2**32, 2**32], [0, 8])), bytes(8)),
    "a shape of no size that is huge": lambda: headed(tensors(a=("F64", [0, HUGE], [0, 0]))),
    "a shape that is negative": lambda: headed(tensors(a=("F64", [-1], [0, 8])), bytes(8)),
    "a shape that is a float": lambda: headed(tensors(a=("F64", [1.0], [0, 8])), bytes(8)),
    "a shape that is a text": lambda: headed(tensors(a=("F64", "1", [0, 8])), bytes(8)),
    "a shape of too many axes": lambda: headed(tensors(a=("F64", [1] * 100, [0, 8])), bytes(8)),
    "a dtype of another size": lambda: headed(tensors(a=("F64", [1], [0, 4])), bytes(4)),
    "a dtype that is unknown": lambda: headed(tensors(a=("F65", [1], [0, 8])), bytes(8)),
    "a dtype that numpy lacks": lambda: headed(tensors(a=("BF16", [4], [0, 8])), bytes(8)),
    "a dtype of eighths of bytes": lambda: headed(tensors(a=("F4", [16], [0, 8])), bytes(8)),
    "a dtype of objects": lambda: headed(tensors(a=("O", [1], [0, 8])), bytes(8)),
    "offsets that overlap": lambda: headed(tensors(a=("F64", [1], [0, 8]), b=("F64", [1], [4, 12])), bytes(12)),
    "offsets of the same bytes": lambda: headed(tensors(a=("F64", [1], [0, 8]), b=("F64", [1], [0, 8])), bytes(8)),
    "offsets with a hole": lambda: headed(tensors(a=("F64", [1], [0, 8]), b=("F64", [1], [16, 24])), bytes(24)),
    "offsets with a hole at the beginning": lambda: headed(tensors(a=("F64", [1], [8, 16])), bytes(16)),
    "offsets with a hole at the end": lambda: headed(tensors(a=("F64", [1], [0, 8])), bytes(16)),
    "offsets behind the end": lambda: headed(tensors(a=("F64", [2], [0, 16])), bytes(8)),
    "offsets far behind the end": lambda: headed(tensors(a=("U8", [2**50], [0, 2**50])), bytes(8)),
    "offsets that go back": lambda: headed(tensors(a=("F64", [1], [8, 0])), bytes(8)),
    "offsets below 0": lambda: headed(tensors(a=("F64", [1], [-8, 0])), bytes(8)),
    "three offsets": lambda: headed(tensors(a=("F64", [1], [0, 8, 8])), bytes(8)),
    "a name that leads elsewhere": lambda: headed(tensors(**{"../../x": ("F64", [1], [0, 8])}), bytes(8)),
    "a tensor that is a list": lambda: headed('{"__metadata__":{"streamgmm":"{\\"format\\":1}"},"a":[]}'),
}

BOMBS: dict[str, Callable[[], bytes]] = {
    "many lists as header": lambda: headed("[" + "[]," * 2_700_000 + "[]]"),
    "many objects as header": lambda: headed("[" + "{}," * 2_700_000 + "{}]"),
    "many keys as header": lambda: headed(json.dumps({str(n): 0 for n in range(600_000)})),
    "many tensors": lambda: headed(tensors(**{str(n): ("F64", [0], [0, 0]) for n in range(15_000)})),
    "very many tensors": lambda: headed(tensors(**{str(n): ("F64", [0], [0, 0]) for n in range(200_000)})),
    "many lists as manifest": lambda: manifested("[" + "[]," * 2_700_000 + "[]]"),
    "many lists as manifest, escaped": lambda: headed(
        '{"__metadata__":{"streamgmm":"[' + "\\u005b]," * 1_000_000 + '[]]"}}'
    ),
    "a long text": lambda: manifested(json.dumps({"format": 1, "a": "a" * 8_000_000})),
    "a long text with one wide character": lambda: manifested(
        '{"format":1,"a":"' + "a" * 8_000_000 + '\\ud83d\\ude00"}'
    ),
    "a long header with one wide character": lambda: headed('{"a":"' + "a" * 8_000_000 + '\U0001f600"}'),
    "a header of 64 MiB": lambda: headed("[" + "[]," * (2**26 // 3) + "[]]"),
    "a long shape": lambda: headed(tensors(a=("F64", [1] * 120_000, [0, 8])), bytes(8)),
    "a shape of no size, longer still": lambda: headed(tensors(a=("F64", [0] * 1_000_000, [0, 0]))),
    "64 MiB of zeros": lambda: bytes(2**26),
    "a zip bomb": _zip_bomb,
}


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([_Evil()], dtype=object), allow_pickle=True)
    return file.getvalue()


def _lying(by: int) -> bytes:
    length = int.from_bytes(small()[:8], "little")
    return struct.pack("<Q", max(0, length + by)) + small()[8:]


def _deep() -> bytes:
    manifest = _manifest()
    value: Any = 1
    for _ in range(400):
        value = {"list": [value]}
    manifest["content"]["fields"]["fitted"]["fields"]["tokens"] = value
    return sealed(manifest, _arrays())


@lru_cache(32)
def _parts(content: bytes) -> tuple[str, dict[str, Any]]:
    return json.dumps(container.from_bytes(content, Path("model"))[0]), load_arrays(content)


def _manifest(content: bytes | None = None) -> dict[str, Any]:
    return json.loads(_parts(small() if content is None else content)[0])


def _arrays(content: bytes | None = None) -> dict[str, Any]:
    return dict(_parts(small() if content is None else content)[1])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a manifest there is something."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


OTHERS: list[Any] = [
    *(None, True, 0, -1, 2**70, "", "text", "full", "%(x)s", [], [1], {}, {"x": 1}),
    *({"list": []}, {"list": [1, "a"]}, {"list": 3}, {"float": "nan"}, {"float": "0x1p+5000"}, {"float": 1}),
    *({"bytes": "00"}, {"bytes": "xyz"}, {"array": "content.fitted.means"}, {"array": "none"}, {"array": []}),
    *({"mapping": []}, {"mapping": 3}, {"mapping": [["a", 1], ["a", 2]]}, {"strings": ["U", []]}, {"strings": 3}),
    {"type": "schedule-constant-1", "fields": {"step": {"float": "0x1p-1"}}},
    {"type": "schedule-half-life-1", "fields": {"rows": "a"}},
    {"type": "ranges-1", "fields": {"ends": {"array": "content.fitted.means"}}},
    *({"type": "schedule-reciprocal-1", "fields": {}}, {"type": "tokens-1", "fields": {}}),
    *({"type": "os.system", "fields": {}}, {"type": [], "fields": 1}),
]


TUPLES = ({"list"}, {"floats"}, {"repeated"})  # forms of one type


def of_the_same_type(old: Any, new: Any) -> bool:
    """Whether a part of a manifest may be in the place of another: what it is then worth, nobody can know."""
    if isinstance(old, dict) and isinstance(new, dict):
        if old.keys() in TUPLES and new.keys() in TUPLES:
            return True
        return old.keys() == new.keys() and old.get("type") == new.get("type")
    is_number = type(new) is int and isinstance(old, dict) and "float" in old
    return None in (old, new) or is_number or type(new) is type(old)


def part_of(content: bytes, path: tuple[Any, ...]) -> Any:
    """What is at a place of a manifest."""
    part = _manifest(content)
    for key in path:
        part = part[key]
    return part


def forged(content: bytes, every: int = 1) -> Iterator[tuple[tuple[Any, ...], Any, bytes]]:
    """Every part of a manifest replaced by everything else, or taken away, with a digest that is right."""
    manifest, arrays = _manifest(content), _arrays(content)
    cases = [(path, other) for path in places(manifest) if path[0] != "sha256" for other in [*OTHERS, "left out"]]
    for path, other in cases[::every]:
        changed = copy.deepcopy(manifest)
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        if other == "left out":
            del inner[path[-1]]
        elif inner[path[-1]] == other and type(inner[path[-1]]) is type(other):
            continue
        else:
            inner[path[-1]] = other
        yield path, other, sealed(changed, arrays)


def unfinished() -> Iterator[tuple[bytes, Callable[[bytes], Any]]]:
    """Generations of fits that have not ended, and how they are read."""
    for algorithm in ("batch", "incremental"):
        with tempfile.TemporaryDirectory() as parent, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it does not converge
            folder = Path(parent)
            keeping = Checkpoint(folder, batches=1, kept=60)
            settings = {"algorithm": algorithm, "batch_size": 100, "max_iter": 3}
            GaussianMixture(2, random_state=0, checkpoint=keeping, **settings).fit(rows(400))
            contents = [(one, (folder / one.name).read_bytes()) for one in generations(folder)]
        for generation, content in contents[1 :: max(1, len(contents) // 4)]:

            def read(damaged, generation=generation, folder=folder):
                check_is_fit(
                    folder, read_generation_content(folder, generation, *container.from_bytes(damaged, folder))
                )

            yield content, read


# settings have rules of their own; no criterion is needed; `read_generation` looks at the number; the environment is
# any texts; and of states of generators and of algorithms the annotations say nothing
FREE = {"settings", "criteria", "generation", "environment", "random", "state", "candidates"}


def nonsense(
    content: bytes, every: int, read_as: Callable[[bytes], Any] = read_back
) -> tuple[Counter[str], list[tuple[Any, ...]]]:
    """Outcomes of forged manifests, and those that were read though a part is of another type."""
    counts: Counter[str] = Counter()
    read = []
    for path, other, forgery in forged(content, every):
        what = outcome(forgery, read_as)
        counts[what] += 1
        if what != "read" or FREE & set(path):
            continue
        in_a_list = type(path[-1]) is int
        if not (in_a_list if other == "left out" else of_the_same_type(part_of(content, path), other)):
            read.append((path, other))
    return counts, read


def forged_arrays(content: bytes) -> Iterator[tuple[tuple[Any, ...], Any, bytes]]:
    """Every array replaced by one of another dtype or shape, or of values that no model has."""
    manifest, arrays = _manifest(content), _arrays(content)
    for name, array in arrays.items():
        floats = array.astype(np.float64) if array.dtype.kind == "f" else array
        numbers = array.astype(np.int8) if array.dtype.kind == "b" else array
        others = {
            "left out": None,
            "integers": array.astype(np.int8) if array.dtype.kind != "i" else array.astype(np.float64),
            "half as precise": np.clip(array, -1e4, 1e4).astype(np.float16),
            "booleans": array.astype(bool) if array.dtype.kind != "b" else numbers,
            "complex": array.astype(np.complex64),
            "flat": array.reshape(-1) if array.ndim != 1 else array[:, None],
            "one axis more": array[None],
            "nothing": np.zeros(0),
            "nothing, of a huge shape": np.zeros((0, 2**40)),
            "no axes": np.array(1.0),
            "longer": np.concatenate([array.reshape(-1)] * 2),
            "NaN": np.full_like(floats, np.nan) if array.dtype.kind == "f" else -numbers - 1,
            "infinite": np.full_like(floats, np.inf) if array.dtype.kind == "f" else numbers + 99,
            "negative": -np.abs(numbers) - 1,
            "zeros": np.zeros_like(array),
        }
        for other, forgery in others.items():
            changed = {key: value for key, value in arrays.items() if key != name}
            yield (name,), other, sealed(manifest, changed if forgery is None else {**changed, name: np.array(forgery)})


def as_files(folder: Path) -> dict[str, Path]:
    """What is no regular file, or one that nobody should read whole."""
    (folder / "file").write_bytes(small())
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "to a folder").symlink_to(folder)
    (folder / "to a device").symlink_to("/dev/zero")
    with open(folder / "hole", "wb") as file:
        file.truncate(2**40)
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
    names = ("pipe", "loop", "dangling", "to a folder", "to a device", "hole", "socket", "missing")
    others = ("file/inside", "missing/model", "x" * 300, "nul\0")
    paths = {name: folder / name for name in (*names, *others)}
    return {**paths, "a folder": folder, "a device": Path("/dev/zero"), "nothing": Path("/dev/null")}


def as_generations(folder: Path) -> dict[str, Path]:
    """Stores of which the newest generation is no regular file, or has a name that is not its own."""
    right = Generation(2, hashlib.sha256(small()).hexdigest())
    wrong = Generation(2, hashlib.sha256(b"").hexdigest())

    def linked(path, inner):
        (inner.parent / "elsewhere").write_bytes(small())
        path.symlink_to(inner.parent / "elsewhere")

    makers = {
        "another digest": (wrong, lambda path, inner: path.write_bytes(small())),
        "another number": (right, lambda path, inner: path.write_bytes(small())),
        "a link": (right, linked),
        "a pipe": (right, lambda path, inner: os.mkfifo(path)),
        "a folder": (right, lambda path, inner: path.mkdir()),
        "an empty file": (wrong, lambda path, inner: path.touch()),
    }
    stores = {}
    for name, (generation, make) in makers.items():
        stores[name] = folder / name
        store = Store(stores[name]).open()
        store.write({"which": "first"}, {}, _unread)
        store.close()
        make(stores[name] / generation.name, stores[name])
    return stores


def cost(content: bytes) -> tuple[float, float, str]:
    """Seconds, bytes beyond the file's own by which memory grew, and the outcome, in a process of its own."""
    import resource  # which Windows has not

    heard, told = os.pipe()
    with tempfile.TemporaryDirectory() as folder, forking():
        path = Path(folder) / "model"
        path.write_bytes(content)
        size = len(content)
        del content
        child = os.fork()
        if not child:
            before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
            result = outcome(b"", lambda _: load(path))
            seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(told, json.dumps([seconds, 1024 * (after - before) - size, result]).encode())
            os._exit(0)
        os.close(told)
        with os.fdopen(heard, "rb") as answer:
            seconds, growth, result = json.loads(answer.read())
        os.waitpid(child, 0)
    return seconds, growth, result


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Changed in a few places: bytes, parts of the header, the manifest or the arrays, sealed again or not."""
    kind = chance.randrange(6)
    if kind == 0:
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        return bytes(damaged)
    if kind == 1:
        first, last = sorted(chance.randrange(len(content) + 1) for _ in range(2))
        middle = chance.choice([b"", content[first:last] * 2, chance.randbytes(min(last - first, 50))])
        return content[:first] + middle + content[last:]
    length = int.from_bytes(content[:8], "little")
    header, payload = content[8 : 8 + length], content[8 + length :]
    if kind == 2:
        words = [
            b'"',
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"0",
            b"-1",
            b"1e9",
            b"null",
            b"true",
            b"\\u0000",
            b"\\",
            b"NaN",
        ]
        place = chance.randrange(len(header))
        return headed(header[:place] + chance.choice(words) + header[place + chance.randint(0, 3) :], payload)
    manifest, arrays = _manifest(content), _arrays(content)
    for _ in range(chance.randint(1, 3)):
        if kind == 3 and arrays:
            _mutate_array(arrays, chance)
        else:
            _mutate_manifest(manifest, arrays, chance)
    if kind == 5 and chance.random() < 0.3:
        return save_arrays(arrays, metadata={KEY: json.dumps(manifest)})
    return sealed(manifest, arrays)


def _mutate_array(arrays: dict[str, Any], chance: random.Random) -> None:
    name = chance.choice(sorted(arrays))
    array = arrays[name]
    values = np.array(array).reshape(-1)
    match chance.randrange(6):
        case 0 if values.size and values.dtype.kind == "f":
            odd = (np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 5e-324, 1e30)
            values[chance.randrange(values.size)] = chance.choice(odd)
            arrays[name] = values.reshape(array.shape)
        case 1 if values.size and values.dtype.kind == "i":
            values[chance.randrange(values.size)] = chance.choice([0, -1, 99, np.iinfo(values.dtype).max])
            arrays[name] = values.reshape(array.shape)
        case 2:
            arrays[name] = np.zeros([chance.randint(0, 4) for _ in range(chance.randint(0, 4))], array.dtype)
        case 3:
            arrays[name] = array.astype(chance.choice([np.float32, np.float16, np.int64, np.int8, np.uint8, bool]))
        case 4:
            arrays[name] = np.array(arrays[chance.choice(sorted(arrays))])
        case _:
            del arrays[name]


def _mutate_manifest(manifest: Any, arrays: dict[str, Any], chance: random.Random) -> None:
    *path, last = chance.choice(list(places(manifest)))
    inner = manifest
    for key in path:
        inner = inner[key]
    match chance.randrange(5):
        case 0:
            del inner[last]
        case 1:
            inner[last] = copy.deepcopy(chance.choice(OTHERS))
        case 2:
            inner[last] = {"array": chance.choice([*sorted(arrays), ""])}
        case 3 if isinstance(inner, dict):
            inner[chance.choice([*inner, "x", ""])] = inner.pop(last)
        case _:
            *other, key = chance.choice(list(places(manifest)))
            source = manifest
            for step in other:
                source = source[step]
            inner[last] = copy.deepcopy(source[key])


def fuzzed(inputs: int, seed: int = 0) -> Counter[str]:
    """Outcomes of so many mutations of files of every kind."""
    chance = random.Random(seed)
    seeds = [(path.read_bytes(), read_back) for path in sorted(GOLDEN.glob("*.safetensors"))]
    seeds += [(small(), read_back), (SELECTION.read_bytes(), read_selection)]
    counts: Counter[str] = Counter()
    with np.errstate(all="ignore"):
        for _ in range(inputs):
            content, read = chance.choice(seeds)
            counts[outcome(mutated(content, chance), read)] += 1
    return counts
