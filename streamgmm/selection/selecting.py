"""select(): how many components, and of which family? Every candidate learns from the same readings of the data."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from streamgmm.algorithms.settings import EMSettings
from streamgmm.data.sources import Source, as_source
from streamgmm.errors import DegenerateError, InputError, SinglePassError
from streamgmm.estimator import GaussianMixture
from streamgmm.estimator.complete_fit import summarize_fit
from streamgmm.estimator.estimator_settings import RESUME, check_settings, draw_seed, em_settings
from streamgmm.fitting import streaming as online
from streamgmm.fitting.context import FitTask
from streamgmm.fitting.driver import run_phases
from streamgmm.fitting.progress import Progress
from streamgmm.initialization.find_starts import subsample_size
from streamgmm.iteration.loop import Event
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.em import ILL_DEFINED
from streamgmm.model.information_criteria import CRITERIA, DEFAULT_CRITERION, find_criterion
from streamgmm.persistence.session import CheckpointSession
from streamgmm.persistence.writer import Checkpoint
from streamgmm.selection.comparison import Key, Outcome, make_table
from streamgmm.selection.context import SelectionContext, SelectionStartsState
from streamgmm.selection.leaderboard import Leaderboard
from streamgmm.selection.race_state import RaceState, SelectionState
from streamgmm.selection.racing import SelectionFinalState, make_selection_phases
from streamgmm.selection.saved_selection import MAX_STARTS, SelectionCheckpoint, SelectionGeneration
from streamgmm.selection.selection import Selection

NOT_CONVERGED = (
    "The chosen mixture has not converged; its criterion may be too high, and so may those of others. Increase "
    "max_iter."
)


def select(
    X: Any,
    n_components: Iterable[int] = range(1, 11),
    covariance_types: Sequence[str] = ("full",),
    *,
    n_init: int = 1,
    criterion: str = DEFAULT_CRITERION,
    sample_weight: ArrayLike | None = None,
    tol: float | str = "auto",
    reg_covar: float = 1e-6,
    max_iter: int = 100,
    init_params: str = "auto",
    random_state: Any = None,
    verbose: int = 0,
    effective_n: float | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    resume: str = "auto",
) -> Selection:
    """Choose the number of components and the family of covariances.

    All candidates learn together: each chunk is read once a pass, and evaluated for all of them. So a selection reads
    the data as often as its longest fit: once for a sample, once a pass, and once for the exact likelihoods.

    Parameters
    ----------
    X : as in `GaussianMixture.fit`
        Rows. An iterator is read once: if it has no more than 32,768 rows (or 100·k·d, if that is more), they are kept
        and learnt as an array would be; else the candidates are fitted to the first of them, and then learn all others
        as they come by, as in `Selection.partial_fit`, which then says by what the best is chosen.
    n_components : iterable of int, default=range(1, 11)
        Sizes to try.
    covariance_types : sequence of {'full', 'tied', 'diag', 'spherical'}, default=('full',)
        Families to try.
    n_init : int, default=1
        Starts of each candidate that learn from all rows.
    criterion : str, default='bic'
        What is lowest for the chosen one, of the names in `streamgmm.model.information_criteria.CRITERIA`: 'bic',
        'aic' or 'icl'; with 'heldout', what is highest. 'bic' asks which mixture the rows were drawn
        from, 'icl' for clusters that are apart, 'aic' and 'heldout' for the best density. With very many rows, which
        are never quite a mixture of Gaussians, BIC and AIC ask for ever more components; ICL and the ``gain`` of the
        table then say more. 'heldout' deals a sample of the rows in two, of which the candidates learn one and are
        judged by the other; all are then fitted to all rows.
    sample_weight : array-like of shape (n_samples,), optional
        Frequency weights: a weight of 2 is the row twice.
    tol, reg_covar, max_iter, init_params, random_state
        As in `GaussianMixture`. With ``tol='auto'`` EM is accelerated and a candidate ends when by its own estimate at
        most max(0.1, ν/100) nats remain to be gained in total. With ``init_params='auto'`` many starts of each size are
        tried on the sample, and besides what the next smaller size suggests by a split, and the next larger by a
        merger.
    verbose : int, default=0
        With 1 or more, a progress bar, and in a terminal a table below it of the candidates that are best so far.
    effective_n : float, optional
        How many independent rows the rows are worth, where that is fewer than there are: neighbouring pixels say
        nearly the same (`streamgmm.images.effective_n` estimates it), or weights are no counts ((Σw)²/Σw²). BIC, AIC
        and ICL are then those of so many rows with the same mean log-likelihood. With ``criterion='heldout'`` it
        changes no choice.
    checkpoint : str, path-like or `Checkpoint`, optional
        Folder in which the selection keeps what it has come to, so that the same call goes on where a process was
        killed, to the same bits; and what `Selection.partial_fit` learns after that.
    resume : {'auto', 'never', 'must'}, default='auto'
        Whether to go on with what the checkpoint holds: where there is something, without looking, or it is an error
        that there is nothing.

    Returns
    -------
    Selection

    Raises
    ------
    InputError
        The data or an argument cannot be used; a ValueError. The message says what, where, and the remedy.
    DegenerateError
        No candidate has a covariance that can be inverted; a ValueError. One that has not is in the table with NaN.
    SinglePassError
        Batches that can be read only once, and a checkpoint, which needs them again; a ValueError.
    CheckpointError
        The checkpoint is used by another fit, was begun with other rows or arguments, is damaged, or cannot be
        written; a RuntimeError.
    KeyboardInterrupt
        The selection was interrupted. With a checkpoint, it says where the same call goes on.

    Warns
    -----
    ConvergenceWarning
        The chosen mixture used up its passes.

    Notes
    -----
    With 'bic' and 'aic' a candidate is dropped at the end of its first pass if rows held out of the sample leave it no
    hope (``heldout`` of the table): if their log-densities are less than under the best one, compared row by row, by
    more than five standard errors of the mean difference, ten times what more rows could give it (ν/n), and what it
    saves by having fewer parameters. They say so of none where there are fewer than 16,384 rows, or weights. Later, not
    before the seventh pass, one is dropped if its criterion would still be above the best one's had it gained ten times
    what it may gain yet by its own estimate: the largest of Aitken's extrapolation, that of accelerated EM, and what
    its last six passes have gained; the log-likelihoods compared are of all rows, so that no error of sampling is to be
    allowed for. The table has the exact criteria of what a dropped candidate had come to. With 'icl' and 'heldout' none
    is dropped.

    N in BIC is the number of rows; with weights, which are frequencies, their sum.

    An iterator is read once. What is then known of a candidate is not its likelihood for all rows, but that of the
    first, and of each later one before it was learnt; see ``evidence`` in `Selection`.

    scikit-learn's sign: lower is better. mclust's BIC and ICL are the negatives.

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import select
    >>> centres = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], 200, axis=0)
    >>> rows = centres + np.random.default_rng(0).normal(size=(600, 2))
    >>> found = select(rows, range(1, 5), ["full", "spherical"], random_state=0)
    >>> found.best.n_components, found.best.covariance_type
    (3, 'spherical')
    """
    asked = _Asked.checked(n_components, covariance_types, criterion, effective_n, resume)
    settings: dict[str, Any] = {
        "tol": tol,
        "reg_covar": reg_covar,
        "max_iter": max_iter,
        "n_init": n_init,
        "init_params": init_params,
        "random_state": random_state,
        "verbose": verbose,
    }
    largest = GaussianMixture(max(size for _, size in asked.keys), checkpoint=checkpoint, **settings)
    check_settings(largest)
    source = as_source(X, sample_weight)
    task = FitTask(None, "select", draw_seed(random_state), (), None, 0.0)
    learning = em_settings(largest)
    if not source.repeatable:
        _check_single_pass(checkpoint, effective_n)
        found = _once(source, asked, settings, learning, task)
    elif checkpoint is None:
        found = _chosen(source, source, asked, settings, learning, task, None)
    else:
        with _kept(checkpoint, resume, asked, settings, source, task) as kept:
            found = _chosen(source, source, asked, settings, learning, kept.task, kept)
        found.checkpoint, found._position = checkpoint, kept.position
    if not found.best.converged_ and max_iter > 0 and found.criterion in CRITERIA:
        warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=2)
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be chosen from, and by what."""

    keys: tuple[Key, ...]
    criterion: str
    effective_n: float | None

    @classmethod
    def checked(cls, n_components: Any, covariance_types: Any, criterion: str, effective_n: Any, resume: str) -> _Asked:
        """Sizes and families, each once, in the order given."""
        sizes = list(n_components) if isinstance(n_components, Iterable) else []
        if not sizes or not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
            raise InputError(f"n_components is {n_components!r}; give integers of at least 1, such as range(1, 11).")
        families = [] if isinstance(covariance_types, str) else list(covariance_types)
        if not families or not set(families) <= set(STRUCTURES):
            known = ", ".join(map(repr, STRUCTURES))
            raise InputError(f"covariance_types is {covariance_types!r}; give a sequence with one or more of {known}.")
        find_criterion(criterion)
        if resume not in RESUME:
            raise InputError(f"resume is {resume!r}; choose one of {', '.join(map(repr, RESUME))}.")
        if effective_n is not None and not (isinstance(effective_n, Real) and 1.0 <= float(effective_n) < np.inf):
            raise InputError(f"effective_n is {effective_n!r}; give the number of independent rows, at least 1.")
        unique = [int(size) for size in dict.fromkeys(sizes)]
        keys = tuple((family, size) for family in dict.fromkeys(families) for size in unique)
        return cls(keys, criterion, None if effective_n is None else float(effective_n))


def _check_single_pass(checkpoint: Any, effective_n: float | None) -> None:
    """Raise where something was asked for that rows which come by once do not give."""
    if checkpoint is not None:
        raise SinglePassError(
            "A selection that is interrupted is gone on with by reading X again, which is an iterator that can be "
            "read only once. Pass a function that returns a fresh iterator for each pass, or an array."
        )
    if effective_n is not None:
        raise InputError(
            "effective_n is of all rows, and X is an iterator, of which nobody knows how many it has. Pass a "
            "function that returns a fresh iterator for each pass, or an array."
        )


def _kept(
    checkpoint: Any, resume: str, asked: _Asked, settings: dict[str, Any], source: Source, task: FitTask
) -> SelectionCheckpoint:
    """The checkpoint of a selection, which is not yet open."""
    n_starts = len(asked.keys) * settings["n_init"]
    if n_starts > MAX_STARTS:
        raise InputError(
            f"{len(asked.keys)} candidates from {settings['n_init']} starts each are more than the {MAX_STARTS} "
            "starts that a checkpoint keeps; give fewer of them, or checkpoint=None."
        )
    seed = settings["random_state"]
    kept_settings = {
        "n_components": tuple(dict.fromkeys(size for _, size in asked.keys)),
        "covariance_types": tuple(dict.fromkeys(family for family, _ in asked.keys)),
        "criterion": asked.criterion,
        "effective_n": asked.effective_n,
        **{name: value for name, value in settings.items() if name != "verbose"},
        "random_state": int(seed) if isinstance(seed, Integral) else None,
    }
    return SelectionCheckpoint(checkpoint, resume, kept_settings, source, task, deepcopy(check_random_state(seed)))


def _chosen(
    source: Source,
    named: Source,
    asked: _Asked,
    settings: dict[str, Any],
    learning: EMSettings,
    task: FitTask,
    kept: SelectionCheckpoint | None,
    dropping: bool = True,
) -> Selection:
    """The selection by rows that can be read again; ``named`` has the names of their columns."""
    random = deepcopy(check_random_state(settings["random_state"]))
    if kept is not None:
        random = np.random.RandomState()
        random.set_state(task.random)
    context = SelectionContext(
        source=source,
        settings=learning,
        keys=asked.keys,
        n_init=settings["n_init"],
        init_params=settings["init_params"],
        max_iter=settings["max_iter"],
        criterion=CRITERIA[asked.criterion],
        effective_n=asked.effective_n,
        drops_early=dropping,
        seed=task.seed,
        random=random,
    )
    begin = SelectionStartsState() if kept is None else kept.progress

    def make_content(progress: SelectionState) -> SelectionGeneration | None:
        return None if kept is None else kept.make_content(progress)

    writer = None if kept is None else kept.writer
    with (
        Progress(source.n_rows, settings["verbose"], 10) as progress,
        Leaderboard(context, settings["verbose"]) as leaderboard,
        CheckpointSession("selection", writer, begin, make_content) as session,
    ):

        def watch(event: Event | None, made: SelectionState) -> None:
            if event is not None:
                progress.watch(event)
                leaderboard.watch(event, made)
            session.watch(made)

        final: SelectionFinalState = run_phases(make_selection_phases(context), begin, watch)
    if kept is not None and begin is not final:
        kept.write_last(final)
    return _selection(named, asked, settings, learning, final.find_outcomes(context), final.race)


def _selection(
    named: Source,
    asked: _Asked,
    settings: dict[str, Any],
    learning: EMSettings,
    winners: Sequence[Outcome | None],
    race: RaceState,
) -> Selection:
    """Models, their table, and the best of them."""
    columns = make_table(asked.keys, winners, named.n_features, race.scores, asked.effective_n)
    algorithm = "accelerated" if learning.tol is None else "batch"
    models: list[GaussianMixture | None] = []
    for (family, size), won, starts_of_size in zip(asked.keys, winners, race.starts, strict=True):
        model = None
        if won is not None:
            model = GaussianMixture(size, covariance_type=family, **settings)
            own = replace(learning, structure=STRUCTURES[family])
            model._state = summarize_fit(
                named, own, won.trajectory, won.accumulated, algorithm, starts_of_size.restarts
            )
        models.append(model)
    values = columns[asked.criterion] * (1.0 if CRITERIA[asked.criterion].lower_is_better else -1.0)
    values = np.where([model is None for model in models], np.nan, values)
    if np.isnan(values).all():  # what rows held out were to judge has degenerated on the others
        raise DegenerateError(ILL_DEFINED)
    best = models[int(np.nanargmin(values))]
    assert best is not None
    worth = 1.0 if asked.effective_n is None else asked.effective_n / best.criteria_["exact"].n_samples
    return Selection(best, columns, asked.criterion, tuple(models), worth)


def _once(source: Source, asked: _Asked, settings: dict[str, Any], learning: EMSettings, task: FitTask) -> Selection:
    """The selection by rows that come by once: by the first of them, which are kept, and then by all others."""
    largest = max(size for _, size in asked.keys)
    waiting, rest = online.collect_rows(online.PendingRows(), source, subsample_size(largest, source.n_features))
    first, chunks = waiting.as_subsample(), rest.chunks()
    more = next(chunks, None)
    at_hand = as_source(first.rows, first.weights)
    found = _chosen(at_hand, source, asked, settings, learning, task, None, dropping=more is None)
    if more is None:
        return found
    return found._learn(online.RemainingChunks(source, chain([more], chunks)))
