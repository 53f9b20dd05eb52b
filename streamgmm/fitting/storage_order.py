"""Monitors of the order of rows: in the storage of a fit, and in the arrival of a stream."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.source import Chunk
from streamgmm.errors import OrderWarning
from streamgmm.model.drift import DriftMonitor, measure_order
from streamgmm.model.parameters import Array
from streamgmm.persistence.codec import persistent

SEGMENTS_PER_CHUNK, ROWS_PER_SEGMENT = 16, 64


@persistent("segments-1")
@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Moments of rows that are stored together, one entry for each sampled segment."""

    # (m, 2): index of the chunk, and its first row (-1 where that is unknown)
    positions: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    means: Array = field(default_factory=lambda: np.empty((0, 0)))
    variances: Array = field(default_factory=lambda: np.empty((0, 0)))  # (m, d) or (0, 0)
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # (m,): number of sampled rows


class StorageOrderMonitor:
    """Sampler of chunks as they are read, which detects that rows stored together are alike."""

    def __init__(self, segments: Segments | None = None) -> None:
        self.segments = Segments() if segments is None else segments
        self._seen = {(int(index), int(start)) for index, start in self.segments.positions}

    def sample_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Sample up to 16 segments of 64 rows of every chunk that was not sampled before."""
        sampled = []
        for chunk in chunks:
            position = (chunk.index, -1 if chunk.start is None else chunk.start)
            if position in self._seen:
                continue
            self._seen.add(position)
            random, n = np.random.default_rng(chunk.index), len(chunk.rows)
            for run in np.array_split(np.arange(n), max(1, min(SEGMENTS_PER_CHUNK, n // ROWS_PER_SEGMENT))):
                chosen = random.permutation(run)[:ROWS_PER_SEGMENT] if len(run) > ROWS_PER_SEGMENT else run
                rows = np.asarray(chunk.rows[chosen], np.float64)
                if len(rows) > 1:
                    sampled.append((position, rows.mean(axis=0), rows.var(axis=0), len(rows)))
        if sampled:
            columns = [np.array(column) for column in zip(*sampled, strict=True)]
            known = self.segments
            if len(known.sizes):
                before = (known.positions, known.means, known.variances, known.sizes)
                columns = [np.concatenate(pair) for pair in zip(before, columns, strict=True)]
            self.segments = Segments(*columns)

    def warn(self) -> None:
        """Warn with `OrderWarning` where rows that are stored together are alike."""
        seen = self.segments
        correlation = measure_order(list(zip(seen.means, seen.variances, seen.sizes.tolist(), strict=True)))
        if correlation is not None:
            warnings.warn(
                f"Rows that are stored together are alike: {correlation:.0%} of the variance of a feature lies between "
                "segments of the storage, as where rows are sorted. The result of stepwise EM depends on their order; "
                "finish with algorithm='auto' or 'batch', or shuffle the rows.",
                OrderWarning,
                stacklevel=5,
            )


def warn_of_drift(monitor: DriftMonitor) -> None:
    """Warn that the rows of a stream are not in random order."""
    warnings.warn(
        f"The rows arrive in an order that matters: batches lie {monitor.component_shift:.2g} standard deviations from "
        "what was learnt before, far more than chance explains, as where rows are sorted or drift. Shuffle them, or "
        "set half_life or window to follow the drift.",
        OrderWarning,
        stacklevel=5,
    )
