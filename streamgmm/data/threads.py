"""One pool of threads for compiled work that releases the GIL, and its size.

The number of threads changes how long a fit takes, never one bit of its result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = threading.Lock()
_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # process id, size, pool: a fork leaves its threads behind
_limit: int | None = None


def count() -> int:
    """Return the number of threads of compiled work: the processors of this process, unless limited."""
    if _limit is not None:
        return _limit
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        return os.cpu_count() or 1


@contextmanager
def limit(n_threads: int) -> Iterator[None]:
    """Use ``n_threads`` threads, possibly more than processors, inside the ``with`` block, for the whole process.

    Examples
    --------
    >>> with limit(1):
    ...     count()
    1
    """
    global _limit
    if n_threads < 1:
        raise ValueError(f"n_threads is {n_threads}; give at least 1")
    before = _limit
    _limit = n_threads
    try:
        yield
    finally:
        _limit = before


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Apply ``function`` to every item on the pool; return results in the order of the items.

    A free thread takes the next item. The first error is raised once all threads have stopped.
    """
    work = list(items)
    workers = min(count(), len(work))
    if workers <= 1:
        return [function(item) for item in work]
    results: list[Any] = [None] * len(work)
    indices = iter(range(len(work)))
    failed = threading.Event()

    def run() -> None:
        for index in indices:
            if failed.is_set():
                return
            try:
                results[index] = function(work[index])
            except BaseException:
                failed.set()
                raise

    futures = [_get_executor().submit(run) for _ in range(workers - 1)]
    try:
        run()  # the caller works too: it has a processor already, and one thread less is woken
    finally:
        # on a thread of the pool, waiting for work that has not started would never end
        started = [future for future in futures if not future.cancel()]
        wait(started)
    for future in started:
        future.result()
    return results


def _get_executor() -> ThreadPoolExecutor:
    global _pool
    size, process = count(), os.getpid()
    with _lock:
        if _pool is None or _pool[:2] != (process, size):
            _pool = (process, size, ThreadPoolExecutor(max(1, size - 1), thread_name_prefix="streamgmm"))
        return _pool[2]
