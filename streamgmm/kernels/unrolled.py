"""Loops for matrices of up to four features (pixels): everything of a row in registers, nothing read twice.

Log-densities and statistics for one block and one component, centred on the component. ``x`` is (width, block), ``m``
the mean and ``f`` the lower triangular factor with ‖f(x−m)‖² half the squared Mahalanobis distance. Only the lower
triangle of the products is filled.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

from numba import njit

from streamgmm.kernels.compilation import OPTIONS


class Unrolled1(NamedTuple):
    """Parameters for one feature. The loops are chosen by type, hence one type per number of features."""

    constants: Any  # (k,)
    means: Any  # (k, d), about the shared origin
    factors: Any  # (k, d, d)


Unrolled2 = namedtuple("Unrolled2", "constants means factors")
Unrolled3 = namedtuple("Unrolled3", "constants means factors")
Unrolled4 = namedtuple("Unrolled4", "constants means factors")


@njit(**OPTIONS)
def log_density_1(model, j, x, n, scratch, out, top):  # type: ignore[no-untyped-def]
    """Write log-densities of one feature to ``out`` and their maximum so far to ``top``."""
    m, f, constant = model.means[j], model.factors[j], model.constants[j]
    x0 = x[0]
    m0, f00 = m[0], f[0, 0]
    for i in range(n):
        y0 = f00 * (x0[i] - m0)
        value = max(constant - y0 * y0, -1e300)
        out[i] = value
        top[i] = max(top[i], value)


@njit(**OPTIONS)
def log_density_2(model, j, x, n, scratch, out, top):  # type: ignore[no-untyped-def]
    """Write log-densities of two features to ``out`` and their maximum so far to ``top``."""
    m, f, constant = model.means[j], model.factors[j], model.constants[j]
    x0, x1 = x[0], x[1]
    m0, m1 = m[0], m[1]
    f00, f10, f11 = f[0, 0], f[1, 0], f[1, 1]
    for i in range(n):
        t0, t1 = x0[i] - m0, x1[i] - m1
        y0, y1 = f00 * t0, f10 * t0 + f11 * t1
        value = max(constant - (y0 * y0 + y1 * y1), -1e300)
        out[i] = value
        top[i] = max(top[i], value)


@njit(**OPTIONS)
def log_density_3(model, j, x, n, scratch, out, top):  # type: ignore[no-untyped-def]
    """Write log-densities of three features to ``out`` and their maximum so far to ``top``."""
    m, f, constant = model.means[j], model.factors[j], model.constants[j]
    x0, x1, x2 = x[0], x[1], x[2]
    m0, m1, m2 = m[0], m[1], m[2]
    f00, f10, f11 = f[0, 0], f[1, 0], f[1, 1]
    f20, f21, f22 = f[2, 0], f[2, 1], f[2, 2]
    for i in range(n):
        t0, t1, t2 = x0[i] - m0, x1[i] - m1, x2[i] - m2
        y0, y1 = f00 * t0, f10 * t0 + f11 * t1
        y2 = f20 * t0 + f21 * t1 + f22 * t2
        value = max(constant - (y0 * y0 + y1 * y1 + y2 * y2), -1e300)
        out[i] = value
        top[i] = max(top[i], value)


@njit(**OPTIONS)
def log_density_4(model, j, x, n, scratch, out, top):  # type: ignore[no-untyped-def]
    """Write log-densities of four features to ``out`` and their maximum so far to ``top``."""
    m, f, constant = model.means[j], model.factors[j], model.constants[j]
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    m0, m1, m2, m3 = m[0], m[1], m[2], m[3]
    f00, f10, f11 = f[0, 0], f[1, 0], f[1, 1]
    f20, f21, f22 = f[2, 0], f[2, 1], f[2, 2]
    f30, f31, f32, f33 = f[3, 0], f[3, 1], f[3, 2], f[3, 3]
    for i in range(n):
        t0, t1, t2, t3 = x0[i] - m0, x1[i] - m1, x2[i] - m2, x3[i] - m3
        y0, y1 = f00 * t0, f10 * t0 + f11 * t1
        y2 = f20 * t0 + f21 * t1 + f22 * t2
        y3 = f30 * t0 + f31 * t1 + f32 * t2 + f33 * t3
        value = max(constant - (y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3), -1e300)
        out[i] = value
        top[i] = max(top[i], value)


@njit(**OPTIONS)
def gather_1(model, j, x, n, r, scale, scratch, sums, products):  # type: ignore[no-untyped-def]
    """Add statistics of one feature, with responsibilities ``r·scale``; return the count."""
    m = model.means[j]
    x0 = x[0]
    m0 = m[0]
    count = s0 = p00 = 0.0
    for i in range(n):
        w = r[i] * scale[i]
        t0 = x0[i] - m0
        w0 = w * t0
        count += w
        s0 += w0
        p00 += w0 * t0
    sums[0] += s0
    products[0, 0] += p00
    return count


@njit(**OPTIONS)
def gather_2(model, j, x, n, r, scale, scratch, sums, products):  # type: ignore[no-untyped-def]
    """Add statistics of two features, with responsibilities ``r·scale``; return the count."""
    m = model.means[j]
    x0, x1 = x[0], x[1]
    m0, m1 = m[0], m[1]
    count = s0 = s1 = p00 = p10 = p11 = 0.0
    for i in range(n):
        w = r[i] * scale[i]
        t0, t1 = x0[i] - m0, x1[i] - m1
        w0, w1 = w * t0, w * t1
        count += w
        s0 += w0
        s1 += w1
        p00 += w0 * t0
        p10 += w1 * t0
        p11 += w1 * t1
    sums[0] += s0
    sums[1] += s1
    products[0, 0] += p00
    products[1, 0] += p10
    products[1, 1] += p11
    return count


@njit(**OPTIONS)
def gather_3(model, j, x, n, r, scale, scratch, sums, products):  # type: ignore[no-untyped-def]
    """Add statistics of three features, with responsibilities ``r·scale``; return the count."""
    m = model.means[j]
    x0, x1, x2 = x[0], x[1], x[2]
    m0, m1, m2 = m[0], m[1], m[2]
    count = s0 = s1 = s2 = p00 = p10 = p11 = p20 = p21 = p22 = 0.0
    for i in range(n):
        w = r[i] * scale[i]
        t0, t1, t2 = x0[i] - m0, x1[i] - m1, x2[i] - m2
        w0, w1, w2 = w * t0, w * t1, w * t2
        count += w
        s0 += w0
        s1 += w1
        s2 += w2
        p00 += w0 * t0
        p10 += w1 * t0
        p11 += w1 * t1
        p20 += w2 * t0
        p21 += w2 * t1
        p22 += w2 * t2
    sums[0] += s0
    sums[1] += s1
    sums[2] += s2
    products[0, 0] += p00
    products[1, 0] += p10
    products[1, 1] += p11
    products[2, 0] += p20
    products[2, 1] += p21
    products[2, 2] += p22
    return count


@njit(**OPTIONS)
def gather_4(model, j, x, n, r, scale, scratch, sums, products):  # type: ignore[no-untyped-def]
    """Add statistics of four features, with responsibilities ``r·scale``; return the count."""
    m = model.means[j]
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    m0, m1, m2, m3 = m[0], m[1], m[2], m[3]
    count = s0 = s1 = s2 = s3 = p00 = p10 = p11 = p20 = p21 = p22 = p30 = p31 = p32 = p33 = 0.0
    for i in range(n):
        w = r[i] * scale[i]
        t0, t1, t2, t3 = x0[i] - m0, x1[i] - m1, x2[i] - m2, x3[i] - m3
        w0, w1, w2, w3 = w * t0, w * t1, w * t2, w * t3
        count += w
        s0 += w0
        s1 += w1
        s2 += w2
        s3 += w3
        p00 += w0 * t0
        p10 += w1 * t0
        p11 += w1 * t1
        p20 += w2 * t0
        p21 += w2 * t1
        p22 += w2 * t2
        p30 += w3 * t0
        p31 += w3 * t1
        p32 += w3 * t2
        p33 += w3 * t3
    sums[0] += s0
    sums[1] += s1
    sums[2] += s2
    sums[3] += s3
    products[0, 0] += p00
    products[1, 0] += p10
    products[1, 1] += p11
    products[2, 0] += p20
    products[2, 1] += p21
    products[2, 2] += p22
    products[3, 0] += p30
    products[3, 1] += p31
    products[3, 2] += p32
    products[3, 3] += p33
    return count


# type -> (log-densities, statistics)
LOOPS = {
    Unrolled1: (log_density_1, gather_1),
    Unrolled2: (log_density_2, gather_2),
    Unrolled3: (log_density_3, gather_3),
    Unrolled4: (log_density_4, gather_4),
}
BY_WIDTH = {1: Unrolled1, 2: Unrolled2, 3: Unrolled3, 4: Unrolled4}
