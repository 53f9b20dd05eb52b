"""The E-step: sufficient statistics and log-likelihood of rows, for one or more mixtures in one reading.

The compiled loops load numba, which takes longer than everything else; they are imported when they are first needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.model.em import Expectation, expected_log_density
from streamgmm.model.likelihood import LogLikelihood
from streamgmm.model.parameters import Array, Parameters

if TYPE_CHECKING:
    from streamgmm.kernels.kernel import Kernel


def expect(
    rows: NDArray[Any], parameters: Parameters, *more: Parameters, weights: Array | None = None
) -> tuple[Expectation, ...]:
    """E-step: statistics and log-likelihood of some rows, for one or more sets of parameters in one reading.

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
        Where a value is NaN, infinite, or too large to be squared.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> standard = Parameters(np.ones(1), np.zeros((1, 1)), one, one)
    >>> (expectation,) = expect(np.array([[1.0], [3.0]]), standard)
    >>> expectation.statistics.sums, expectation.statistics.products
    (array([[4.]]), array([[10.]]))
    """
    kernels = kernels_of((parameters, *more))
    return unpacked(kernels, accumulate(rows, weights, kernels))


def kernels_of(candidates: Sequence[Parameters]) -> tuple[Kernel, ...]:
    """Kernels about one origin, so that loaded rows serve them all."""
    from streamgmm.kernels.kernel import Kernel, shared_origin

    origin = shared_origin(candidates)
    return tuple(Kernel.of(parameters, origin) for parameters in candidates)


def accumulate(
    rows: NDArray[Any], weights: Array | None, kernels: Sequence[Kernel], distances: Array | None = None
) -> list[Array]:
    """Accumulators (one flat array a kernel; they add up) over rows, of which only a portion is widened at a time.

    ``distances``, shape (n,), become those of the rows from the nearest component of the first kernel: squared, in that
    component's own standard deviations.
    """
    from streamgmm.kernels.blocks import iter_blocks

    accumulators = [kernel.zeros() for kernel in kernels]
    ones, unwanted = np.ones(len(rows) if weights is None else 0), np.empty(0)
    for width in {kernel.width for kernel in kernels}:
        for part, blocks in iter_blocks(rows, width, kernels[0].origin):
            # a copy, because the loops would be compiled anew for weights that are strided or cannot be written to
            part_weights = ones[part] if weights is None else np.array(weights[part])
            for kernel, accumulator in zip(kernels, accumulators, strict=True):
                if kernel.width == width:
                    wanted = unwanted if distances is None or kernel is not kernels[0] else distances[part]
                    kernel.accumulate(blocks, part_weights, accumulator, wanted)
    return accumulators


def unpacked(kernels: Sequence[Kernel], accumulators: Sequence[Array]) -> tuple[Expectation, ...]:
    """Statistics and log-likelihoods from accumulators."""
    return tuple(_expectation(kernel, array) for kernel, array in zip(kernels, accumulators, strict=True))


def _expectation(kernel: Kernel, accumulator: Array) -> Expectation:
    statistics, total, classification, weight, rows = kernel.unpack(accumulator)
    # H = l − s·θ whenever both belong to the same responsibilities: no logarithm of a responsibility is ever taken
    entropy = total - expected_log_density(statistics, kernel.parameters)
    return Expectation(
        statistics,
        LogLikelihood(total, max(entropy, 0.0), classification, weight, rows, kernel.parameters.version),
    )
