"""Compiled local mean and standard deviation of pixels in a window.

Sums of a pixel have one order, wherever the array begins: first along a row, then over the rows of the window.
Squares are of differences from the mean of the pixels added, so that nothing cancels. An array is (planes, rows,
columns) with margins on all sides; a pixel that does not count is 0 and not valid.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamgmm.kernels.compilation import cached_in_order


@cached_in_order
def add_runs(values: Any, valid: Any, counts: Any, sums: Any, means: Any, squares: Any) -> None:
    """Write count, sum, mean, and squared differences of the pixels of a row in the window from each pixel on."""
    size = values.size - counts.size + 1
    counts[:] = 0.0
    sums[:] = 0.0
    squares[:] = 0.0
    for offset in range(size):
        for i in range(counts.size):
            counts[i] += valid[i + offset]
            sums[i] += values[i + offset]
    for i in range(counts.size):
        means[i] = sums[i] / max(counts[i], 1.0)
    for offset in range(size):
        for i in range(counts.size):
            distance = values[i + offset] - means[i]
            squares[i] += valid[i + offset] * distance * distance


@cached_in_order
def add_lines(counts: Any, sums: Any, means: Any, squares: Any, first: int, total: Any, mean: Any, out: Any) -> None:
    """Write mean and deviation over runs (planes, rows, n); row ``first`` is at the upper edge of the window."""
    planes, lines, n = counts.shape
    total[:] = 0.0
    mean[:] = 0.0
    out[:] = 0.0
    for plane in range(planes):
        for offset in range(lines):
            line = (first + offset) % lines
            c, s = counts[plane, line], sums[plane, line]
            for i in range(n):
                total[i] += c[i]
                mean[i] += s[i]
    for i in range(n):
        mean[i] /= max(total[i], 1.0)
    for plane in range(planes):
        for offset in range(lines):
            line = (first + offset) % lines
            c, m, q = counts[plane, line], means[plane, line], squares[plane, line]
            for i in range(n):
                distance = m[i] - mean[i]
                out[i] += q[i] + c[i] * distance * distance
    for i in range(n):
        out[i] = np.sqrt(out[i] / max(total[i], 1.0))


@cached_in_order
def local_moments(values: Any, valid: Any, mean: Any, deviation: Any) -> None:
    """Write mean and standard deviation of the valid pixels in the window about each pixel; 0 without any.

    Parameters
    ----------
    values : array of shape (planes + depth - 1, lines + size - 1, columns + size - 1)
        float64.
    valid : array of the same shape
        uint8, 0 or 1.
    mean, deviation : array of shape (planes, lines, columns)
        float64, written to. The window is (depth, size, size).
    """
    planes, lines, columns = mean.shape
    depth, size = values.shape[0] - planes + 1, values.shape[1] - lines + 1
    shape = (values.shape[0], size, columns)  # runs of the window's rows; a new row replaces the oldest
    counts, sums, means, squares = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape)
    total = np.empty(columns)
    for line in range(values.shape[1]):
        at = line % size
        for plane in range(values.shape[0]):
            runs = counts[plane, at], sums[plane, at], means[plane, at], squares[plane, at]
            add_runs(values[plane, line], valid[plane, line], *runs)
        upper = line - size + 1
        if upper >= 0:
            for plane in range(planes):
                near = slice(plane, plane + depth)
                runs = counts[near], sums[near], means[near], squares[near]
                add_lines(*runs, upper, total, mean[plane, upper], deviation[plane, upper])
