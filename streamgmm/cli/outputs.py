"""Where what is made of an image goes: to one path, or of several images to one each, by the name of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from streamgmm.errors import InputError

NAME = "{}"


def is_for_each(path: Path) -> bool:
    """Whether a path is for the output of each image: it has a place for the name, or is a folder.

    Examples
    --------
    >>> [is_for_each(Path(path)) for path in ("labels/{}.tif", "labels", "labels.zarr", "scan.zarr/labels/tissue")]
    [True, True, False, False]
    """
    return NAME in str(path) or _is_folder(path)


def for_each(path: Path, images: Sequence[str], suffix: str) -> list[Path]:
    """Paths for what is made of images, their names in place of ``{}``; in a folder they end in ``suffix``.

    Examples
    --------
    >>> [str(path) for path in for_each(Path("labels/{}_labels.tif"), ["2026/a.ome.tif", "scans/b.zarr/"], ".zarr")]
    ['labels/a_labels.tif', 'labels/b_labels.tif']
    """
    pattern = str(path) if NAME in str(path) else str(path / f"{NAME}{suffix}")
    found: dict[Path, str] = {}
    for image in images:
        made = Path(pattern.replace(NAME, _name(image)))
        if made in found:
            raise InputError(f"{found[made]} and {image} have one name, so that {made} would be of both; rename one.")
        found[made] = image
    return list(found)


@contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """Make the folder of a path that is for each image, if there is none; it is gone again if nothing came into it."""
    folder = path if _is_folder(path) else path.parent
    new = is_for_each(path) and NAME not in str(folder) and not folder.exists()
    if new:
        folder.mkdir()
    try:
        yield
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()


def _is_folder(path: Path) -> bool:
    within = path.parent.name == "labels" and path.parent.parent.suffix.lower() == ".zarr"  # a part of an image
    return not within and path.suffix.lower() != ".zarr" and (path.is_dir() or not path.suffix)


def _name(image: str) -> str:
    """What an image is called, without where it is and how it is stored."""
    return Path(image).stem.removesuffix(".ome")
