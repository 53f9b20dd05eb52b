"""A result as it is on disk: a zarr array that says of what it is and whether it is complete.

A chunk is a file, with a checksum. zarr reads one that is missing as if it were there, full of the fill value; so
whether all are there is asked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from streamgmm import threads
from streamgmm.errors import ResultError
from streamgmm.results.record import Record

ATTRIBUTE = "streamgmm"
NAMED = 3  # faults that an error names

Chunk = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A result on disk, complete or begun.

    Attributes
    ----------
    path : pathlib.Path
        Its folder.
    array : zarr.Array
        Its values.
    record : Record
        What it is of.
    complete : bool
        Whether it says that everything was written.
    """

    path: Path
    array: Any
    record: Record
    complete: bool

    @classmethod
    def create(cls, path: Path, like: Any, record: Record) -> Self:
        """Make one without chunks, with the shape, dtype and chunks of a lazy array."""
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec

        array = zarr.create_array(
            path,
            shape=like.shape,
            chunks=like.chunksize,
            dtype=like.dtype,
            compressors=[ZstdCodec(level=3), Crc32cCodec()],
            fill_value=np.iinfo(like.dtype).max if like.dtype.kind in "iu" else np.nan,  # no label: not written
            config={"write_empty_chunks": True},
            attributes={ATTRIBUTE: {**record.written(), "shape": list(like.shape), "complete": False}},
        )
        return cls(path, array, record, complete=False)

    @classmethod
    def open(cls, path: Path, mode: str = "r") -> Self:
        """Open one; ResultError where there is something else, or nothing."""
        import zarr

        try:
            array = zarr.open_array(path, mode=mode, config={"write_empty_chunks": True})
            said: Any = array.attrs[ATTRIBUTE]
            if said["shape"] != list(array.shape):
                raise ValueError("its shapes contradict each other")
            return cls(path, array, Record.read(said), said["complete"] is True)
        except KeyError:
            raise ResultError(f"{path} is no result of streamgmm: it does not say what it is of.") from None
        except (OSError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
            raise ResultError(f"{path} cannot be opened as a result ({error}); write it again.") from None

    def chunks(self) -> list[Chunk]:
        """Numbers of all chunks, in order, whether they are there or not."""
        return list(
            np.ndindex(*(-(-n // length) for n, length in zip(self.array.shape, self.array.chunks, strict=True)))
        )

    def file(self, chunk: Chunk) -> Path:
        """Where a chunk is, or will be."""
        return Path(self.path, self.array.metadata.encode_chunk_key(chunk))

    def faults(self) -> dict[Chunk, str]:
        """Chunks that are ``"missing"`` or ``"damaged"``, in order; every other one is read, and its checksum holds."""
        chunks = self.chunks()
        found = threads.ordered_map(self._fault, chunks)
        return {chunk: fault for chunk, fault in zip(chunks, found, strict=True) if fault}

    def check(self, faults: dict[Chunk, str] | None = None) -> None:
        """Raise ResultError unless the result is whole, that is complete and without faults."""
        faults = self.faults() if faults is None else faults
        remedy = "run the same prediction again, which writes only what is not there"
        if self.path.suffix != ".partial":
            remedy = f"rename it to {self.path.name}.partial and {remedy}"
        if faults:
            named = ", ".join(
                f"chunk {self._place(chunk)} is {fault}" for chunk, fault in islice(faults.items(), NAMED)
            )
            more = f" and {len(faults) - NAMED:,} more are" if len(faults) > NAMED else ""
            raise ResultError(f"{self.path} is not whole: {named}{more}; {remedy}.")
        if not self.complete:
            raise ResultError(f"{self.path} does not say that it is complete; {remedy}.")

    def _fault(self, chunk: Chunk) -> str:
        if not self.file(chunk).is_file():
            return "missing"
        try:
            self.array.get_block_selection(chunk)
        except (ValueError, RuntimeError, OSError):
            return "damaged"
        return ""

    def _place(self, chunk: Chunk) -> str:
        start = chunk[0] * self.array.chunks[0]
        stop = min(start + self.array.chunks[0], self.array.shape[0])
        return f"{self.file(chunk).relative_to(self.path).as_posix()} (rows {start}-{stop - 1})"


def check(path: Path) -> None:
    """Read a whole result, and raise unless it is one.

    Parameters
    ----------
    path : pathlib.Path
        Folder of the array.

    Raises
    ------
    ResultError
        A chunk is missing or damaged, or it is not complete, or no result; the message says which, and the remedy.
    """
    Stored.open(path).check()
