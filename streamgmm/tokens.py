"""Names of batches that were learnt, so that none is learnt twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from streamgmm.errors import InputTypeError
from streamgmm.ranges import Ranges


@dataclass(frozen=True, slots=True)
class Tokens:
    """A set of integers, kept as ranges, and of strings and bytes, kept as digests of 16 bytes.

    Examples
    --------
    >>> tokens = Tokens().joined(1).joined(2).joined("day 3")
    >>> 2 in tokens, 3 in tokens, "day 3" in tokens, tokens.numbers.spans
    (True, False, True, ((1, 3),))
    """

    numbers: Ranges = field(default_factory=Ranges)
    digests: dict[bytes, None] = field(default_factory=dict)

    def __contains__(self, token: Any) -> bool:
        """Whether a token was seen."""
        if isinstance(token, str | bytes):
            return _digest(token) in self.digests
        return _integer(token) in self.numbers

    def joined(self, token: Any) -> Tokens:
        """The set with one more token; None adds nothing. Digests are shared with the set it is made from."""
        if token is None or token in self:
            return self
        if isinstance(token, str | bytes):
            self.digests[_digest(token)] = None  # a copy of all would take longer with every call
            return self
        number = _integer(token)
        return Tokens(self.numbers.joined(number, number + 1), self.digests)


def _integer(token: Any) -> int:
    try:
        return int(token.__index__())
    except (AttributeError, TypeError):
        raise InputTypeError(f"token is of type {type(token).__name__}; give an integer, a string or bytes.") from None


def _digest(token: str | bytes) -> bytes:
    kind, content = (b"s", token.encode()) if isinstance(token, str) else (b"b", token)
    return hashlib.blake2b(kind + content, digest_size=16).digest()
