"""Settings of an estimator as checked values for the layers below, and scikit-learn's checks of rows against a fit."""

from __future__ import annotations

from copy import deepcopy
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names, _check_n_features, _get_feature_names, check_is_fitted

from streamgmm.algorithms.schedules import Constant
from streamgmm.algorithms.settings import EMSettings
from streamgmm.data.source import Source
from streamgmm.data.sources import as_source
from streamgmm.errors import InputError
from streamgmm.initialization.find_starts import choose_subsample_size
from streamgmm.initialization.user_start import UserStart
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.criteria import n_parameters

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture

RESUME = ("auto", "never", "must")


def em_settings(model: GaussianMixture) -> EMSettings:
    """Return the settings of EM; a constant step size becomes its schedule. InputError where two contradict."""
    step: Any = model.step_size
    is_number = isinstance(step, Real)
    if step is not None and not is_number and (isinstance(step, type) or not hasattr(step, "averages")):
        raise InputError(f"step_size is {step!r}; give a number or a schedule, such as PowerDecay(0.7).")
    if model.half_life is not None and step is not None:
        raise InputError("half_life and step_size both say how fast to forget; give one of them.")
    if model.half_life is not None and model.window is not None:
        raise InputError("half_life and window both say what to forget; give one of them.")
    return EMSettings(
        STRUCTURES[model.covariance_type],
        model.reg_covar,
        None if model.batch_size == "auto" else int(model.batch_size),
        Constant(float(step)) if is_number else step,
        None if model.averaging == "auto" else bool(model.averaging),
        model.half_life,
        model.window,
        None if model.tol == "auto" else float(model.tol),
    )


def draw_seed(random_state: Any) -> int:
    """Return the seed of all draws from the rows; a RandomState instance stays as it is, for the starts."""
    return int(deepcopy(check_random_state(random_state)).randint(2**31 - 1))


def user_start(model: GaussianMixture, n_features: int) -> UserStart:
    """Return the parts of the start that the user gives, checked."""
    given = model.weights_init, model.means_init, model.precisions_init
    return UserStart.from_arguments(*given, STRUCTURES[model.covariance_type], model.n_components, n_features)


def count_rows_to_start(model: GaussianMixture, n_features: int) -> int:
    """Return the number of rows that `partial_fit` starts from."""
    if user_start(model, n_features).is_complete:
        return 0
    k = model.n_components
    free = n_parameters(STRUCTURES[model.covariance_type], k, n_features)
    return max(2, k, min(10 * free, choose_subsample_size(k, n_features)))


def check_settings(model: GaussianMixture, *, any_size: bool = False) -> None:
    """Raise InputError unless the settings are valid and those of the fit; ``any_size`` allows other n_components."""
    model._validate_params()
    state = model._state
    if not state.is_fitted:
        return
    k, d = state.shape
    shape = STRUCTURES[model.covariance_type].public_shape(k, d)
    if (k != model.n_components and not any_size) or np.shape(model.covariances_) != tuple(shape):
        raise InputError(
            f"n_components={model.n_components} and covariance_type={model.covariance_type!r} are not those that the "
            "model was fitted with; set them back, or fit it anew with warm_start=False."
        )


def check_fitted(model: GaussianMixture) -> None:
    """Raise NotFittedError unless the model has parameters; the message counts pending rows."""
    message, state = None, model._state
    if state.pending.n_rows and state.n_features_in is not None:
        needed = count_rows_to_start(model, state.n_features_in)
        message = (
            f"This %(name)s instance is not fitted yet: it has {state.pending.n_rows} of the {needed} rows that it "
            "starts from. Call partial_fit with more, or give weights_init, means_init and precisions_init."
        )
    check_is_fitted(model, msg=message)


def check_features(model: GaussianMixture, source: Source) -> None:
    """Raise ValueError unless names and number of features are those of the fit, in scikit-learn's words."""
    table = _empty_table(source)
    _check_feature_names(model, table, reset=False)
    _check_n_features(model, table, reset=False)
    if model._state.is_fitted and source.n_features != model._state.shape[1]:
        raise InputError(f"X has {source.n_features} features, but means_ has {model._state.shape[1]}.")


def read_features(source: Source) -> dict[str, Any]:
    """Return number and names of features as fields of a `FittedState`."""
    return {"n_features_in": source.n_features, "feature_names_in": _get_feature_names(_empty_table(source))}


def fitted_source(model: GaussianMixture, X: Any, sample_weight: ArrayLike | None = None) -> Source:
    """Return rows for a fitted model, checked against its fit."""
    check_fitted(model)
    source = as_source(X, sample_weight)
    check_features(model, source)
    return source


def choose_float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32 for float32, else float64."""
    return np.dtype(np.float32) if dtype == np.float32 else np.dtype(np.float64)


def _empty_table(source: Source) -> Any:
    """Return a table without rows for scikit-learn's checks of names and number of columns."""
    if source.feature_names is None:
        return np.empty((0, source.n_features))
    import pandas

    return pandas.DataFrame(columns=source.feature_names)
