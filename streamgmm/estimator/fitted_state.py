"""Outcome of a fit as one immutable value, and the attributes of the estimator that show it. Knows no files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamgmm.errors import DegenerateError, InputError
from streamgmm.fitting.partition_statistics import PartitionStatistics
from streamgmm.fitting.streaming import PendingRows, Stream
from streamgmm.fitting.tokens import Tokens
from streamgmm.initialization.multistart import Restarts
from streamgmm.iteration.history import History
from streamgmm.model.covariances import STRUCTURES, CovarianceStructure
from streamgmm.model.criteria import Criterion, HeldOut, Prequential, n_parameters
from streamgmm.model.em import Expectation, compute_bound, make_parameters
from streamgmm.model.parameters import Array, Parameters
from streamgmm.persistence.codec import persistent

Value = TypeVar("Value")
Criteria = dict[str, Criterion | Prequential | HeldOut]

FROM_PARAMETERS = "none"  # the algorithm of a model that was made from numbers
PARAMETERS = ("weights", "means", "covariances", "precisions", "precisions_cholesky")
FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
CRITERION_CLASSES = {"exact": Criterion, "bound": Criterion, "prequential": Prequential, "heldout": HeldOut}
WEIGHT_TOLERANCE = 1e-6  # float32 weights sum to 1 within it


@persistent("fitted-state-1")
@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FittedState:
    """Outcome of a fit, a stream or an update; without arguments that of a new model.

    The estimator shows the field ``name`` as its attribute ``name_``, which does not exist where the field is None.
    The fields from ``accumulated`` on have no public attribute.

    Attributes
    ----------
    weights, means, covariances, precisions, precisions_cholesky : ndarray
        Parameters in the shapes and the dtype of the public attributes.
    converged, n_iter, lower_bound, lower_bounds, n_samples_seen, criteria, history, restarts, algorithm
        Attributes of `GaussianMixture` without the underscore.
    durable_token : int, str or bytes
        Latest token that the checkpoint holds.
    n_features_in, feature_names_in
        Number of features, and their names if the rows had names.
    accumulated : Expectation or None
        Statistics and log-likelihood of all rows that were learnt, each row once.
    stream : Stream or None
        State of `partial_fit`.
    partition_statistics : PartitionStatistics or None
        Statistics of each partition of the rows; kept by an incremental fit for `update` and `withdraw`.
    pending : PendingRows
        Rows of `partial_fit` that are too few to start from.
    tokens : Tokens
        Tokens of all batches that were learnt.
    latest_token : int, str, bytes or None
        Token of the latest batch that had one.
    order_warned : bool
        True once the stream has raised an `OrderWarning`.
    preprocessing : str or None
        Description of how the rows were made from an image; opaque to this layer.
    generation : tuple of (str, int) or None
        Run and number of the checkpoint generation that holds this state.
    """

    weights: NDArray[Any] | None = None
    means: NDArray[Any] | None = None
    covariances: NDArray[Any] | None = None
    precisions: NDArray[Any] | None = None
    precisions_cholesky: NDArray[Any] | None = None
    converged: bool | None = None
    n_iter: int | None = None
    lower_bound: float | None = None
    lower_bounds: tuple[float, ...] | None = None
    n_samples_seen: int | None = None
    criteria: Criteria | None = None
    history: History | None = None
    restarts: Restarts | None = None
    algorithm: str | None = None
    durable_token: Any = None
    n_features_in: int | None = None
    feature_names_in: NDArray[Any] | None = None
    accumulated: Expectation | None = None
    stream: Stream | None = None
    partition_statistics: PartitionStatistics | None = None
    pending: PendingRows = field(default_factory=PendingRows)
    tokens: Tokens = field(default_factory=Tokens)
    latest_token: Any = None
    order_warned: bool = False
    preprocessing: str | None = None
    generation: tuple[str, int] | None = None

    def validate(self) -> None:
        """Raise ValueError unless this is the state of a fitted model, or of one that has pending rows at most."""
        arrays = [array for array in (getattr(self, name) for name in PARAMETERS) if array is not None]
        outcome = (self.converged, self.n_iter, self.lower_bound, self.lower_bounds, self.criteria, self.algorithm)
        pending = self.pending.rows
        if self.pending.n_rows != sum(map(len, pending)) or {rows.shape[1] for rows in pending} - {self.n_features_in}:
            raise ValueError("the pending rows contradict their number")
        if not (is_token(self.durable_token) and is_token(self.latest_token)):
            raise ValueError("a token is none")
        names = self.feature_names_in
        if names is not None and (names.dtype.kind != "O" or names.shape != (self.n_features_in,)):
            raise ValueError("it has not one name for each feature")
        if not arrays and all(value is None for value in outcome):
            if (self.n_samples_seen or 0) != self.pending.n_rows:
                raise ValueError("the pending rows contradict their number")
            return
        numbers = (*outcome, self.n_samples_seen, self.n_features_in)
        if len(arrays) < len(PARAMETERS) or any(value is None for value in numbers):
            raise ValueError("it is neither fitted nor new")
        if self.pending.n_rows or any(array.dtype not in FLOATS or not np.isfinite(array).all() for array in arrays):
            raise ValueError("its arrays contradict each other or are not finite")
        for kind, criterion in (self.criteria or {}).items():
            if type(criterion) is not CRITERION_CLASSES.get(kind):
                raise ValueError("a criterion is of another kind")

    @property
    def is_fitted(self) -> bool:
        """True once there are parameters; pending rows alone are not enough."""
        return self.means is not None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of components and of features of the parameters."""
        k, d = np.atleast_2d(np.asarray(self.means)).shape
        return k, d

    def parameters(self, structure: CovarianceStructure) -> Parameters:
        """Return the parameters in float64 and in the internal shapes."""
        means = np.array(self.means, np.float64, ndmin=2)
        factors = np.array(self.precisions_cholesky, np.float64).reshape(structure.shape(*means.shape))
        return Parameters(np.array(self.weights, np.float64), means, structure.invert(factors)[1], factors)

    def bound_of(self, expectation: Expectation, parameters: Parameters, structure: CovarianceStructure) -> Criterion:
        """Return the lower bound of the log-likelihood for the parameters as they are shown, perhaps in float32."""
        assert self.means is not None
        shown = parameters if self.means.dtype == np.float64 else self.parameters(structure)
        free = n_parameters(structure, *self.shape)
        return Criterion(compute_bound(expectation, shown), None, expectation.likelihood.weight, free)

    def reordered(self, order: NDArray[np.intp], structure: CovarianceStructure) -> FittedState:
        """Return the same fit with its components in another order; not for a stream."""
        k, d = self.shape
        is_shared = structure.shape(k, d)[0] != k
        own = ("weights", "means") if is_shared else PARAMETERS
        records = () if self.history is None else self.history.records
        other = replace(
            self,
            **{name: getattr(self, name)[order] for name in own},
            history=History(tuple(replace(record, occupancy=record.occupancy[order]) for record in records)),
        )
        if self.accumulated is None:
            return other
        moments, likelihood = self.accumulated.statistics, self.accumulated.likelihood
        moments = replace(
            moments,
            origin=moments.origin[order],
            counts=moments.counts[order],
            sums=moments.sums[order],
            products=moments.products if is_shared else moments.products[order],
        )
        likelihood = replace(likelihood, version=other.parameters(structure).version)
        return replace(other, accumulated=Expectation(moments, likelihood))


def is_token(token: Any) -> bool:
    """Return True for None, an integer of 64 bits, a string or bytes."""
    return token is None or type(token) in (str, bytes) or (type(token) is int and abs(token) < 2**63)


class FittedAttribute(Generic[Value]):
    """Attribute of the estimator that shows a field of its state.

    One assignment of a state replaces all attributes, so that no exception leaves half of a fit. A user may set an
    attribute nevertheless, and every method uses what was set: the state is the only place where it is kept.
    """

    def __init__(self, show: Callable[[Any], Value] | None = None) -> None:
        self._show = show

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name, self._field = name, name.strip("_")

    @overload
    def __get__(self, model: None, owner: type[Any]) -> Self: ...

    @overload
    def __get__(self, model: Any, owner: type[Any]) -> Value: ...

    def __get__(self, model: Any, owner: type[Any]) -> Self | Value:
        if model is None:
            return self
        value: Any = getattr(model._state, self._field)
        if value is None:
            raise AttributeError(f"{type(model).__name__!r} object has no attribute {self._name!r}")
        shown: Value = value if self._show is None else self._show(value)
        return shown

    def __set__(self, model: Any, value: Any) -> None:
        model._state = replace(model._state, **{self._field: value})

    def __delete__(self, model: Any) -> None:
        self.__get__(model, type(model))  # AttributeError where there is none
        self.__set__(model, None)


def get_parameters(model: Any) -> Parameters:
    """Return the parameters of a fitted `GaussianMixture`, in float64 and in the internal shapes."""
    state: FittedState = model._state
    return state.parameters(STRUCTURES[model.covariance_type])


def check_parameters(
    weights: ArrayLike, means: ArrayLike, covariances: ArrayLike, structure: CovarianceStructure
) -> tuple[Parameters, np.dtype[Any]]:
    """Return parameters that were given in public shapes, and their common dtype; InputError if they are no mixture."""
    arrays = [np.asarray(values) for values in (weights, means, covariances)]
    dtype = np.dtype(np.float32) if all(array.dtype == np.float32 for array in arrays) else np.dtype(np.float64)
    pi, mu, sigma = (array.astype(np.float64) for array in arrays)
    if pi.ndim != 1 or mu.ndim != 2 or len(pi) != len(mu) or not mu.size:
        raise InputError(
            f"weights of shape {pi.shape} and means of shape {mu.shape} are no mixture; give one weight and one mean "
            "for each component: shapes (k,) and (k, d)."
        )
    k, d = mu.shape
    shape = tuple(structure.public_shape(k, d))
    if sigma.shape != shape:
        raise InputError(
            f"covariances have shape {sigma.shape}; with covariance_type={structure.name!r}, {k} components and {d} "
            f"features it has to be {shape}."
        )
    for name, array in (("weights", pi), ("means", mu), ("covariances", sigma)):
        if not np.isfinite(array).all():
            raise InputError(f"{name} contain NaN or infinity; give finite numbers.")
    if pi.min() < 0.0 or abs(pi.sum() - 1.0) > WEIGHT_TOLERANCE:
        raise InputError(f"weights have sum {pi.sum():.6g} and minimum {pi.min():.6g}; give numbers >= 0 with sum 1.")
    sigma = sigma.reshape(structure.shape(k, d))
    if sigma.ndim == 3 and not np.allclose(sigma, sigma.transpose(0, 2, 1), rtol=1e-5, atol=1e-6 * np.abs(sigma).max()):
        raise InputError("covariances are not symmetric; give symmetric matrices.")
    try:
        return make_parameters(pi, mu, sigma, structure), dtype
    except DegenerateError:
        raise InputError("covariances are not positive definite; give covariances with positive variances.") from None


def make_public_arrays(parameters: Parameters, structure: CovarianceStructure, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the parameters as fields of a `FittedState`; in float64 where ``dtype`` could not hold them all."""
    shape = structure.public_shape(*parameters.means.shape)
    arrays = {
        "weights": parameters.weights,
        "means": parameters.means,
        "covariances": parameters.covariances.reshape(shape),
        "precisions": structure.invert(parameters.precision_factors)[0].reshape(shape),
        "precisions_cholesky": parameters.precision_factors.reshape(shape),
    }
    if not all(_is_representable(array, dtype) for array in arrays.values()):
        dtype = np.dtype(np.float64)
    return {name: array.astype(dtype) for name, array in arrays.items()}


def _is_representable(array: Array, dtype: np.dtype[Any]) -> bool:
    sizes = np.abs(array[array != 0])
    limits = np.finfo(dtype)
    return bool(np.all(sizes <= limits.max) and np.all(sizes >= limits.tiny))
