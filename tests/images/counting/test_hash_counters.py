"""The hash table counts like np.unique, and regular codes do not make it slow."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streamgmm.images.counting.hash_counters import BLOCK_ROWS, HashCounters
from streamgmm.images.counting.pixel_codes import decode_pixels, encode_pixels

ALL = 2**64 - 1
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mix(numbers):
    """SplitMix64's finalizer, as it is published."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(FIRST)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(SECOND)
    return numbers ^ (numbers >> np.uint64(31))


def unmix(number):
    """Return the number that `mix` maps to this one."""
    number ^= (number >> 31) ^ (number >> 62)
    number = number * pow(SECOND, -1, 2**64) & ALL
    number ^= (number >> 27) ^ (number >> 54)
    number = number * pow(FIRST, -1, 2**64) & ALL
    return number ^ (number >> 30) ^ (number >> 60)


def count(codes, max_values=2**20):
    total = HashCounters(max_values)
    assert total.add(codes, np.ones(len(codes), np.uint32))
    return total


numbers_ = arrays(np.uint64, st.integers(0, 300), elements=st.integers(0, 9) | st.integers(ALL - 9, ALL))


@given(numbers_, st.data())
def test_counts_of_any_parts_in_any_order_equal_those_of_numpy_unique(numbers, data):
    shuffled = numbers[data.draw(st.permutations(range(len(numbers))))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(numbers)), max_size=4)))
    total = HashCounters(100)
    for part in np.split(shuffled, cuts):
        values, counts = np.unique(part, return_counts=True)
        assert total.add(values, counts)
    expected = np.unique(numbers, return_counts=True)
    for one, other in zip(total.items(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.integers(0, 5_000), st.integers(0, 5_000))
def test_one_value_more_than_the_maximum_is_refused(n, most):
    assert HashCounters(most).add(np.arange(n, dtype=np.uint64), np.ones(n, np.uint32)) is (n <= most)


ALIKE = {
    "one after the other": np.arange(100_000, dtype=np.uint64),
    "different in high bits": np.arange(100_000, dtype=np.uint64) << np.uint64(47),
    "different in the middle": np.arange(100_000, dtype=np.uint64) << np.uint64(24),
    "a grid of colours": encode_pixels(
        np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 4), -1).reshape(-1, 4).astype("u1")
    ),
    "a grid of deep colours": encode_pixels(
        np.stack(np.meshgrid(*[np.arange(0, 2**16, 4096)] * 4), -1).reshape(-1, 4).astype("u2")
    ),
    "at a distance of slots": np.arange(100_000, dtype=np.uint64) * np.uint64(2**18),
}


@pytest.mark.parametrize("alike", ALIKE)
def test_probe_lengths_of_regular_codes_match_theory(alike):
    numbers = ALIKE[alike]
    keys, counts, _ = count(numbers).slots()
    taken = np.flatnonzero(counts)
    assert len(taken) == len(numbers)
    last = np.uint64(len(keys) - 1)
    steps = (taken.astype(np.uint64) - (mix(keys[taken]) & last)) & last
    assert steps.mean() < 0.55  # Knuth: a half, where a half of all slots is taken
    assert steps.max() < 100


def test_colliding_codes_are_kept_apart():
    same = np.array([unmix(high << 32 | 4095) for high in range(1_000)], np.uint64)  # the last slot, and round the end
    assert len(set(mix(same) & np.uint64(4095))) == 1
    numbers = np.repeat(same, np.arange(1, 1_001))
    found, counts = count(np.random.default_rng(0).permutation(numbers)).items()
    np.testing.assert_array_equal(counts[np.argsort(found)], np.arange(1, 1_001)[np.argsort(same)])


@given(numbers_)
def test_the_key_of_free_slots_is_no_code_of_the_table(numbers):
    keys, counts, free = count(numbers).slots()
    assert free not in numbers
    np.testing.assert_array_equal(keys == free, counts == 0)


@given(
    st.sampled_from([("u1", 8), ("u1", 5), ("i2", 4), ("u4", 2), ("i4", 1), ("i8", 1), ("u8", 1)]),
    st.integers(0, 40),
    st.data(),
)
def test_codes_decode_to_their_pixels_and_sort_like_them(kind, n, data):
    dtype, n_bands = kind
    rows = data.draw(arrays(dtype, (n, n_bands)))
    numbers = encode_pixels(rows)
    np.testing.assert_array_equal(decode_pixels(numbers, rows.dtype, n_bands), rows)
    np.testing.assert_array_equal(encode_pixels(np.asfortranarray(rows)), numbers)
    bits = rows.view(f"u{rows.dtype.itemsize}")
    np.testing.assert_array_equal(bits[np.argsort(numbers, kind="stable")], bits[np.lexsort(bits.T[::-1])])


def test_a_block_longer_than_the_encoding_buffer_is_counted_whole():
    rows = np.random.default_rng(0).integers(0, 3, (3 * BLOCK_ROWS + 5, 4)).astype(np.uint16)
    numbers, counts = HashCounters(100).count_block(rows)
    expected = np.unique(rows, axis=0, return_counts=True)
    order = np.argsort(numbers)
    np.testing.assert_array_equal(decode_pixels(numbers[order], rows.dtype, 4), expected[0])
    np.testing.assert_array_equal(counts[order], expected[1])
    assert (
        HashCounters(len(numbers)).count_block(rows) is not None
        and HashCounters(len(numbers) - 1).count_block(rows) is None
    )


def test_counts_exceed_32_bits():
    total = HashCounters(10)
    for _ in range(3):
        total.add(np.array([7], np.uint64), np.array([2**32 - 1], np.uint32))
    assert total.items()[1].tolist() == [3 * (2**32 - 1)]


def test_counters_are_pickled_empty():
    assert len(pickle.dumps(HashCounters(2**22))) < 200
