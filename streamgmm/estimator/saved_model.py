"""Saved model: settings and state of an estimator, as files and generations hold them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamgmm.estimator.fitted_state import PARAMETERS, FittedState
from streamgmm.model.covariances import STRUCTURES
from streamgmm.persistence.codec import persistent

if TYPE_CHECKING:
    from streamgmm.estimator.mixture import GaussianMixture

START_SETTINGS = ("weights_init", "means_init", "precisions_init")


@persistent("model-1")
@dataclass(frozen=True, slots=True, eq=False)
class SavedModel:
    """Settings and state of a `GaussianMixture`.

    Attributes
    ----------
    settings : dict
        Arguments of the constructor; of ``random_state`` only an integer.
    fitted : FittedState
        Without what says where it is kept.
    """

    settings: dict[str, Any]
    fitted: FittedState

    @classmethod
    def from_model(cls, model: GaussianMixture, state: FittedState | None = None) -> SavedModel:
        """Return what is to be saved of a model, or of another state of it."""
        state = replace(
            model._state if state is None else state, generation=None, durable_token=None, latest_token=None
        )
        return cls(list_savable_settings(model), state)

    def to_model(self) -> GaussianMixture:
        """Return the model; ValueError or TypeError where the settings are none."""
        from streamgmm.estimator.mixture import GaussianMixture

        model = GaussianMixture(**self.settings)
        model._validate_params()
        model._state = self.fitted
        return model

    def validate(self) -> None:
        """Raise ValueError unless the settings are valid and all parts of the state belong to one mixture."""
        model, state = self.to_model(), self.fitted
        if not state.is_fitted:
            return
        k, d = model.n_components, state.n_features_in
        assert d is not None  # or the state were not valid
        structure = STRUCTURES[model.covariance_type]
        shape = tuple(structure.public_shape(k, d))
        shapes = ((k,), (k, d), shape, shape, shape)
        if any(getattr(state, name).shape != expected for name, expected in zip(PARAMETERS, shapes, strict=True)):
            raise ValueError("arrays have other shapes than the settings say")
        with np.errstate(all="ignore"):
            parameters = state.parameters(structure)
            if not (np.isfinite(parameters.log_determinants()).all() and parameters.weights.max() > 0.0):
                raise ValueError("the parameters are no mixture")
        if parameters.weights.min() < 0.0:
            raise ValueError("the parameters are no mixture")
        means = [] if state.stream is None else [state.stream.reported.means]
        if state.partition_statistics is not None:
            means.append(state.partition_statistics.entries.origin)
        if state.accumulated is not None:
            means.append(state.accumulated.statistics.origin)
        if any(origin.shape != (k, d) for origin in means):
            raise ValueError("statistics are of another number of components or features")


def list_savable_settings(model: GaussianMixture) -> dict[str, Any]:
    """Return the settings of a model in the form in which they are saved and compared."""
    settings = dict(model.get_params(deep=False))
    for name in START_SETTINGS:
        settings[name] = None if settings[name] is None else np.asarray(settings[name], np.float64)
    if not isinstance(settings["random_state"], int | np.integer):
        settings["random_state"] = None
    return settings
