"""Loops for variances (diag, spherical): features four at a time, no products between them.

The contract is that of `streamgmm.kernels.unrolled`; the width is a multiple of four, features beyond d are zeros, and
``f`` is one over √2 standard deviations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from streamgmm.kernels.compilation import OPTIONS


class Elementwise(NamedTuple):
    """Parameters padded to the width."""

    constants: Any  # (k,)
    means: Any  # (k, width), about the shared origin
    factors: Any  # (k, width)


@njit(**OPTIONS)
def add_distances(x, n, m, f, a, distance):  # type: ignore[no-untyped-def]
    """Add the squared distances along features a to a+3."""
    x0, x1, x2, x3 = x[a], x[a + 1], x[a + 2], x[a + 3]
    m0, m1, m2, m3 = m[a], m[a + 1], m[a + 2], m[a + 3]
    f0, f1, f2, f3 = f[a], f[a + 1], f[a + 2], f[a + 3]
    for i in range(n):
        u0, u1, u2, u3 = f0 * (x0[i] - m0), f1 * (x1[i] - m1), f2 * (x2[i] - m2), f3 * (x3[i] - m3)
        distance[i] += u0 * u0 + u1 * u1 + u2 * u2 + u3 * u3


@njit(**OPTIONS)
def log_density(model, j, x, n, scratch, out, top):  # type: ignore[no-untyped-def]
    """Write log-densities of component j."""
    m, f, constant = model.means[j], model.factors[j], model.constants[j]
    for i in range(n):
        out[i] = 0.0
    for a in range(0, m.size, 4):
        add_distances(x, n, m, f, a, out)
    for i in range(n):
        value = max(constant - out[i], -1e300)
        out[i] = value
        top[i] = max(top[i], value)


@njit(**OPTIONS)
def add_squares(x, n, m, r, a, sums, products):  # type: ignore[no-untyped-def]
    """Add sums and squares of features a to a+3."""
    x0, x1, x2, x3 = x[a], x[a + 1], x[a + 2], x[a + 3]
    m0, m1, m2, m3 = m[a], m[a + 1], m[a + 2], m[a + 3]
    s0 = s1 = s2 = s3 = p0 = p1 = p2 = p3 = 0.0
    for i in range(n):
        w = r[i]
        t0, t1, t2, t3 = x0[i] - m0, x1[i] - m1, x2[i] - m2, x3[i] - m3
        w0, w1, w2, w3 = w * t0, w * t1, w * t2, w * t3
        s0 += w0
        s1 += w1
        s2 += w2
        s3 += w3
        p0 += w0 * t0
        p1 += w1 * t1
        p2 += w2 * t2
        p3 += w3 * t3
    sums[a] += s0
    sums[a + 1] += s1
    sums[a + 2] += s2
    sums[a + 3] += s3
    products[a] += p0
    products[a + 1] += p1
    products[a + 2] += p2
    products[a + 3] += p3


@njit(**OPTIONS)
def gather(model, j, x, n, r, scale, scratch, sums, products):  # type: ignore[no-untyped-def]
    """Add statistics of component j; return its count."""
    m = model.means[j]
    count = 0.0
    for i in range(n):
        w = r[i] * scale[i]
        r[i] = w
        count += w
    for a in range(0, m.size, 4):
        add_squares(x, n, m, r, a, sums, products)
    return count


LOOPS = {Elementwise: (log_density, gather)}
