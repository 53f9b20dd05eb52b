"""What of a pixel is learnt: its bands or their colours, what is around it, where it is."""

from streamgmm.images.features.features import Features, numbered
from streamgmm.images.features.fields import features_of, rows_together, standardized
from streamgmm.images.features.scaling import Scaling

__all__ = ["Features", "Scaling", "features_of", "numbered", "rows_together", "standardized"]
