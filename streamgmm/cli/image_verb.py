"""The verb segment, and the paths of its outputs: one path, or one for each of several images by its name."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import streamgmm
from streamgmm import plot
from streamgmm.cli.verbs import check_output, format_candidates, keyword_arguments
from streamgmm.errors import InputError
from streamgmm.images import Segmentation
from streamgmm.images.reading import is_band_list

NAME = "{}"  # stands for the name of an image
COLUMNS = ("label", "pixels", "share", "mean")  # printed of each segment


def segment(arguments: Namespace) -> int:
    """Segment an image, or several by one model, and print the segments."""
    images, output, n_images = arguments.image, arguments.output, len(arguments.image)
    one_each = has_path_per_image(output)
    label_paths = paths_per_image(output, images, ".zarr") if one_each else [output]
    picture_paths = _picture_paths(arguments.plot, images, one_each)
    if arguments.probabilities is not None and label_paths[0].suffix.lower() != ".zarr":
        raise InputError(f"--probabilities are written beside labels in .zarr, and {label_paths[0]} is none.")
    if not one_each and n_images > 1 and not is_band_list(images):
        raise InputError(
            f"{n_images} images are given, and {output} is for one; pass -o with {{}} for the name of each, or a "
            "folder."
        )
    other_paths = [*picture_paths, *([] if arguments.save is None else [arguments.save])]
    if len({*label_paths, *other_paths}) < len(label_paths) + len(other_paths):
        raise InputError("Labels, pictures and the model cannot go to one path; pass one of its own for each.")
    with _new_folder(output):
        for path in other_paths:
            for image in images:
                check_output(path, image)
        figures = [plot.create_figure() for _ in picture_paths]  # fails before the work if matplotlib is missing
        segmentations = _segment(arguments, label_paths if one_each else output)
        if arguments.save is not None:
            segmentations[0].save(arguments.save)
        for segmentation, path, figure in zip(segmentations, picture_paths, figures, strict=bool(picture_paths)):
            segmentation.plot(figure=figure).savefig(path, dpi=100)
        if arguments.verbose:
            for index, (segmentation, path) in enumerate(zip(segmentations, label_paths, strict=True)):
                _print_segments(segmentation, path, picture_paths[index : index + 1], with_selection=index == 0)
    return 0


def _segment(arguments: Namespace, output: Path | list[Path]) -> list[Segmentation]:
    options = keyword_arguments(streamgmm.segment, arguments)
    options["image"] = (
        arguments.image[0] if output is arguments.output and len(arguments.image) == 1 else arguments.image
    )
    options["output"] = output
    if arguments.random_state is None and arguments.model is None:
        options["random_state"] = 0
    options["probabilities"] = {"all": True, None: False}.get(arguments.probabilities, arguments.probabilities)
    result = streamgmm.segment(**options)
    return result if isinstance(result, list) else [result]


def _print_segments(segmentation: Segmentation, path: Path, pictures: list[Path], *, with_selection: bool) -> None:
    size = " x ".join(f"{length:,}" for length in reversed(segmentation.labels.shape))
    print(f"{path}: labels of {size} pixels, {segmentation.labels.dtype}")
    if segmentation.probabilities is not None:
        print(f"{segmentation.probabilities.store.root}: probabilities, {segmentation.probabilities.dtype}")
    for picture in pictures:
        print(f"{picture}: image, labels and components")
    if segmentation.selection is not None and with_selection:
        print(format_candidates(segmentation.selection))
    for label, pixels, share, mean in zip(*(segmentation.table[name] for name in COLUMNS), strict=True):
        print(f"{label:5}  {pixels:15,} pixels  {share:6.1%}  mean {', '.join(f'{value:.4g}' for value in mean)}")


def _picture_paths(pattern: Path | None, images: list[str], one_each: bool) -> list[Path]:
    if pattern is None or not one_each:
        return [] if pattern is None else [pattern]
    if NAME not in str(pattern):
        raise InputError(f"--plot {pattern} is one picture; put {{}} into it, where the name of each image goes.")
    return paths_per_image(pattern, images, ".png")


def has_path_per_image(path: Path) -> bool:
    """Return True if a path is the pattern or the folder of one output per image.

    Examples
    --------
    >>> paths = ("labels/{}.tif", "labels", "labels.zarr", "scan.zarr/labels/tissue")
    >>> [has_path_per_image(Path(path)) for path in paths]
    [True, True, False, False]
    """
    return NAME in str(path) or _is_folder(path)


def paths_per_image(path: Path, images: Sequence[str], suffix: str) -> list[Path]:
    """Return one path per image, its name in place of ``{}``; in a folder paths end in ``suffix``.

    Examples
    --------
    >>> paths = paths_per_image(Path("labels/{}_labels.tif"), ["2026/a.ome.tif", "scans/b.zarr/"], ".zarr")
    >>> [str(path) for path in paths]
    ['labels/a_labels.tif', 'labels/b_labels.tif']
    """
    pattern = str(path) if NAME in str(path) else str(path / f"{NAME}{suffix}")
    image_of: dict[Path, str] = {}
    for image in images:
        target = Path(pattern.replace(NAME, Path(image).stem.removesuffix(".ome")))
        if target in image_of:
            raise InputError(
                f"{image_of[target]} and {image} have one name, so that {target} would be of both; rename one."
            )
        image_of[target] = image
    return list(image_of)


@contextmanager
def _new_folder(path: Path) -> Iterator[None]:
    """Create the folder of one output per image if it is missing; remove it if it stays empty."""
    folder = path if _is_folder(path) else path.parent
    is_new = has_path_per_image(path) and NAME not in str(folder) and not folder.exists()
    if is_new:
        folder.mkdir()
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def _is_folder(path: Path) -> bool:
    is_within_image = path.parent.name == "labels" and path.parent.parent.suffix.lower() == ".zarr"
    return not is_within_image and path.suffix.lower() != ".zarr" and (path.is_dir() or not path.suffix)
