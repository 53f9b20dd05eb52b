"""Sums in one fixed order, whatever the order in which the terms were computed.

The tree depends on the number of terms alone: neighbours are added, then neighbours of sums. An aligned run of a power
of two of terms is one subtree, so that it may be summed where it was computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar


class Addable(Protocol):
    """Type with an addition."""

    def __add__(self, other: Any, /) -> Any:
        """Return the sum of both."""


Term = TypeVar("Term", bound=Addable)


def sum_tree(terms: Sequence[Term]) -> Term:
    """Return the sum by neighbours.

    Examples
    --------
    >>> sum_tree(["a", "b", "c"])
    'abc'
    """
    level = list(terms)
    while len(level) > 1:
        pairs = [left + right for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]


# running tree sum: (number of terms, their sum) for every power of two in the number of terms, largest first
Counter = tuple[tuple[int, Term], ...]


def push(counter: Counter[Term], *terms: Term) -> Counter[Term]:
    """Add terms, as a binary counter adds ones: at most log2 of the number of terms are kept.

    Examples
    --------
    >>> push(push((), "a", "b"), "c")
    ((2, 'ab'), (1, 'c'))
    """
    for term in terms:
        size = 1
        while counter and counter[-1][0] == size:
            (_, earlier), counter = counter[-1], counter[:-1]
            term, size = earlier + term, 2 * size
        counter = (*counter, (size, term))
    return counter


def total(counter: Counter[Term]) -> Term:
    """Return the sum of all terms, to the same bits as `sum_tree`."""
    result = counter[-1][1]
    for _, earlier in reversed(counter[:-1]):
        result = earlier + result
    return result
