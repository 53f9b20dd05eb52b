"""select(): how many components, and of which family? Every candidate learns from the same readings of the data."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from math import nan
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from streamgmm import execution, plot
from streamgmm.contest import Candidate, Outcome, contested
from streamgmm.covariances import STRUCTURES
from streamgmm.criteria import Prequential, n_parameters
from streamgmm.errors import InputError, SinglePassError
from streamgmm.estimator import GaussianMixture
from streamgmm.initialization import Reservoir, drawn
from streamgmm.parameters import Array
from streamgmm.planning import Learning
from streamgmm.progress import Progress
from streamgmm.search import Rung, Trials, ladder, log_densities
from streamgmm.sources import as_source
from streamgmm.sources.source import Chunk

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CRITERIA = ("bic", "aic", "icl", "heldout")
NOT_CONVERGED = (
    "The chosen mixture has not converged; its criterion may be too high, and so may those of others. Increase "
    "max_iter."
)


@dataclass(eq=False, repr=False)
class Selection:
    """What `select` has found.

    Attributes
    ----------
    best : GaussianMixture
        The chosen one, fitted to all rows.
    table : dict of ndarray
        A column a name, a row a candidate (family by family, sizes as they were given):

        ``n_components``, ``covariance_type``, ``n_parameters``
            Which one, and its free parameters ν.
        ``log_likelihood``
            Of all rows under its parameters, nats; exact. NaN where it has degenerated.
        ``bic``, ``aic``, ``icl``
            As in `streamgmm.criteria`: lower is better.
        ``gain``
            Nats a row more than the next smaller size of its family; NaN for the smallest.
        ``heldout``, ``heldout_error``
            With ``criterion="heldout"``: mean log-density of rows that were not learnt from, nats a row, and the
            standard error of its difference from the largest. Otherwise NaN.
        ``converged``, ``n_iter``
            Whether EM has, and its passes.
        ``dropped``
            Whether it left before, because it could not win.

        After `partial_fit` only which ones, ``n_parameters``, ``dropped``, and ``prequential`` and ``bound``: mean
        log-density of the rows that have arrived since, each before it was learnt, and a lower bound of the
        log-likelihood of all rows learnt, nats a row.
    criterion : str
        By which ``best`` was chosen; 'prequential' after `partial_fit`.
    models : tuple of GaussianMixture or None
        All candidates, fitted, in the order of the table; None where one has degenerated.
    """

    best: GaussianMixture
    table: dict[str, NDArray[Any]]
    criterion: str
    models: tuple[GaussianMixture | None, ...]

    def partial_fit(self, X: Any, sample_weight: ArrayLike | None = None, token: Any = None) -> Self:
        """Learn rows that have arrived, every candidate in the same reading, and choose anew.

        The best is then the one that has expected the rows best before it learnt them (the prequential score; Dawid,
        1984), over all rows since `select`. It pays for its parameters itself, so that there is no penalty on top.
        Candidates that were dropped learn as well.

        Parameters
        ----------
        X, sample_weight, token
            As in `GaussianMixture.partial_fit`; an iterator of batches is read once.

        Returns
        -------
        self : Selection

        Raises
        ------
        InputError, DegenerateError
            As in `GaussianMixture.partial_fit`. The selection is then as it was before the call.

        Examples
        --------
        >>> import numpy as np
        >>> from streamgmm import select
        >>> rows = np.random.default_rng(0).normal(size=(2000, 1)) + np.repeat([[0.0], [8.0]], 1000, axis=0)
        >>> rows = np.random.default_rng(1).permutation(rows)
        >>> found = select(rows[:500], [1, 2], random_state=0)
        >>> for part in np.split(rows[500:], 5):
        ...     found = found.partial_fit(part)
        >>> found.best.n_components, found.criterion, found.best.n_samples_seen_
        (2, 'prequential', 2000)
        """
        if token is not None and any(token in getattr(model, "_tokens", ()) for model in self.models if model):
            return self
        models = [None if model is None else copy(model) for model in self.models]
        learning = [model for model in models if model is not None]
        for wave in execution.waves(as_source(X, sample_weight)):
            for chunk in wave.chunks:
                ((rows, weights),) = execution.over_chunks(replace(wave, chunks=(chunk,)), _at_hand)
                last = wave.last and chunk is wave.chunks[-1]
                for model in learning:
                    model.partial_fit(rows, sample_weight=weights, token=token if last else None)
        if all("prequential" in model.criteria_ for model in learning):
            self.__dict__ = _by_prequential(self.table, tuple(models)).__dict__
        return self

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("A DataFrame needs pandas; install it with: pip install 'streamgmm[tables]'") from None
        return pandas.DataFrame(self.table)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the criteria against the number of components; see `streamgmm.plot.selection`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; the current axes by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return plot.selection(self, ax=ax)

    def __repr__(self) -> str:
        place = next(number for number, model in enumerate(self.models) if model is self.best)
        value = self.table[self.criterion][place]
        dropped, n = int(self.table["dropped"].sum()), len(self.models)
        return (
            f"Selection({self.best.n_components} components, {self.best.covariance_type}, by {self.criterion} "
            f"{value:,.6g}; {n} candidate{'s' * (n != 1)}, {dropped} of them dropped)"
        )


def select(
    X: Any,
    n_components: Iterable[int] = range(1, 11),
    covariance_types: Sequence[str] = ("full",),
    *,
    n_init: int = 1,
    criterion: str = "bic",
    sample_weight: ArrayLike | None = None,
    tol: float | str = "auto",
    reg_covar: float = 1e-6,
    max_iter: int = 100,
    init_params: str = "auto",
    random_state: Any = None,
    verbose: int = 0,
) -> Selection:
    """Choose the number of components and the family of covariances.

    All candidates learn together: each chunk is read once a pass, and evaluated for all of them. So a selection reads
    the data as often as its longest fit: once for a sample, once a pass, and once for the exact likelihoods.

    Parameters
    ----------
    X : as in `GaussianMixture.fit`
        Rows; anything that can be read more than once.
    n_components : iterable of int, default=range(1, 11)
        Sizes to try.
    covariance_types : sequence of {'full', 'tied', 'diag', 'spherical'}, default=('full',)
        Families to try.
    n_init : int, default=1
        Starts of each candidate that learn from all rows.
    criterion : {'bic', 'aic', 'icl', 'heldout'}, default='bic'
        What is lowest for the chosen one; with 'heldout', what is highest. 'bic' asks which mixture the rows were drawn
        from, 'icl' for clusters that are apart, 'aic' and 'heldout' for the best density. With very many rows, which
        are never quite a mixture of Gaussians, BIC and AIC ask for ever more components; ICL and the ``gain`` of the
        table then say more. 'heldout' deals a sample of the rows in two, of which the candidates learn one and are
        judged by the other; all are then fitted to all rows.
    sample_weight : array-like of shape (n_samples,), optional
        Frequency weights: a weight of 2 is the row twice.
    tol, reg_covar, max_iter, init_params, random_state, verbose
        As in `GaussianMixture`. With ``tol='auto'`` EM is accelerated and a candidate ends when by its own estimate at
        most max(0.1, ν/100) nats remain to be gained in total. With ``init_params='auto'`` many starts of each size are
        tried on the sample, and besides what the next smaller size suggests by a split, and the next larger by a
        merger.

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
        Batches that can be read only once; a ValueError.

    Warns
    -----
    ConvergenceWarning
        The chosen mixture used up its passes.

    Notes
    -----
    With 'bic' and 'aic' a candidate is dropped at the end of a pass, not before the seventh, if its criterion would
    still be above the best one's had it gained ten times what it may gain yet by its own estimate: the largest of
    Aitken's extrapolation, that of accelerated EM, and what its last six passes have gained. The log-likelihoods
    compared are of all rows, so that no error of sampling is to be allowed for. The table has the exact criteria of
    what a dropped candidate had come to. With 'icl' and 'heldout' none is dropped.

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
    sizes, families = _checked(n_components, covariance_types, criterion)
    settings: dict[str, Any] = {
        "tol": tol,
        "reg_covar": reg_covar,
        "max_iter": max_iter,
        "n_init": n_init,
        "init_params": init_params,
        "random_state": random_state,
        "verbose": verbose,
    }
    asked = GaussianMixture(max(sizes), **settings)
    asked._validate_params()
    source = as_source(X, sample_weight)
    if not source.repeatable:
        raise SinglePassError(
            "select reads the data once per iteration, and X is an iterator that can be read only once. Pass a "
            "function that returns a fresh iterator for each pass, or an array."
        )
    learning = asked._learning()
    random = deepcopy(check_random_state(random_state))
    reservoir = drawn(source, max(sizes), asked._seed())
    rungs, densities = _started(reservoir, sizes, families, asked, learning, random, criterion == "heldout")
    keys = [(family, size) for family in families for size in sizes]
    entries = [(key, Candidate(STRUCTURES[key[0]], start)) for key in keys for start in rungs[key].starts]
    with Progress.of(source, verbose, 10) as progress:
        outcomes = contested(
            source,
            [candidate for _, candidate in entries],
            learning,
            max_iter=max_iter,
            drop_by=criterion if criterion in ("bic", "aic") else None,
            watch=progress.watch,
        )
    winners = [_winner([one for (of, _), one in zip(entries, outcomes, strict=True) if of == key]) for key in keys]
    table = _table(keys, winners, source.n_features, densities)
    algorithm = "accelerated" if learning.tol is None else "batch"
    models = []
    for (family, size), won in zip(keys, winners, strict=True):
        model = None
        if won is not None and won.covered is not None:
            model = GaussianMixture(size, covariance_type=family, **settings)
            own = replace(learning, structure=STRUCTURES[family])
            model._remember(source, own, won.trajectory, won.covered, algorithm, rungs[family, size].restarts)
        models.append(model)
    values = table[criterion] if criterion != "heldout" else -table[criterion]
    values = np.where([model is None for model in models], np.nan, values)
    best = models[int(np.nanargmin(values))]
    assert best is not None
    if not best.converged_ and max_iter > 0:
        warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=2)
    return Selection(best, table, criterion, tuple(models))


Key = tuple[str, int]


def _checked(n_components: Any, covariance_types: Any, criterion: str) -> tuple[list[int], list[str]]:
    """Sizes and families, each once, in the order given."""
    sizes = list(n_components) if isinstance(n_components, Iterable) else []
    if not sizes or not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise InputError(f"n_components is {n_components!r}; give integers of at least 1, such as range(1, 11).")
    families = [] if isinstance(covariance_types, str) else list(covariance_types)
    if not families or not set(families) <= set(STRUCTURES):
        known = ", ".join(map(repr, STRUCTURES))
        raise InputError(f"covariance_types is {covariance_types!r}; give a sequence with one or more of {known}.")
    if criterion not in CRITERIA:
        raise InputError(f"criterion is {criterion!r}; choose one of {', '.join(map(repr, CRITERIA))}.")
    return [int(size) for size in dict.fromkeys(sizes)], list(dict.fromkeys(families))


def _started(
    reservoir: Reservoir,
    sizes: Sequence[int],
    families: Sequence[str],
    asked: GaussianMixture,
    learning: Learning,
    random: np.random.RandomState,
    divided: bool,
) -> tuple[dict[Key, Rung], dict[Key, Array]]:
    """Starts of every candidate; where they are judged by rows held out, also the log-densities of these."""
    d, largest = reservoir.rows.shape[1], max(sizes)
    most = max((STRUCTURES[family] for family in families), key=lambda one: n_parameters(one, largest, d))
    shared = Trials.of(reservoir, most, largest, asked.reg_covar, asked._seed(), divided)
    rungs: dict[Key, Rung] = {}
    densities: dict[Key, Array] = {}
    for family in families:
        trials = replace(shared, structure=STRUCTURES[family])
        found = ladder(reservoir, trials, sizes, asked.n_init, asked.init_params, random)
        rungs |= {(family, size): rung for size, rung in found.items()}
        if divided:
            densities |= {
                (family, size): log_densities(trials, rung.starts[0]) for size, rung in found.items() if rung.starts
            }
    return rungs, densities


def _at_hand(rows: NDArray[Any], weights: Array | None, chunk: Chunk) -> tuple[NDArray[Any], Array | None]:
    return rows, weights


def _by_prequential(table: dict[str, NDArray[Any]], models: tuple[GaussianMixture | None, ...]) -> Selection:
    """The selection after all models have learnt the same rows that arrived."""
    tallies = [None if model is None else model.criteria_["prequential"] for model in models]
    scores = [one.mean if isinstance(one, Prequential) else nan for one in tallies]
    bounds = [nan if model is None else model.lower_bound_ for model in models]
    kept = {name: table[name] for name in ("n_components", "covariance_type", "n_parameters", "dropped")}
    best = models[int(np.nanargmax(scores))]
    assert best is not None
    return Selection(best, {**kept, "prequential": np.array(scores), "bound": np.array(bounds)}, "prequential", models)


def _winner(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The best of the starts of one candidate; None where there are none."""
    sound = [one for one in outcomes if one.covered is not None]
    return max(sound, key=lambda one: one.covered.likelihood.total if one.covered else nan, default=None)


def _table(
    keys: Sequence[Key], winners: Sequence[Outcome | None], n_features: int, densities: dict[Key, Array]
) -> dict[str, NDArray[Any]]:
    free = [n_parameters(STRUCTURES[family], size, n_features) for family, size in keys]
    found = [None if won is None else won.criterion(nu) for won, nu in zip(winners, free, strict=True)]
    likelihoods = np.array([nan if one is None else one.log_likelihood for one in found])
    weights = [nan if one is None else one.n_samples for one in found]
    heldout, errors = _held_out(keys, densities)
    return {
        "n_components": np.array([size for _, size in keys]),
        "covariance_type": np.array([family for family, _ in keys]),
        "n_parameters": np.array(free),
        "log_likelihood": likelihoods,
        **{name: np.array([nan if one is None else getattr(one, name) for one in found]) for name in CRITERIA[:3]},
        "gain": _gains(keys, likelihoods / weights),
        "heldout": heldout,
        "heldout_error": errors,
        "converged": np.array([won is not None and won.trajectory.converged for won in winners]),
        "n_iter": np.array([0 if won is None else len(won.trajectory.lower_bounds) for won in winners]),
        "dropped": np.array([won is not None and won.dropped for won in winners]),
    }


def _gains(keys: Sequence[Key], means: Array) -> Array:
    """Nats a row that each has more than the next smaller of its family."""
    by_key = dict(zip(keys, means, strict=True))
    gains = []
    for family, size in keys:
        smaller = [other for kind, other in keys if kind == family and other < size]
        gains.append(by_key[family, size] - by_key[family, max(smaller)] if smaller else nan)
    return np.array(gains)


def _held_out(keys: Sequence[Key], densities: dict[Key, Array]) -> tuple[Array, Array]:
    """Mean log-density of the rows held out, and the standard error of its difference from the largest."""
    means = np.array([densities[key].mean() if key in densities else nan for key in keys])
    if np.isnan(means).all():
        return means, means
    first = densities[keys[int(np.nanargmax(means))]]
    errors = [(densities[key] - first).std() / np.sqrt(len(first)) if key in densities else nan for key in keys]
    return means, np.array(errors)
