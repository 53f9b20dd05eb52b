"""Time of one thing beside another in one run: interleaved, median of several."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from time import perf_counter
from typing import Any

Measurement = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Medians in seconds."""

    ours: float
    theirs: float

    @property
    def speedup(self) -> float:
        """How many times longer theirs takes; NaN where ours is lost in the noise of the clock."""
        return self.theirs / self.ours if self.ours > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often to measure: until ``budget`` seconds are spent, at least ``least`` and at most ``most`` times."""

    least: int = 3
    most: int = 15
    budget: float = 20.0

    def side_by_side(self, ours: Measurement, theirs: Measurement) -> Pair:
        """Ours, theirs, ours, theirs …: a machine that slows down slows both down."""
        measured: list[tuple[float, float]] = []
        begun = perf_counter()
        while len(measured) < self.least or (len(measured) < self.most and perf_counter() - begun < self.budget):
            measured.append((ours(), theirs()))
        return Pair(median(pair[0] for pair in measured), median(pair[1] for pair in measured))


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def per_iteration(fit: Callable[[int], Any]) -> Measurement:
    """Time of a fit with 4 iterations less that of one with 1, over 3: what is done once per fit cancels."""
    return lambda: (seconds(lambda: fit(4)) - seconds(lambda: fit(1))) / 3


def describe_machine() -> None:
    """Print where and with what this is measured."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("streamgmm", "numpy", "numba", "scikit-learn"))
    load = f", load average {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""
    print(f"{platform.machine()}, {os.cpu_count()} processors{load}; Python {platform.python_version()}, {versions}\n")


class Table:
    """A Markdown table printed row by row, which also reads well in a terminal."""

    def __init__(self, **widths: int) -> None:
        self._widths = list(widths.values())
        self.row(*(name.replace("_", " ") for name in widths))
        self.row(*("-" * width for width in self._widths))

    def row(self, *cells: str) -> None:
        """Print one row."""
        padded = (cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True))
        print("| " + " | ".join(padded) + " |", flush=True)


def verdict(value: float, bar: float | None, *, at_least: bool, unit: str = "") -> str:
    """The bar, and whether it is reached."""
    if bar is None:
        return ""
    reached = value >= bar if at_least else value <= bar
    return f"{'≥' if at_least else '≤'} {bar:g}{unit} {'yes' if reached else 'NO'}"
