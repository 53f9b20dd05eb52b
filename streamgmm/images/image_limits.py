"""Tuned constants of `streamgmm.images`, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Sizes at which the image path changes its method, and how much it holds in memory.

    Measured by ``python -m benchmarks.segmentation`` (2 cores) on scenes of up to 1000 megapixels.

    Attributes
    ----------
    distinct_values : int
        Values a hash table counts at most; its 2**24 slots take 268 MB.
    joint_distinct_values : int
        The same for the tables of several images together, 16 bytes a value.
    pixels_per_value : int
        Pixels per distinct value from which a table is cheaper than the pixels: EM then reads a fourth of the rows.
    sample_runs, sample_run_pixels : int
        Runs of pixels, and their length, that estimate the number of distinct values.
    sample_blocks : int
        Blocks into which an image is cut to choose the runs among.
    table_passes : int
        Default ``max_iter`` where distinct values are counted; a pass over them takes milliseconds.
    minimum_gain : float
        Nats a pixel that one more segment has to gain. BIC would take the most of any range.
    feature_block_bytes : int
        Features of one block. Larger blocks read less of their surroundings twice.
    memory_block_bytes : int
        The same for an image in memory, so that every thread has a part of it.
    unique_colours_from : int
        Pixels of 8 bits from which each colour is converted to Lab once, rather than each pixel.
    label_tile : int
        Longest side of a chunk of labels, which a viewer reads as one.
    write_bytes : int
        Labels held in memory while a file is written.
    sheet_pixels : int
        Pixels across one panel of `Segmentation.plot`.
    window_side, n_windows : int
        Side in pixels, and number, of the windows that `effective_n` reads.
    """

    distinct_values: int = 2**23
    joint_distinct_values: int = 2**24
    pixels_per_value: int = 4
    sample_runs: int = 16
    sample_run_pixels: int = 2**16
    sample_blocks: int = 2**12
    table_passes: int = 500
    minimum_gain: float = 0.01
    feature_block_bytes: int = 2**26
    memory_block_bytes: int = 2**22
    unique_colours_from: int = 2**16
    label_tile: int = 1024
    write_bytes: int = 2**25
    sheet_pixels: int = 1_000
    window_side: int = 512
    n_windows: int = 16


LIMITS = ImageLimits()
