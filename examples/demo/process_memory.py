"""Peak memory of this process, and how to keep freed memory from counting."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # options of mallopt in glibc's malloc.h


def return_freed_memory() -> None:
    """Return freed memory to the system, and keep less of it from now on; does nothing without glibc.

    glibc keeps freed arrays for reuse in one pool per thread: about 100 MB that nobody uses.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt") and hasattr(library, "malloc_trim"):
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, 2**23)  # smaller blocks are reused, which is faster
        library.malloc_trim(0)


def peak_memory() -> int:
    """Return the peak resident memory of this process in bytes.

    On Linux VmHWM belongs to this program alone; ``ru_maxrss`` starts at the peak of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        raise OSError("This platform does not report the peak memory of a process.") from None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
