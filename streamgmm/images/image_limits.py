"""Tuned constants of `streamgmm.images`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Sizes at which the image path changes its method, and how much it holds in memory.

    Measured by ``python -m benchmarks.segmentation`` (2 cores) on scenes of up to 1000 megapixels.
    """

    # value counts
    distinct_values: int = 2**23  # in a hash table, whose 2**24 slots take 268 MB
    joint_distinct_values: int = 2**24  # in the tables of several images together, 16 bytes a value
    pixels_per_value: int = 4  # from which a table is worthwhile: EM then reads a fourth of the rows
    sample_runs: int = 16  # that estimate the number of distinct values
    sample_run_pixels: int = 2**16
    sample_blocks: int = 2**12  # into which an image is cut to choose the runs among
    table_passes: int = 500  # default max_iter where values are counted; a pass takes milliseconds
    # number of segments
    minimum_gain: float = 0.01  # nats a pixel, of one more segment; BIC would take the most of any range
    # features
    feature_block_bytes: int = 2**26  # larger blocks read less of their surroundings twice
    memory_block_bytes: int = 2**22  # of an image in memory, so that every thread has a part of it
    unique_colours_from: int = 2**16  # pixels of 8 bits from which each colour is converted to Lab once
    # output
    label_tile: int = 1024  # longest side of a chunk of labels, which a viewer reads as one
    write_bytes: int = 2**25  # of labels held in memory while a file is written
    sheet_pixels: int = 1_000  # across one panel of `Segmentation.plot`
    # effective_n
    window_side: int = 512  # pixels
    n_windows: int = 16


LIMITS = ImageLimits()
