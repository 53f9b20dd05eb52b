"""Labels on their way into a format that cannot be gone on with: first they are zarr, beside it, which can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamgmm.persistence.atomic import folder_lock, remove_path
from streamgmm.results.block_writer import write
from streamgmm.results.provenance import Record


@contextmanager
def staged(
    labels: Any, folder: Path, record: Record, tile: int | None, wrote: Callable[[int], object]
) -> Iterator[Any]:
    """Give finished zarr, made in a folder that is gone once the block ends; if that fails, it is gone on from."""
    with folder_lock(folder):
        path = folder / "labels.zarr"
        if path.exists():  # what is complete is gone on with like what is not: nothing lacks
            remove_path(path.with_name(path.name + ".partial"))
            path.rename(path.with_name(path.name + ".partial"))
        write(labels, path, record, tile=tile, places=labels.ndim, wrote=wrote)
        import zarr

        try:
            yield zarr.open_array(path, mode="r")
        except BaseException as error:
            error.add_note(f"run the same again: it goes on from {folder}")
            raise
        remove_path(folder)
