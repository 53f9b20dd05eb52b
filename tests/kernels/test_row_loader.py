import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.kernels.row_loader import BLOCK_ROWS, CACHED_VALUES, iter_blocks


@given(n=st.integers(1, 4 * BLOCK_ROWS), d=st.integers(1, 6), more=st.integers(0, 3))
def test_portions_end_to_end_are_the_rows_about_the_origin(n, d, more):
    rows, origin = np.arange(n * d, dtype=np.int32).reshape(n, d), np.arange(d, dtype=float)
    loaded = []
    for part, blocks in iter_blocks(rows, d + more, origin):
        values = blocks.transpose(0, 2, 1).reshape(-1, d + more)[: part.stop - part.start]
        assert not values[:, d:].any()
        loaded.append(values[:, :d].copy())
    np.testing.assert_array_equal(np.concatenate(loaded), rows - origin)


def test_a_portion_stays_in_cache_and_is_whole_blocks():
    rows = np.zeros((100_000, 4))
    parts = [(part, blocks.nbytes) for part, blocks in iter_blocks(rows, 4, np.zeros(4))]
    assert len(parts) > 1
    assert all(size <= 8 * CACHED_VALUES for _, size in parts)
    assert all(part.start % BLOCK_ROWS == 0 for part, _ in parts)


@pytest.mark.parametrize("largest", [np.iinfo(np.uint64).max, np.iinfo(np.int64).min])
def test_the_largest_integers_are_widened_with_their_sign(largest):
    rows = np.array([[largest]])
    ((_, blocks),) = iter_blocks(rows, 1, np.zeros(1))
    assert blocks[0, 0, 0] == float(largest)
