"""The E-step: sufficient statistics and log-likelihood of rows, for one or more mixtures in one reading.

The compiled loops load numba, which takes longer than everything else; they are imported when first needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.model.em import Expectation, compute_expected_log_density
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array, Parameters

if TYPE_CHECKING:
    from streamgmm.kernels.kernel import Kernel


def expect(
    rows: NDArray[Any], parameters: Parameters, *more: Parameters, weights: Array | None = None
) -> tuple[Expectation, ...]:
    """Run the E-step on rows in memory, for one or more sets of parameters in one reading.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Any real dtype; never copied whole.
    parameters, *more : Parameters
        Evaluated while the rows are in cache.
    weights : ndarray of shape (n,), optional
        Sample weights; 1 by default.

    Returns
    -------
    tuple of Expectation
        One for each set of parameters. The statistics are about its means.

    Raises
    ------
    NonFiniteError
        A value is NaN, infinite, or too large to be squared.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> standard = Parameters(np.ones(1), np.zeros((1, 1)), one, one)
    >>> (expectation,) = expect(np.array([[1.0], [3.0]]), standard)
    >>> expectation.statistics.sums, expectation.statistics.products
    (array([[4.]]), array([[10.]]))
    """
    kernels = make_kernels((parameters, *more))
    return unpack_expectations(kernels, accumulate(rows, weights, kernels))


def make_kernels(candidates: Sequence[Parameters]) -> tuple[Kernel, ...]:
    """Return kernels about one origin, so that loaded rows serve them all."""
    from streamgmm.kernels.kernel import Kernel, choose_origin

    origin = choose_origin(candidates)
    return tuple(Kernel.from_parameters(parameters, origin) for parameters in candidates)


def accumulate(
    rows: NDArray[Any], weights: Array | None, kernels: Sequence[Kernel], distances: Array | None = None
) -> Array:
    """Return the accumulators of all kernels over rows, one after the other in an array; they add up.

    ``distances``, shape (n,), is filled with the smallest squared Mahalanobis distance of each row to a component of
    the first kernel.
    """
    from streamgmm.kernels.row_loader import iter_blocks

    sums = np.zeros(sum(kernel.size for kernel in kernels))
    accumulators = _split(kernels, sums)
    ones, none = np.ones(len(rows) if weights is None else 0), np.empty(0)
    for width in {kernel.width for kernel in kernels}:
        for part, blocks in iter_blocks(rows, width, kernels[0].origin):
            # a copy, because the loops would be compiled anew for weights that are strided or cannot be written to
            part_weights = ones[part] if weights is None else np.array(weights[part])
            for kernel, accumulator in zip(kernels, accumulators, strict=True):
                if kernel.width == width:
                    filled = none if distances is None or kernel is not kernels[0] else distances[part]
                    kernel.accumulate(blocks, part_weights, accumulator, filled)
    return sums


def unpack_expectations(kernels: Sequence[Kernel], sums: Array) -> tuple[Expectation, ...]:
    """Return the expectations of all kernels from the array of their accumulators."""
    return tuple(
        _unpack_expectation(kernel, accumulator)
        for kernel, accumulator in zip(kernels, _split(kernels, sums), strict=True)
    )


def _split(kernels: Sequence[Kernel], sums: Array) -> list[Array]:
    parts, start = [], 0
    for kernel in kernels:
        parts.append(sums[start : start + kernel.size])
        start += kernel.size
    return parts


def _unpack_expectation(kernel: Kernel, accumulator: Array) -> Expectation:
    statistics, total, classification, weight, rows = kernel.unpack(accumulator)
    # H = l − s·θ, as both belong to the same responsibilities: no logarithm of a responsibility is ever taken
    entropy = total - compute_expected_log_density(statistics, kernel.parameters)
    likelihood = LogLikelihood(total, max(entropy, 0.0), classification, weight, rows, kernel.parameters.version)
    return Expectation(statistics, likelihood)
