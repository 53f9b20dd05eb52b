"""Labels as a PNG with a palette, for any viewer; 0 is transparent. The image has to be small."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgmm.errors import InputError
from streamgmm.images.reading.raster import Georeference, import_library
from streamgmm.images.writers.label_format import LabelDescription, LabelFormat, label_dtype
from streamgmm.persistence.atomic import atomic_output

if TYPE_CHECKING:
    from streamgmm.images.writers.label_output import LabelOutput

MAX_PIXELS = 2**26


def check_png(shape: tuple[int, ...], n_segments: int, georeference: Georeference | None) -> None:
    """Raise InputError for labels that do not fit a PNG, and ImportError without Pillow."""
    import_library("PIL.Image")
    if len(shape) != 2:
        raise InputError(f"A picture has rows and columns only, and the image has shape {shape}; write to .zarr.")
    if shape[0] * shape[1] > MAX_PIXELS or label_dtype(n_segments) != np.uint8:
        raise InputError(
            f"Labels of {shape[1]:,} x {shape[0]:,} pixels, 1 to {n_segments}, cannot be a picture, which has at most "
            f"{MAX_PIXELS:,} pixels and 254 segments; write them to .zarr."
        )


def write_png(labels: Any, output: LabelOutput, description: LabelDescription) -> None:
    """Write labels (height, width) of 8 bits."""
    picture = import_library("PIL.Image").fromarray(np.asarray(labels[:]))
    picture.putpalette(np.concatenate([np.zeros((1, 3), np.uint8), description.colours]).tobytes())
    with atomic_output(output.path, overwrite=output.overwrite) as partial:
        picture.save(partial, format="PNG", transparency=0)


def open_png(path: Path) -> NDArray[np.uint8]:
    """Read labels into memory."""
    with import_library("PIL.Image").open(path) as picture:
        return np.array(picture)


PNG = LabelFormat(write_png, open_png, check_png)
