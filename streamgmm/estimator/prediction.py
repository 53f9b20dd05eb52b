"""Methods of a fitted `GaussianMixture`: labels, densities, criteria, samples and files."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from streamgmm.data import execution
from streamgmm.errors import InputError
from streamgmm.estimator.estimator_settings import check_fitted, check_settings, choose_float_dtype, fitted_source
from streamgmm.estimator.fitted_state import get_parameters
from streamgmm.estimator.saved_model import SavedModel
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import Criterion, HeldOut, n_parameters
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array
from streamgmm.persistence.session import save_object

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture


def predict(self: GaussianMixture, X: Any) -> Any:
    """Label every row with its most probable component.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows; every kind of data that `fit` reads.

    Returns
    -------
    labels : ndarray, or lazy array of the kind of ``X``, of shape (n_samples,)
        int64 from 0 to k − 1; the first of equally probable components. Lazy input gives a lazy result with the same
        row chunks, batches give a generator.

    Raises
    ------
    NotFittedError
        The model has no parameters yet; a ValueError.
    InputError
        The rows cannot be used, or have other features than the fit; a ValueError.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> model = GaussianMixture(2, random_state=0).fit([[0.0], [0.1], [5.0], [5.1]])
    >>> labels = model.predict([[0.0], [5.0]])
    >>> bool(labels[0] != labels[1])
    True
    """
    from streamgmm.kernels.kernel import Kernel

    source = fitted_source(self, X)
    return source.map(Kernel.from_parameters(get_parameters(self)).labels, np.int64, None)


def predict_proba(self: GaussianMixture, X: Any) -> Any:
    """Compute the posterior probability of every component for every row.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows; every kind of data that `fit` reads.

    Returns
    -------
    responsibilities : ndarray, or lazy array of the kind of ``X``, of shape (n_samples, n_components)
        float32 for float32 rows, else float64; each row sums to 1. Lazy like the result of `predict`.

    Raises
    ------
    NotFittedError
        The model has no parameters yet; a ValueError.
    InputError
        The rows cannot be used, or have other features than the fit; a ValueError.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> model = GaussianMixture.from_parameters([0.5, 0.5], [[-1.0], [1.0]], [1.0, 1.0], "spherical")
    >>> model.predict_proba([[0.0], [5.0]]).round(3)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    from streamgmm.kernels.kernel import Kernel

    source, parameters = fitted_source(self, X), get_parameters(self)
    return source.map(
        Kernel.from_parameters(parameters).responsibilities, choose_float_dtype(source.dtype), parameters.n_components
    )


def score_samples(self: GaussianMixture, X: Any) -> Any:
    """Compute the log-density of every row.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows; every kind of data that `fit` reads.

    Returns
    -------
    log_density : ndarray, or lazy array of the kind of ``X``, of shape (n_samples,)
        In nats; float32 for float32 rows, else float64. Lazy like the result of `predict`.

    Raises
    ------
    NotFittedError
        The model has no parameters yet; a ValueError.
    InputError
        The rows cannot be used, or have other features than the fit; a ValueError.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> model = GaussianMixture(1, reg_covar=0).fit([[-1.0], [1.0]])
    >>> model.score_samples([[0.0]]).round(6)
    array([-0.918939])
    """
    from streamgmm.kernels.kernel import Kernel

    source = fitted_source(self, X)
    return source.map(
        Kernel.from_parameters(get_parameters(self)).log_densities, choose_float_dtype(source.dtype), None
    )


def score(self: GaussianMixture, X: Any, y: Any = None) -> float:
    """Compute the mean log-density of rows in one pass.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows; every kind of data that `fit` reads.
    y : Ignored
        Present for scikit-learn's conventions.

    Returns
    -------
    float
        In nats a row; higher is better.

    Raises
    ------
    NotFittedError
        The model has no parameters yet; a ValueError.
    InputError
        The rows cannot be used, or have other features than the fit; a ValueError.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> model = GaussianMixture(1, reg_covar=0).fit([[-1.0], [1.0]])
    >>> round(model.score([[0.0], [1.0]]), 6)
    -1.168939
    """
    return _log_likelihood(self, X).mean


def bic(self: GaussianMixture, X: Any) -> float:
    """Compute the Bayesian information criterion on rows in one pass.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows; every kind of data that `fit` reads.

    Returns
    -------
    float
        ``−2·l + ν·log N`` of the log-likelihood l, ν free parameters and N rows; lower is better. mclust's BIC is its
        negative.

    Raises
    ------
    NotFittedError
        The model has no parameters yet; a ValueError.
    InputError
        The rows cannot be used, or have other features than the fit; a ValueError.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> model = GaussianMixture(1, reg_covar=0).fit([[-1.0], [1.0]])
    >>> round(model.bic([[-1.0], [1.0]]), 6)
    7.062048
    """
    return _criterion(self, X).bic


def aic(self: GaussianMixture, X: Any) -> float:
    """Compute Akaike's information criterion on rows in one pass.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows; every kind of data that `fit` reads.

    Returns
    -------
    float
        ``−2·l + 2·ν`` of the log-likelihood l and ν free parameters; lower is better.

    Raises
    ------
    NotFittedError
        The model has no parameters yet; a ValueError.
    InputError
        The rows cannot be used, or have other features than the fit; a ValueError.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> model = GaussianMixture(1, reg_covar=0).fit([[-1.0], [1.0]])
    >>> round(model.aic([[-1.0], [1.0]]), 6)
    9.675754
    """
    return _criterion(self, X).aic


def icl(self: GaussianMixture, X: Any) -> float:
    """Compute the integrated completed likelihood on rows in one pass.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows; every kind of data that `fit` reads.

    Returns
    -------
    float
        ``BIC − 2·sum of log max_k r`` of the responsibilities r; lower is better. mclust's ICL is its negative.

    Raises
    ------
    NotFittedError
        The model has no parameters yet; a ValueError.
    InputError
        The rows cannot be used, or have other features than the fit; a ValueError.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> model = GaussianMixture(1, reg_covar=0).fit([[-1.0], [1.0]])
    >>> model.icl([[-1.0], [1.0]]) == model.bic([[-1.0], [1.0]])  # one component leaves nothing ambiguous
    True
    """
    return _criterion(self, X).icl


def score_held_out(self: GaussianMixture, X: Any, sample_weight: ArrayLike | None = None) -> HeldOut:
    """Compute the log-likelihood of held-out rows and keep it as ``criteria_["heldout"]``.

    It stays there, in a saved model too, until the model learns again. Nothing is penalised, since the model has not
    learnt these rows. That it has not is the caller's responsibility.

    Parameters
    ----------
    X : array-like, lazy array, path or batches of shape (n_samples, n_features)
        Rows that were kept away from `fit`, `partial_fit` and `update`; an iterator of batches is read once.
    sample_weight : array-like or lazy array of shape (n_samples,), optional
        Frequency weights: a weight of 2 is the row twice.

    Returns
    -------
    HeldOut
        ``log_likelihood`` in nats, ``n_samples``, ``mean`` and its ``standard_error`` in nats a row.

    Raises
    ------
    NotFittedError
        The model has no parameters yet; a ValueError.
    InputError
        The rows cannot be used, or have other features than the fit; a ValueError.

    Examples
    --------
    >>> import numpy as np
    >>> from streamgmm import GaussianMixture
    >>> rows = np.random.default_rng(0).normal(size=(3000, 1))
    >>> model = GaussianMixture(1).fit(rows[:2000])
    >>> held_out = model.score_held_out(rows[2000:])
    >>> round(held_out.mean, 3), round(held_out.standard_error, 3), model.criteria_["heldout"] == held_out
    (-1.401, 0.02, True)
    """
    source = fitted_source(self, X, sample_weight)
    held_out = HeldOut.from_moments(execution.measure_log_densities(source, get_parameters(self)))
    self._state = replace(self._state, criteria={**(self._state.criteria or {}), "heldout": held_out})
    return held_out


def sample(self: GaussianMixture, n_samples: int = 1) -> tuple[Array, NDArray[np.int64]]:
    """Draw rows from the mixture, as scikit-learn draws them.

    Parameters
    ----------
    n_samples : int, default=1
        Number of rows.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        float64 rows, component by component.
    y : ndarray of shape (n_samples,)
        int64 component of each row.

    Raises
    ------
    NotFittedError
        The model has no parameters yet; a ValueError.
    ValueError
        ``n_samples`` is less than 1.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> X, y = GaussianMixture(1, random_state=0).fit([[0.0], [1.0]]).sample(3)
    >>> X.shape, y
    ((3, 1), array([0, 0, 0]))
    """
    check_fitted(self)
    if n_samples < 1:
        raise InputError(f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one sample.")
    parameters, random = get_parameters(self), check_random_state(self.random_state)
    counts = random.multinomial(n_samples, parameters.weights / parameters.weights.sum())
    covariances = np.broadcast_to(parameters.covariances, (len(counts), *parameters.covariances.shape[1:]))
    rows = []
    for mean, covariance, count in zip(parameters.means, covariances, counts, strict=True):
        if covariance.ndim == 2:
            rows.append(random.multivariate_normal(mean, covariance, int(count)))
        else:
            rows.append(mean + random.standard_normal(size=(int(count), len(mean))) * np.sqrt(covariance))
    return np.vstack(rows), np.repeat(np.arange(len(counts)), counts)


def save(self: GaussianMixture, path: str | PathLike[str]) -> None:
    """Write the model to one self-verifying file, which `streamgmm.load` reads.

    The file holds all that `partial_fit` and `update` go on from, pending rows included: a loaded model learns on to
    the same bits.

    Parameters
    ----------
    path : str or path-like
        The file. One that exists is replaced once the new one is complete. Of ``random_state`` only an integer is kept.

    Raises
    ------
    NotFittedError
        The model has learnt nothing yet; a ValueError.
    InputError
        Settings that the fit depends on have changed since; a ValueError.
    OSError
        The file cannot be written; one that was there before is untouched.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from streamgmm import GaussianMixture, load
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> GaussianMixture(1).fit([[0.0], [1.0]]).save(path)
    >>> load(path).means_
    array([[0.5]])
    """
    if self._state.n_samples_seen is None:
        check_fitted(self)
    check_settings(self)
    save_object(path, SavedModel.from_model(self))


def _log_likelihood(model: GaussianMixture, X: Any) -> LogLikelihood:
    source = fitted_source(model, X)
    (expectation,) = execution.expect_all(source, (get_parameters(model),))
    return expectation.likelihood


def _criterion(model: GaussianMixture, X: Any) -> Criterion:
    free = n_parameters(STRUCTURES[model.covariance_type], *model._state.shape)
    return Criterion.from_likelihood(_log_likelihood(model, X), free)
