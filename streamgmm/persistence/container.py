"""A manifest and arrays as one safetensors file, and back.

The manifest is strict JSON, one string under one metadata key (several keys are written in no fixed order). It carries
a SHA-256 over the rest of itself and all arrays, which detects damage and does not authenticate. Nothing in a file is
ever executed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import CheckpointError, CheckpointWriteError, NewerFormatError
from streamgmm.persistence.atomic import Disk, write_file

FORMAT = 1
KEY = "streamgmm"
MAX_HEADER_BYTES = 2**23  # parsed, it takes several times as many
MAX_VALUES = 2**17  # in a header: as objects, each takes up to 200 bytes

Arrays = dict[str, NDArray[Any]]
Manifest = dict[str, Any]


def to_bytes(manifest: Manifest, arrays: Arrays) -> bytes:
    """Return the content of a file; equal manifests and arrays give equal bytes. CheckpointWriteError if too large."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    manifest = {"format": FORMAT, **manifest}
    manifest["sha256"] = _digest(manifest, arrays)
    content = save(arrays, metadata={KEY: _json(manifest)})
    try:
        _parse_manifest(content)
    except ValueError as error:
        raise CheckpointWriteError(f"What is to be kept could not be read again: {error}.") from None
    return content


def from_bytes(content: bytes, path: Path) -> tuple[Manifest, Arrays]:
    """Return manifest and arrays of a content whose digest agrees; ``path`` is named in errors.

    Raises
    ------
    CheckpointError
        It is damaged or foreign.
    NewerFormatError
        A later version wrote it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        manifest = _parse_manifest(content)
        version = manifest["format"]
        if type(version) is not int or version < 1:
            raise ValueError("no format")
        if version > FORMAT:
            raise NewerFormatError(
                f"{path} has format {version}; this version reads up to {FORMAT}. Upgrade streamgmm."
            )
        arrays = load(content)
        if _digest(manifest, arrays) != manifest["sha256"]:
            raise CheckpointError(f"{path} is damaged: its content does not match its digest. Use another copy.")
    except CheckpointError:
        raise
    except (
        SafetensorError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        raise CheckpointError(
            f"{path} is not a model that streamgmm saved, or is damaged ({type(error).__name__})."
        ) from None
    return manifest, arrays


def save_file(
    path: str | os.PathLike[str], manifest: Manifest, arrays: Arrays, read: Callable[[Manifest, Arrays], object]
) -> None:
    """Write a file of the user's choosing; an existing one is replaced once ``read`` has decoded the new one.

    Raises
    ------
    CheckpointWriteError
        The written file could not be read back; ``read`` raised CheckpointError.
    OSError
        It could not be written.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target.parent))
    content = to_bytes(manifest, arrays)
    try:
        write_file(Disk(), target, content, lambda draft: read(*from_bytes(draft, target)), mode=0o644)
    except CheckpointError as error:
        raise CheckpointWriteError(
            f"{target} was not written, since it could not be read back: {error} What was there is untouched."
        ) from error


def load_file(path: Path) -> tuple[Manifest, Arrays]:
    """Return manifest and arrays of a file whose digest agrees; raises CheckpointError."""
    return from_bytes(Disk().read(path, follow=True), path)


def _parse_manifest(content: bytes) -> Any:
    """Return the manifest in a header; both are bounded before they are parsed."""
    length = int.from_bytes(content[:8], "little")
    if length > min(MAX_HEADER_BYTES, len(content) - 8):
        raise ValueError(f"a header of {length} bytes, where {MAX_HEADER_BYTES} are the most")
    header = _parse_json(content[8 : 8 + length].decode("ascii"))
    return _parse_json(header["__metadata__"][KEY])


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _digest(manifest: Manifest, arrays: Arrays) -> str:
    digest = hashlib.sha256(_json({key: value for key, value in manifest.items() if key != "sha256"}).encode())
    for name in sorted(arrays):
        digest.update(_json([name, arrays[name].dtype.str, list(arrays[name].shape)]).encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _parse_json(text: str) -> Any:
    values = sum(map(text.count, "[{,"))
    if values > MAX_VALUES or not text.isascii():
        raise ValueError(f"{values} values, where {MAX_VALUES} are the most, or text that is not ASCII")
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse, parse_float=_refuse)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate keys")
    return members


def _refuse(number: str) -> Any:
    raise ValueError(f"{number[:20]} is not a number that is written here")
