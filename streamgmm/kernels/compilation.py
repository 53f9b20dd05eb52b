"""How the inner loops are compiled, and when a compiled one on disk may be used again."""

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
    # what stays a function has several versions in a process, one for each caller that was compiled there, and all call
    # the first; they round differently, and a process that found the callers on disk has others
    "forceinline": True,
    # only `cached` functions are called from Python
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}

_SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def cached(function: Callable[..., Any]) -> Any:
    """Compile a function that is called from Python, and keep it on disk for the next process.

    numba looks for changes in the function's own file alone, and would go on using code that inlined an older version
    of another. So the name under which it is kept carries a digest of all sources of this package.
    """
    function.__qualname__ += f"_{_SOURCES[:16]}"
    return njit(cache=True, **{**OPTIONS, "no_cpython_wrapper": False})(function)


def as_written(function: Callable[..., Any]) -> Any:
    """Compile and keep a function whose sums are to have the order, and the roundings, that are written.

    Otherwise the numbers at the end of a line, which do not fill a vector, are rounded in another way than those
    before; and where a line ends is a matter of chunks.
    """
    function.__qualname__ += f"_{_SOURCES[:16]}"
    return njit(cache=True, **{**OPTIONS, "no_cpython_wrapper": False, "fastmath": False})(function)
