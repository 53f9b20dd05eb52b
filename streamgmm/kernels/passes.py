"""The two passes over loaded blocks: accumulate statistics, or fill the posterior. Nothing n × k is kept.

``log_density`` and ``gather`` are chosen by the type of the model when a pass is compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from streamgmm.kernels import elementwise, tiled, unrolled
from streamgmm.kernels.compilation import OPTIONS, cached
from streamgmm.kernels.elementary import exp, log

LOOPS: dict[Any, tuple[Any, Any]] = {**unrolled.LOOPS, **tiled.LOOPS, **elementwise.LOOPS}
NEGLIGIBLE = 40.0  # nats below the largest: e^-40 is 4e-18, less than rounding

LABELS, LOG_DENSITIES, RESPONSIBILITIES = 0, 1, 2


def log_density(model, j, x, n, scratch, out, top):  # type: ignore[no-untyped-def]
    """Write log-densities of component j for the rows of one block."""
    LOOPS[type(model)][0](model, j, x, n, scratch, out, top)


def gather(model, j, x, n, r, scale, scratch, sums, products):  # type: ignore[no-untyped-def]
    """Add statistics of component j over the rows of one block; return its count."""
    return LOOPS[type(model)][1](model, j, x, n, r, scale, scratch, sums, products)


@overload(log_density, jit_options=OPTIONS)  # type: ignore[arg-type]
def _compile_log_density(model, j, x, n, scratch, out, top):  # type: ignore[no-untyped-def]
    return LOOPS[model.instance_class][0].py_func


@overload(gather, jit_options=OPTIONS)  # type: ignore[arg-type]
def _compile_gather(model, j, x, n, r, scale, scratch, sums, products):  # type: ignore[no-untyped-def]
    return LOOPS[model.instance_class][1].py_func


@njit(**OPTIONS)
def is_relevant(log_densities, top, n):  # type: ignore[no-untyped-def]
    """Return True if a row's log-density is not negligible beside the row's largest."""
    hits = 0  # a count, not a maximum, runs in vector registers
    for i in range(n):
        hits += log_densities[i] >= top[i] - NEGLIGIBLE
    return hits > 0


@njit(**OPTIONS)
def exponentials(log_densities, n, top, total):  # type: ignore[no-untyped-def]
    """Replace log-densities by densities relative to the largest, and add them to ``total``."""
    for i in range(n):
        value = exp(log_densities[i] - top[i])
        log_densities[i] = value
        total[i] += value


@njit(**OPTIONS)
def softmax(log_densities, relevant, n, top, total):  # type: ignore[no-untyped-def]
    """Compute densities relative to each row's largest, in place; ``relevant`` marks components that come near it."""
    for i in range(n):
        total[i] = 0.0
    for j in range(relevant.size):
        relevant[j] = is_relevant(log_densities[j], top, n)
        if relevant[j]:
            exponentials(log_densities[j], n, top, total)


@njit(**OPTIONS)
def add_totals(top, total, weights, n, totals):  # type: ignore[no-untyped-def]
    """Add log-likelihood, log of the largest responsibility and weight; replace ``total`` by weight over total."""
    likelihood = classification = weight = 0.0
    for i in range(n):
        w = weights[i]
        extra = log(total[i])
        likelihood += w * (top[i] + extra)
        classification -= w * extra
        weight += w
        total[i] = w / total[i]
    totals[0] += likelihood
    totals[1] += classification
    totals[2] += weight


@njit(**OPTIONS)
def fill_distances(constants, log_densities, n, distances):  # type: ignore[no-untyped-def]
    """Fill the smallest squared Mahalanobis distances of n rows to a component with any weight."""
    for i in range(n):
        distances[i] = 1e300
    for j in range(constants.size):
        values, constant = log_densities[j], constants[j]
        if constant > -1e300:
            for i in range(n):
                distances[i] = min(distances[i], 2.0 * (constant - values[i]))


@cached
def accumulate(blocks, n, weights, model, totals, counts, sums, products, distances):  # type: ignore[no-untyped-def]
    """Add the statistics of n loaded rows to totals (4,), counts (k,), sums (k, width) and products.

    ``distances`` has no entries, or n that are filled by `fill_distances`.
    """
    k, size = counts.size, blocks.shape[2]
    log_densities = np.empty((k, size))
    relevant, top, total = np.empty(k, np.bool_), np.empty(size), np.empty(size)
    scratch = np.empty((3, max(4, blocks.shape[1]), size))
    totals[3] += n
    for b in range((n + size - 1) // size):
        length = min(size, n - b * size)
        x = blocks[b]
        for i in range(length):
            top[i] = -1e300
        for j in range(k):
            log_density(model, j, x, length, scratch, log_densities[j], top)
        if distances.size:
            fill_distances(model.constants, log_densities, length, distances[b * size :])
        softmax(log_densities, relevant, length, top, total)
        add_totals(top, total, weights[b * size :], length, totals)
        for j in range(k):
            if relevant[j]:
                counts[j] += gather(model, j, x, length, log_densities[j], total, scratch, sums[j], products[j])


@cached
def posterior(blocks, n, model, result, labels, densities, responsibilities):  # type: ignore[no-untyped-def]
    """Fill the ``result`` for n loaded rows: labels (n,), log-densities (n,) or responsibilities (n, k)."""
    k, size = model.constants.size, blocks.shape[2]
    log_densities = np.empty((k, size))
    top, total = np.empty(size), np.empty(size)
    scratch = np.empty((3, max(4, blocks.shape[1]), size))
    for b in range((n + size - 1) // size):
        first = b * size
        length = min(size, n - first)
        for i in range(length):
            top[i] = -1e300
        for j in range(k):
            log_density(model, j, blocks[b], length, scratch, log_densities[j], top)
        if result == LABELS:
            for j in range(k - 1, -1, -1):  # downwards: the first of equals wins, as in numpy.argmax
                for i in range(length):
                    if log_densities[j, i] >= top[i]:
                        labels[first + i] = j
            continue
        for i in range(length):
            total[i] = 0.0
        for j in range(k):
            exponentials(log_densities[j], length, top, total)
        if result == LOG_DENSITIES:
            for i in range(length):
                densities[first + i] = top[i] + log(total[i])
        else:
            for j in range(k):
                for i in range(length):
                    responsibilities[first + i, j] = log_densities[j, i] / total[i]
