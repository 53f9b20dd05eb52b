"""A manifest and arrays as the bytes of one safetensors file, and back.

The manifest is strict JSON, one string under one metadata key (several keys are written in no fixed order). It carries
a SHA-256 over the rest of itself and all arrays, so that damage is found out; that does not authenticate. Nothing in a
file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import CheckpointError, CheckpointWriteError, NewerFormatError

FORMAT = 1
KEY = "streamgmm"
LARGEST_HEADER = 2**23  # bytes: parsed, it takes several times as many
MOST_VALUES = 2**17  # in it: as objects, each takes up to 200 bytes

Arrays = dict[str, NDArray[Any]]


def encoded(manifest: dict[str, Any], arrays: Arrays) -> bytes:
    """Content of a file; equal manifests and arrays give equal bytes. CheckpointWriteError where it is too large."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    manifest = {"format": FORMAT, **manifest}
    manifest["sha256"] = _digest(manifest, arrays)
    content = save(arrays, metadata={KEY: _json(manifest)})
    try:
        _manifest(content)
    except ValueError as error:
        raise CheckpointWriteError(f"What is to be kept could not be read again: {error}.") from None
    return content


def decoded(content: bytes, path: Path) -> tuple[dict[str, Any], Arrays]:
    """Manifest and arrays of a content whose digest agrees.

    Raises
    ------
    CheckpointError
        It is damaged or foreign; ``path`` says where it is from.
    NewerFormatError
        It was written by a later version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        manifest = _manifest(content)
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


def _manifest(content: bytes) -> Any:
    """The manifest in a header; both are bounded before they are parsed."""
    length = int.from_bytes(content[:8], "little")
    if length > min(LARGEST_HEADER, len(content) - 8):
        raise ValueError(f"a header of {length} bytes, where {LARGEST_HEADER} are the most")
    header = _parsed(content[8 : 8 + length].decode("ascii"))
    return _parsed(header["__metadata__"][KEY])


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _digest(manifest: dict[str, Any], arrays: Arrays) -> str:
    digest = hashlib.sha256(_json({key: value for key, value in manifest.items() if key != "sha256"}).encode())
    for name in sorted(arrays):
        digest.update(_json([name, arrays[name].dtype.str, list(arrays[name].shape)]).encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _parsed(text: str) -> Any:
    values = sum(map(text.count, "[{,"))
    if values > MOST_VALUES or not text.isascii():
        raise ValueError(f"{values} values, where {MOST_VALUES} are the most, or text that is not ASCII")
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate keys")
    return found


def _refuse(number: str) -> Any:
    raise ValueError(f"{number[:20]} is not a number that is written here")
