"""Loops for matrices of five features and more, in tiles of 4 × 4: sixteen multiply-adds for eight loads.

The contract is that of `streamgmm.kernels.unrolled`; the width is a multiple of four and features beyond d are zeros.

Rows stay about the origin that all components share: f(x−m) is computed as fx − fm, and the products as the sum of
r(x−m)xᵀ, from which sums·mᵀ is subtracted at the end. The rounding error is eps·ρ, with ρ the distance between shared
origin and component in standard deviations of the component. Components with a large ρ (`Tiled.near` False) are centred
row by row instead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from streamgmm.kernels.compilation import OPTIONS


class Tiled(NamedTuple):
    """Parameters padded to the width."""

    constants: Any  # (k,)
    means: Any  # (k, width), about the shared origin
    factors: Any  # (k, width, width)
    offsets: Any  # (k, width): f·m, or zeros for components centred row by row
    near: Any  # (k,) bool


@njit(**OPTIONS)
def centre(x, n, m, t):  # type: ignore[no-untyped-def]
    """Write x − m into t."""
    for j in range(m.size):
        row, out, mean = x[j], t[j], m[j]
        for i in range(n):
            out[i] = row[i] - mean


@njit(**OPTIONS)
def multiply_first(x, n, f, b, a, y):  # type: ignore[no-untyped-def]
    """Write f[a:a+4, 0:4]·x[0:4] − b to y: the first tile of a row of tiles."""
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    f00, f01, f02, f03 = f[a, 0], f[a, 1], f[a, 2], f[a, 3]
    f10, f11, f12, f13 = f[a + 1, 0], f[a + 1, 1], f[a + 1, 2], f[a + 1, 3]
    f20, f21, f22, f23 = f[a + 2, 0], f[a + 2, 1], f[a + 2, 2], f[a + 2, 3]
    f30, f31, f32, f33 = f[a + 3, 0], f[a + 3, 1], f[a + 3, 2], f[a + 3, 3]
    b0, b1, b2, b3 = b[a], b[a + 1], b[a + 2], b[a + 3]
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    for i in range(n):
        t0, t1, t2, t3 = x0[i], x1[i], x2[i], x3[i]
        y0[i] = f00 * t0 + f01 * t1 + f02 * t2 + f03 * t3 - b0
        y1[i] = f10 * t0 + f11 * t1 + f12 * t2 + f13 * t3 - b1
        y2[i] = f20 * t0 + f21 * t1 + f22 * t2 + f23 * t3 - b2
        y3[i] = f30 * t0 + f31 * t1 + f32 * t2 + f33 * t3 - b3


@njit(**OPTIONS)
def multiply_add(x, n, f, a, c, y):  # type: ignore[no-untyped-def]
    """Add f[a:a+4, c:c+4]·x[c:c+4] to y: a tile below the diagonal."""
    x0, x1, x2, x3 = x[c], x[c + 1], x[c + 2], x[c + 3]
    f00, f01, f02, f03 = f[a, c], f[a, c + 1], f[a, c + 2], f[a, c + 3]
    f10, f11, f12, f13 = f[a + 1, c], f[a + 1, c + 1], f[a + 1, c + 2], f[a + 1, c + 3]
    f20, f21, f22, f23 = f[a + 2, c], f[a + 2, c + 1], f[a + 2, c + 2], f[a + 2, c + 3]
    f30, f31, f32, f33 = f[a + 3, c], f[a + 3, c + 1], f[a + 3, c + 2], f[a + 3, c + 3]
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    for i in range(n):
        t0, t1, t2, t3 = x0[i], x1[i], x2[i], x3[i]
        y0[i] += f00 * t0 + f01 * t1 + f02 * t2 + f03 * t3
        y1[i] += f10 * t0 + f11 * t1 + f12 * t2 + f13 * t3
        y2[i] += f20 * t0 + f21 * t1 + f22 * t2 + f23 * t3
        y3[i] += f30 * t0 + f31 * t1 + f32 * t2 + f33 * t3


@njit(**OPTIONS)
def square_first(x, n, f, b, distance):  # type: ignore[no-untyped-def]
    """Write ‖f[0:4, 0:4]·x[0:4] − b‖² to distance: the only tile of the first four features, lower triangular."""
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    f00, f10, f11 = f[0, 0], f[1, 0], f[1, 1]
    f20, f21, f22 = f[2, 0], f[2, 1], f[2, 2]
    f30, f31, f32, f33 = f[3, 0], f[3, 1], f[3, 2], f[3, 3]
    b0, b1, b2, b3 = b[0], b[1], b[2], b[3]
    for i in range(n):
        t0, t1, t2, t3 = x0[i], x1[i], x2[i], x3[i]
        u0 = f00 * t0 - b0
        u1 = f10 * t0 + f11 * t1 - b1
        u2 = f20 * t0 + f21 * t1 + f22 * t2 - b2
        u3 = f30 * t0 + f31 * t1 + f32 * t2 + f33 * t3 - b3
        distance[i] = u0 * u0 + u1 * u1 + u2 * u2 + u3 * u3


@njit(**OPTIONS)
def square_add(x, n, f, a, y, distance):  # type: ignore[no-untyped-def]
    """Finish y with the diagonal tile at a, lower triangular, and add its squares to the distance."""
    x0, x1, x2, x3 = x[a], x[a + 1], x[a + 2], x[a + 3]
    f00, f10, f11 = f[a, a], f[a + 1, a], f[a + 1, a + 1]
    f20, f21, f22 = f[a + 2, a], f[a + 2, a + 1], f[a + 2, a + 2]
    f30, f31, f32, f33 = f[a + 3, a], f[a + 3, a + 1], f[a + 3, a + 2], f[a + 3, a + 3]
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    for i in range(n):
        t0, t1, t2, t3 = x0[i], x1[i], x2[i], x3[i]
        u0 = y0[i] + f00 * t0
        u1 = y1[i] + f10 * t0 + f11 * t1
        u2 = y2[i] + f20 * t0 + f21 * t1 + f22 * t2
        u3 = y3[i] + f30 * t0 + f31 * t1 + f32 * t2 + f33 * t3
        distance[i] += u0 * u0 + u1 * u1 + u2 * u2 + u3 * u3


@njit(**OPTIONS)
def write_log_densities(distance, n, constant, out, top):  # type: ignore[no-untyped-def]
    """Write log-densities from distances, and their maximum so far."""
    for i in range(n):
        value = max(constant - distance[i], -1e300)
        out[i] = value
        top[i] = max(top[i], value)


@njit(**OPTIONS)
def add_diagonal_tile(x, t, n, m, r, a, z, sums, products):  # type: ignore[no-untyped-def]
    """Write z[a:a+4] = r(x−m); add their sums, and the diagonal tile of z·tᵀ."""
    x0, x1, x2, x3 = x[a], x[a + 1], x[a + 2], x[a + 3]
    t0, t1, t2, t3 = t[a], t[a + 1], t[a + 2], t[a + 3]
    z0, z1, z2, z3 = z[a], z[a + 1], z[a + 2], z[a + 3]
    m0, m1, m2, m3 = m[a], m[a + 1], m[a + 2], m[a + 3]
    s0 = s1 = s2 = s3 = 0.0
    p00 = p10 = p11 = p20 = p21 = p22 = p30 = p31 = p32 = p33 = 0.0
    for i in range(n):
        w = r[i]
        w0, w1, w2, w3 = w * (x0[i] - m0), w * (x1[i] - m1), w * (x2[i] - m2), w * (x3[i] - m3)
        u0, u1, u2, u3 = t0[i], t1[i], t2[i], t3[i]
        z0[i] = w0
        z1[i] = w1
        z2[i] = w2
        z3[i] = w3
        s0 += w0
        s1 += w1
        s2 += w2
        s3 += w3
        p00 += w0 * u0
        p10 += w1 * u0
        p11 += w1 * u1
        p20 += w2 * u0
        p21 += w2 * u1
        p22 += w2 * u2
        p30 += w3 * u0
        p31 += w3 * u1
        p32 += w3 * u2
        p33 += w3 * u3
    sums[a] += s0
    sums[a + 1] += s1
    sums[a + 2] += s2
    sums[a + 3] += s3
    products[a, a] += p00
    products[a + 1, a] += p10
    products[a + 1, a + 1] += p11
    products[a + 2, a] += p20
    products[a + 2, a + 1] += p21
    products[a + 2, a + 2] += p22
    products[a + 3, a] += p30
    products[a + 3, a + 1] += p31
    products[a + 3, a + 2] += p32
    products[a + 3, a + 3] += p33


@njit(**OPTIONS)
def add_lower_tile(z, t, n, a, c, products):  # type: ignore[no-untyped-def]
    """Add the tile (a, c) of z·tᵀ."""
    z0, z1, z2, z3 = z[a], z[a + 1], z[a + 2], z[a + 3]
    t0, t1, t2, t3 = t[c], t[c + 1], t[c + 2], t[c + 3]
    p00 = p01 = p02 = p03 = p10 = p11 = p12 = p13 = 0.0
    p20 = p21 = p22 = p23 = p30 = p31 = p32 = p33 = 0.0
    for i in range(n):
        w0, w1, w2, w3 = z0[i], z1[i], z2[i], z3[i]
        u0, u1, u2, u3 = t0[i], t1[i], t2[i], t3[i]
        p00 += w0 * u0
        p01 += w0 * u1
        p02 += w0 * u2
        p03 += w0 * u3
        p10 += w1 * u0
        p11 += w1 * u1
        p12 += w1 * u2
        p13 += w1 * u3
        p20 += w2 * u0
        p21 += w2 * u1
        p22 += w2 * u2
        p23 += w2 * u3
        p30 += w3 * u0
        p31 += w3 * u1
        p32 += w3 * u2
        p33 += w3 * u3
    for row, tile in (
        (a, (p00, p01, p02, p03)),
        (a + 1, (p10, p11, p12, p13)),
        (a + 2, (p20, p21, p22, p23)),
        (a + 3, (p30, p31, p32, p33)),
    ):
        for column in range(4):
            products[row, c + column] += tile[column]


@njit(**OPTIONS)
def log_density(model, j, x, n, scratch, out, top):  # type: ignore[no-untyped-def]
    """Write log-densities of component j, one row of tiles after the other."""
    f, b = model.factors[j], model.offsets[j]
    width = b.size
    t, y, distance = scratch[0], scratch[1], scratch[2, 0]
    if model.near[j]:
        t = x
    else:
        centre(x, n, model.means[j], t)
    square_first(t, n, f, b, distance)
    for a in range(4, width, 4):
        multiply_first(t, n, f, b, a, y)
        for c in range(4, a, 4):
            multiply_add(t, n, f, a, c, y)
        square_add(t, n, f, a, y, distance)
    write_log_densities(distance, n, model.constants[j], out, top)


@njit(**OPTIONS)
def gather(model, j, x, n, r, scale, scratch, sums, products):  # type: ignore[no-untyped-def]
    """Add statistics of component j; products of a near one are with x, not x − m (see `Kernel.unpack`)."""
    m = model.means[j]
    t, z = scratch[0], scratch[1]
    count = 0.0
    for i in range(n):
        w = r[i] * scale[i]
        r[i] = w
        count += w
    if model.near[j]:
        t = x
    else:
        centre(x, n, m, t)
    for a in range(0, m.size, 4):
        add_diagonal_tile(x, t, n, m, r, a, z, sums, products)
        for c in range(0, a, 4):
            add_lower_tile(z, t, n, a, c, products)
    return count


LOOPS = {Tiled: (log_density, gather)}
