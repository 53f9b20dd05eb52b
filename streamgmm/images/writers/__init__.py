"""Where labels go: the name of the output decides what they become. What is there is complete, or is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from errno import EEXIST, ENOENT
from os import PathLike, fspath, strerror
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from streamgmm.errors import InputError, InputTypeError
from streamgmm.images.reading.raster import Georeference
from streamgmm.results.provenance import Record

if TYPE_CHECKING:
    from streamgmm.images.writers.legend import Legend

__all__ = ["Output"]

PICTURE, TIFF, OME, ZARR = "picture", "tiff", "ome", "zarr"
_KINDS = {".zarr": ZARR, ".tif": TIFF, ".tiff": TIFF, ".png": PICTURE}


@dataclass(frozen=True, slots=True)
class Output:
    """What labels shall be written to.

    Attributes
    ----------
    path : pathlib.Path
        Where they appear once they are complete.
    kind : {'zarr', 'ome', 'tiff', 'picture'}
        What they are there.
    overwrite : bool
        Whether what is there may be replaced.
    ome_version : str or None
        Of OME-Zarr.
    image : pathlib.Path or None
        The OME-Zarr image that they become a part of.
    """

    path: Path
    kind: str
    overwrite: bool = False
    ome_version: str | None = None
    image: Path | None = None

    @classmethod
    def of(cls, output: str | PathLike[str], *, overwrite: bool = False, ome_version: str | None = None) -> Self:
        """What a name means; errors come now, not after the work.

        Parameters
        ----------
        output : path
            ``NAME.zarr``, an array; ``NAME.ome.zarr``, an OME-Zarr label image; ``IMAGE.zarr/labels/NAME``, the same
            as a part of an image; ``NAME.tif``; ``NAME.png``.
        overwrite : bool, default=False
            Whether what is there may be replaced.
        ome_version : {'0.5', '0.4'}, optional
            Of OME-Zarr: that of the image, or else 0.5. With it ``NAME.zarr`` is OME-Zarr too.

        Raises
        ------
        InputError
            The name means nothing, or the version cannot be.
        OSError
            It exists, or its folder does not.
        """
        if not isinstance(output, str | PathLike):
            raise InputTypeError(f"output is a {type(output).__name__}; pass a path for each image.")
        path = Path(fspath(output))
        inside = path.parent.name == "labels" and path.parent.parent.suffix.lower() == ".zarr"
        kind = OME if inside else _KINDS.get(path.suffix.lower())
        if kind is None:
            raise InputError(
                f"output={fspath(output)!r} ends in none of {', '.join(_KINDS)}, and is not IMAGE.zarr/labels/NAME; "
                "choose one of these."
            )
        if kind == ZARR and (ome_version is not None or path.stem.lower().endswith(".ome")):
            kind = OME
        image = path.parent.parent if inside else None
        if ome_version is not None and kind != OME:
            raise InputError(f"ome_version={ome_version!r} is of OME-Zarr, and {path} will be none; leave it out.")
        if not (path.parent if image is None else image).is_dir():
            raise FileNotFoundError(ENOENT, strerror(ENOENT), str(path.parent if image is None else image))
        if kind == OME:
            ome_version = _version(ome_version, image)
        found = cls(path, kind, overwrite, ome_version, image)
        if path.exists() and not overwrite:
            if not found._unlisted():
                said = "it exists; choose another name, or pass overwrite=True (--overwrite)"
                raise FileExistsError(EEXIST, said, str(path))
            return replace(found, overwrite=True)
        return found

    @property
    def stage(self) -> Path:
        """Folder of what is not complete: beside the output, or beside the image that labels become a part of."""
        if self.image is None:
            return self.path.with_name(f"{self.path.name}.partial.zarr")
        return self.image.with_name(f"{self.image.name}.labels.{self.path.name}.partial.zarr")

    def replaces(self, path: Path) -> bool:
        """Whether what is at a path would be lost."""
        return path.resolve().is_relative_to(self.path.resolve())

    def check(self, shape: tuple[int, ...], n_segments: int, grid: Georeference | None) -> None:
        """Refuse, before the work, what cannot be written; ImportError where a library for it is missing."""
        if self.kind == PICTURE:
            from streamgmm.images.picture import check_picture

            check_picture(shape, n_segments)
        elif self.kind == TIFF and _lies_somewhere(grid):
            from streamgmm.images.reading.raster import import_library

            import_library("rasterio")
            if len(shape) != 2:
                raise InputError(
                    f"Labels of shape {shape} lie somewhere on earth, which a TIFF of several pages cannot say; write "
                    "them to .zarr."
                )
        elif self.kind == TIFF:
            from streamgmm.images.reading.raster import import_library

            import_library("tifffile")

    def write(
        self,
        labels: Any,
        record: Record,
        *,
        axes: str,
        legend: Legend,
        grid: Georeference | None = None,
        tile: int | None = None,
        wrote: Callable[[int], object] = lambda n_pixels: None,
    ) -> Any:
        """Write labels, and give them as they are there.

        Parameters
        ----------
        labels : dask.array.Array
            Lazily, of the smallest unsigned integers; 0 is nodata.
        record : Record
            Of what they are; a call that was stopped is gone on with if it is the same.
        axes : str
            A letter an axis. All formats but an array have them in the order of TZYX.
        legend : Legend
            Colours and names of the segments.
        grid : Georeference, optional
            Where pixels lie.
        tile : int, optional
            Longest side of a chunk of zarr, as in `streamgmm.results.write`.
        wrote : callable, optional
            Told the number of pixels that are done.

        Returns
        -------
        ndarray, dask.array.Array or zarr.Array
            In memory, lazy, or as it is stored.
        """
        if self.kind != ZARR:
            axes, labels = _in_order(axes, labels)
        if self.kind == PICTURE:
            from streamgmm.images.picture import write_picture

            computed = labels.compute()
            write_picture(computed, legend.colours, self.path, overwrite=self.overwrite)
            return computed
        import dask

        # what is written to is held by this process: the workers of a cluster could not share it
        with dask.config.set(scheduler="threads"):
            if self.kind == ZARR:
                from streamgmm.results.block_writer import write

                n_axes = len(axes)
                write(labels, self.path, record, tile=tile, places=n_axes, overwrite=self.overwrite, wrote=wrote)
            else:
                self._converted(labels, record, axes, legend, grid, tile, wrote)
        return self._written()

    def _converted(
        self,
        labels: Any,
        record: Record,
        axes: str,
        legend: Legend,
        grid: Georeference | None,
        tile: int | None,
        wrote: Callable[[int], object],
    ) -> None:
        from streamgmm.images.writers.staging import staged

        if self.image is not None:
            self.path.parent.mkdir(exist_ok=True)
        with staged(labels, self.stage, record, tile, wrote) as finished:
            if self.kind == OME:
                from streamgmm.images.writers.ome import Stated, enlist, write_ome

                version, name = str(self.ome_version), self.path.name.removesuffix(".zarr").removesuffix(".ome")
                source = None if self.image is None else "../../"
                stated = Stated(axes, legend, grid, version, name, source)
                write_ome(finished, self.path, stated, overwrite=self.overwrite)
                if self.image is not None:
                    enlist(self.path.parent, self.path.name, version)
            elif grid is not None and _lies_somewhere(grid):
                from streamgmm.images.writers.geotiff import write_geotiff

                write_geotiff(finished, self.path, legend, grid, overwrite=self.overwrite)
            else:
                from streamgmm.images.writers.tiff import write_tiff

                write_tiff(finished, self.path, axes, legend, grid, overwrite=self.overwrite)

    def _unlisted(self) -> bool:
        """Whether labels within an image are what a call that was stopped has left: complete, but not in its list."""
        if self.image is None or not self.stage.is_dir():
            return False
        from streamgmm.images.writers.ome import listed

        return self.path.name not in listed(self.path.parent)

    def _written(self) -> Any:
        """Labels as they are stored, which are not read."""
        import zarr

        if self.kind == OME:
            return zarr.open_group(self.path, mode="r")["0"]
        if self.kind == ZARR:
            return zarr.open_array(self.path, mode="r")
        import dask.array as da

        from streamgmm.images.reading import open_palette_indices

        return da.from_array(open_palette_indices(self.path), name=False)


def _in_order(axes: str, labels: Any) -> tuple[str, Any]:
    """Time first, then planes, lines and columns, as all formats have it."""
    order = sorted(range(len(axes)), key=lambda place: "TZYX".index(axes[place]))
    return "".join(axes[place] for place in order), labels.transpose(order)


def _lies_somewhere(grid: Georeference | None) -> bool:
    return grid is not None and (grid.crs is not None or grid.transform is not None)


def _version(asked: str | None, image: Path | None) -> str:
    """Version of OME-Zarr to write, which is that of the image."""
    from streamgmm.images.writers.ome import VERSIONS, image_version

    if asked is not None and asked not in VERSIONS:
        raise InputError(f"ome_version={asked!r} is not known; pass one of {', '.join(map(repr, VERSIONS))}.")
    if image is None:
        return asked or VERSIONS[0]
    there = image_version(image)
    if asked not in (None, there):
        raise InputError(f"ome_version={asked!r} was asked for, but {image} is of {there}; leave it out.")
    return there
