"""Compiled loops over a hash table of numbers: how often each was met, and what a table has for each.

A slot is free while its counter is 0. A number whose slot another has taken lies in the next that is free, round the
end. The memory that a few numbers need is asked for before it is looked at, since else each would wait for it alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from streamgmm.kernels.compilation import OPTIONS, cached

AHEAD = 32  # numbers whose memory is asked for together
ONE = np.uint64(1)


@intrinsic
def fetch(typing_context: Any, array: Any, place: Any) -> Any:
    """Ask for the memory of an entry of a contiguous array, and go on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = make_array(signature.args[0])(context, builder, arguments[0]).data
        entry = builder.bitcast(builder.gep(first, [arguments[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [entry.type, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", (entry.type,), kind)
        builder.call(prefetch, [entry, flag(1), flag(3), flag(1)])  # to be written to, kept close, no instructions
        return context.get_dummy_value()

    return types.void(array, place), generate


@njit(inline="always", **OPTIONS)
def mixed(number):  # type: ignore[no-untyped-def]
    """A number all of whose bits depend on all bits of another: the finalizer of SplitMix64, which is a bijection."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@njit(inline="always", **OPTIONS)
def find(numbers, start, n, last, keys, values, slots):  # type: ignore[no-untyped-def]
    """Slots of a few numbers, if no other has taken them, whose memory is asked for."""
    for i in range(n):
        slots[i] = mixed(numbers[start + i]) & last
        fetch(keys, slots[i])  # type: ignore[call-arg]
        fetch(values, slots[i])  # type: ignore[call-arg]


@cached
def uniform(seed: Any, numbers: Any, out: Any) -> None:
    """A draw from [0, 1) for each number, which depends on it and the seed alone."""
    for i in range(numbers.size):
        drawn = mixed(mixed(numbers[i] + np.uint64(0x9E3779B97F4A7C15)) + mixed(seed))
        out[i] = np.float64(drawn >> np.uint64(11)) * 2.0**-53


@cached
def encode(rows: Any, bits: Any, out: Any) -> None:
    """Rows (n, bands) of unsigned integers of some bits as a uint64 each, the first band the highest."""
    for row in range(rows.shape[0]):
        number = np.uint64(0)
        shift = np.uint64(bits * (rows.shape[1] - 1))
        for band in range(rows.shape[1]):
            number |= np.uint64(rows[row, band]) << shift
            shift -= np.uint64(bits)
        out[row] = number


@cached
def add(numbers: Any, counts: Any, first: Any, keys: Any, totals: Any, n_found: Any, room: Any) -> Any:
    """Add counts of numbers, from ``first`` on, to the totals of 2**b slots, until one would be more than ``room``.

    Returns how far it has come, and how many are found.
    """
    last = np.uint64(keys.size - 1)
    slots = np.empty(AHEAD, np.uint64)
    for start in range(first, numbers.size, AHEAD):
        n = min(AHEAD, numbers.size - start)
        find(numbers, start, n, last, keys, totals, slots)
        for i in range(n):
            number, slot = numbers[start + i], slots[i]
            while totals[slot] != 0 and keys[slot] != number:
                slot = (slot + ONE) & last
            if totals[slot] == 0:
                if n_found == room:
                    return start + i, n_found
                n_found += 1
                keys[slot] = number
            totals[slot] += counts[start + i]
    return numbers.size, n_found


@cached
def look_up(numbers: Any, keys: Any, free: Any, entries: Any, out: Any) -> None:
    """Entry of each number in a table of 2**b slots, the keys of those that are free being a number of their own."""
    last = np.uint64(keys.size - 1)
    slots = np.empty(AHEAD, np.uint64)
    for start in range(0, numbers.size, AHEAD):
        n = min(AHEAD, numbers.size - start)
        find(numbers, start, n, last, keys, entries, slots)
        for i in range(n):
            number, slot = numbers[start + i], slots[i]
            while keys[slot] != number and keys[slot] != free:
                slot = (slot + ONE) & last
            out[start + i] = entries[slot]
