"""How much memory this process takes, and how it keeps from taking more."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # of mallopt in glibc's malloc.h


def return_freed_memory() -> None:
    """Give what was freed back to the system, and keep less of it from now on, where the C library can (glibc).

    It would keep freed arrays for the next, in one pool a thread: about 100 MB that no one uses.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt") and hasattr(library, "malloc_trim"):
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, 2**23)  # below it pages are used again, which is faster
        library.malloc_trim(0)


def peak_memory() -> int:
    """Peak resident memory of this process, bytes.

    Linux counts it for the program itself (VmHWM); ``ru_maxrss`` there begins with that of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # not on this platform
        raise OSError("this platform does not tell the peak memory of a process") from None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
