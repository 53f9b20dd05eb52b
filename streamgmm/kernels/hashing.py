"""Compiled hash tables of integers: counting, and lookup.

Open addressing with linear probing; a slot is free while its counter is 0. The memory of a few slots is prefetched
together, as otherwise each access would wait alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from streamgmm.kernels.compilation import OPTIONS, cached

PREFETCHED = 32  # slots
ONE = np.uint64(1)


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Prefetch the memory of an entry of a contiguous array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = make_array(signature.args[0])(context, builder, arguments[0]).data
        entry = builder.bitcast(builder.gep(first, [arguments[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [entry.type, flag, flag, flag])
        instruction = builder.module.declare_intrinsic("llvm.prefetch", (entry.type,), kind)
        builder.call(instruction, [entry, flag(1), flag(3), flag(1)])  # for writing, kept close, data
        return context.get_dummy_value()

    return types.void(array, index), generate


@njit(inline="always", **OPTIONS)
def mix_bits(number):  # type: ignore[no-untyped-def]
    """Return the finalizer of SplitMix64: a bijection in which every bit depends on all bits."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@njit(inline="always", **OPTIONS)
def find_slots(numbers, start, n, last, keys, values, slots):  # type: ignore[no-untyped-def]
    """Write the preferred slots of a few numbers, and prefetch their memory."""
    for i in range(n):
        slots[i] = mix_bits(numbers[start + i]) & last
        prefetch(keys, slots[i])  # type: ignore[call-arg]
        prefetch(values, slots[i])  # type: ignore[call-arg]


@cached
def draw_uniform(seed: Any, numbers: Any, out: Any) -> None:
    """Draw from [0, 1) for each number, by it and the seed alone."""
    for i in range(numbers.size):
        bits = mix_bits(mix_bits(numbers[i] + np.uint64(0x9E3779B97F4A7C15)) + mix_bits(seed))
        out[i] = np.float64(bits >> np.uint64(11)) * 2.0**-53


@cached
def encode(rows: Any, bits: Any, out: Any) -> None:
    """Write rows (n, bands) of unsigned integers as a uint64 each, the first band the highest."""
    for row in range(rows.shape[0]):
        number = np.uint64(0)
        shift = np.uint64(bits * (rows.shape[1] - 1))
        for band in range(rows.shape[1]):
            number |= np.uint64(rows[row, band]) << shift
            shift -= np.uint64(bits)
        out[row] = number


@cached
def add_counts(numbers: Any, counts: Any, first: Any, keys: Any, totals: Any, n_keys: Any, max_keys: Any) -> Any:
    """Add counts of numbers, from ``first`` on, to the totals of 2**b slots, with at most ``max_keys`` keys.

    Return the index of the first number that was left out, and the number of keys.
    """
    last = np.uint64(keys.size - 1)
    slots = np.empty(PREFETCHED, np.uint64)
    for start in range(first, numbers.size, PREFETCHED):
        n = min(PREFETCHED, numbers.size - start)
        find_slots(numbers, start, n, last, keys, totals, slots)
        for i in range(n):
            number, slot = numbers[start + i], slots[i]
            while totals[slot] != 0 and keys[slot] != number:
                slot = (slot + ONE) & last
            if totals[slot] == 0:
                if n_keys == max_keys:
                    return start + i, n_keys
                n_keys += 1
                keys[slot] = number
            totals[slot] += counts[start + i]
    return numbers.size, n_keys


@cached
def find_entries(numbers: Any, keys: Any, free: Any, entries: Any, out: Any) -> None:
    """Write the entry of each number in a table of 2**b slots; ``free`` is the key of free slots."""
    last = np.uint64(keys.size - 1)
    slots = np.empty(PREFETCHED, np.uint64)
    for start in range(0, numbers.size, PREFETCHED):
        n = min(PREFETCHED, numbers.size - start)
        find_slots(numbers, start, n, last, keys, entries, slots)
        for i in range(n):
            number, slot = numbers[start + i], slots[i]
            while keys[slot] != number and keys[slot] != free:
                slot = (slot + ONE) & last
            out[start + i] = entries[slot]
