"""Sums in one fixed order, whatever the order in which the terms were computed.

The shape of the tree depends on the number of terms alone: neighbours are added, then neighbours of sums. Terms of an
aligned power-of-two run always form one subtree, so a run may be summed wherever it was computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar


class Addable(Protocol):
    """Anything that adds up."""

    def __add__(self, other: Any, /) -> Any:
        """Return the sum of both."""


Term = TypeVar("Term", bound=Addable)


def tree_sum(terms: Sequence[Term]) -> Term:
    """Sum by neighbours.

    Examples
    --------
    >>> tree_sum(["a", "b", "c"])
    'abc'
    """
    level = list(terms)
    while len(level) > 1:
        pairs = [left + right for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]


# A running tree sum: (number of terms, their sum) for every power of two in the count of terms so far, largest first.
Counter = tuple[tuple[int, Term], ...]


def push(counter: Counter[Term], term: Term) -> Counter[Term]:
    """Add one more term, as a binary counter adds one: log2 of the number of terms are kept.

    Examples
    --------
    >>> push(push(push((), "a"), "b"), "c")
    ((2, 'ab'), (1, 'c'))
    """
    size = 1
    while counter and counter[-1][0] == size:
        (_, earlier), counter = counter[-1], counter[:-1]
        term, size = earlier + term, 2 * size
    return (*counter, (size, term))


def total(counter: Counter[Term]) -> Term:
    """Sum of all terms, smallest subtrees first: what ``tree_sum`` gives."""
    result = counter[-1][1]
    for _, earlier in reversed(counter[:-1]):
        result = earlier + result
    return result
