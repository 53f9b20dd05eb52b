import numpy as np
import pytest
from scipy.stats import ortho_group
from shared_families import SharedDiagonal, SharedSpherical

from streamgmm.model.covariances import STRUCTURES, Diagonal, Full, Spherical, Tied
from streamgmm.testing.covariance_laws import CovarianceLaws


class TestFull(CovarianceLaws):
    structure = Full()

    def pool_covariances(self, matrices, counts):
        return matrices


class TestTied(CovarianceLaws):
    structure = Tied()

    def pool_covariances(self, matrices, counts):
        return np.tensordot(counts / counts.sum(), matrices, axes=1)[None]


class TestDiagonal(CovarianceLaws):
    structure = Diagonal()

    def pool_covariances(self, matrices, counts):
        return np.diagonal(matrices, axis1=1, axis2=2)

    def draw_symmetry(self, random, d):
        return np.diag(random.uniform(0.2, 5.0, d))[random.permutation(d)]


class TestSpherical(CovarianceLaws):
    structure = Spherical()

    def pool_covariances(self, matrices, counts):
        return np.trace(matrices, axis1=1, axis2=2)[:, None] / matrices.shape[1]

    def draw_symmetry(self, random, d):
        rotation = ortho_group.rvs(d, random_state=random) if d > 1 else np.ones((1, 1))
        return random.uniform(0.2, 5.0) * rotation


class TestSharedDiagonal(TestDiagonal):
    structure = SharedDiagonal()

    def pool_covariances(self, matrices, counts):
        return counts[None] / counts.sum() @ super().pool_covariances(matrices, counts)


class TestSharedSpherical(TestSpherical):
    structure = SharedSpherical()

    def pool_covariances(self, matrices, counts):
        return counts[None] / counts.sum() @ super().pool_covariances(matrices, counts)


def test_every_family_in_the_table_is_under_its_name():
    assert all(structure.name == name for name, structure in STRUCTURES.items())


# k variances and so on, counted by hand for 3 components in 4 dimensions
@pytest.mark.parametrize(("name", "free"), [("full", 30), ("tied", 10), ("diag", 12), ("spherical", 3)])
def test_the_free_parameters_of_a_covariance_are_counted(name, free):
    assert STRUCTURES[name].n_parameters(3, 4) == free


@pytest.mark.parametrize("structure", [Full(), Tied()])
def test_matrices_that_are_not_symmetric_are_no_precisions(structure):
    with pytest.raises(ValueError, match=f"'{structure.name} precision' should be symmetric, positive-definite"):
        structure.check_precisions(np.array([[[2.0, 0.5], [0.4, 2.0]]]))
