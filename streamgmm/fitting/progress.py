"""Progress of a fit while it runs: rows, passes and log-likelihood.

A terminal or a notebook shows a bar, a file gets a few lines. Everything goes to the standard error stream, except the
lines of ``verbose=2``, which scikit-learn prints to the standard output.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from typing import Any, Self

from streamgmm.iteration.loop import Event


class Progress:
    """Consumer of events that shows a bar, or a few lines; nothing if ``verbose`` is 0. A context manager."""

    def __init__(self, n_rows: int | None, verbose: int, interval: int) -> None:
        self._n_rows = n_rows
        self._verbose = verbose
        self._interval = interval
        self._display: _Bar | _Lines | None = None
        self._log_likelihood: float | None = None

    def __enter__(self) -> Self:
        if self._verbose >= 1:
            self._display = _Bar(self._n_rows) if is_interactive() else _Lines()
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.close()

    def watch(self, event: Event) -> None:
        """Show one event."""
        if self._display is None:
            return
        self._display.add_rows(event.number, event.rows)
        if not event.updates:
            return
        log_likelihood = max(update.info.latest.likelihood.mean for update in event.updates)
        if self._verbose >= 2 and event.number % self._interval == 0:
            change = "" if self._log_likelihood is None else f"\t ll change {log_likelihood - self._log_likelihood:.5f}"
            self._display.write(f"  Iteration {event.number}{change}")
        self._log_likelihood = log_likelihood
        self._display.show(event.number, log_likelihood)


def is_terminal() -> bool:
    """Return True if the standard error stream is a terminal."""
    isatty = getattr(sys.stderr, "isatty", None)
    return isatty is not None and bool(isatty())


def is_interactive() -> bool:
    """Return True if the standard error stream is a terminal or the output of a notebook cell."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return is_terminal() or (shell is not None and "IPKernelApp" in shell.config)


def create_rows_bar(n_rows: int | None, description: str, *, shown: bool = True) -> Any:
    """Return a `tqdm.tqdm` that counts rows; it is disabled unless ``shown`` in a terminal or notebook."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # a notebook without widgets gets a text bar
        from tqdm.auto import tqdm
    return tqdm(
        total=n_rows,
        desc=description,
        unit=" rows",
        unit_scale=True,
        smoothing=0,  # the rate of all rows so far, since chunk groups come in bursts
        disable=not (shown and is_interactive()),
        **_terminal_size(),
    )


def create_text_line(position: int) -> Any:
    """Return a `tqdm.tqdm` that is a line of text below the bar; ``set_description_str`` rewrites it."""
    from tqdm.auto import tqdm

    return tqdm(total=0, bar_format="{desc}", position=position, leave=False, **_terminal_size())


def _terminal_size() -> dict[str, Any]:
    """Return tqdm's options of size; a container's terminal may report 0 columns, where tqdm would draw nothing."""
    try:
        has_size = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError, AttributeError):  # not a terminal
        has_size = True
    return {"dynamic_ncols": True} if has_size else {"ncols": 80, "nrows": 24}


class _Bar:
    """One bar, reset after each pass; at the end it shows all passes."""

    def __init__(self, n_rows: int | None) -> None:
        self._start_time = time.time()  # tqdm's clock
        self._n_rows = n_rows
        self._passes = 0
        self._rows = 0
        self._bar = create_rows_bar(n_rows, "start")

    def add_rows(self, number: int, rows: int) -> None:
        self._passes = number
        self._rows += rows
        self._bar.set_description(f"pass {number}", refresh=False)
        self._bar.update(rows)

    def show(self, number: int, log_likelihood: float) -> None:
        self._n_rows = self._n_rows or self._bar.n
        self._bar.set_description(f"pass {number + 1}", refresh=False)
        self._bar.set_postfix_str(f"ll {log_likelihood:.6g} nats/row", refresh=False)  # fits 80 columns
        self._bar.reset(total=self._n_rows)

    def write(self, line: str) -> None:
        self._bar.write(line)

    def close(self) -> None:
        if self._rows:
            self._bar.set_description(f"{self._passes} passes", refresh=False)
            self._bar.n = self._bar.total = self._rows
            self._bar.start_t = self._start_time
        self._bar.close()


class _Lines:
    """One line after passes 1, 2, 4, 8, … and at the end."""

    def __init__(self) -> None:
        self._rows = 0
        self._line = ""

    def add_rows(self, number: int, rows: int) -> None:
        self._rows += rows

    def show(self, number: int, log_likelihood: float) -> None:
        self._line = f"pass {number}: {self._rows:,} rows read, log-likelihood {log_likelihood:.6g} nats/row"
        if number & (number - 1) == 0:
            self.close()

    def write(self, line: str) -> None:
        print(line)

    def close(self) -> None:
        if self._line:
            print(self._line, file=sys.stderr, flush=True)
            self._line = ""
