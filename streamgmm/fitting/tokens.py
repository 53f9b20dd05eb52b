"""Idempotency tokens: names of batches that were learnt, so that none is learnt twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.data.ranges import Ranges
from streamgmm.errors import InputError, InputTypeError
from streamgmm.persistence.codec import persistent

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class TokenColumns:
    """Tokens as they are saved: one row a digest."""

    numbers: Ranges
    digests: NDArray[np.uint8]


@persistent("tokens-1")
@dataclass(frozen=True, slots=True)
class Tokens:
    """A set of integers, kept as ranges, and of strings and bytes, kept as digests of 16 bytes.

    Examples
    --------
    >>> tokens = Tokens().add(1).add(2).add("day 3")
    >>> 2 in tokens, 3 in tokens, "day 3" in tokens, tokens.numbers.intervals
    (True, False, True, ((1, 3),))
    """

    numbers: Ranges = field(default_factory=Ranges)
    digests: tuple[frozenset[bytes], ...] = ()  # each larger than the next, so that one more is little work

    def to_columns(self) -> TokenColumns:
        """Return all digests as one array."""
        digests = b"".join(sorted(frozenset().union(*self.digests)))
        return TokenColumns(self.numbers, np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES))

    @classmethod
    def from_columns(cls, columns: TokenColumns) -> Tokens:
        """Return the set that `to_columns` made an array of."""
        digests = frozenset(row.tobytes() for row in columns.digests.reshape(-1, DIGEST_BYTES))
        return cls(columns.numbers, (digests,) if digests else ())

    def __contains__(self, token: Any) -> bool:
        """Return True where the token was seen."""
        if isinstance(token, str | bytes):
            digest = _digest(token)
            return any(digest in part for part in self.digests)
        return _integer(token) in self.numbers

    def add(self, token: Any) -> Tokens:
        """Return the set with one more token; None adds nothing."""
        if token is None or token in self:
            return self
        if isinstance(token, str | bytes):
            kept, new = self.digests, frozenset([_digest(token)])
            while kept and len(kept[-1]) <= len(new):
                kept, new = kept[:-1], kept[-1] | new
            return Tokens(self.numbers, (*kept, new))
        number = _integer(token)
        return Tokens(self.numbers.add(number, number + 1), self.digests)


def _integer(token: Any) -> int:
    try:
        number = int(token.__index__())
    except (AttributeError, TypeError):
        raise InputTypeError(f"token is of type {type(token).__name__}; give an integer, a string or bytes.") from None
    if abs(number) >= 2**63:
        raise InputError("token is an integer of more than 64 bits; give a smaller one, or a string.")
    return number


def _digest(token: str | bytes) -> bytes:
    kind, content = (b"s", token.encode(errors="surrogatepass")) if isinstance(token, str) else (b"b", token)
    return hashlib.blake2b(kind + content, digest_size=DIGEST_BYTES).digest()
