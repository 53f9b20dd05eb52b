"""The best candidates of a selection so far, shown in a terminal below the progress bar after every pass."""

from __future__ import annotations

from typing import Any, Self

from streamgmm.fitting.progress import create_text_line, is_terminal
from streamgmm.iteration.loop import Event
from streamgmm.model.information_criteria import CRITERIA, DEFAULT_CRITERION
from streamgmm.selection.context import SelectionContext
from streamgmm.selection.race_state import RaceState, SelectionState

N_SHOWN = 6  # candidates


class Leaderboard:
    """Consumer of events that shows a table in a terminal; nothing if ``verbose`` is 0. A context manager."""

    def __init__(self, context: SelectionContext, verbose: int) -> None:
        self._context = context
        self._is_shown = verbose >= 1 and is_terminal()
        self._lines: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in reversed(self._lines):
            line.close()

    def watch(self, event: Event, state: SelectionState) -> None:
        """Show the table at the end of a pass."""
        if not (self._is_shown and event.ends_pass and event.updates and isinstance(state, RaceState)):
            return
        weight = self._context.effective_n or max(update.info.latest.likelihood.weight for update in event.updates)
        texts = format_leaderboard(self._context, state, weight)
        while len(self._lines) < len(texts):
            self._lines.append(create_text_line(len(self._lines) + 1))
        for line, text in zip(self._lines, texts, strict=False):
            line.set_description_str(text)


def format_leaderboard(context: SelectionContext, race: RaceState, weight: float) -> list[str]:
    """Return a header, a line for each of the best candidates, and a line with the number of others.

    Candidates are ranked by the criterion at the log-likelihood of the latest pass, or by BIC if it needs more.
    """
    criterion = context.criterion if context.criterion.allows_early_dropping else CRITERIA[DEFAULT_CRITERION]
    candidates = context.list_candidates(race.starts)
    ranking = []
    for index, trajectory in race.trajectories.items():
        family, size = candidates[index].key
        if trajectory.lower_bounds:
            value = criterion.evaluate(weight * trajectory.lower_bound, None, weight, candidates[index].n_parameters)
            status = "dropped" if index in race.dropped else "" if index in race.active else "ended"
            ranking.append((value, size, family, len(trajectory.lower_bounds), status))
    ranking.sort(key=lambda row: row[0])
    lines = [f"{'components':>10}  {'covariance':10}  {criterion.name + ' so far':>18}  passes"]
    for value, size, family, passes, status in ranking[:N_SHOWN]:
        lines.append(f"{size:10}  {family:10}  {value:18,.1f}  {passes:6}  {status}".rstrip())
    others = ranking[N_SHOWN:]
    if others:
        n_dropped = sum(status == "dropped" for *_, status in others)
        lines.append(f"{len(others):10}  others, {n_dropped} of them dropped")
    return lines
