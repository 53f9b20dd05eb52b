"""Compiled loops over pixels of small integers: how often each value is there, and what a table has for each.

A value is the bands of a pixel one after the other, as one number.
"""

from __future__ import annotations

from typing import Any

from streamgmm.kernels.compilation import cached

BAND_BITS = 8  # of one band, where there are several


@cached
def tally(rows: Any, counters: Any, found: Any) -> Any:
    """Count each row (n, bands) at its value, all counters being 0; values in the order in which they are first met.

    Returns how many are in ``found``: a look at these is less than one at all counters.
    """
    n_found = 0
    for row in range(rows.shape[0]):
        value = 0
        for band in range(rows.shape[1]):
            value = (value << BAND_BITS) | rows[row, band]
        if counters[value] == 0:
            found[n_found] = value
            n_found += 1
        counters[value] += 1
    return n_found


@cached
def taken(values: Any, counters: Any, out: Any) -> Any:
    """Counts of some values, whose counters are 0 again."""
    for place in range(values.shape[0]):
        out[place] = counters[values[place]]
        counters[values[place]] = 0
    return out


@cached
def add(values: Any, counts: Any, totals: Any) -> None:
    """Add counts of some values to totals of all."""
    for place in range(values.shape[0]):
        totals[values[place]] += counts[place]


@cached
def look_up(rows: Any, table: Any, out: Any) -> None:
    """Entry of a table for each row (n, bands)."""
    for row in range(rows.shape[0]):
        value = 0
        for band in range(rows.shape[1]):
            value = (value << BAND_BITS) | rows[row, band]
        out[row] = table[value]
