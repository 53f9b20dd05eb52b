"""Features of pixels: their bands or colours, local means and deviations, coordinates; optionally standardized."""

from streamgmm.images.features.feature_images import compute_features, concatenate_rows, fit_scaling
from streamgmm.images.features.features import Features, resolve_bands
from streamgmm.images.features.scaling import Scaling

__all__ = ["Features", "Scaling", "compute_features", "concatenate_rows", "fit_scaling", "resolve_bands"]
