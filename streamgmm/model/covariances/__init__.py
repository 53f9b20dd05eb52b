"""Covariance families, one file each, and the table of their names.

The choices of ``covariance_type``, of the command line and all messages derive from this table.
"""

from streamgmm.model.covariances.diagonal import Diagonal
from streamgmm.model.covariances.full import Full
from streamgmm.model.covariances.spherical import Spherical
from streamgmm.model.covariances.structure import CovarianceStructure
from streamgmm.model.covariances.tied import Tied

STRUCTURES: dict[str, CovarianceStructure] = {
    structure.name: structure for structure in (Full(), Tied(), Diagonal(), Spherical())
}

__all__ = ["STRUCTURES", "CovarianceStructure", "Diagonal", "Full", "Spherical", "Tied"]
