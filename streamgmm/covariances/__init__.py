"""Families of covariances, one file each, and the table of their names."""

from streamgmm.covariances.diagonal import Diagonal
from streamgmm.covariances.full import Full
from streamgmm.covariances.spherical import Spherical
from streamgmm.covariances.structure import CovarianceStructure
from streamgmm.covariances.tied import Tied

STRUCTURES: dict[str, CovarianceStructure] = {
    structure.name: structure for structure in (Full(), Tied(), Diagonal(), Spherical())
}

__all__ = ["STRUCTURES", "CovarianceStructure", "Diagonal", "Full", "Spherical", "Tied"]
