"""The same EM iterations by everyone: one function a library, each with its own way of being told where to start.

``fit(rows, start, n_iterations)`` runs exactly that many and returns (weights, means, covariances) as NumPy arrays in
scikit-learn's shapes, or None where the library cannot be given the whole start. A library is imported when it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.workloads import FAMILIES, Start
from streamgmm import GaussianMixture

Fitted = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
REGULARIZATION = 1e-6  # everyone's reg_covar


@dataclass(frozen=True, slots=True)
class Peer:
    """Another library.

    Attributes
    ----------
    module : str
        Its import.
    fit : callable
        See the module.
    families : tuple of str
        Covariance families it has.
    dtypes : tuple of str
        Dtypes it computes in; rows of another are given to it as the first.
    """

    name: str
    module: str
    fit: Callable[[NDArray[Any], Start, int], Fitted | None]
    families: tuple[str, ...] = FAMILIES
    dtypes: tuple[str, ...] = ("float64", "float32")

    def missing(self) -> str | None:
        """Why it cannot run here; None if it can."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import_module(self.module)
        except ImportError as error:
            return str(error)
        return None

    def converted(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows in a dtype that it takes."""
        return rows if rows.dtype.name in self.dtypes else rows.astype(self.dtypes[0])


def streamgmm(rows: NDArray[Any], start: Start, n_iterations: int) -> Fitted:
    """Fit with this library. The pass over the rows that ends a fit cancels in a difference of two fits."""
    return _fitted(GaussianMixture, rows, start, n_iterations, algorithm="batch")


def scikit_learn(rows: NDArray[Any], start: Start, n_iterations: int) -> Fitted:
    """Fit with sklearn.mixture."""
    from sklearn import mixture

    return _fitted(mixture.GaussianMixture, rows, start, n_iterations)


def _fitted(estimator: Any, rows: NDArray[Any], start: Start, n_iterations: int, **more: Any) -> Fitted:
    dtype = np.dtype(np.float32 if rows.dtype == np.float32 else np.float64)  # what scikit-learn shall compute in
    model = estimator(
        start.n_components,
        covariance_type=start.family,
        tol=0.0,
        reg_covar=REGULARIZATION,
        max_iter=n_iterations,
        weights_init=start.weights.astype(dtype),
        means_init=start.means.astype(dtype),
        precisions_init=start.precisions.astype(dtype),
        **more,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        model.fit(rows)
    return model.weights_, model.means_, model.covariances_


def onedal(rows: NDArray[Any], start: Start, n_iterations: int) -> Fitted:
    """Fit with oneDAL through daal4py. It regularizes only where a covariance is ill-conditioned."""
    import daal4py

    fit = daal4py.em_gmm(
        nComponents=start.n_components,
        maxIterations=n_iterations,
        accuracyThreshold=0.0,
        covarianceStorage={"full": "full", "diag": "diagonal"}[start.family],
        fptype="float" if rows.dtype == np.float32 else "double",
    )
    weights, means, covariances = _in_dtype(start, rows.dtype)
    result = fit.compute(rows, weights.reshape(1, -1), means, [np.atleast_2d(one) for one in covariances])
    found = np.stack(result.covariances).reshape(covariances.shape)
    return result.weights.ravel(), result.means, found


def pomegranate(rows: NDArray[Any], start: Start, n_iterations: int) -> Fitted:
    """Fit with pomegranate, which computes in float32 and lacks a regularization that works."""
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    weights, means, covariances = (torch.from_numpy(array) for array in _in_dtype(start, rows.dtype))
    components = [
        Normal(mean, covariance, covariance_type=start.family)
        for mean, covariance in zip(means, covariances, strict=True)
    ]
    model = GeneralMixtureModel(components, priors=weights, max_iter=n_iterations, tol=-np.inf)
    model.fit(torch.from_numpy(rows))
    fitted = [torch.stack([getattr(one, name).data for one in components]) for name in ("means", "covs")]
    return model.priors.data.numpy(), fitted[0].numpy(), fitted[1].numpy()


def torchgmm(rows: NDArray[Any], start: Start, n_iterations: int) -> None:
    """Fit with torchgmm, which takes starting means only and computes in float32: timed, not compared."""
    import logging

    import torch
    from torchgmm.bayes import GaussianMixture as Mixture

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    model = Mixture(
        start.n_components,
        covariance_type=start.family,
        init_means=torch.from_numpy(start.means.astype(np.float32)),
        convergence_tolerance=0.0,
        covariance_regularization=REGULARIZATION,
        trainer_params={"max_epochs": n_iterations, "accelerator": "cpu", "enable_progress_bar": False},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its loader's workers
        model.fit(torch.from_numpy(rows))


def tgmm(rows: NDArray[Any], start: Start, n_iterations: int) -> Fitted:
    """Fit with tgmm."""
    import torch
    from tgmm import GaussianMixture as Mixture

    weights, means, covariances = (torch.from_numpy(array) for array in _in_dtype(start, rows.dtype))
    model = Mixture(
        start.n_components,
        rows.shape[1],
        covariance_type="tied_full" if start.family == "tied" else start.family,
        max_iter=n_iterations,
        tol=1e-300,
        reg_covar=REGULARIZATION,
        init_weights=weights,
        init_means=means,
        init_covariances=covariances,
        device="cpu",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        model.fit(torch.from_numpy(rows))
    return model.weights_.numpy(), model.means_.numpy(), model.covariances_.numpy()


def gmmx(rows: NDArray[Any], start: Start, n_iterations: int) -> Fitted:
    """Fit with gmmx, in float32. It compiles for every shape and number of iterations, before anything is timed."""
    import jax
    from gmmx import EMFitter, GaussianMixtureModelJax

    weights, means, covariances = _in_dtype(start, rows.dtype)
    model = GaussianMixtureModelJax.from_squeezed(
        weights=weights, means=means, covariances=covariances, covariance_type=start.family
    )
    fitter = EMFitter(max_iter=n_iterations, tol=-np.inf, reg_covar=REGULARIZATION)
    found = fitter.fit(jax.numpy.asarray(rows), model).gmm
    return found.weights_numpy, found.means_numpy, found.covariances.values_numpy


SCIKIT_LEARN = Peer("scikit-learn", "sklearn.mixture", scikit_learn)
PEERS = (
    SCIKIT_LEARN,
    Peer("oneDAL", "daal4py", onedal, ("full", "diag")),
    Peer("pomegranate", "pomegranate.gmm", pomegranate, ("full", "diag"), ("float32",)),
    Peer("torchgmm", "torchgmm.bayes", torchgmm, dtypes=("float32",)),
    Peer("tgmm", "tgmm", tgmm),
    Peer("gmmx", "gmmx", gmmx, ("full", "diag"), ("float32",)),
)


def _in_dtype(start: Start, dtype: np.dtype[Any]) -> Fitted:
    return start.weights.astype(dtype), start.means.astype(dtype), start.covariances.astype(dtype)


def difference(found: Fitted, reference: Fitted) -> float:
    """Largest difference between two fits, relative to the largest entry of the array in which it occurs."""
    return max(
        float(np.abs(mine - theirs).max() / np.abs(theirs).max()) for mine, theirs in zip(found, reference, strict=True)
    )
