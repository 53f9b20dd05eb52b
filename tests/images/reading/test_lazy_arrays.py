import cloudpickle
import dask.array as da
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm.images.reading.lazy_arrays import (
    LazyArray,
    combine_masks,
    mask_equal,
    select_indices,
    stack_arrays,
    take_entries,
    take_index,
)

PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)
CUBE = np.random.default_rng(2).integers(0, 5, (5, 6, 7))


def read_lazily(array):
    """Return an array whose reader refuses keys that no reader has to support."""

    def read(key):
        assert all(
            one.step in (None, 1) and 0 <= one.start < one.stop <= n for one, n in zip(key, array.shape, strict=True)
        )
        return array[key]

    return LazyArray(array.shape, array.dtype, (1, *array.shape[1:]), read)


KEYS = st.one_of(
    st.integers(-5, 4),
    st.builds(
        slice, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9), st.sampled_from([None, 1, 2, -1, -3])
    ),
)


@given(st.tuples(KEYS, KEYS, KEYS), st.integers(0, 3), st.booleans())
def test_a_lazy_array_is_indexed_like_numpy(keys, length, ellipsis):
    key = (*keys[:length], ..., *keys[length:][:1]) if ellipsis else keys[:length]
    np.testing.assert_array_equal(read_lazily(CUBE)[key], CUBE[key])


@settings(max_examples=15)
@given(st.tuples(KEYS, KEYS, KEYS), st.lists(st.integers(0, 4), min_size=1, unique=True))
def test_operations_on_lazy_arrays_equal_those_of_numpy(key, indices):
    lazy = read_lazily(CUBE)
    masks = [CUBE == 1, CUBE > 3]
    table = PALETTE[:5]
    for result, expected in [
        (select_indices(lazy, 0, indices), CUBE[indices]),
        (mask_equal(lazy, 3), CUBE == 3),
        (mask_equal(take_index(lazy, 1, 2), 3), CUBE[:, 2] == 3),
        (take_index(select_indices(lazy, 2, [1]), 2, 0), CUBE[:, :, 1]),
        (stack_arrays([lazy[0], read_lazily(CUBE[1:])[0]], float), np.stack([CUBE[0], CUBE[1]]).astype(float)),
        (stack_arrays([None, masks[0]], bool), np.stack([np.zeros(CUBE.shape, bool), masks[0]])),
        (combine_masks(read_lazily(masks[0]), None, masks[1]), masks[0] | masks[1]),
        (take_entries(lazy, table), table[CUBE]),
    ]:
        assert result.shape == expected.shape and result.dtype == expected.dtype and result.ndim == len(result.chunks)
        part = tuple(k if isinstance(k, slice) else slice(k, None) for k in key[: expected.ndim])
        np.testing.assert_array_equal(result[part], expected[part])
        np.testing.assert_array_equal(cloudpickle.loads(cloudpickle.dumps(result))[part], expected[part])
        np.testing.assert_array_equal(np.asarray(da.from_array(result, chunks=3)), expected)
