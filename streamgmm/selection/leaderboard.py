"""The candidates of a selection that are best so far, in a few lines of a terminal that are written anew each pass."""

from __future__ import annotations

from typing import Any, Self

from streamgmm.fitting.progress import in_terminal, text_line
from streamgmm.iteration.loop import Event
from streamgmm.model.information_criteria import CRITERIA, DEFAULT_CRITERION
from streamgmm.selection.context import SelectionContext
from streamgmm.selection.race_state import RaceState, SelectionState

SHOWN = 6  # candidates


class Leaderboard:
    """Lines below the progress bar; nothing where ``verbose`` is 0 or nobody is at a terminal. A context manager."""

    def __init__(self, context: SelectionContext, verbose: int) -> None:
        self._context = context
        self._shown = verbose >= 1 and in_terminal()
        self._lines: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in reversed(self._lines):
            line.close()

    def watch(self, step: Event, state: SelectionState) -> None:
        """Take a step."""
        if not (self._shown and step.ends_pass and step.updates and isinstance(state, RaceState)):
            return
        weight = self._context.effective_n or max(update.info.latest.likelihood.weight for update in step.updates)
        texts = leaderboard(self._context, state, weight)
        while len(self._lines) < len(texts):
            self._lines.append(text_line(len(self._lines) + 1))
        for line, text in zip(self._lines, texts, strict=False):
            line.set_description_str(text)


def leaderboard(context: SelectionContext, race: RaceState, weight: float) -> list[str]:
    """A header, a line for each of the best, and how many others there are.

    Candidates are ranked by the criterion at the log-likelihood of the latest pass, or by BIC where that is not enough.
    """
    criterion = context.criterion
    criterion = criterion if criterion.allows_early_dropping else CRITERIA[DEFAULT_CRITERION]
    candidates = context.list_candidates(race.starts)
    found = []
    for place, trajectory in race.trajectories.items():
        candidate = candidates[place]
        family, size = candidate.key
        if trajectory.lower_bounds:
            value = criterion.evaluate(weight * trajectory.lower_bound, None, weight, candidate.n_parameters)
            state = "dropped" if place in race.dropped else "" if place in race.active else "ended"
            found.append((value, size, family, len(trajectory.lower_bounds), state))
    found.sort(key=lambda one: one[0])
    lines = [f"{'components':>10}  {'covariance':10}  {criterion.name + ' so far':>18}  passes"]
    for value, size, family, passes, state in found[:SHOWN]:
        lines.append(f"{size:10}  {family:10}  {value:18,.1f}  {passes:6}  {state}".rstrip())
    others = len(found) - SHOWN
    if others > 0:
        dropped = sum(1 for *_, state in found[SHOWN:] if state == "dropped")
        lines.append(f"{others:10}  others, {dropped} of them dropped")
    return lines
