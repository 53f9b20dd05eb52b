"""Choose the number of components and the covariance family: all candidates are fitted in shared passes."""

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
from streamgmm.fitting import streaming
from streamgmm.fitting.context import FitTask
from streamgmm.fitting.driver import run_phases
from streamgmm.fitting.progress import Progress
from streamgmm.initialization.find_starts import choose_subsample_size
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

    All candidates are fitted in the same passes, so a selection reads the data as often as its slowest candidate.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows; every kind of data that `GaussianMixture.fit` reads. An iterator is read once. If it has at most 32,768
        rows (or 100·k·d, if that is more), they are kept in memory and used like an array. Otherwise the candidates are
        fitted to the first rows and then learn all others by `Selection.partial_fit`, which also describes how the best
        is then chosen.
    n_components : iterable of int, default=range(1, 11)
        Numbers of components to compare.
    covariance_types : sequence of {'full', 'tied', 'diag', 'spherical'}, default=('full',)
        Covariance families to compare.
    n_init : int, default=1
        Number of starts of each candidate that are fitted to all rows.
    criterion : str, default='bic'
        A name in `streamgmm.model.information_criteria.CRITERIA`. The lowest 'bic', 'aic' or 'icl' wins; for
        'heldout', the highest. 'bic' looks for the mixture that generated the rows, 'icl' for separated clusters, 'aic'
        and 'heldout' for the best density. Real data are never exactly a mixture of Gaussians, so with very many rows
        BIC and AIC choose ever more components; ICL and the ``gain`` column of the table are then more informative.
        'heldout' splits a subsample into training and validation rows, compares the candidates on the validation rows,
        and then fits all of them to all rows.
    sample_weight : array-like of shape (n_samples,), optional
        Frequency weights: a weight of 2 is the row twice.
    tol : float or 'auto', default='auto'
        Stop a candidate once its mean log-likelihood gains less than this in a pass, in nats a row. With 'auto' EM is
        accelerated, and a candidate stops once its estimated remaining gain is at most max(0.1, ν/100) nats in total.
    reg_covar : float, default=1e-6
        Added to every variance, in squared units of the data.
    max_iter : int, default=100
        Largest number of passes of EM.
    init_params : {'auto', 'split', 'kmeans', 'k-means++', 'random', 'random_from_data'}, default='auto'
        Method that finds the starts. With 'auto' many starts of each size are compared on a subsample, including splits
        of the next smaller size and mergers of the next larger.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts, the subsample and the held-out rows.
    verbose : int, default=0
        With 1 or more, show a progress bar and, in a terminal, a leaderboard of the best candidates so far.
    effective_n : float, optional
        Number of independent rows, if smaller than the number of rows: neighbouring pixels are correlated
        (`streamgmm.images.effective_n` estimates it), or the weights are not counts ((Σw)²/Σw²). BIC, AIC and ICL are
        then computed for this number of rows with the same mean log-likelihood. It does not change the choice by
        'heldout'.
    checkpoint : str, path-like or `Checkpoint`, optional
        Folder for checkpoints. If the process is killed, the same call resumes there and returns the same bits.
        `Selection.partial_fit` continues to write to it.
    resume : {'auto', 'never', 'must'}, default='auto'
        'auto' resumes if the folder holds a checkpoint, 'never' starts anew, 'must' raises if there is nothing to
        resume.

    Returns
    -------
    Selection

    Raises
    ------
    InputError
        The data or an argument cannot be used; a ValueError. The message says what, where, and the remedy.
    DegenerateError
        Every candidate is degenerate; a ValueError. A single degenerate candidate has NaN in the table.
    SinglePassError
        A checkpoint was requested, but X can be read only once; a ValueError.
    CheckpointError
        The checkpoint is in use, belongs to other rows or arguments, is damaged, or cannot be written; a RuntimeError.
    KeyboardInterrupt
        The selection was interrupted. With a checkpoint, the message says where the same call resumes.

    Warns
    -----
    ConvergenceWarning
        The chosen mixture has not converged within ``max_iter`` passes.

    Notes
    -----
    The data are read once for the subsample, once a pass until the slowest candidate has converged, and once for the
    exact likelihoods.

    With 'bic' and 'aic', candidates that cannot win are dropped early, in two ways.

    * After the first pass, by rows of the subsample that were held out (``heldout`` in the table). Log-densities are
      compared row by row. A candidate is dropped if it trails the best one by more than the sum of five standard
      errors of the mean difference, ten times its expected gain from more rows (ν/n), and what its smaller number of
      parameters saves. This needs at least 16,384 rows without weights.
    * From the seventh pass on, by its remaining gain. A candidate is dropped if its criterion would stay above the best
      one's after gaining ten times its estimated remaining gain. The estimate is the largest of Aitken extrapolation,
      the estimate of accelerated EM, and the gain of its last six passes. These log-likelihoods are of all rows, so
      there is no sampling error.

    The table has the exact criteria of dropped candidates at the parameters they had reached. With 'icl' and 'heldout'
    no candidate is dropped.

    N in BIC is the number of rows, or the sum of the weights, which are frequencies.

    For an iterator, the likelihood of all rows under the final parameters is not known. The table has the prequential
    likelihood instead; see ``evidence`` in `Selection`.

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
    candidates = _Candidates.from_arguments(n_components, covariance_types, criterion, effective_n, resume)
    settings: dict[str, Any] = {
        "tol": tol,
        "reg_covar": reg_covar,
        "max_iter": max_iter,
        "n_init": n_init,
        "init_params": init_params,
        "random_state": random_state,
        "verbose": verbose,
    }
    largest = GaussianMixture(max(size for _, size in candidates.keys), checkpoint=checkpoint, **settings)
    check_settings(largest)
    source = as_source(X, sample_weight)
    task = FitTask(None, "select", draw_seed(random_state), (), None, 0.0)
    em = em_settings(largest)
    if not source.repeatable:
        _check_single_pass(checkpoint, effective_n)
        selection = _select_in_one_reading(source, candidates, settings, em, task)
    elif checkpoint is None:
        selection = _run_selection(source, source, candidates, settings, em, task, None)
    else:
        with _make_checkpoint(checkpoint, resume, candidates, settings, source, task) as opened:
            selection = _run_selection(source, source, candidates, settings, em, opened.task, opened)
        selection.checkpoint, selection._position = checkpoint, opened.position
    if not selection.best.converged_ and max_iter > 0 and selection.criterion in CRITERIA:
        warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=2)
    return selection


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Arguments of `select` that name the candidates and the criterion, validated.

    Attributes
    ----------
    keys : tuple of (str, int)
        Family and size of each candidate.
    criterion : str
        Name of the criterion that decides.
    effective_n : float or None
        Number of independent rows.
    """

    keys: tuple[Key, ...]
    criterion: str
    effective_n: float | None

    @classmethod
    def from_arguments(
        cls, n_components: Any, covariance_types: Any, criterion: str, effective_n: Any, resume: str
    ) -> _Candidates:
        """Return the candidates, each once, in the order given; InputError."""
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
    """Raise if an argument needs X to be read more than once."""
    if checkpoint is not None:
        raise SinglePassError(
            "An interrupted selection is resumed by reading X again, but X is an iterator, which can be read only "
            "once. Pass a function that returns a fresh iterator for each pass, or an array."
        )
    if effective_n is not None:
        raise InputError(
            "effective_n counts all rows, but X is an iterator, whose number of rows is not known. Pass a "
            "function that returns a fresh iterator for each pass, or an array."
        )


def _make_checkpoint(
    checkpoint: Any, resume: str, candidates: _Candidates, settings: dict[str, Any], source: Source, task: FitTask
) -> SelectionCheckpoint:
    """Return the checkpoint of a selection; entering it as a context opens its folder."""
    n_starts = len(candidates.keys) * settings["n_init"]
    if n_starts > MAX_STARTS:
        raise InputError(
            f"{len(candidates.keys)} candidates from {settings['n_init']} starts each are more than the {MAX_STARTS} "
            "starts that a checkpoint keeps; give fewer of them, or checkpoint=None."
        )
    seed = settings["random_state"]
    saved_settings = {
        "n_components": tuple(dict.fromkeys(size for _, size in candidates.keys)),
        "covariance_types": tuple(dict.fromkeys(family for family, _ in candidates.keys)),
        "criterion": candidates.criterion,
        "effective_n": candidates.effective_n,
        **{name: value for name, value in settings.items() if name != "verbose"},
        "random_state": int(seed) if isinstance(seed, Integral) else None,
    }
    return SelectionCheckpoint(checkpoint, resume, saved_settings, source, task, deepcopy(check_random_state(seed)))


def _run_selection(
    source: Source,
    named: Source,
    candidates: _Candidates,
    settings: dict[str, Any],
    em: EMSettings,
    task: FitTask,
    opened: SelectionCheckpoint | None,
    drops_early: bool = True,
) -> Selection:
    """Run the selection on rows that can be read again.

    Parameters
    ----------
    source : Source
        The rows.
    named : Source
        Source of the column names.
    candidates, settings, em, task
        Arguments of `select`, as passed and as validated.
    opened : SelectionCheckpoint or None
        The open checkpoint.
    drops_early : bool, default=True
        Drop candidates that cannot win.
    """
    random = deepcopy(check_random_state(settings["random_state"]))
    if opened is not None:
        random = np.random.RandomState()
        random.set_state(task.random)
    context = SelectionContext(
        source=source,
        settings=em,
        keys=candidates.keys,
        n_init=settings["n_init"],
        init_params=settings["init_params"],
        max_iter=settings["max_iter"],
        criterion=CRITERIA[candidates.criterion],
        effective_n=candidates.effective_n,
        drops_early=drops_early,
        seed=task.seed,
        random=random,
    )
    begin = SelectionStartsState() if opened is None else opened.progress

    def make_content(progress: SelectionState) -> SelectionGeneration | None:
        return None if opened is None else opened.make_content(progress)

    writer = None if opened is None else opened.writer
    with (
        Progress(source.n_rows, settings["verbose"], 10) as progress,
        Leaderboard(context, settings["verbose"]) as leaderboard,
        CheckpointSession("selection", writer, begin, make_content) as session,
    ):

        def watch(event: Event | None, state: SelectionState) -> None:
            if event is not None:
                progress.watch(event)
                leaderboard.watch(event, state)
            session.watch(state)

        final: SelectionFinalState = run_phases(make_selection_phases(context), begin, watch)
    if opened is not None and begin is not final:
        opened.write_last(final)
    return _make_selection(named, candidates, settings, em, final.find_outcomes(context), final.race)


def _make_selection(
    named: Source,
    candidates: _Candidates,
    settings: dict[str, Any],
    em: EMSettings,
    winners: Sequence[Outcome | None],
    race: RaceState,
) -> Selection:
    """Return the fitted candidates, their table, and the best of them."""
    columns = make_table(candidates.keys, winners, named.n_features, race.scores, candidates.effective_n)
    algorithm = "accelerated" if em.tol is None else "batch"
    models: list[GaussianMixture | None] = []
    for (family, size), winner, starts_of_size in zip(candidates.keys, winners, race.starts, strict=True):
        model = None
        if winner is not None:
            model = GaussianMixture(size, covariance_type=family, **settings)
            own_settings = replace(em, structure=STRUCTURES[family])
            model._state = summarize_fit(
                named, own_settings, winner.trajectory, winner.accumulated, algorithm, starts_of_size.restarts
            )
        models.append(model)
    values = columns[candidates.criterion] * (1.0 if CRITERIA[candidates.criterion].lower_is_better else -1.0)
    values = np.where([model is None for model in models], np.nan, values)
    if np.isinf(values).any() and not np.isfinite(values).any():
        raise InputError(
            f"criterion={candidates.criterion!r} is not finite for any candidate; give more rows or another criterion."
        )
    if np.isnan(values).all():  # with held-out rows: degenerate on the training rows
        raise DegenerateError(ILL_DEFINED)
    best = models[int(np.nanargmin(values))]
    assert best is not None
    worth = 1.0 if candidates.effective_n is None else candidates.effective_n / best.criteria_["exact"].n_samples
    return Selection(best, columns, candidates.criterion, tuple(models), worth)


def _select_in_one_reading(
    source: Source, candidates: _Candidates, settings: dict[str, Any], em: EMSettings, task: FitTask
) -> Selection:
    """Select on the first rows of an iterator, which are kept in memory; the candidates then learn all others."""
    largest = max(size for _, size in candidates.keys)
    pending, remaining = streaming.collect_rows(
        streaming.PendingRows(), source, choose_subsample_size(largest, source.n_features)
    )
    subsample, chunks = pending.as_subsample(), remaining.chunks()
    more = next(chunks, None)
    in_memory = as_source(subsample.rows, subsample.weights)
    selection = _run_selection(in_memory, source, candidates, settings, em, task, None, drops_early=more is None)
    if more is None:
        return selection
    return selection._learn_rows(streaming.RemainingChunks(source, chain([more], chunks)))
