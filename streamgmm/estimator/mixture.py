"""GaussianMixture: scikit-learn's conventions around the library. No mathematics here."""

from __future__ import annotations

import os
import warnings
from copy import copy
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from streamgmm.algorithms.incremental import IncrementalState
from streamgmm.algorithms.schedules import Schedule
from streamgmm.algorithms.settings import EMSettings
from streamgmm.data.sources import Source, as_source
from streamgmm.errors import InputError, SinglePassError
from streamgmm.estimator import prediction
from streamgmm.estimator.keeping import CheckpointSession
from streamgmm.estimator.revising import RevisableMixture
from streamgmm.fitting.context import FitContext, FitState, FitTask
from streamgmm.fitting.driver import run_phases
from streamgmm.fitting.final_pass import FinalPassState
from streamgmm.fitting.partition_statistics import PartitionStatistics
from streamgmm.fitting.phases import make_fit_phases
from streamgmm.fitting.plan import choose_algorithm
from streamgmm.fitting.progress import Progress
from streamgmm.fitting.starts_phase import StartsState
from streamgmm.fitting.storage_order import StorageOrderMonitor
from streamgmm.initialization.find_starts import INIT_METHODS, TOO_FEW_ROWS
from streamgmm.iteration.loop import Event
from streamgmm.model.covariances import STRUCTURES
from streamgmm.persistence.store import Generation
from streamgmm.persistence.writer import Checkpoint, CheckpointWriter

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
        or 100·k·d if that is more). 'auto': k-means and other starts, ten to forty; a few passes of EM from each, more
        from the better half, and again from the best; splits and mergers of components; judged by rows that were held
        out where there are enough (``restarts_``). Of little data (rows·d·k below 16,384, fewer than two rows for each
        free parameter, or fewer than 20 of fewer than 16,384 rows) the best of ten times 'kmeans', each carried to its
        end: the draws, and the choice, of scikit-learn with ``n_init=10``; one where 50 rows for each free parameter
        leave little to choose. 'split': one component, then each by a split of another. The others are scikit-learn's;
        of all rows of a small array they are its own draws. Where the sample is not all rows, batch EM and 'auto' look
        again: their first pass over all rows alike also draws rows that no component explains, and where they are worth
        a component, two others that lose little become one; whether that is better the next passes tell.
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
        of the rows, whose statistics are kept. 'auto': batch EM, accelerated by quasi-Newton strides unless
        ``tol`` is a number, there is little data, or the start is a warm one, until by its own estimate at most
        max(0.1, ν/100) nats remain to be gained in total; from 1,048,576 rows on, a stepwise pass and up to two
        incremental ones come before; stepwise for an iterator. ``algorithm_`` names what ran: also 'accelerated', or
        'staged'.
    batch_size : int or 'auto', default='auto'
        Rows of an update of stepwise EM, incremental EM and `partial_fit`; batch EM has no need of it. 'auto' is a
        300th of the rows, at least 1,000 and at most 100,000; 1,000 where their number is unknown. Batches are drawn
        from all over the rows read together (128 MiB), whatever the chunks of the storage. A batch is held in memory.
    step_size : float, `Schedule` or None, default=None
        Step of a batch in stepwise EM and `partial_fit`: a constant, or a value of `streamgmm.algorithms.schedules`. None is
        ``PowerDecay(0.6)`` in stepwise EM; `partial_fit` then takes none, but moves all that it has learnt.
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
        as the likelihood of all rows gains; each try is fitted on a sample first. Half of the ``max_iter`` passes are
        left for it where EM has not converged before, and what moves leave of them is EM's again. With ``warm_start``
        and another ``n_components`` than before, it is split or merged to as many. For batch EM and 'auto'.
    checkpoint : str, path-like or `Checkpoint`, optional
        Folder in which `fit` and `partial_fit` keep what they have come to, so that a process that is killed loses
        nothing: a later one with the same settings goes on, to the same bits. One at a time may use it.
    resume : {'auto', 'never', 'must'}, default='auto'
        Whether to go on with what the checkpoint holds: where there is something, without looking, or it is an error
        that there is nothing.

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
        ``"prequential"``: of rows before they were learnt; after `partial_fit`. ``"heldout"``: of rows that were never
        learnt; after `judge`, until more is learnt. ``n_samples`` of each is what it covers: the number of rows, with
        sample weights their sum (frequency weights: a weight of 2 is two rows), and of the bound with ``half_life`` the
        sum of what is remembered of each row, since nothing is claimed of what was forgotten.
    restarts_ : Restarts
        What ``init_params="auto"`` tried: how good each start was, and how much the best of them disagree; after `fit`.
    history_ : History
        A record for each update, or for runs of old ones, for each repair of a component without use or of rows that
        no component explained, and each split and merge: stage, rows, their log-likelihood before they were learnt,
        shares of the components, and drift. ``history_.columns()`` for a table, `streamgmm.plot.history` for a picture.
    algorithm_ : str
        The algorithm that ran.
    durable_token_ : int, str or bytes
        The latest token of `partial_fit` whose rows, and all before, the checkpoint holds.
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
        "init_params": [StrOptions(set(INIT_METHODS))],
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
        "checkpoint": [str, os.PathLike, Checkpoint, None],
        "resume": [StrOptions({"auto", "never", "must"})],
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
        checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
        resume: str = "auto",
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
        self.checkpoint = checkpoint
        self.resume = resume

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
        CheckpointError
            The checkpoint is used by another fit, was begun with other rows or settings, is damaged, or cannot be
            written; a RuntimeError. In the last case the model is fitted nevertheless.
        KeyboardInterrupt
            The fit was interrupted. The model is then what the last complete pass has made of it, or the batches
            learnt in the first, with ``converged_`` False; before any of these it is as it was.

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
        algorithm = choose_algorithm(self.algorithm, source, learning, self.n_components, resumed)
        if not source.repeatable and (algorithm != "stepwise" or self.max_iter == 0):
            raise SinglePassError(
                "Batch and incremental EM read the data once per iteration, and the likelihood of a start that is kept "
                "(max_iter=0) is a reading of its own; X is an iterator that can be read only once. Pass a function "
                "that returns a fresh iterator for each pass, or an array, or choose algorithm='stepwise'."
            )
        if self.split_merge and algorithm in ("stepwise", "incremental"):
            which = f"algorithm={algorithm!r}" if source.repeatable else "an iterator that can be read only once"
            raise InputError(
                f"split_merge tries other optima by passes of batch EM, of which {which} has none; set "
                "split_merge=False, or pass data that can be read again with algorithm='auto' or 'batch'."
            )
        if resumed:
            self._check_settings(any_size=self.split_merge)
        if not source.repeatable:
            if self.checkpoint is not None:
                raise SinglePassError(
                    "A fit that is interrupted is gone on with by reading X again, which is an iterator that can be "
                    "read only once. Pass a function that returns a fresh iterator for each pass, or an array, or "
                    "learn the batches by partial_fit with a token each."
                )
            self._fit_once(source, learning, self._seed(), resumed)
            return
        previous = self.lower_bound_ if resumed else -np.inf
        task = FitTask(None, algorithm, self._seed(), (), self._parameters() if resumed else None, previous)
        checkpoint_writer = self._opened(least=1.0)
        try:
            self._fit_kept(source, learning, task, checkpoint_writer)
        finally:
            if checkpoint_writer is not None and checkpoint_writer is not getattr(self, "_keeper", None):
                checkpoint_writer.store.close()

    def _fit_kept(
        self, source: Source, learning: EMSettings, task: FitTask, checkpoint_writer: CheckpointWriter | None
    ) -> None:
        """Fit, or go on with a fit, as far as it has come in a checkpoint."""
        progress: FitState = StartsState()
        random = check_random_state(self.random_state)
        given = self._given(learning, source.n_features)
        held = None
        if checkpoint_writer is not None:
            held, task = self._begun(checkpoint_writer, source, task, random)
        if held is not None and held.fit_state is None:
            self._adopt(held)
            self._warn_unless_converged()
            return
        if held is not None and held.fit_state is not None:
            progress, random = held.fit_state, np.random.RandomState()
            random.set_state(task.random)
        context = FitContext(
            source=source,
            settings=learning,
            task=task,
            n_components=self.n_components,
            n_init=self.n_init,
            init_params=self.init_params,
            max_iter=self.max_iter,
            split_merge=self.split_merge,
            random=random,
            user_start=given,
        )

        def left(progress: FitState) -> GaussianMixture:
            """Return the model that a fit would leave."""
            after, trajectory = copy(self), progress.summarize(context)
            if trajectory is not None:
                after._remember(
                    source, learning, trajectory, trajectory.accumulated, task.algorithm, progress.notes.restarts
                )
            return after

        def write(after: GaussianMixture, progress: FitState) -> Generation:
            assert checkpoint_writer is not None  # or nothing is due
            return after._write(checkpoint_writer, task, progress)

        with (
            Progress(source.n_rows, self.verbose, self.verbose_interval) as display,
            CheckpointSession("fit", checkpoint_writer, progress, left, write, self._become) as guard,
        ):

            def watch(event: Event | None, progress: FitState) -> None:
                if event is not None:
                    display.watch(event)
                guard.watch(progress)

            final: FinalPassState = run_phases(make_fit_phases(context), progress, watch)
        after, winner, partitions = copy(self), final.winner, context.plan()[-1].partitions
        after._remember(source, learning, winner, final.expectation, task.algorithm, final.notes.restarts)
        if partitions is not None and isinstance(winner.state, IncrementalState):
            after._ledger = PartitionStatistics(partitions, winner.state, source.weighted)
        self._become(after)
        if checkpoint_writer is not None:
            self._write(checkpoint_writer, task)
        if task.algorithm == "stepwise":
            StorageOrderMonitor(final.notes.segments).warn()
        self._warn_unless_converged()

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

    def _warn_unless_converged(self) -> None:
        if not self.converged_ and self.max_iter > (self.algorithm_ == "stepwise"):
            warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=6)
