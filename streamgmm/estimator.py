"""GaussianMixture: scikit-learn's conventions around the library. No mathematics here."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted

from streamgmm import execution, prediction
from streamgmm.attributes import attributes_of, columns_of, parameters_of
from streamgmm.checkpoint import save_model
from streamgmm.covariances import STRUCTURES, CovarianceStructure
from streamgmm.criteria import Criterion, n_parameters
from streamgmm.errors import InputError, SinglePassError
from streamgmm.fitting import Trajectory, batch_em, best
from streamgmm.initialization import TOO_FEW_ROWS, WAYS, Given, candidates, continued
from streamgmm.likelihood import LogLikelihood
from streamgmm.parameters import Array, Parameters
from streamgmm.progress import Progress
from streamgmm.sampling import draw
from streamgmm.sources import Source, as_source
from streamgmm.stopping import Tolerance

NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase max_iter, tol, or "
    "check for degenerate data."
)


class GaussianMixture(DensityMixin, BaseEstimator):  # type: ignore[misc]
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
        Stop once the mean log-likelihood gains less than this in an iteration, nats a row. 'auto' is 1e-3,
        scikit-learn's default.
    reg_covar : float, default=1e-6
        Added to every variance, squared units of the data.
    max_iter : int, default=100
        Largest number of EM iterations, each one pass over the data. With 0 the starting parameters are kept.
    n_init : int, default=1
        Starts to try; the best by log-likelihood is kept. All of them share every reading of the data.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}, default='kmeans'
        How the starts are found, on a uniform sample of the rows (on all rows where there are no more than 32,768,
        or 100·k·d if that is more; then the start is scikit-learn's).
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
    algorithm : {'auto', 'batch'}, default='auto'
        Both run batch EM, the only algorithm so far; ``algorithm_`` names what ran.

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
        Rows that were fitted.
    criteria_ : dict
        ``criteria_["exact"]`` is the `Criterion` of the returned parameters over all rows: log-likelihood, BIC, AIC,
        ICL.
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
        "init_params": [StrOptions(set(WAYS))],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "algorithm": [StrOptions({"auto", "batch"})],
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
        init_params: str = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        algorithm: str = "auto",
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
            Batches that can be read only once; a ValueError.
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
        """
        source = self._source(X, sample_weight)
        self._fit(source)
        return prediction.labels(source, self._parameters())

    def _fit(self, source: Source) -> None:
        if not source.repeatable and self.max_iter > 0:
            raise SinglePassError(
                "Batch EM reads the data once per iteration, and X is an iterator that can be read only once. "
                "Pass a function that returns a fresh iterator for each pass, or an array."
            )
        structure = STRUCTURES[self.covariance_type]
        resumed = bool(self.warm_start and hasattr(self, "converged_"))
        with Progress.of(source, self.verbose, self.verbose_interval) as progress:
            starts = self._starts(source, structure, resumed)
            trajectories = batch_em(
                source,
                starts,
                structure,
                reg_covar=self.reg_covar,
                stop=Tolerance(1e-3 if self.tol == "auto" else float(self.tol)),
                max_iter=self.max_iter,
                previous=self.lower_bound_ if resumed else -np.inf,
                watch=progress.watch,
            )
            winner = best(trajectories)
            tally = execution.tally(source, winner.parameters)
        self._remember(source, structure, winner, tally)
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=4)

    def _starts(self, source: Source, structure: CovarianceStructure, resumed: bool) -> list[Parameters]:
        """Starting parameters of every candidate, from one reading at most."""
        k, d = self.n_components, source.n_features
        if resumed:
            return [continued(self._parameters(), k, d)]
        given = Given.checked(self.weights_init, self.means_init, self.precisions_init, structure, k, d)
        return candidates(
            source, given, k, self.init_params, self.n_init, check_random_state(self.random_state), self.reg_covar
        )

    def predict(self, X: Any) -> Any:
        """Label every row with its most probable component.

        Parameters
        ----------
        X : as in `fit`
            Rows.

        Returns
        -------
        labels : of the kind of ``X``, shape (n_samples,)
            int64, 0 to k − 1. Lazy, with the same row chunks, where ``X`` is chunked; a generator for batches.

        Examples
        --------
        >>> import numpy as np
        >>> model = GaussianMixture(2, random_state=0).fit([[0.0], [0.1], [5.0], [5.1]])
        >>> labels = model.predict([[0.0], [5.0]])
        >>> bool(labels[0] != labels[1])
        True
        """
        return prediction.labels(*self._ready(X))

    def predict_proba(self, X: Any) -> Any:
        """Posterior probability of every component for every row.

        Parameters
        ----------
        X : as in `fit`
            Rows.

        Returns
        -------
        responsibilities : of the kind of ``X``, shape (n_samples, n_components)
            float32 for float32 rows, else float64; lazy where ``X`` is chunked.

        Examples
        --------
        >>> model = GaussianMixture(1).fit([[0.0], [1.0]])
        >>> model.predict_proba([[0.5]])
        array([[1.]])
        """
        return prediction.responsibilities(*self._ready(X))

    def score_samples(self, X: Any) -> Any:
        """Log-density of every row.

        Parameters
        ----------
        X : as in `fit`
            Rows.

        Returns
        -------
        log_density : of the kind of ``X``, shape (n_samples,)
            Nats; lazy where ``X`` is chunked.

        Examples
        --------
        >>> model = GaussianMixture(1, reg_covar=0).fit([[-1.0], [1.0]])
        >>> model.score_samples([[0.0]]).round(6)
        array([-0.918939])
        """
        return prediction.log_densities(*self._ready(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-density of the rows, nats a row, in one pass.

        Parameters
        ----------
        X : as in `fit`
            Rows.
        y : Ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        float
        """
        return execution.tally(*self._ready(X)).mean

    def bic(self, X: Any) -> float:
        """Bayesian information criterion of the model on rows, in one pass; lower is better.

        Parameters
        ----------
        X : as in `fit`
            Rows.

        Returns
        -------
        float
            ``−2·l + ν·log N``; mclust's BIC is its negative.
        """
        return self._criterion(X).bic

    def aic(self, X: Any) -> float:
        """Akaike's information criterion of the model on rows, in one pass; lower is better.

        Parameters
        ----------
        X : as in `fit`
            Rows.

        Returns
        -------
        float
            ``−2·l + 2·ν``.
        """
        return self._criterion(X).aic

    def icl(self, X: Any) -> float:
        """Integrated completed likelihood of the model on rows, in one pass; lower is better.

        Parameters
        ----------
        X : as in `fit`
            Rows.

        Returns
        -------
        float
            ``BIC − 2·sum of log max_k r``; mclust's ICL is its negative.
        """
        return self._criterion(X).icl

    def sample(self, n_samples: int = 1) -> tuple[Array, NDArray[np.int64]]:
        """Draw rows from the mixture.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            float64, component by component.
        y : ndarray of shape (n_samples,)
            The component of each row.

        Raises
        ------
        ValueError
            If ``n_samples`` is less than 1.

        Examples
        --------
        >>> X, y = GaussianMixture(1, random_state=0).fit([[0.0], [1.0]]).sample(3)
        >>> X.shape, y
        ((3, 1), array([0, 0, 0]))
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one sample.")
        return draw(self._parameters(), n_samples, check_random_state(self.random_state))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model to one self-verifying file; `streamgmm.load` reads it.

        Parameters
        ----------
        path : str or path-like
            The file; replaced only once the new one is complete. A ``random_state`` that is not an integer is not kept.

        Raises
        ------
        OSError
            If it cannot be written; a file that was there before is then untouched.
        """
        check_is_fitted(self, "criteria_")
        save_model(self, path)

    def _n_parameters(self) -> int:
        """Free parameters of the model (scikit-learn's name)."""
        return n_parameters(STRUCTURES[self.covariance_type], *np.shape(self.means_))

    def _criterion(self, X: Any) -> Criterion:
        return Criterion.of(execution.tally(*self._ready(X)), self._n_parameters())

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

    def _ready(self, X: Any) -> tuple[Source, Parameters]:
        """Rows to predict, checked against the fit, and the parameters."""
        check_is_fitted(self)
        source = as_source(X)
        self._check_features(source, reset=False)
        return source, self._parameters()

    def _check_features(self, source: Source, *, reset: bool) -> None:
        """scikit-learn's own checks of names and numbers of features, on a stand-in without rows."""
        stand_in = columns_of(source)
        _check_feature_names(self, stand_in, reset=reset)
        _check_n_features(self, stand_in, reset=reset)
        if not reset and source.n_features != np.shape(self.means_)[1]:
            raise InputError(f"X has {source.n_features} features, but means_ has {np.shape(self.means_)[1]}.")

    def _parameters(self) -> Parameters:
        """Parameters as the fitted attributes say them, also where a user has set them."""
        return parameters_of(self, STRUCTURES[self.covariance_type])

    def _remember(
        self, source: Source, structure: CovarianceStructure, winner: Trajectory, tally: LogLikelihood
    ) -> None:
        """Set every fitted attribute, all at once, when nothing can fail any more."""
        fitted = attributes_of(winner.parameters, structure, prediction.float_dtype(source.dtype))
        self._check_features(source, reset=True)
        for name, array in fitted.items():
            setattr(self, name, array)
        self.converged_ = winner.converged
        self.n_iter_ = len(winner.lower_bounds)
        self.lower_bound_ = winner.lower_bound
        self.lower_bounds_ = winner.lower_bounds
        self.n_samples_seen_ = tally.rows
        self.criteria_ = {"exact": Criterion.of(tally, self._n_parameters())}
        self.algorithm_ = "batch"
