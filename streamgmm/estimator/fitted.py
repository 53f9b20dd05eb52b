"""What a fitted mixture can do, in scikit-learn's manners: label, score and sample rows, and be saved."""

from __future__ import annotations

from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted

from streamgmm.data import execution
from streamgmm.data.sources import Source, as_source
from streamgmm.errors import InputError
from streamgmm.estimator import prediction
from streamgmm.estimator.attributes import columns_of, parameters_of
from streamgmm.estimator.model_file import record
from streamgmm.estimator.restoring import read_model
from streamgmm.estimator.sampling import draw
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import Criterion, HeldOut, Prequential, n_parameters
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array, Parameters
from streamgmm.persistence.container import save_file


class FittedMixture(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Methods that need fitted attributes and the settings ``covariance_type`` and ``random_state``."""

    n_components: int
    covariance_type: str
    random_state: Any
    criteria_: dict[str, Criterion | Prequential | HeldOut]
    _recipe: str  # of the image that it was fitted to, if any

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
        >>> from streamgmm import GaussianMixture
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
        >>> from streamgmm import GaussianMixture
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
        >>> from streamgmm import GaussianMixture
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
        return self._tally(X).mean

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

    def judge(self, X: Any, sample_weight: ArrayLike | None = None) -> HeldOut:
        """Log-likelihood of rows that were held out: kept away from `fit`, `partial_fit` and `update`.

        It is ``criteria_["heldout"]`` from then on, also of a saved model, until the model learns again and has other
        parameters. Nothing is penalised, since nothing was learnt from these rows; to see to that is up to the caller.

        Parameters
        ----------
        X : as in `fit`
            Rows that were not learnt; an iterator of batches is read once.
        sample_weight : array-like of shape (n_samples,), optional
            Frequency weights: a weight of 2 is the row twice.

        Returns
        -------
        HeldOut
            ``log_likelihood`` (nats), ``n_samples``, ``mean`` and its ``standard_error`` (nats a row).

        Raises
        ------
        InputError
            The rows cannot be used; a ValueError.

        Examples
        --------
        >>> import numpy as np
        >>> from streamgmm import GaussianMixture
        >>> rows = np.random.default_rng(0).normal(size=(3000, 1))
        >>> model = GaussianMixture(1).fit(rows[:2000])
        >>> found = model.judge(rows[2000:])
        >>> round(found.mean, 3), round(found.standard_error, 3), model.criteria_["heldout"] == found
        (-1.401, 0.02, True)
        """
        source, parameters = self._ready(X, sample_weight)
        found = HeldOut.from_moments(execution.measure_log_densities(source, parameters))
        self.criteria_ = {**getattr(self, "criteria_", {}), "heldout": found}
        return found

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
        >>> from streamgmm import GaussianMixture
        >>> X, y = GaussianMixture(1, random_state=0).fit([[0.0], [1.0]]).sample(3)
        >>> X.shape, y
        ((3, 1), array([0, 0, 0]))
        """
        self._check_is_fitted()
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one sample.")
        return draw(self._parameters(), n_samples, check_random_state(self.random_state))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to one self-verifying file; `streamgmm.load` reads it.

        What `partial_fit` and `update` go on from is in it, rows that wait for more to start from included, so that a
        loaded model learns on to the same bits.

        Parameters
        ----------
        path : str or path-like
            The file; replaced only once the new one is complete. A ``random_state`` that is not an integer is not kept.

        Raises
        ------
        OSError
            If it cannot be written; a file that was there before is then untouched.
        InputError
            If settings were changed since that the fit depends on; a ValueError.
        """
        if not hasattr(self, "_waiting"):
            self._check_is_fitted()
        self._check_settings()
        save_file(path, *record(self), partial(read_model, type(self), Path(path)))

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are parameters; rows alone, waiting for more, are not enough."""
        return hasattr(self, "means_")

    def _check_is_fitted(self) -> None:
        waiting: str | None = getattr(self, "_too_few", None)
        check_is_fitted(self, msg=waiting)

    def _n_parameters(self) -> int:
        """Free parameters of the model (scikit-learn's name)."""
        return n_parameters(STRUCTURES[self.covariance_type], *np.shape(self.means_))

    def _criterion(self, X: Any) -> Criterion:
        return Criterion.from_likelihood(self._tally(X), self._n_parameters())

    def _tally(self, X: Any) -> LogLikelihood:
        """Of all rows, in one pass."""
        source, parameters = self._ready(X)
        (expectation,) = execution.expect_all(source, (parameters,))
        return expectation.likelihood

    def _ready(self, X: Any, sample_weight: ArrayLike | None = None) -> tuple[Source, Parameters]:
        """Rows to predict, checked against the fit, and the parameters."""
        self._check_is_fitted()
        source = as_source(X, sample_weight)
        self._check_features(source, reset=False)
        return source, self._parameters()

    def _check_features(self, source: Source, *, reset: bool) -> None:
        """scikit-learn's own checks of names and numbers of features, on a stand-in without rows."""
        stand_in = columns_of(source)
        _check_feature_names(self, stand_in, reset=reset)
        _check_n_features(self, stand_in, reset=reset)
        if not reset and hasattr(self, "means_") and source.n_features != np.shape(self.means_)[1]:
            raise InputError(f"X has {source.n_features} features, but means_ has {np.shape(self.means_)[1]}.")

    def _check_settings(self, *, any_size: bool = False) -> None:
        """Whether the settings are valid, and still those of the fit where there was one, but for its size perhaps."""
        self._validate_params()
        if not hasattr(self, "means_"):
            return
        k, d = np.shape(self.means_)
        shape = STRUCTURES[self.covariance_type].public_shape(k, d)
        if (k != self.n_components and not any_size) or np.shape(self.covariances_) != tuple(shape):
            raise InputError(
                f"n_components={self.n_components} and covariance_type={self.covariance_type!r} are not those that the "
                "model was fitted with; set them back, or fit it anew with warm_start=False."
            )

    def _become(self, other: Self) -> None:
        """Take over what another of this kind is, all of it at once, so that no interruption leaves a half."""
        self.__dict__ = other.__dict__

    def _parameters(self) -> Parameters:
        """Parameters as the fitted attributes say them, also where a user has set them."""
        return parameters_of(self, STRUCTURES[self.covariance_type])
