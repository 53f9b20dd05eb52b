"""What a fit shows of itself while it runs: a progress bar, in a terminal or a notebook. A consumer of steps."""

from __future__ import annotations

from typing import Any, Self

from streamgmm.iteration import Step
from streamgmm.sources.source import Source


class Progress:
    """A bar with rows, passes and log-likelihood, or nothing at all where ``verbose`` is 0."""

    def __init__(self, n_rows: int | None, verbose: int, interval: int) -> None:
        self._n_rows = n_rows
        self._verbose = verbose
        self._interval = interval
        self._bar: Any = None
        self._log_likelihood: float | None = None

    @classmethod
    def of(cls, source: Source, verbose: int, interval: int) -> Self:
        """Progress of a fit to a source."""
        return cls(source.n_rows, int(verbose), interval)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def watch(self, step: Step) -> None:
        """Take one step."""
        if self._verbose < 1:
            return
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self._n_rows, unit=" rows", unit_scale=True, desc="pass 1")
        self._bar.update(step.rows)
        if not step.updates:
            return
        now = max(update.likelihood.mean for update in step.updates)
        gain = "" if self._log_likelihood is None else f"\t ll change {now - self._log_likelihood:.5f}"
        if self._verbose >= 2 and step.number % self._interval == 0:
            self._bar.write(f"  Iteration {step.number}{gain}")
        self._log_likelihood = now
        self._bar.set_postfix_str(f"log-likelihood {now:.6g} nats/row", refresh=False)
        self._bar.set_description(f"pass {step.number + 1}", refresh=False)
        self._bar.reset(total=self._n_rows or self._bar.n)
