"""What a fit shows of itself while it runs: rows, passes and log-likelihood. A consumer of steps.

A bar in a terminal or a notebook; a few lines where the output goes to a file. Everything goes to the standard error
stream, but for the lines of ``verbose=2``, which scikit-learn prints to the standard output.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from typing import Any, Self

from streamgmm.data.source import Source
from streamgmm.iteration.loop import Event


class Progress:
    """A bar, or a few lines, while a fit runs; nothing at all where ``verbose`` is 0. A context manager."""

    def __init__(self, n_rows: int | None, verbose: int, interval: int) -> None:
        self._n_rows = n_rows
        self._verbose = verbose
        self._interval = interval
        self._display: _Bar | _Lines | None = None
        self._log_likelihood: float | None = None

    @classmethod
    def of(cls, source: Source, verbose: int, interval: int) -> Self:
        """Progress of a fit to a source."""
        return cls(source.n_rows, int(verbose), interval)

    def __enter__(self) -> Self:
        if self._verbose >= 1:
            self._display = _Bar(self._n_rows) if interactive() else _Lines()
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.close()

    def watch(self, step: Event) -> None:
        """Take one step."""
        if self._display is None:
            return
        self._display.read(step.number, step.rows)
        if not step.updates:
            return
        now = max(update.info.latest.likelihood.mean for update in step.updates)
        if self._verbose >= 2 and step.number % self._interval == 0:
            gain = "" if self._log_likelihood is None else f"\t ll change {now - self._log_likelihood:.5f}"
            self._display.write(f"  Iteration {step.number}{gain}")
        self._log_likelihood = now
        self._display.updated(step.number, now)


def interactive() -> bool:
    """Whether somebody is watching: the standard error stream is a terminal or the cell of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return in_terminal() or (shell is not None and "IPKernelApp" in shell.config)


def in_terminal() -> bool:
    """Whether the standard error stream is a terminal."""
    isatty = getattr(sys.stderr, "isatty", None)
    return isatty is not None and bool(isatty())


def text_line(place: int) -> Any:
    """Line of text so many lines below the bar, a `tqdm.tqdm`: `set_description_str` writes it anew."""
    from tqdm.auto import tqdm

    size: dict[str, Any] = {"ncols": 80, "nrows": 24} if _sizeless() else {"dynamic_ncols": True}
    return tqdm(total=0, bar_format="{desc}", position=place, leave=False, **size)


def rows_bar(n_rows: int | None, description: str, *, shown: bool = True) -> Any:
    """Bar that counts rows, a `tqdm.tqdm`; invisible unless ``shown`` and somebody is watching."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # a text bar in a notebook is a bar, too
        from tqdm.auto import tqdm
    # smoothing=0: the rate is that of all rows so far, since waves come in bursts
    return tqdm(
        total=n_rows,
        desc=description,
        unit=" rows",
        unit_scale=True,
        smoothing=0,
        **({"ncols": 80, "nrows": 24} if _sizeless() else {"dynamic_ncols": True}),
        disable=not (shown and interactive()),
    )


def _sizeless() -> bool:
    """Whether the terminal says that it has no size, as that of a container may; tqdm would draw nothing."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError, AttributeError):  # no terminal that could be asked
        return False


class _Bar:
    """One bar a pass, drawn in one place; at the end, that of all passes."""

    def __init__(self, n_rows: int | None) -> None:
        self._started = time.time()  # the clock of tqdm
        self._n_rows = n_rows
        self._passes = 0
        self._rows = 0
        self._bar = rows_bar(n_rows, "start")

    def read(self, number: int, rows: int) -> None:
        self._passes = number
        self._rows += rows
        self._bar.set_description(f"pass {number}", refresh=False)
        self._bar.update(rows)

    def updated(self, number: int, log_likelihood: float) -> None:
        self._n_rows = self._n_rows or self._bar.n
        self._bar.set_description(f"pass {number + 1}", refresh=False)
        self._bar.set_postfix_str(f"ll {log_likelihood:.6g} nats/row", refresh=False)  # all fits 80 columns
        self._bar.reset(total=self._n_rows)

    def write(self, line: str) -> None:
        self._bar.write(line)

    def close(self) -> None:
        if self._rows:
            self._bar.set_description(f"{self._passes} passes", refresh=False)
            self._bar.n = self._bar.total = self._rows
            self._bar.start_t = self._started
        self._bar.close()


class _Lines:
    """A line after passes 1, 2, 4, 8, … and one at the end."""

    def __init__(self) -> None:
        self._rows = 0
        self._line = ""

    def read(self, number: int, rows: int) -> None:
        self._rows += rows

    def updated(self, number: int, log_likelihood: float) -> None:
        self._line = f"pass {number}: {self._rows:,} rows read, log-likelihood {log_likelihood:.6g} nats/row"
        if number & (number - 1) == 0:
            self.close()

    def write(self, line: str) -> None:
        print(line)

    def close(self) -> None:
        if self._line:
            print(self._line, file=sys.stderr, flush=True)
            self._line = ""
