"""GaussianMixture: scikit-learn's conventions around the library, and no mathematics.

The class lists its methods; those with long documentation stand in `learning` and `prediction`.
"""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from streamgmm.algorithms import ALGORITHMS
from streamgmm.algorithms.schedules import Schedule
from streamgmm.estimator import learning, prediction
from streamgmm.estimator.estimator_settings import RESUME
from streamgmm.estimator.fitted_state import (
    FROM_PARAMETERS,
    Criteria,
    FittedAttribute,
    FittedState,
    check_parameters,
    make_public_arrays,
)
from streamgmm.initialization.find_starts import INIT_METHODS
from streamgmm.initialization.multistart import Restarts
from streamgmm.iteration.history import History
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import n_parameters
from streamgmm.model.parameters import Array
from streamgmm.persistence.writer import Checkpoint, CheckpointWriter


class GaussianMixture(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Gaussian mixture, fitted by EM to data of any size.

    A drop-in for :class:`sklearn.mixture.GaussianMixture`: the same constructor, fitted attributes, methods and
    messages. It reads more kinds of input (`fit`), takes sample weights, works out of core on all processors, and
    learns from streams (`partial_fit`).

    Parameters
    ----------
    n_components : int, default=1
        Number of components, k.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        Each component has its own matrix; all share one matrix; each has its own variances; each has one variance.
    tol : float or 'auto', default='auto'
        Stop once the mean log-likelihood gains less than this in an iteration, in nats a row. 'auto' is scikit-learn's
        1e-3; with ``algorithm='auto'`` it is an estimated remaining gain of at most max(0.1, ν/100) nats in total, of
        ν free parameters.
    reg_covar : float, default=1e-6
        Added to every variance, in squared units of the data.
    max_iter : int, default=100
        Largest number of EM iterations, each one pass over the data. With 0 the starting parameters are kept.
    n_init : int, default=1
        Number of fits from different starts, which share every pass; the one of the highest likelihood is kept.
    init_params : {'auto', 'split', 'kmeans', 'k-means++', 'random', 'random_from_data'}, default='auto'
        Method that finds the starts, on a uniform subsample of max(32,768, 100·k·d) rows. 'auto': multi-start by
        successive halving with split and merge moves, scored on validation rows (``restarts_``). On little data it is
        the best of ten k-means starts, the draws and the choice of scikit-learn with ``n_init=10``. 'split': one
        component, whose parts are split until there are k. The others are scikit-learn's; if all rows are in the
        subsample they are its own draws. If not, batch EM and 'auto' also sample poorly explained rows in their first
        full pass, and try components there.
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
    algorithm : {'auto', 'batch', 'accelerated', 'stepwise', 'incremental'}, default='auto'
        Algorithm of `fit`. 'batch': exact EM, one update a pass. 'accelerated': batch EM with safeguarded quasi-Newton
        steps. 'stepwise': one update a batch; good after one pass, and the only one for an iterator that can be read
        only once. 'incremental': one update for a few partitions of the rows, whose statistics are kept. 'auto':
        'accelerated', or 'batch' if ``tol`` is a number, the data are few or the start is a warm one. From 1,048,576
        rows on, a stepwise pass and up to two incremental passes come before it. ``algorithm_`` names the algorithm
        that ran, 'staged' for the last case.
    batch_size : int or 'auto', default='auto'
        Rows of an update of stepwise EM, incremental EM and `partial_fit`; a batch is held in memory. 'auto' is a 300th
        of the rows, between 1,000 and 100,000, and 1,000 if their number is unknown. Batches mix rows from all chunks
        that are read together (128 MiB).
    step_size : float, `Schedule` or None, default=None
        Step size of stepwise EM and `partial_fit`: a constant, or a value of `streamgmm.algorithms.schedules`. None is
        ``PowerDecay(0.6)`` in stepwise EM; `partial_fit` is then variance-reduced EM, without steps.
    averaging : bool or 'auto', default='auto'
        Report the parameters of the sum over all batches instead of the latest statistics. 'auto': if steps shrink.
    half_life : float, optional
        Rows after which stepwise EM and `partial_fit` have forgotten half of a row; instead of ``step_size``. Rows are
        then read in their order, as with ``window``, and not shuffled.
    window : int, optional
        Number of latest rows that `partial_fit` learns from, exact to a 20th.
    split_merge : bool, default=False
        Try split and merge moves (Ueda et al., 2000) once EM has converged, as long as the likelihood of all rows
        gains; each move is first fitted on a subsample. If EM has not converged after half of ``max_iter``, the other
        half is left for moves and for EM after them. With ``warm_start`` and another ``n_components``, components are
        split or merged to that number. For algorithms that end with whole passes.
    checkpoint : str, path-like or `Checkpoint`, optional
        Folder in which `fit` and `partial_fit` keep their progress. After a kill, the same call with the same settings
        goes on to the same bits. One process at a time may use it.
    resume : {'auto', 'never', 'must'}, default='auto'
        Go on with the contents of the checkpoint if there are any; never; or raise an error if there are none.

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
        True if the best start converged.
    n_iter_ : int
        Iterations of the best start.
    lower_bound_ : float
        Mean log-likelihood before the last M-step, in nats a row.
    lower_bounds_ : list of float, one for each iteration
        The same before every M-step.
    n_samples_seen_ : int
        Rows that were learnt by `fit`, `partial_fit` or `update`; each counts once.
    criteria_ : dict
        Log-likelihoods of the parameters by kind. ``"exact"``: over all rows, with BIC, AIC and ICL; after `fit`.
        ``"bound"``: a lower bound of it from the statistics of each row when it was read; always. ``"prequential"``:
        of rows before they were learnt; after `partial_fit`. ``"heldout"``: of rows that were never learnt; after
        `score_held_out`. ``n_samples`` of each is the number of rows it covers, or the sum of their weights; with
        ``half_life`` the sum of what is remembered of each row.
    restarts_ : Restarts
        Scores of the starts that ``init_params="auto"`` tried, and the disagreement of the best; after `fit`.
    history_ : History
        One record for each update, or for a run of old ones, and for each repair, split and merge: stage, rows, their
        log-likelihood before they were learnt, weights and drift. ``history_.columns()`` is a table,
        `streamgmm.plot.history` a picture.
    algorithm_ : str
        Algorithm that ran; 'none' for a model of `from_parameters`.
    durable_token_ : int, str or bytes
        Latest token of `partial_fit` whose rows, and all before, the checkpoint holds.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Column names, if the input has them.

    See Also
    --------
    sklearn.mixture.GaussianMixture : The estimator whose conventions this one follows.

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

    weights_ = FittedAttribute[Array]()
    means_ = FittedAttribute[Array]()
    covariances_ = FittedAttribute[Array]()
    precisions_ = FittedAttribute[Array]()
    precisions_cholesky_ = FittedAttribute[Array]()
    converged_ = FittedAttribute[bool]()
    n_iter_ = FittedAttribute[int]()
    lower_bound_ = FittedAttribute[float]()
    lower_bounds_ = FittedAttribute[list[float]](show=list)
    n_samples_seen_ = FittedAttribute[int]()
    criteria_ = FittedAttribute[Criteria]()
    history_ = FittedAttribute[History]()
    restarts_ = FittedAttribute[Restarts]()
    algorithm_ = FittedAttribute[str]()
    durable_token_ = FittedAttribute[int | str | bytes]()
    n_features_in_ = FittedAttribute[int]()
    feature_names_in_ = FittedAttribute[NDArray[Any]]()
    _preprocessing = FittedAttribute[str]()

    _state = FittedState()
    _writer: CheckpointWriter | None = None  # the open checkpoint of `partial_fit`, `update` and `withdraw`

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
        "algorithm": [StrOptions({"auto", *ALGORITHMS})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "step_size": [Interval(Real, 0.0, 1.0, closed="right"), HasMethods(["__call__"]), None],
        "averaging": ["boolean", StrOptions({"auto"})],
        "half_life": [Interval(Real, 0.0, None, closed="neither"), None],
        "window": [Interval(Integral, 1, None, closed="left"), None],
        "split_merge": ["boolean"],
        "checkpoint": [str, os.PathLike, Checkpoint, None],
        "resume": [StrOptions(set(RESUME))],
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

    @classmethod
    def from_parameters(
        cls,
        weights: ArrayLike,
        means: ArrayLike,
        covariances: ArrayLike,
        covariance_type: str = "full",
        **settings: Any,
    ) -> Self:
        """Make a fitted model from numbers, without data.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
            Mixing proportions; positive or 0, with sum 1.
        means : array-like of shape (n_components, n_features)
            Means, in the units of the data.
        covariances : array-like
            Covariances, squared units of the data, of shape (k, d, d) for 'full', (d, d) for 'tied', (k, d) for 'diag'
            and (k,) for 'spherical'.
        covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
            Family of the covariances.
        **settings
            All other arguments of `GaussianMixture`.

        Returns
        -------
        model : GaussianMixture
            Fitted model with ``n_samples_seen_`` 0 and ``algorithm_`` 'none'. `partial_fit` takes the parameters for a
            start that was given, and so does `fit` with ``warm_start=True``. The attributes are float32 if all three
            arrays are.

        Raises
        ------
        InputError
            A shape is wrong, a value is not finite, the weights do not sum to 1, or a covariance is not symmetric and
            positive definite; a ValueError.

        Examples
        --------
        >>> from streamgmm import GaussianMixture
        >>> model = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [5.0, 5.0]], [1.0, 2.0], "spherical")
        >>> model.predict([[1.0, 0.0], [4.0, 6.0]])
        array([0, 1])
        """
        model = cls(np.size(weights), covariance_type=covariance_type, **settings)
        model._validate_params()
        structure = STRUCTURES[covariance_type]
        parameters, dtype = check_parameters(weights, means, covariances, structure)
        model._state = FittedState(
            **make_public_arrays(parameters, structure, dtype),
            converged=False,
            n_iter=0,
            lower_bound=-np.inf,
            lower_bounds=(),
            n_samples_seen=0,
            criteria={},
            history=History(),
            algorithm=FROM_PARAMETERS,
            n_features_in=parameters.n_features,
        )
        return model

    fit = learning.fit
    fit_predict = learning.fit_predict
    partial_fit = learning.partial_fit
    update = learning.update
    withdraw = learning.withdraw
    predict = prediction.predict
    predict_proba = prediction.predict_proba
    score_samples = prediction.score_samples
    score = prediction.score
    bic = prediction.bic
    aic = prediction.aic
    icl = prediction.icl
    score_held_out = prediction.score_held_out
    sample = prediction.sample
    save = prediction.save

    @property
    def has_partition_statistics(self) -> bool:
        """True if `update` and `withdraw` can be called: after an incremental fit, until `partial_fit`."""
        return self._state.partition_statistics is not None

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there are parameters; pending rows alone are not enough."""
        return self._state.is_fitted

    def _n_parameters(self) -> int:
        """Return the number of free parameters (scikit-learn's name)."""
        return n_parameters(STRUCTURES[self.covariance_type], *self._state.shape)
