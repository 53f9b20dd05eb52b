"""The path labels are written to. Its suffix decides the format; a file is complete or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from errno import EEXIST, ENOENT
from os import PathLike, fspath, strerror
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from streamgmm.errors import InputError, InputTypeError
from streamgmm.images.writers.label_format import LabelDescription, LabelFormat
from streamgmm.images.writers.ome_zarr_writer import OME_ZARR, list_labels, resolve_version
from streamgmm.images.writers.png_writer import PNG
from streamgmm.images.writers.tiff_writer import TIFF
from streamgmm.persistence.atomic import folder_lock, remove_path

if TYPE_CHECKING:
    from streamgmm.results.provenance import Provenance


def open_zarr_labels(path: Path) -> Any:
    """Open labels as a zarr array."""
    import zarr

    return zarr.open_array(path, mode="r")


ZARR = LabelFormat(None, open_zarr_labels)

FORMATS = {".zarr": ZARR, ".ome.zarr": OME_ZARR, ".tif": TIFF, ".tiff": TIFF, ".png": PNG}  # the longest suffix counts


@dataclass(frozen=True, slots=True)
class LabelOutput:
    """A path for labels, checked before the work, and the format its suffix stands for."""

    path: Path
    format: LabelFormat
    overwrite: bool = False
    ome_version: str | None = None

    @classmethod
    def from_path(cls, path: str | PathLike[str], *, overwrite: bool = False, ome_version: str | None = None) -> Self:
        """Check a path with a suffix of ``FORMATS``, or ``IMAGE.zarr/labels/NAME``, and the options that go with it.

        Raises InputError if the suffix or the version is unknown, and OSError if the path exists, or its folder does
        not. With ``ome_version``, ``NAME.zarr`` is OME-Zarr too.
        """
        if not isinstance(path, str | PathLike):
            raise InputTypeError(f"output is a {type(path).__name__}; pass a path for each image.")
        output = cls(Path(fspath(path)), ZARR, overwrite)
        suffix = max((suffix for suffix in FORMATS if output.path.name.lower().endswith(suffix)), key=len, default=None)
        if suffix is None and output.image is None:
            raise InputError(
                f"output={fspath(path)!r} ends in none of {', '.join(FORMATS)}, and is not IMAGE.zarr/labels/NAME; "
                "choose one of these."
            )
        format_ = OME_ZARR if suffix is None or output.image is not None else FORMATS[suffix]
        if ome_version is not None and format_ is ZARR:
            format_ = OME_ZARR
        if ome_version is not None and format_ is not OME_ZARR:
            raise InputError(
                f"ome_version={ome_version!r} is of OME-Zarr, and {output.path} will be none; leave it out."
            )
        parent = output.path.parent if output.image is None else output.image
        if not parent.is_dir():
            raise FileNotFoundError(ENOENT, strerror(ENOENT), str(parent))
        if format_ is OME_ZARR:
            ome_version = resolve_version(ome_version, output.image)
        if output.path.exists() and not overwrite:
            if not output._is_unlisted():
                reason = "it exists; choose another name, or pass overwrite=True (--overwrite)"
                raise FileExistsError(EEXIST, reason, str(output.path))
            overwrite = True
        return replace(output, format=format_, overwrite=overwrite, ome_version=ome_version)

    @property
    def image(self) -> Path | None:
        """OME-Zarr image that the labels become a part of."""
        folder = self.path.parent
        return folder.parent if folder.name == "labels" and folder.parent.suffix.lower() == ".zarr" else None

    @property
    def stage(self) -> Path:
        """Folder of labels that are not complete, beside the output or its image."""
        if self.image is None:
            return self.path.with_name(f"{self.path.name}.partial.zarr")
        return self.image.with_name(f"{self.image.name}.labels.{self.path.name}.partial.zarr")

    def for_probabilities(self) -> Self | None:
        """Return the output of the posterior probabilities, beside labels in zarr; None for other formats."""
        if self.format is not ZARR:
            return None
        path = self.path.with_name(f"{self.path.stem}_probabilities{self.path.suffix}")
        return self.from_path(path, overwrite=self.overwrite)

    def replaces(self, path: Path) -> bool:
        """Return True if writing the labels would destroy what is at a path."""
        return path.resolve().is_relative_to(self.path.resolve())

    def write(
        self,
        labels: Any,
        provenance: Provenance,
        description: LabelDescription,
        *,
        tile: int | None = None,
        progress: Callable[[int], object] = lambda n_pixels: None,
    ) -> Any:
        """Write lazy labels and return them as they are stored; a call with the same provenance resumes.

        ``tile`` is the longest side of a zarr chunk; ``progress`` is called with the pixels of each complete block.
        """
        import dask

        # this process holds the lock on the output: the workers of a cluster could not share it
        with dask.config.set(scheduler="threads"):
            if self.format.convert is None:
                from streamgmm.results.block_writer import write

                options: Any = {"row_axes": len(description.axes), "overwrite": self.overwrite}
                write(labels, self.path, provenance, tile=tile, progress=progress, **options)
            else:
                order = sorted(range(labels.ndim), key=lambda axis: "TZYX".index(description.axes[axis]))
                description = replace(description, axes="".join(description.axes[axis] for axis in order))
                with self._staged(labels.transpose(order), provenance, tile, progress) as complete:
                    self.format.convert(complete, self, description)
        return self.format.open(self.path)

    @contextmanager
    def _staged(
        self, labels: Any, provenance: Provenance, tile: int | None, progress: Callable[[int], object]
    ) -> Iterator[Any]:
        """Write labels to a zarr array, from which a call resumes until their conversion is complete."""
        from streamgmm.results.block_writer import write

        if self.image is not None:
            self.path.parent.mkdir(exist_ok=True)
        with folder_lock(self.stage):
            path = self.stage / "labels.zarr"
            if path.exists():  # complete labels resume like any others: no block is missing
                remove_path(path.with_name(path.name + ".partial"))
                path.rename(path.with_name(path.name + ".partial"))
            write(labels, path, provenance, tile=tile, row_axes=labels.ndim, progress=progress)
            try:
                yield open_zarr_labels(path)
            except BaseException as error:
                error.add_note(f"run the same again: it goes on from {self.stage}")
                raise
            remove_path(self.stage)

    def _is_unlisted(self) -> bool:
        """Return True for labels that an interrupted call completed but did not list in their image."""
        return self.image is not None and self.stage.is_dir() and self.path.name not in list_labels(self.path.parent)
