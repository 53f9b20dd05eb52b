"""Compiled tables of pixels of small integers: counting of values, and lookup.

A value is the bands of a pixel one after the other, as one number.
"""

from __future__ import annotations

from typing import Any

from streamgmm.kernels.compilation import cached

BAND_BITS = 8  # of one band of several


@cached
def count_values(rows: Any, counters: Any, values: Any) -> Any:
    """Count the values of rows (n, bands) in counters that are 0; write distinct values in order of appearance.

    Return the number of distinct values.
    """
    n_values = 0
    for row in range(rows.shape[0]):
        value = 0
        for band in range(rows.shape[1]):
            value = (value << BAND_BITS) | rows[row, band]
        if counters[value] == 0:
            values[n_values] = value
            n_values += 1
        counters[value] += 1
    return n_values


@cached
def drain(values: Any, counters: Any, out: Any) -> Any:
    """Write the counts of some values, and set their counters to 0."""
    for index in range(values.shape[0]):
        out[index] = counters[values[index]]
        counters[values[index]] = 0
    return out


@cached
def add_counts(values: Any, counts: Any, totals: Any) -> None:
    """Add counts of some values to the totals of all."""
    for index in range(values.shape[0]):
        totals[values[index]] += counts[index]


@cached
def find_entries(rows: Any, table: Any, out: Any) -> None:
    """Write the entry of a table for each row (n, bands)."""
    for row in range(rows.shape[0]):
        value = 0
        for band in range(rows.shape[1]):
            value = (value << BAND_BITS) | rows[row, band]
        out[row] = table[value]
