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

from streamgmm.errors import CheckpointError, NewerFormatError

FORMAT = 1
KEY = "streamgmm"

Arrays = dict[str, NDArray[Any]]


def encoded(manifest: dict[str, Any], arrays: Arrays) -> bytes:
    """Content of a file; equal manifests and arrays give equal bytes."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    manifest = {"format": FORMAT, **manifest}
    manifest["sha256"] = _digest(manifest, arrays)
    return save(arrays, metadata={KEY: _json(manifest)})


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
        header = _parsed(content[8 : 8 + int.from_bytes(content[:8], "little")])
        manifest = _parsed(header["__metadata__"][KEY])
        if manifest["format"] > FORMAT:
            raise NewerFormatError(
                f"{path} has format {manifest['format']}; this version reads up to {FORMAT}. Upgrade streamgmm."
            )
        arrays = load(content)
        if _digest(manifest, arrays) != manifest["sha256"]:
            raise CheckpointError(f"{path} is damaged: its content does not match its digest. Use another copy.")
    except CheckpointError:
        raise
    except (
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        raise CheckpointError(
            f"{path} is not a model that streamgmm saved, or is damaged ({type(error).__name__})."
        ) from None
    return manifest, arrays


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _digest(manifest: dict[str, Any], arrays: Arrays) -> str:
    digest = hashlib.sha256(_json({key: value for key, value in manifest.items() if key != "sha256"}).encode())
    for name in sorted(arrays):
        digest.update(_json([name, arrays[name].dtype.str, list(arrays[name].shape)]).encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _parsed(text: str | bytes) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate keys")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
