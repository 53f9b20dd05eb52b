"""Fingerprints of rows, since a fit may only be resumed with the same rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.shuffling import load_chunks
from streamgmm.data.source import Chunk, Source
from streamgmm.persistence.codec import persistent

SAMPLED_ROWS = 256  # of a chunk


@persistent("fingerprint-1")
@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Identity of rows, without reading them all.

    Examples
    --------
    >>> from streamgmm.data.sources import as_source
    >>> zeros, ones = (Fingerprint.from_source(as_source(np.full((4, 2), value))) for value in (0.0, 1.0))
    >>> zeros == Fingerprint.from_source(as_source(np.zeros((4, 2)))), zeros.describe_difference(ones)
    (True, 'other values')
    """

    n_rows: int | None
    n_features: int
    dtype: str
    chunks: str  # digest of the chunks' lengths; empty for batches
    names: str  # digest of the column names; empty without names
    rows: str  # digest of rows and weights from the first, middle and last chunk, or the first batch

    @classmethod
    def from_source(cls, source: Source) -> Fingerprint:
        """Take the fingerprint of a source; three of its chunks are read."""
        reading = source.chunks()
        chunks = list(islice(reading, 1))
        if source.n_rows is None and chunks and isinstance(chunks[0].rows, np.ndarray):
            sampled, lengths = chunks, ""  # batches
        else:
            chunks += reading
            sampled = [chunks[index] for index in sorted({0, len(chunks) // 2, len(chunks) - 1} if chunks else ())]
            lengths = _digest(np.array([-1 if chunk.length is None else chunk.length for chunk in chunks], np.int64))
        parts = [array for chunk in sampled for array in _sample(chunk)]
        names = "" if source.feature_names is None else _digest(np.array(list(source.feature_names), np.str_))
        return cls(source.n_rows, source.n_features, source.dtype.str, lengths, names, _digest(*parts))

    def describe_difference(self, other: Fingerprint) -> str:
        """Return how other rows differ; empty if they do not."""
        if self.n_features != other.n_features:
            return f"{other.n_features} features, not {self.n_features}"
        if self.n_rows != other.n_rows:
            here, there = ("an unknown number of" if n is None else f"{n:,}" for n in (self.n_rows, other.n_rows))
            return f"{there} rows, not {here}"
        if self.dtype != other.dtype:
            return f"dtype {np.dtype(other.dtype)}, not {np.dtype(self.dtype)}"
        if self.chunks != other.chunks:
            return "chunks of other lengths"
        if self.names != other.names:
            return "columns of other names"
        return "" if self.rows == other.rows else "other values"


def _sample(chunk: Chunk) -> list[NDArray[Any]]:
    if not isinstance(chunk.rows, np.ndarray):
        (chunk,) = load_chunks([chunk])
    n = len(chunk.rows)
    indices = np.unique(np.linspace(0, max(n - 1, 0), SAMPLED_ROWS).astype(np.intp))[:n]
    return [chunk.rows[indices]] + ([] if chunk.weights is None else [chunk.weights[indices]])


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
