"""One fitted model in one file: safetensors, with a strict JSON manifest as one string under one metadata key.

The manifest carries a SHA-256 over the rest of itself and all arrays, so a damaged file is found out. It
detects damage; it does not authenticate. Nothing in a file is ever executed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from streamgmm.checkpoint.records import packed
from streamgmm.errors import CheckpointError

FORMAT = 1
KEY = "streamgmm"
LARGEST_FILE = 2**32  # bytes; a mixture of 1,000 components in 700 dimensions fits
ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bounds_")
NUMBERS = ("converged_", "n_iter_", "lower_bound_", "n_samples_seen_", "algorithm_", "n_features_in_")
LEARNING = ("history_", "restarts_", "_covered", "_stream", "_ledger", "_tokens", "_warned", "_waiting", "_too_few")
GIVEN = ("weights_init", "means_init", "precisions_init")


def save_model(model: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Write a model, fitted or waiting for more rows; a file that was there is replaced once the new one is safe."""
    from safetensors.numpy import save

    settings = dict(model.get_params(deep=False))
    arrays = {name: np.asarray(getattr(model, name)) for name in ARRAYS if hasattr(model, name)}
    for name in GIVEN:
        value = settings.pop(name)
        if value is not None:
            arrays[name] = np.asarray(value, np.float64)
    if not isinstance(settings["random_state"], int | np.integer):
        settings["random_state"] = None
    kept = {name: packed(getattr(model, name, None), name, arrays) for name in LEARNING}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "settings": {name: packed(value, name, arrays) for name, value in settings.items()},
        "fitted": {name: packed(getattr(model, name), name, arrays) for name in NUMBERS if hasattr(model, name)},
        "criteria": {
            kind: {name: packed(getattr(criterion, name), name, arrays) for name in type(criterion).__slots__}
            for kind, criterion in getattr(model, "criteria_", {}).items()
        },
        "learning": kept,
        "feature_names": [str(name) for name in getattr(model, "feature_names_in_", ())],
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    manifest["sha256"] = _digest(manifest, arrays)
    _write(Path(os.path.realpath(path)), save(arrays, metadata={KEY: _json(manifest)}))


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _digest(manifest: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(_json({key: value for key, value in manifest.items() if key != "sha256"}).encode())
    for name in sorted(arrays):
        digest.update(_json([name, arrays[name].dtype.str, list(arrays[name].shape)]).encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Complete or not at all: a new file beside it, synced, then renamed over it, then the folder synced."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    draft = path.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Manifest and arrays of a file whose digest agrees; raises CheckpointError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_arrays

    content = _content(path)
    try:
        header = json.loads(
            content[8 : 8 + int.from_bytes(content[:8], "little")], object_pairs_hook=_unique, parse_constant=_refuse
        )
        manifest = json.loads(header["__metadata__"][KEY], object_pairs_hook=_unique, parse_constant=_refuse)
        if manifest["format"] > FORMAT:
            raise CheckpointError(
                f"{path} has format {manifest['format']}; this version reads up to {FORMAT}. Upgrade streamgmm."
            )
        arrays = load_arrays(content)
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


def _content(path: Path) -> bytes:
    """Bytes of a regular file of a sane size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a FIFO must not block
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointError(f"{path} is not a regular file.")
            if not 8 <= status.st_size <= LARGEST_FILE:
                raise CheckpointError(f"{path} has {status.st_size} bytes; a saved model has 8 to {LARGEST_FILE}.")
            return file.read(status.st_size)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path} cannot be read: {reason}.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate keys")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
