"""Options of compilation, and the cache of compiled loops on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {
    # never True: "nnan" and "ninf" delete tests for NaN and infinity; an infinite row then gave finite statistics
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    # Python's model branches on every division by zero, which keeps a loop out of vector registers
    "error_model": "numpy",
    "nogil": True,
    # a function that is not inlined has several versions in a process, which round differently
    "forceinline": True,
    # only `cached` functions are called from Python
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}

_SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def cached(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function that is called from Python, and keep it on disk for the next process.

    numba looks for changes in the function's own file alone, not in inlined functions of others. So the name of the
    cached function carries a digest of all sources of this package.
    """
    function.__qualname__ += f"_{_SOURCES[:16]}"
    return njit(cache=True, **{**OPTIONS, "no_cpython_wrapper": False, **options})(function)


def cached_in_order(function: Callable[..., Any]) -> Any:
    """Compile and cache a function whose sums keep their written order and rounding.

    Otherwise numbers at the end of a line, which do not fill a vector, are rounded differently, and chunks decide where
    a line ends.
    """
    return cached(function, fastmath=False)
