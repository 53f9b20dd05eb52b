"""exp and log as straight-line code, so that loops over rows run in vector registers.

The compiler's own ``exp`` is a call per row. These are range reduction, a polynomial, and shifts of the exponent bits;
the relative error of ``exp`` is at most eps·(2 + 0.65·|x|), that of ``log`` 4·eps (tests/kernels/test_elementary.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from streamgmm.kernels.compilation import OPTIONS

LOG2_E = 1.4426950408889634
LOG_2 = 0.6931471805599453
SMALLEST_ARGUMENT = -650.0  # below it exp is subnormal, which is slow
EXPONENT_BITS = 52
SQRT_HALF = 0x3FE6A09E667F3BCD  # bits of √½: mantissas are brought to [√½, √2)


@intrinsic
def bits_of(typing_context: Any, value: Any) -> Any:
    """Return the bits of a float64 as an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def float_of(typing_context: Any, value: Any) -> Any:
    """Return the float64 that has these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@njit(inline="always", **OPTIONS)
def exp(x):  # type: ignore[no-untyped-def]
    """Return e to the power of x, for −650 ≤ x ≤ 700; smaller arguments count as −650."""
    x = max(x, SMALLEST_ARGUMENT)
    n = np.rint(x * LOG2_E)
    r = x - n * LOG_2
    p = 1.0 / 479001600
    p = p * r + 1.0 / 39916800
    p = p * r + 1.0 / 3628800
    p = p * r + 1.0 / 362880
    p = p * r + 1.0 / 40320
    p = p * r + 1.0 / 5040
    p = p * r + 1.0 / 720
    p = p * r + 1.0 / 120
    p = p * r + 1.0 / 24
    p = p * r + 1.0 / 6
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return float_of(bits_of(p) + (np.int64(n) << EXPONENT_BITS))  # type: ignore[call-arg]


@njit(inline="always", **OPTIONS)
def log(x):  # type: ignore[no-untyped-def]
    """Return the logarithm of a positive normal number: exponent, and atanh series of the mantissa."""
    exponent = (bits_of(x) - SQRT_HALF) >> EXPONENT_BITS  # type: ignore[call-arg]
    mantissa = float_of(bits_of(x) - (exponent << EXPONENT_BITS))  # type: ignore[call-arg]
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    p = 1.0 / 19
    p = p * z + 1.0 / 17
    p = p * z + 1.0 / 15
    p = p * z + 1.0 / 13
    p = p * z + 1.0 / 11
    p = p * z + 1.0 / 9
    p = p * z + 1.0 / 7
    p = p * z + 1.0 / 5
    p = p * z + 1.0 / 3
    return exponent * LOG_2 + (2.0 * s + 2.0 * s * z * p)
