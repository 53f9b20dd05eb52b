"""Result on disk: a zarr array with its provenance and a mark of completion.

One task writes one block, which is one file: a chunk with a checksum, or a shard of several chunks, each with its own,
whose index has one, too. zarr reads a missing file as if it were full of the fill value, so that it is checked here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamgmm.data import threads
from streamgmm.errors import ResultError
from streamgmm.results.provenance import Provenance

ATTRIBUTE = "streamgmm"  # name in the zarr array's attributes
MAX_LISTED_BLOCKS = 3  # in an error message

BlockIndex = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """Result on disk, complete or partial."""

    path: Path
    array: Any  # zarr.Array
    provenance: Provenance
    is_complete: bool  # all blocks were written, according to its attributes

    @classmethod
    def create(cls, path: Path, like: Any, tile: BlockIndex, provenance: Provenance) -> Self:
        """Make an array without blocks, of the shape, dtype and blocks of a lazy array, in chunks of shape ``tile``."""
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
            attributes={ATTRIBUTE: {**asdict(provenance), "shape": list(like.shape), "complete": False}},
        )
        return cls(path, array, provenance, is_complete=False)

    @classmethod
    def open(cls, path: Path, mode: str = "r") -> Self:
        """Open a result; ResultError if there is none."""
        import zarr

        try:
            array = zarr.open_array(path, mode=mode, config={"write_empty_chunks": True})
            attributes: Any = array.attrs[ATTRIBUTE]
            if attributes["shape"] != list(array.shape):
                raise ValueError("its shapes contradict each other")
            return cls(path, array, Provenance.from_json(attributes), attributes["complete"] is True)
        except KeyError:
            raise ResultError(f"{path} is no result of streamgmm: it does not say what it is of.") from None
        except (OSError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
            raise ResultError(f"{path} cannot be opened as a result ({error}); write it again.") from None

    @property
    def block_shape(self) -> BlockIndex:
        """Shape of a shard where there are any, else of a chunk."""
        shape: BlockIndex = self.array.shards or self.array.chunks
        return shape

    def blocks(self) -> list[BlockIndex]:
        """Return the indices of all blocks in order, written or not."""
        return list(np.ndindex(*(-(-n // size) for n, size in zip(self.array.shape, self.block_shape, strict=True))))

    def region(self, block: BlockIndex) -> tuple[slice, ...]:
        """Return the slices of the array that a block fills."""
        starts = [index * length for index, length in zip(block, self.block_shape, strict=True)]
        edges = zip(starts, self.block_shape, self.array.shape, strict=True)
        return tuple(slice(start, min(start + length, n)) for start, length, n in edges)

    def file(self, block: BlockIndex) -> Path:
        """Return the path of the file of a block."""
        return Path(self.path, self.array.metadata.encode_chunk_key(block))

    def write_block(self, block: BlockIndex, values: NDArray[Any]) -> None:
        """Write a whole block; ResultError for a part, since tasks that share a file would overwrite each other."""
        region = self.region(block)
        shape = tuple(part.stop - part.start for part in region)
        if values.shape != shape:
            raise ResultError(
                f"Values of shape {values.shape} are not the whole of {self._describe(block)}, which is {shape}; "
                f"rechunk the result to blocks of {self.block_shape}."
            )
        self.array[region] = values

    def mark_complete(self) -> None:
        """Record that all blocks were written."""
        self.array.update_attributes({ATTRIBUTE: {**self.array.attrs[ATTRIBUTE], "complete": True}})

    def find_bad_blocks(self) -> dict[BlockIndex, str]:
        """Return the blocks that are ``"missing"`` or ``"damaged"``; the checksums of all others hold."""
        blocks = self.blocks()
        bad_blocks = zip(blocks, threads.map_in_order(self._describe_fault, blocks), strict=True)
        return {block: fault for block, fault in bad_blocks if fault}

    def check(self, bad_blocks: dict[BlockIndex, str] | None = None) -> None:
        """Raise ResultError unless the result is complete and without bad blocks."""
        bad_blocks = self.find_bad_blocks() if bad_blocks is None else bad_blocks
        remedy = "run the same prediction again, which writes only what is not there"
        if self.path.suffix != ".partial":
            remedy = f"rename it to {self.path.name}.partial and {remedy}"
        if bad_blocks:
            listed = islice(bad_blocks.items(), MAX_LISTED_BLOCKS)
            names = ", ".join(f"{self._describe(block)} is {fault}" for block, fault in listed)
            n_more = len(bad_blocks) - MAX_LISTED_BLOCKS
            more = f" and {n_more:,} more are" if n_more > 0 else ""
            raise ResultError(f"{self.path} is not whole: {names}{more}; {remedy}.")
        if not self.is_complete:
            raise ResultError(f"{self.path} does not say that it is complete; {remedy}.")

    def _describe_fault(self, block: BlockIndex) -> str:
        if not self.file(block).is_file():
            return "missing"
        try:
            self.array[self.region(block)]
        except (ValueError, RuntimeError, OSError):
            return "damaged"
        return ""

    def _describe(self, block: BlockIndex) -> str:
        """Return the file of a block and its rows, or its slices if several axes are divided."""
        region = self.region(block)
        cut = [n for n, length in zip(self.array.shape, self.block_shape, strict=True) if length < n]
        unit = "chunk" if self.array.shards is None else "shard"
        where = f"rows {region[0].start}-{region[0].stop - 1}"
        if len(cut) > 1 or self.array.shape[0] not in cut:
            where = ", ".join(f"{part.start}:{part.stop}" for part in region)
        return f"{unit} {self.file(block).relative_to(self.path).as_posix()} ({where})"


def check(path: Path) -> None:
    """Read a whole result from a folder, and raise ResultError unless it is complete and undamaged."""
    StoredArray.open(path).check()
