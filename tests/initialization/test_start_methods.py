"""Start methods."""

import numpy as np
import pytest

from streamgmm.data.subsample import Subsample
from streamgmm.initialization.start_methods import START_METHODS


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32"])
def test_k_means_plus_plus_chooses_the_same_rows_in_any_dtype(dtype):
    rows = np.random.default_rng(0).integers(0, 120, (400, 3))
    found, expected = (
        START_METHODS["k-means++"](Subsample(one, None), 5, np.random.RandomState(0))
        for one in (rows.astype(dtype), rows * 1.0)
    )
    np.testing.assert_array_equal(found, expected)
