"""GaussianMixture: scikit-learn's conventions around the library. No mathematics here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cache, partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from streamgmm import execution, online, prediction, search
from streamgmm.attributes import attributes_of
from streamgmm.covariances import STRUCTURES
from streamgmm.criteria import Criterion
from streamgmm.em import NO_WEIGHT, Expectation
from streamgmm.errors import InputError, SinglePassError
from streamgmm.fitting import Trajectory, best, bound, fit
from streamgmm.initialization import RESERVOIR, TOO_FEW_ROWS, WAYS, Reservoir, continued, drawn
from streamgmm.ledger import Ledger
from streamgmm.parameters import Parameters
from streamgmm.planning import Learning, chosen, stages
from streamgmm.progress import Progress
from streamgmm.revising import RevisableMixture
from streamgmm.schedules import Schedule
from streamgmm.search import Restarts
from streamgmm.sources import Source, as_source
from streamgmm.sources.source import Reading
from streamgmm.tokens import Tokens

NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase max_iter, tol, or "
    "check for degenerate data."
)


class GaussianMixture(RevisableMixture):
    """Gaussian mixture, fitted by exact EM to data of any size.

    A drop-in for :class:`sklearn.mixture.GaussianMixture`: the same constructor, fitted attributes, methods and
    messages; more kinds of input (`fit`), sample weights, and passes that run out of core on every core.

    Parameters
    ----------
    n_components : int, default=1
        Number of components, k.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        Each component has its own matrix; all share one matrix; each has its own variances; each has one variance.
    tol : float or 'auto', default='auto'
        Stop once the mean log-likelihood gains less than this in an iteration, nats a row, as scikit-learn does. 'auto'
        is scikit-learn's 1e-3, but where ``algorithm`` is 'auto' a bound of what is left to gain.
    reg_covar : float, default=1e-6
        Added to every variance, squared units of the data.
    max_iter : int, default=100
        Largest number of EM iterations, each one pass over the data. With 0 the starting parameters are kept.
    n_init : int, default=1
        Fits to try, each from its own start; the best by log-likelihood is kept. All of them share every reading of the
        data.
    init_params : {'auto', 'split', 'kmeans', 'k-means++', 'random', 'random_from_data'}, default='auto'
        How the starts are found, on a uniform sample of the rows (on all rows where there are no more than 32,768,
        or 100·k·d if that is more). 'auto': k-means and other starts, up to ten; a few passes of EM from each, more
        from the best third; splits and mergers of components where those disagree; judged by rows that were held out
        where there are enough (``restarts_``); of little data (rows·d·k below 16,384, or fewer than two rows for each
        free parameter), 'kmeans'. 'split': one component, then each by a split of another. The others are
        scikit-learn's; of all rows of a small array they are its own draws.
    weights_init : array-like of shape (n_components,), optional
        Starting weights.
    means_init : array-like of shape (n_components, n_features), optional
        Starting means.
    precisions_init : array-like, optional
        Starting precisions (inverse covariances), in the shape of ``precisions_``.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts and `sample`.
    warm_start : bool, default=False
        Start from the last fit; ``n_init`` is then ignored.
    verbose : int, default=0
        With 1 or more, a progress bar with rows, passes and log-likelihood; with 2 or more, also a line every
        ``verbose_interval`` iterations.
    verbose_interval : int, default=10
        Iterations between lines.
    algorithm : {'auto', 'batch', 'stepwise', 'incremental'}, default='auto'
        What `fit` does with the rows. 'batch': exact EM, an update a pass. 'stepwise': an update a batch, good after
        one pass, and the only one for an iterator that can be read only once. 'incremental': an update for each piece
        of the rows, whose statistics are kept. 'auto': batch EM, accelerated (SQUAREM; Varadhan & Roland, 2008) unless
        ``tol`` is a number, there is little data, or the start is a warm one, until by its own estimate at most
        max(0.1, ν/100) nats remain to be gained in total; from 1,048,576 rows on, a stepwise pass and up to two
        incremental ones come before; stepwise for an iterator. ``algorithm_`` names what ran: also 'accelerated', or
        'staged'.
    batch_size : int or 'auto', default='auto'
        Rows of an update of stepwise EM, incremental EM and `partial_fit`; batch EM has no need of it. 'auto' is a
        300th of the rows, at least 1,000 and at most 100,000; 1,000 where their number is unknown. Batches are drawn
        from all over the rows read together (128 MiB), whatever the chunks of the storage. A batch is held in memory.
    step_size : float, `Schedule` or None, default=None
        Step of a batch in stepwise EM and `partial_fit`: a constant, or a value of `streamgmm.schedules`. None is
        ``PowerDecay(0.6)``.
    averaging : bool or 'auto', default='auto'
        Whether the parameters come from the sum over all batches, not from the latest statistics. 'auto' where steps
        shrink.
    half_life : float, optional
        Rows after which stepwise EM and `partial_fit` have forgotten half of what a row said; instead of ``step_size``.
        Rows are then taken in their order, as with ``window``, not mixed.
    window : int, optional
        Rows that `partial_fit` learns from: the latest. Exact to a 20th of it.
    split_merge : bool, default=False
        Whether `fit`, once it has converged, tries to make two components one and one two (Ueda et al., 2000), as long
        as the likelihood of all rows gains; each try is fitted on a sample first. With ``warm_start`` and another
        ``n_components`` than before, it is split or merged to as many. For batch EM and 'auto'.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Mixing proportions.
    means_ : ndarray of shape (n_components, n_features)
        Means, in the units of the data.
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Covariances, their inverses, and upper triangular U with U·Uᵀ the inverse, of shape (k, d, d) for 'full',
        (d, d) for 'tied', (k, d) for 'diag', (k,) for 'spherical'. As in scikit-learn, attributes are float32 for
        float32 data; they stay float64 where float32 could not hold them.
    converged_ : bool
        Whether the best start converged.
    n_iter_ : int
        Iterations of the best start.
    lower_bound_ : float
        Mean log-likelihood before the last M-step, nats a row.
    lower_bounds_ : list of float of length n_iter_
        The same before every M-step.
    n_samples_seen_ : int
        Rows that were learnt, by `fit`, `partial_fit` or `update`; each counts once.
    criteria_ : dict
        What is known of the log-likelihood of the parameters, by its kind. ``"exact"``: over all rows, with BIC, AIC
        and ICL; after `fit`. ``"bound"``: a lower bound of it, from what was said of each row when it was read; always.
        ``"prequential"``: of rows before they were learnt; after `partial_fit`.
    restarts_ : Restarts
        What ``init_params="auto"`` tried: how good each start was, and how much the best of them disagree; after `fit`.
    history_ : History
        A record for each update, or for runs of old ones, for each repair of a component without use, and each split
        and merge: stage, rows, their log-likelihood before they were learnt, shares of the components, and drift.
        ``history_.columns()`` for a table, `streamgmm.plot.history` for a picture.
    algorithm_ : str
        The algorithm that ran.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Column names, where the input has them.

    See Also
    --------
    sklearn.mixture.GaussianMixture : The estimator whose manners this follows.

    References
    ----------
    Dempster, Laird & Rubin (1977), "Maximum likelihood from incomplete data via the EM algorithm".

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> model.means_
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> model.predict([[0, 0], [12, 3]])
    array([1, 0])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions(set(STRUCTURES))],
        "tol": [Interval(Real, 0.0, None, closed="left"), StrOptions({"auto"})],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({"auto", "split", *WAYS})],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "algorithm": [StrOptions({"auto", "batch", "stepwise", "incremental"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "step_size": [Interval(Real, 0.0, 1.0, closed="right"), HasMethods(["__call__"]), None],
        "averaging": ["boolean", StrOptions({"auto"})],
        "half_life": [Interval(Real, 0.0, None, closed="neither"), None],
        "window": [Interval(Integral, 1, None, closed="left"), None],
        "split_merge": ["boolean"],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float | str = "auto",
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "auto",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        algorithm: str = "auto",
        batch_size: int | str = "auto",
        step_size: float | Schedule | None = None,
        averaging: bool | str = "auto",
        half_life: float | None = None,
        window: int | None = None,
        split_merge: bool = False,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.algorithm = algorithm
        self.batch_size = batch_size
        self.step_size = step_size
        self.averaging = averaging
        self.half_life = half_life
        self.window = window
        self.split_merge = split_merge

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the parameters by EM.

        Parameters
        ----------
        X : array-like, lazy array, path, or batches; (n_samples, n_features)
            NumPy array or memory map, list, pandas or dask DataFrame, dask array, zarr array, HDF5 dataset, xarray
            object, path to ``.zarr``, ``.npy`` or ``.parquet``, or a function that returns a fresh iterator of batches.
            float64, float32 and integers are read as they are stored, never copied whole.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), optional
            Frequency weights: a weight of 2 is the row twice.

        Returns
        -------
        self : GaussianMixture

        Raises
        ------
        InputError
            The data cannot be used; a ValueError. The message says what, where, and the remedy.
        DegenerateError
            A covariance cannot be inverted; a ValueError.
        SinglePassError
            Batches that can be read only once, where the algorithm needs several passes; a ValueError.

        Warns
        -----
        ConvergenceWarning
            The passes ran out before the rule of ``tol`` was met; not after a single pass of stepwise EM.
        OrderWarning
            Stepwise EM, whose result depends on the order of the rows, met rows in an order that matters.
        """
        self._fit(self._source(X, sample_weight))
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit, and return the labels of the rows under the fitted parameters.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        labels : of the kind of ``X``, shape (n_samples,)
            Most probable component of each row.

        Raises
        ------
        InputError, DegenerateError, SinglePassError
            As in `fit`; also where ``X`` is an iterator, which is used up when it has been fitted.
        """
        source = self._source(X, sample_weight)
        if not source.repeatable:
            raise SinglePassError(
                "fit_predict reads the data at least twice, and X is an iterator that can be read only once. Pass a "
                "function that returns a fresh iterator for each pass, or an array."
            )
        self._fit(source)
        return prediction.labels(source, self._parameters())

    def _fit(self, source: Source) -> None:
        learning = replace(self._learning(), window=None)  # a fit is to all rows
        resumed = bool(self.warm_start and hasattr(self, "converged_"))
        algorithm = chosen(self.algorithm, source, learning, self.n_components, resumed)
        if not source.repeatable and (algorithm != "stepwise" or self.max_iter == 0):
            raise SinglePassError(
                "Batch and incremental EM read the data once per iteration, and the likelihood of a start that is kept "
                "(max_iter=0) is a reading of its own; X is an iterator that can be read only once. Pass a function "
                "that returns a fresh iterator for each pass, or an array, or choose algorithm='stepwise'."
            )
        seed = self._seed()
        if self.split_merge and algorithm in ("stepwise", "incremental"):
            which = f"algorithm={algorithm!r}" if source.repeatable else "an iterator that can be read only once"
            raise InputError(
                f"split_merge tries other optima by passes of batch EM, of which {which} has none; set "
                "split_merge=False, or pass data that can be read again with algorithm='auto' or 'batch'."
            )
        if resumed:
            self._check_settings(any_size=self.split_merge)
        if not source.repeatable:
            self._fit_once(source, learning, seed, resumed)
            return
        order = online.Order()
        with Progress.of(source, self.verbose, self.verbose_interval) as progress:
            sample = cache(partial(drawn, source, self.n_components, check_random_state(self.random_state)))
            polished = algorithm not in ("batch", "accelerated")
            starts, restarts = self._starts(source, learning, resumed, polished, sample)
            plan = stages(algorithm, source, learning, self.n_components, len(starts), seed, order.look)
            trajectories = fit(
                starts,
                plan,
                learning.structure,
                reg_covar=self.reg_covar,
                max_iter=self.max_iter,
                previous=self.lower_bound_ if resumed and not self._resized() else -np.inf,
                watch=progress.watch,
            )
            winner = best(trajectories)
            if plan[-1].name in ("batch", "accelerated"):
                winner = search.finished(
                    winner,
                    plan[-1],
                    learning.structure,
                    reg_covar=self.reg_covar,
                    passes=self.max_iter - len(winner.lower_bounds),
                    split_merge=self.split_merge,
                    sample=sample,
                    watch=progress.watch,
                )
            covered = execution.expect_all(source, winner.parameters)
        after = copy(self)
        after._remember(source, learning, winner, covered, algorithm, restarts)
        if plan[-1].pieces is not None and winner.state is not None:
            after._ledger = Ledger(plan[-1].pieces, winner.state, source.weighted)
        self._become(after)
        if algorithm == "stepwise":
            order.warn()
        if not self.converged_ and self.max_iter > (algorithm == "stepwise"):
            warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=4)

    def _fit_once(self, source: Source, learning: Learning, seed: int, resumed: bool) -> None:
        """Stepwise EM over an iterator: a start from the first rows, then all of them once."""
        k, d = self.n_components, source.n_features
        rest: Reading = source
        restarts = None
        if resumed:
            stream = online.begun(continued(self._parameters(), k, d), learning)
        else:
            waiting, rest = online.collected(online.Waiting(), source, max(RESERVOIR, 100 * k * d))
            if waiting.n_rows < max(2, k):
                raise InputError(TOO_FEW_ROWS.format(max(2, k), waiting.n_rows))
            reservoir = waiting.reservoir()
            begin, restarts = self._start_of(waiting, learning, d)
            stream = online.begun(begin, learning)
            start = as_source(reservoir.rows, reservoir.weights)
            stream = online.learn(stream, start, learning, seed, "start", scored=False)
        stream = online.learn(stream, rest, learning, seed, "stepwise")
        covered = stream.state.covered
        if covered is None:
            raise InputError(NO_WEIGHT)
        mean = bound(covered, stream.reported) / covered.likelihood.weight
        once = Trajectory(stream.reported, [mean], history=stream.history)
        after = copy(self)
        after._remember(source, learning, once, covered, "stepwise", restarts)
        after._show(stream, learning)
        self._become(after)

    def _starts(
        self, source: Source, learning: Learning, resumed: bool, polished: bool, sample: Callable[[], Reservoir]
    ) -> tuple[list[Parameters], Restarts | None]:
        """Starting parameters of every candidate, from one reading at most, and what was tried to find them."""
        k, d = self.n_components, source.n_features
        if resumed and self._resized():
            before = continued(self._parameters(), np.shape(self.means_)[0], d)
            trials = search.Trials.on(sample(), learning.structure, self.reg_covar)
            return [search.resized(before, k, trials)], None
        if resumed:
            return [continued(self._parameters(), k, d)], None
        given = self._given(learning, d)
        if given.complete:
            return [given.parameters()], None
        random = check_random_state(self.random_state)
        reservoir = sample()
        starts, restarts = search.starts(reservoir, given, k, self.init_params, self.n_init, random, self.reg_covar)
        if polished:
            starts = [one.parameters for one in self._polished(reservoir, starts, learning)]
        return starts, restarts

    def _resized(self) -> bool:
        """Whether a warm start has another number of components, which splits and mergers are to bring about."""
        return self.split_merge and np.shape(self.means_)[0] != self.n_components

    def _source(self, X: Any, sample_weight: Any = None) -> Source:
        source = as_source(X, sample_weight)
        if source.n_rows is not None and source.n_rows < 2:
            raise InputError(
                f"Found array with {source.n_rows} sample(s) (shape={(source.n_rows, source.n_features)}) while a "
                f"minimum of 2 is required by {type(self).__name__}."
            )
        if source.n_rows is not None and source.n_rows < self.n_components:
            raise InputError(TOO_FEW_ROWS.format(self.n_components, source.n_rows))
        return source

    def _remember(
        self,
        source: Source,
        learning: Learning,
        winner: Trajectory,
        covered: Expectation,
        algorithm: str,
        restarts: Restarts | None,
    ) -> None:
        """Set every fitted attribute."""
        self.__dict__.pop("restarts_", None)
        if restarts is not None:
            self.restarts_ = restarts
        fitted = attributes_of(winner.parameters, learning.structure, prediction.float_dtype(source.dtype))
        self._check_features(source, reset=True)
        for name, array in fitted.items():
            setattr(self, name, array)
        tally, free = covered.likelihood, self._n_parameters()
        self.converged_ = winner.converged
        self.n_iter_ = len(winner.lower_bounds)
        self.lower_bound_ = winner.lower_bound
        self.lower_bounds_ = winner.lower_bounds
        self.n_samples_seen_ = tally.rows
        self.criteria_ = {}
        if tally.version is not None:
            lower = Criterion(bound(covered, winner.parameters), None, tally.weight, free)
            self.criteria_ = {"exact": Criterion.of(tally, free), "bound": lower}
        self.history_ = winner.history
        self.algorithm_ = algorithm
        self._covered, self._stream, self._waiting, self._too_few = covered, None, online.Waiting(), None
        self._tokens, self._warned, self._ledger = Tokens(), False, None
