"""A result as it is on disk: a zarr array that says of what it is and whether it is complete.

A block is what one task writes, and a file: a chunk with a checksum, or a shard of several chunks, each with its own,
whose index has one, too. zarr reads a file that is missing as if it were there, full of the fill value; so whether all
are there is asked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamgmm.data import threads
from streamgmm.errors import ResultError
from streamgmm.results.provenance import Record

ATTRIBUTE = "streamgmm"
NAMED = 3  # faults that an error names

Block = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
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
    def create(cls, path: Path, like: Any, tile: Block, record: Record) -> Self:
        """Make one without files, with the shape, dtype and blocks of a lazy array, each in chunks of ``tile``."""
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec

        array = zarr.create_array(
            path,
            shape=like.shape,
            chunks=tile,
            shards=None if tile == like.chunksize else like.chunksize,
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

    @property
    def lengths(self) -> Block:
        """Shape of a block: of a shard where there are any, else of a chunk."""
        lengths: Block = self.array.shards or self.array.chunks
        return lengths

    def blocks(self) -> list[Block]:
        """Numbers of all blocks along each axis, in order, whether they are there or not."""
        return list(np.ndindex(*(-(-n // length) for n, length in zip(self.array.shape, self.lengths, strict=True))))

    def region(self, block: Block) -> tuple[slice, ...]:
        """Where a block is in the array."""
        starts = [number * length for number, length in zip(block, self.lengths, strict=True)]
        edges = zip(starts, self.lengths, self.array.shape, strict=True)
        return tuple(slice(start, min(start + length, n)) for start, length, n in edges)

    def put(self, block: Block, values: NDArray[Any]) -> None:
        """Write a block, which has to be whole: two tasks that share a file would each read, change and write it."""
        region = self.region(block)
        shape = tuple(part.stop - part.start for part in region)
        if values.shape != shape:
            raise ResultError(
                f"Values of shape {values.shape} are not the whole of {self._named(block)}, which is {shape}; rechunk "
                f"the result to blocks of {self.lengths}."
            )
        self.array[region] = values

    def file(self, block: Block) -> Path:
        """Where a block is, or will be."""
        return Path(self.path, self.array.metadata.encode_chunk_key(block))

    def faults(self) -> dict[Block, str]:
        """Blocks that are ``"missing"`` or ``"damaged"``, in order; every other one is read, and its checksums hold."""
        blocks = self.blocks()
        found = threads.ordered_map(self._fault, blocks)
        return {block: fault for block, fault in zip(blocks, found, strict=True) if fault}

    def check(self, faults: dict[Block, str] | None = None) -> None:
        """Raise ResultError unless the result is whole, that is complete and without faults."""
        faults = self.faults() if faults is None else faults
        remedy = "run the same prediction again, which writes only what is not there"
        if self.path.suffix != ".partial":
            remedy = f"rename it to {self.path.name}.partial and {remedy}"
        if faults:
            named = ", ".join(f"{self._named(block)} is {fault}" for block, fault in islice(faults.items(), NAMED))
            more = f" and {len(faults) - NAMED:,} more are" if len(faults) > NAMED else ""
            raise ResultError(f"{self.path} is not whole: {named}{more}; {remedy}.")
        if not self.complete:
            raise ResultError(f"{self.path} does not say that it is complete; {remedy}.")

    def _fault(self, block: Block) -> str:
        if not self.file(block).is_file():
            return "missing"
        try:
            self.array[self.region(block)]
        except (ValueError, RuntimeError, OSError):
            return "damaged"
        return ""

    def _named(self, block: Block) -> str:
        """A block in words: its file, and its rows, or from where to where it is along each axis."""
        region = self.region(block)
        cut = [n for n, length in zip(self.array.shape, self.lengths, strict=True) if length < n]
        what = "chunk" if self.array.shards is None else "shard"
        where = f"rows {region[0].start}-{region[0].stop - 1}"
        if len(cut) > 1 or self.array.shape[0] not in cut:
            where = ", ".join(f"{part.start}:{part.stop}" for part in region)
        return f"{what} {self.file(block).relative_to(self.path).as_posix()} ({where})"


def check(path: Path) -> None:
    """Read a whole result, and raise unless it is one.

    Parameters
    ----------
    path : pathlib.Path
        Folder of the array.

    Raises
    ------
    ResultError
        A block is missing or damaged, or it is not complete, or no result; the message says which, and the remedy.
    """
    StoredArray.open(path).check()
