"""By what rows are recognized: their shape, how they are cut, and some of their values.

What was begun with some rows may only be gone on with by the same ones; that the arrays are the same object, or lie at
the same path, does not say so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.shuffling import loaded
from streamgmm.data.source import Chunk, Source
from streamgmm.persistence.codec import persistent

LOOKED_AT = 256  # rows of a chunk


@persistent("fingerprint-1")
@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is known of rows without reading them all.

    Attributes
    ----------
    n_rows : int or None
        Number of rows, None where it is unknown.
    n_features : int
        Number of columns.
    dtype : str
        Of the rows.
    chunks : str
        Digest of the lengths of the chunks; empty for batches, which are not known before they come.
    names : str
        Digest of the names of the columns; empty where they have none.
    rows : str
        Digest of rows (and their weights) from the first, the middle and the last chunk; of batches the first.

    Examples
    --------
    >>> from streamgmm.data.sources import as_source
    >>> one = Fingerprint.of(as_source(np.zeros((4, 2))))
    >>> one == Fingerprint.of(as_source(np.zeros((4, 2)))), one.difference(Fingerprint.of(as_source(np.ones((4, 2)))))
    (True, 'other values')
    """

    n_rows: int | None
    n_features: int
    dtype: str
    chunks: str
    names: str
    rows: str

    @classmethod
    def of(cls, source: Source) -> Fingerprint:
        """Look at a source; three of its chunks are read."""
        reading = source.chunks()
        chunks = list(islice(reading, 1))
        if source.n_rows is None and chunks and isinstance(chunks[0].rows, np.ndarray):
            chosen, cut = chunks, ""  # batches, which are made while they are read
        else:
            chunks += reading
            chosen = [chunks[place] for place in sorted({0, len(chunks) // 2, len(chunks) - 1} if chunks else ())]
            cut = _digest(np.array([-1 if chunk.length is None else chunk.length for chunk in chunks], np.int64))
        parts = [array for chunk in chosen for array in _looked_at(chunk)]
        names = "" if source.feature_names is None else _digest(np.array(list(source.feature_names), np.str_))
        return cls(source.n_rows, source.n_features, source.dtype.str, cut, names, _digest(*parts))

    def difference(self, other: Fingerprint) -> str:
        """What is different about other rows, in words; empty where nothing is."""
        if self.n_features != other.n_features:
            return f"{other.n_features} features, not {self.n_features}"
        if self.n_rows != other.n_rows:
            unknown = "an unknown number of"
            here, there = (unknown if rows is None else f"{rows:,}" for rows in (self.n_rows, other.n_rows))
            return f"{there} rows, not {here}"
        if self.dtype != other.dtype:
            return f"dtype {np.dtype(other.dtype)}, not {np.dtype(self.dtype)}"
        if self.chunks != other.chunks:
            return "chunks of other lengths"
        if self.names != other.names:
            return "columns of other names"
        return "" if self.rows == other.rows else "other values"


def _looked_at(chunk: Chunk) -> list[NDArray[Any]]:
    if not isinstance(chunk.rows, np.ndarray):
        (chunk,) = loaded([chunk])
    places = np.unique(np.linspace(0, max(len(chunk.rows) - 1, 0), LOOKED_AT).astype(np.intp))[: len(chunk.rows)]
    return [chunk.rows[places]] + ([] if chunk.weights is None else [chunk.weights[places]])


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
