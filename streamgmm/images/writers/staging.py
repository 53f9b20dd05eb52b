"""Labels on their way into a format that cannot be gone on with: first they are zarr, beside it, which can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamgmm.results import Record, held, remove, write


def stage(target: Path) -> Path:
    """Where labels are until they are complete at ``target``."""
    return target.with_name(target.name + ".partial.zarr")


@contextmanager
def staged(labels: Any, target: Path, record: Record, wrote: Callable[[int], object]) -> Iterator[Any]:
    """Give finished zarr, which is gone once the block ends; if that fails, the same call goes on from it."""
    folder = stage(target)
    with held(folder):
        path = folder / "labels.zarr"
        if path.exists():  # what is complete is gone on with like what is not: nothing lacks
            remove(path.with_name(path.name + ".partial"))
            path.rename(path.with_name(path.name + ".partial"))
        write(labels, path, record, wrote=wrote)
        import zarr

        try:
            yield zarr.open_array(path, mode="r")
        except BaseException as error:
            error.add_note(f"run the same again: it goes on from {folder}")
            raise
        remove(folder)
